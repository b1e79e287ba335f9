"""Bytes pass through: nothing of a request or an answer changes but what the contract names."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.oracle.serving import RunningOracle
from bursar.wire.openai_chat import decode_request, encode_upstream
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway, request_bytes
from tests.gateway.scripted_upstream import scripted_upstream, streaming, whole
from tests.oracle.raw_client import MESSAGES, Answer, ask

NO_LOG: dict[str, Any] = {"no-log": True}
UNIQUE = re.compile(rb'"id":"chatcmpl-[^"]*"|"created":\d+')


def comparable(body: bytes, *, model: bytes = b"oracle") -> bytes:
    """`body` without what differs from call to call, and with the model's name that the gateway's clients see."""
    return UNIQUE.sub(b"*", body).replace(b'"model":"oracle"', b'"model":"%b"' % model)


async def straight(oracle: RunningOracle, scenario: str, **members: object) -> Answer:
    """The answer of the provider itself, as it writes it where nobody asks for tricks on the wire."""
    return await ask(oracle.port, f"oracle?{scenario}", **members)  # type: ignore[arg-type]


# --- answers ---

WHOLE = [
    "extra",
    "extra&split=1",
    "extra&split=7&chunked",
    "extra&chunked&gzip",
    "extra&gzip",
    "extra&text=unicode",
    "extra&text=escapes&tokens=300",
    "reasoning=5&thoughts",
    "refusal",
    "cached=3&reasoning=2",
]


@pytest.mark.parametrize("scenario", WHOLE)
async def test_a_whole_answer_but_for_the_models_name(gateway: Gateway, oracle: RunningOracle, scenario: str) -> None:
    name = f"at/{scenario}"
    got = await gateway.chat(name)
    expected = await straight(oracle, scenario.replace("&gzip", "").replace("gzip", ""))
    assert got.status == 200
    assert comparable(got.body) == comparable(expected.body, model=name.encode())
    assert "content-encoding" not in got.headers
    assert int(got.headers["content-length"]) == len(got.body)


STREAMED = [
    "extra",
    "extra&burst=1&flush",
    "extra&burst=3&flush",
    "extra&split=1",
    "extra&split=5&flush",
    "extra&split=64&gzip",
    "extra&text=unicode&split=2",
    "extra&text=escapes&tokens=200&split=13",
    "extra&per_chunk=4",
    "extra&thoughts&reasoning=4",
]


@pytest.mark.parametrize("usage", [False, True], ids=["no usage", "usage"])
@pytest.mark.parametrize("scenario", STREAMED)
async def test_a_stream_but_for_the_models_name(
    gateway: Gateway, oracle: RunningOracle, scenario: str, usage: bool
) -> None:
    """However the network cuts it, and whether or not usage was asked for, which the gateway always does upstream."""
    name = f"at/{scenario}"
    got = await gateway.stream(name, usage=usage)
    members = {"stream_options": {"include_usage": True}} if usage else {}
    expected = await straight(oracle, scenario.replace("&gzip", ""), stream=True, **members)
    body = comparable(got.body)
    if usage:
        body, added = re.subn(rb',"cost":[0-9.e-]+\}', b"}", body)
        assert added == 1
    assert body == comparable(expected.body, model=name.encode())


@pytest.mark.parametrize("scenario", ["comments", "comments&split=3"])
async def test_comments_go_on(gateway: Gateway, oracle: RunningOracle, scenario: str) -> None:
    """Those that stand in a chunk's event stay in it. The events that end a stream are the gateway's own."""
    name = f"at/{scenario}"
    got = comparable((await gateway.stream(name)).body)
    expected = comparable((await straight(oracle, scenario, stream=True)).body, model=name.encode())
    last_chunk = expected.rindex(b"data: {")
    assert got[: last_chunk + 100] == expected[: last_chunk + 100]
    assert without_comments(got) == without_comments(expected)


def without_comments(body: bytes) -> bytes:
    return re.sub(rb"(?m)^:.*\n\n?", b"", body)


@pytest.mark.parametrize("scenario", ["eol=crlf", "eol=crlf&split=1", "eol=crlf&comments&burst=2&flush", "space=0"])
async def test_other_spellings_of_events(gateway: Gateway, oracle: RunningOracle, scenario: str) -> None:
    """Line ends may become LF where an event was changed; what the events say may not."""
    got = await gateway.stream(f"at/{scenario}&extra")
    expected = await straight(oracle, "extra", stream=True)
    assert got.complete
    same = {"id": "", "created": 0, "model": ""}
    assert [chunk | same for chunk in got.chunk_objects] == [chunk | same for chunk in expected.chunk_objects]
    assert got.events[-1] == "[DONE]"


async def test_events_leave_as_they_come(gateway: Gateway) -> None:
    """No event waits for another: each content chunk of a paced stream is a chunk on the client's connection."""
    got = await gateway.stream("at/tokens=6&delay_ms=5")
    assert len(got.chunks) >= 6
    assert all(piece.endswith(b"\n\n") for piece in got.chunks)


