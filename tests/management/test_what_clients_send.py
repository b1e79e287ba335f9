"""What LiteLLM's clients send, and LiteLLM takes: numbers in text, empty names; and ids that no path could name."""

from typing import Any

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, refused
from tests.management.test_model_endpoints import STORED

IN_TEXT = {"rpm_limit": "10", "tpm_limit": 10.0, "max_budget": "2.5", "max_parallel_requests": "3"}
LIMITS = {"rpm_limit": 10, "tpm_limit": 10, "max_budget": 2.5, "max_parallel_requests": 3}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {"blocked": "true"}),
        ("/key/generate", {"blocked": 1}),
        ("/team/new", {"blocked": "True"}),
        ("/user/new", {"auto_create_key": "false"}),
        ("/budget/new", {}),
    ],
)
async def test_numbers_and_truths_in_text(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    made = await does(gateway, "POST", path, IN_TEXT | body)
    assert {name: made[name] for name in LIMITS} == LIMITS
    assert "blocked" not in body or made["blocked"] is True
    for wrong in ({"max_budget": "nan"}, {"max_budget": "-1"}, {"rpm_limit": "-1"}, {"max_budget": "null"}):
        answer = await gateway.request("POST", path, body | wrong)
        assert answer.status in (400, 422), (wrong, answer.body)


async def test_an_empty_name_is_none(gateway: Gateway, books: Books) -> None:
    blank = {"team_id": "", "user_id": "", "organization_id": "", "budget_id": "", "key_alias": ""}
    for _ in range(2):
        key = await does(gateway, "POST", "/key/generate", blank)
        assert [key[name] for name in blank] == [None] * 5
    team = await does(gateway, "POST", "/team/new", {"team_id": "", "organization_id": "", "team_alias": ""})
    assert team["team_id"]
    assert (team["organization_id"], team["team_alias"]) == (None, None)
    member = {"team_id": team["team_id"], "member": {"user_id": "", "user_email": "ada@example.org"}}
    added = await does(gateway, "POST", "/team/member_add", member)
    assert added["members_with_roles"][0]["user_email"] == "ada@example.org"
    user = await does(gateway, "POST", "/user/new", {"user_id": "", "user_email": "", "user_alias": ""})
    assert user["user_id"]
    assert (user["user_email"], user["user_alias"]) == (None, None)
    for none in ("", None):
        organization = await does(
            gateway,
            "POST",
            "/organization/new",
            {"organization_alias": "o", "organization_id": none, "budget_id": none, "max_budget": 1},
        )
        assert organization["litellm_budget_table"]["max_budget"] == 1
    assert (await does(gateway, "POST", "/budget/new", {"budget_id": "", "max_budget": 1}))["budget_id"]
    assert await books.fetch("SELECT FROM \"LiteLLM_UserTable\" WHERE user_id = ''") == []
    listed = await does(gateway, "GET", "/key/list?user_id=&team_id=&key_alias=&status=")
    assert listed["total_count"] == 3
    for path in ("/spend/logs/ui?start_date=2026-01-01&end_date=2026-01-02&status_filter=", "/user/list?role="):
        await does(gateway, "GET", path)


async def test_null_alone_ends_a_raise(gateway: Gateway) -> None:
    raised = {"max_budget": 1, "temp_budget_increase": 5, "temp_budget_expiry": "2099-01-01T00:00:00Z"}
    for name in ("temp_budget_increase", "temp_budget_expiry"):
        key = (await does(gateway, "POST", "/key/generate", raised))["key"]
        changed = await does(gateway, "POST", "/key/update", {"key": key, name: None})
        assert changed["metadata"] == {}
        await does(gateway, "POST", "/key/generate", {name: None})
        body = {"key": key, name: raised[name]}
        await refused(gateway, "POST", "/key/update", body, status=400, word="go together")


@pytest.mark.parametrize("name", [".", "..", "a\\b", "a/../b", "a\nb"])
async def test_ids_that_no_path_names_are_not_made(start_gateway: StartGateway, name: str) -> None:
    gateway = await start_gateway(settings=STORED)
    await does(gateway, "POST", "/team/new", {"team_id": "t"})
    model = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    for path, body in (
        ("/team/new", {"team_id": name}),
        ("/credentials", {"credential_name": name, "credential_values": {"api_key": "k"}}),
        ("/model/new", model | {"model_info": {"id": name}}),
    ):
        answer = await refused(gateway, "POST", path, body, status=400, word="")
        assert "path" in answer.json["error"]["message"] or "printable" in answer.json["error"]["message"]
    # Users may be called so: bodies and queries name them.
    await does(gateway, "POST", "/key/generate", {"user_id": name})
    await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": {"user_id": name}})
    await does(gateway, "POST", "/user/delete", {"user_ids": [name]})


async def test_what_failed_of_many_is_named_without_secrets(gateway: Gateway) -> None:
    canary = "sk-canary-00001-of-the-tests"
    await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"user_id": canary}]})
    for path, body in (
        ("/user/bulk_update", {"users": [{"user_id": canary + "-nobody", "max_budget": -1}, {"user_email": canary}]}),
        ("/team/bulk_member_add", {"team_id": "t", "members": [{"user_id": canary, "user_email": canary}]}),
    ):
        answer = await does(gateway, "POST", path, body)
        assert not any(result["success"] for result in answer["results"])
        assert canary not in str(answer)
