"""To whom a call is put down. (What becomes of it in the log row: test_spend_logs.)"""

import json
from ipaddress import ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import InvalidRequest
from bursar.domain.principals import Principal
from bursar.domain.storable import TEXT_MAX_CHARS
from bursar.gateway.attribution import AttributionRules, attribute
from bursar.gateway.call import Attribution
from bursar.wire.openai_chat import decode_request
from tests.gateway.parts import BODY, CALL_ID, PRINCIPAL, a_request

Fields = tuple[tuple[bytes, bytes], ...]


def attributed(
    members: dict[str, object] | None = None,
    headers: Fields = (),
    *,
    rules: AttributionRules | None = None,
    principal: Principal = PRINCIPAL,
    host: str = "192.0.2.1",
) -> Attribution:
    request = a_request(BODY | (members or {}), headers, host=host)
    chat = decode_request(request.body)
    return attribute(request, chat, principal, call_id=CALL_ID, rules=rules or AttributionRules())


def test_of_a_call_that_says_nothing() -> None:
    assert attributed() == Attribution(
        litellm_call_id=CALL_ID,
        user="",
        end_user="",
        tags=[],
        session_id=None,
        metadata={},
        dropped=[],
        logs_metadata={},
        client_host="192.0.2.1",
        user_agent="",
        redact_text=False,
    )


@pytest.mark.parametrize(
    ("sent", "kept", "tags"),
    [
        (b"curl/8.1.2", "curl/8.1.2", ["User-Agent: curl", "User-Agent: curl/8.1.2"]),
        (
            b"AsyncOpenAI/Python 3.50 (x)",
            "AsyncOpenAI/Python 3.50 (x)",
            ["User-Agent: AsyncOpenAI", "User-Agent: AsyncOpenAI/Python"],
        ),
        (b"tool", "tool", ["User-Agent: tool"]),
        (b"", "", []),
        (b"\xff\xfe/1", "\ufffd\ufffd/1", ["User-Agent: \ufffd\ufffd", "User-Agent: \ufffd\ufffd/1"]),
        (b"a" * 300, "a" * 256, ["User-Agent: " + "a" * 256]),
    ],
)
def test_user_agents(sent: bytes, kept: str, tags: list[str]) -> None:
    found = attributed(headers=((b"user-agent", sent),))
    assert (found.user_agent, found.tags) == (kept, tags)
    quiet = attributed(headers=((b"user-agent", sent),), rules=AttributionRules(user_agent_tags=False))
    assert (quiet.user_agent, quiet.tags) == (kept, [])


def test_a_tag_that_is_said_twice_stands_once() -> None:
    principal = msgspec.structs.replace(PRINCIPAL, tags=("key", "a"))
    found = attributed(
        {"tags": ["a", "User-Agent: x"]}, ((b"user-agent", b"x/1"), (b"x-litellm-tags", b"b,a")), principal=principal
    )
    assert found.tags == ["a", "User-Agent: x", "b", "key", "User-Agent: x/1"]


def test_too_many_tags() -> None:
    found = attributed({"tags": [f"{n:04}" for n in range(100)]}, rules=AttributionRules(metadata_max_bytes=40))
    assert found.tags == [f"{n:04}" for n in range(10)]
    assert found.dropped == ["90 tags"]


def test_too_many_tags_do_not_drive_out_the_keys_own() -> None:
    principal = msgspec.structs.replace(PRINCIPAL, tags=("key!", "0001"))
    said: dict[str, object] = {"tags": [f"{n:04}" for n in range(100)]}
    found = attributed(said, rules=AttributionRules(metadata_max_bytes=16), principal=principal)
    assert found.tags == ["key!", "0001", "0000", "0002"]
    assert found.dropped == ["97 tags"]


TRUSTED = AttributionRules(trusted_proxies=(ip_network("10.0.0.0/8"),))


@pytest.mark.parametrize(
    ("host", "fields", "client"),
    [
        ("10.0.0.1", (b"203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", (b"6.6.6.6", b"203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", (b"203.0.113.9, 10.0.0.7", b"10.0.0.8"), "203.0.113.9"),
        ("10.0.0.1", (b"\xff\xfe",), "10.0.0.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("192.0.2.1", (b"203.0.113.9",), "192.0.2.1"),
    ],
)
def test_several_forwarded_fields_are_one_list(host: str, fields: tuple[bytes, ...], client: str) -> None:
    headers = tuple((b"x-forwarded-for", field) for field in fields)
    assert attributed(headers=headers, rules=TRUSTED, host=host).client_host == client


@pytest.mark.parametrize("value", [b"true", b"True", b"1", b"yes"])
def test_redaction(value: bytes) -> None:
    assert attributed(headers=((b"x-litellm-enable-message-redaction", value),)).redact_text
    assert not attributed(headers=((b"x-litellm-enable-message-redaction", b"false"),)).redact_text
    assert attributed({"no-log": True}).redact_text


@pytest.mark.parametrize("value", [b"{", b"[]", b"7", b"\xff", b"[" * 5000])
def test_logs_metadata_that_is_none(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="must hold a JSON object"):
        attributed(headers=((b"x-litellm-spend-logs-metadata", value),))


def test_own_headers_for_end_users() -> None:
    rules = AttributionRules(end_user_headers=(b"x-customer",))
    said: Fields = ((b"x-litellm-customer-id", b"litellm's"), (b"x-customer", b"ours"))
    assert attributed({"user": "body"}, said, rules=rules).end_user == "ours"
    assert attributed({"user": "body"}, said, rules=AttributionRules()).end_user == "litellm's"
    assert attributed({"user": "body"}, said, rules=AttributionRules(track_end_users=False)).end_user == ""


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.just("x" * 2000) | st.just("a\x00b")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = ["user", "metadata", "litellm_metadata", "tags", "request_tags", "litellm_session_id", "litellm_call_id"]
HEADERS = [b"x-litellm-tags", b"x-litellm-call-id", b"x-litellm-trace-id", b"x-litellm-customer-id", b"user-agent"]


@given(
    members=st.dictionaries(st.sampled_from(NAMES), TEXT | st.lists(TEXT, max_size=4) | st.dictionaries(TEXT, JSON)),
    headers=st.dictionaries(st.sampled_from(HEADERS), st.binary(max_size=40)),
)
def test_whatever_is_said_can_be_stored(members: dict[str, object], headers: dict[bytes, bytes]) -> None:
    """Or is refused: no NUL, no half characters, nothing without bounds."""
    try:
        found = attributed(members, tuple(headers.items()), rules=AttributionRules(metadata_max_bytes=1000))
    except InvalidRequest:
        return
    texts = [found.litellm_call_id, found.user, found.end_user, found.session_id or "", found.user_agent, *found.tags]
    for text in (*texts, *found.metadata, *found.dropped):
        assert "\x00" not in text
        assert len(text) <= TEXT_MAX_CHARS + 20
        text.encode()
    encoded = json.dumps({name: json.loads(bytes(raw)) for name, raw in found.metadata.items()})
    assert "\\u0000" not in encoded
    assert sum(len(raw) for raw in map(bytes, found.metadata.values())) <= 1000