async def test_an_answer_with_odd_json(start_gateway: StartGateway) -> None:
    """Blanks, escapes, numbers, repeated and unknown names, members behind the usage: all stay as they are."""
    body = (
        b'\n{ "x-first" : 1.50e0 ,"model":"gpt-x",\t"choices":[ {"index":0,"message":{"role":"assistant",'
        b'"content":"caf\\u00e9 \\/ \xc3\xa9 \\ud83d\\ude00"},"finish_reason":"stop" , "n":1E+2} ],'
        b'"a":1,"a":2,"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"model_":"gpt-x" }\n\n'
    )
    async with scripted_upstream(whole(body)) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/gpt-x, api_base: '{upstream.base_url}', api_key: x}}}}
            """
        )
        answer = await gateway.chat("odd")
    assert answer.body == body.replace(b'"model":"gpt-x"', b'"model":"odd"')


async def test_a_stream_with_odd_events(start_gateway: StartGateway) -> None:
    """Other fields, several data lines, keep-alives: what is not a chunk goes on untouched."""
    chunk = b'{"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":%b}]}'
    events = [
        b": keep-alive\n\n",
        b"retry: 3000\n\n",
        b"event: message\ndata: " + chunk % (b"one", b"null") + b"\nid: 7\n\n",
        b"data: " + chunk % (b"two", b"null") + b"\n\n\n",
        b"data: " + chunk % (b"", b'"stop"') + b"\n\n",
        b"data: [DONE]\n\n",
    ]
    async with scripted_upstream(streaming(*events)) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/gpt-x, api_base: '{upstream.base_url}', api_key: x}}}}
            """
        )
        got = await gateway.stream("odd")
    assert got.body.startswith(b": keep-alive\n\nretry: 3000\n\n")
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in got.chunk_objects]
    assert texts == ["one", "two", ""]
    assert b"event: message" in got.body
    assert b"id: 7" in got.body
    assert {chunk["model"] for chunk in got.chunk_objects} == {"odd"}


# --- requests ---


def sent(oracle: RunningOracle) -> bytes:
    """The body the provider got last."""
    return oracle.requests[-1].body


async def test_a_request_but_for_the_models_name(gateway: Gateway, oracle: RunningOracle) -> None:
    members = (
        b'"messages":[ {"role":"user","content":"caf\\u00e9 \\/ \xc3\xa9 \\ud83d\\ude00"} ]',
        b'"temperature":1.50e0',
        b'"x_unknown":{"b":[1,2.0,null,{"a":"\\n"}],"a":1E2}',
        b'"logit_bias":{"50256":-100}',
        b'"seed":9007199254740993',
        b'"user":"john"',
        b'"store":false',
        b'"prediction":null',
    )
    body = b'{"model":"oracle",' + b",".join(members) + b"}"
    answer = await gateway.request("POST", "/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    for member in members:
        assert member.rstrip(b" ") in sent(oracle), member
    positions = [sent(oracle).index(member.partition(b":")[0] + b":") for member in members]
    assert all(first < second for first, second in pairwise(positions)), "in the client's order"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz_", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(fields=st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), JSON_VALUES, max_size=4))
def test_unknown_fields_survive(fields: dict[str, object]) -> None:
    """Through reading and writing again, byte for byte. (Over the wire: the tests above.)"""
    written = {name: json.dumps(value, indent=1).encode() for name, value in fields.items()}
    inner = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in written.items())
    request = decode_request(b'{"model":"m","messages":[{"role":"user","content":"x"}]' + inner + b"}")
    assert encode_upstream(request, model="m").endswith(inner + b"}")
    assert all(bytes(request.members[name]) == value for name, value in written.items())


