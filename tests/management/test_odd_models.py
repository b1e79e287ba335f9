"""Whatever stands in a field of a model, a credential or a setting: never a 500, and no gateway that ails."""

from typing import Any

import pytest

from bursar.config.keys import LITELLM_PARAMS, LITELLM_SETTINGS, MODEL_INFO, ROUTER_SETTINGS, Section
from tests.gateway.running import Gateway

ODD: list[Any] = [
    *("", "x", "0", "-1", "1e400", "os.environ/HOME", "os.environ/", "'; DROP TABLE x; --", "\x00", "a\r\nb: c", "ä€𝄞"),
    *(-1, 0, 10**30, 1.5, True, None),
    *([], [None], ["x", 1], [[]], {}, {"a": {"b": [1, None, "x"]}}, {"": ""}, {"x" * 300: "y"}),
]
STRIDE = 7
"""Not a divisor of how many there are: each value meets a seventh of the names, and all take too long."""
NAMES = ["x", "", "ü", "a b", "../..", "model_info", "id", "__class__", "x" * 1000]


def bodies(section: Section) -> list[tuple[str, Any]]:
    names = [key.name.replace("*", "x") for key in section.keys.values()]
    return [(name, value) for name in [*names, *NAMES] for value in ODD][::STRIDE]


@pytest.mark.parametrize("section", [LITELLM_PARAMS, MODEL_INFO], ids=lambda section: section.name)
async def test_models(gateway: Gateway, section: Section) -> None:
    assert len(ODD) % STRIDE
    made = 0
    for name, value in bodies(section):
        body: dict[str, Any] = {"model_name": "odd", "litellm_params": {"model": "openai/x"}, "model_info": {}}
        body[section.name] |= {name: value}
        answer = await gateway.request("POST", "/model/new", body)
        assert answer.status in (200, 400, 422), f"{name}: {value!r}: {answer.body!r}"
        if answer.status == 200:
            made += 1
            model_id = answer.json["model_id"]
            if section is LITELLM_PARAMS:
                changed = {"litellm_params": {name: value}}
                again = await gateway.request("POST", "/model/update", changed | {"model_info": {"id": model_id}})
                assert again.status in (200, 400), f"{name}: {value!r}: {again.body!r}"
            info = await gateway.request("GET", f"/model_group/info?model_group={made}")
            assert info.status == 200
            gone = await gateway.request("POST", "/model/delete", {"id": model_id})
            assert gone.status == 200, gone.body
    assert made > 20
    assert (await gateway.request("GET", "/model/info")).status == 200
    assert (await gateway.chat("oracle")).status == 200


async def test_credentials(gateway: Gateway) -> None:
    for name, value in bodies(LITELLM_PARAMS):
        odd = {name: value}
        body = {"credential_name": name[:200] or "x", "credential_values": odd, "credential_info": odd}
        for method, path in (("POST", "/credentials"), ("PATCH", "/credentials/x")):
            answer = await gateway.request(method, path, body)
            assert answer.status in (200, 400, 404, 422), f"{name}: {value!r}: {answer.body!r}"
    assert (await gateway.request("GET", "/credentials")).status == 200
    assert (await gateway.chat("oracle")).status == 200


@pytest.mark.parametrize("section", [LITELLM_SETTINGS, ROUTER_SETTINGS], ids=lambda section: section.name)
async def test_settings(gateway: Gateway, section: Section) -> None:
    for name, value in bodies(section):
        answer = await gateway.request("POST", "/config/update", {section.name: {name: value}})
        assert answer.status in (200, 400, 422), f"{name}: {value!r}: {answer.body!r}"
        if answer.status == 200:
            back = await gateway.request("POST", "/config/update", {section.name: {name: None}})
            assert back.status == 200, f"{name}: {value!r}: {back.body!r}"
    assert (await gateway.request("GET", f"/config/list?config_type={section.name}")).status == 200
    assert (await gateway.chat("oracle")).status == 200


async def test_bodies(gateway: Gateway) -> None:
    for body in (b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"model_name": "\\ud800"}', b"[" * 1000):
        for path in ("/model/new", "/model/update", "/model/delete", "/credentials", "/config/update"):
            answer = await gateway.request("POST", path, body)
            assert answer.status in (400, 422), f"{path} {body!r}: {answer.body!r}"