async def test_what_is_the_gateways_stays_here(gateway: Gateway, oracle: RunningOracle) -> None:
    answer = await gateway.chat(
        metadata={"a": 1},
        litellm_metadata={"b": 2},
        tags=["t"],
        request_tags="u,v",
        litellm_session_id="s",
        litellm_trace_id="t",
        fallbacks=["other"],
        num_retries=3,
        timeout=20,
        cache={"no-cache": True},
        drop_params=True,
        mock_response="no",
        guardrails=["g"],
        input_cost_per_token=0,
        **NO_LOG,
    )
    assert answer.status == 200, answer.body
    assert json.loads(sent(oracle)) == {"model": "oracle", "messages": MESSAGES}
    assert answer.json["choices"][0]["message"]["content"] != "no"


async def test_extra_body_and_extra_headers(gateway: Gateway, oracle: RunningOracle) -> None:
    await gateway.chat(extra_body={"top_k": 40, "stop": "x"}, stop="y", extra_headers={"X-Team-Flag": "on", "x-n": 5})
    assert json.loads(sent(oracle)) == {"model": "oracle", "messages": MESSAGES, "stop": "y", "top_k": 40}
    request = oracle.requests[-1]
    assert (request.header(b"x-team-flag"), request.header(b"x-n")) == (b"on", b"5")


async def test_a_stream_asks_for_its_usage(gateway: Gateway, oracle: RunningOracle) -> None:
    await gateway.chat(stream=True, stream_options={"include_obfuscation": False})
    assert json.loads(sent(oracle))["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_the_clients_headers_stay_here(gateway: Gateway, oracle: RunningOracle) -> None:
    headers = {
        "x-litellm-tags": "a",
        "x-custom": "mine",
        "openai-organization": "org-mine",
        "cookie": "session=1",
        "x-forwarded-for": "203.0.113.9",
        "user-agent": "tests/1",
        "accept-encoding": "br",
        "referer": "https://example.com",
    }
    await gateway.chat(headers=headers)
    names = {name for name, _ in oracle.requests[-1].headers}
    assert names == {b"host", b"authorization", b"content-type", b"content-length", b"accept", b"accept-encoding"} | {
        b"user-agent"
    }
    assert oracle.requests[-1].header(b"user-agent") == b"bursar"
    assert oracle.requests[-1].header(b"accept-encoding") == b"identity"


async def test_headers_that_are_let_through(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateway = await start_gateway(
        settings="general_settings: {forward_client_headers_to_llm_api: true, forward_openai_org_id: true}"
    )
    await gateway.chat(
        headers={
            "x-custom": "mine",
            "x-litellm-tags": "a",
            "x-api-key": "sk-not-for-them",
            "x-stainless-os": "x",
            "openai-organization": "org-mine",
            "anthropic-beta": "b",
            "cookie": "session=1",
        }
    )
    request = oracle.requests[-1]
    assert request.header(b"x-custom") == b"mine"
    assert request.header(b"openai-organization") == b"org-mine"
    assert request.header(b"anthropic-beta") == b"b"
    for name in (b"x-litellm-tags", b"x-api-key", b"x-stainless-os", b"cookie"):
        assert request.header(name) is None, name


async def test_a_request_of_two_megabytes(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    text = "0123456789abcdef" * 131_072
    answer = await gateway.chat(messages=[{"role": "user", "content": text}])
    assert answer.status == 200
    assert json.loads(sent(oracle))["messages"][0]["content"] == text
    assert (await books.row())["prompt_tokens"] == len(text) // 4 + 3


async def test_a_chunked_request(gateway: Gateway, oracle: RunningOracle) -> None:
    whole_request = request_bytes("POST", "/v1/chat/completions", {"model": "oracle", "messages": MESSAGES})
    head, _, body = whole_request.partition(b"\r\n\r\n")
    head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
    pieces = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    answer = await gateway.exchange(head + b"\r\n\r\n" + pieces)
    assert answer.status == 200, answer.body
    assert json.loads(sent(oracle))["messages"] == MESSAGES
