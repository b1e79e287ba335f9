"""Chat requests: what is read, what is refused, and that everything else reaches the upstream byte for byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bursar.domain.errors import InvalidRequest
from bursar.wire.gateway_options import GATEWAY_ONLY
from bursar.wire.openai_chat import (
    ChatRequest,
    decode_request,
    encode_upstream,
    encoded_prompt_bytes,
    prompt_text_bytes,
)

MESSAGES = b'[{"role":"user","content":"hi"}]'


def body(**members: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **members}).encode()


def attempt(raw: bytes) -> ChatRequest | InvalidRequest:
    try:
        return decode_request(raw)
    except InvalidRequest as error:
        return error


def refusal(raw: bytes, **path: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        decode_request(raw, **path)
    return refused.value


def test_what_the_gateway_reads() -> None:
    request = decode_request(
        body(
            stream=True,
            stream_options={"include_usage": True},
            user="john",
            n=2,
            max_tokens=10,
            metadata={"session_id": "s1", "tags": ["b", "c"]},
            tags=["a"],
            request_tags="b, d",
            litellm_session_id="s2",
            timeout="20",
            num_retries=0,
            fallbacks=["gpt-4o-mini", {"model": "x"}],
        )
    )
    assert (request.model, request.stream, request.include_usage) == ("gpt-4o", True, True)
    assert (request.user, request.choices, request.max_tokens) == ("john", 2, 10)
    options = request.options
    assert options.metadata == {"session_id": "s1", "tags": ["b", "c"]}
    assert options.tags == ("a", "b", "d", "c")
    assert (options.session_id, options.timeout_s, options.num_retries) == ("s2", 20.0, 0)
    assert options.fallbacks is not None
    assert options.fallbacks[0] == "gpt-4o-mini"


def test_nulls_are_the_same_as_nothing() -> None:
    request = decode_request(
        body(
            stream=None, user=None, n=None, max_tokens=None, metadata=None, tags=None, stream_options=None, timeout=None
        )
    )
    plain = decode_request(body())
    assert (request.stream, request.user, request.choices, request.max_tokens) == (False, None, 1, None)
    assert request.options == plain.options


def test_the_newer_limit_counts() -> None:
    assert decode_request(body(max_tokens=5, max_completion_tokens=7)).max_tokens == 7


def test_metadata_may_be_json_text() -> None:
    assert decode_request(body(metadata='{"a": 1}')).options.metadata == {"a": 1}


def test_the_path_names_the_model() -> None:
    assert decode_request(body(), model="from-path").model == "from-path"
    assert decode_request(b'{"messages":' + MESSAGES + b"}", model="from-path").model == "from-path"


@pytest.mark.parametrize(
    ("raw", "param", "message"),
    [
        (b"", "model", "Missing required parameter: 'model'."),
        (b"{}", "model", "Missing required parameter: 'model'."),
        (b"not json", "request_body", "Invalid JSON payload: "),
        (b'{"model":"m",}', "request_body", "Invalid JSON payload: "),
        (b'{"model":"m"', "request_body", "Invalid JSON payload: "),
        (b"[1]", "request_body", "Invalid JSON payload: expected an object, got array."),
        (b"null", "request_body", "Invalid JSON payload: expected an object, got null."),
        (b'{"a":"\xff"}', "request_body", "Invalid JSON payload: the body is not UTF-8."),
        (b'{"a":"\\ud83d x"}', "request_body", "half of a surrogate pair"),
        (b'{"a":"\\ud83d"}', "request_body", "half of a surrogate pair"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "request_body", "nested too deeply"),
        (b'{"a":' + b'{"a":' * 200_000, "request_body", "Invalid JSON payload: "),
        (b'{"model":5,"messages":' + MESSAGES + b"}", "model", "'model' must be a string."),
        (b'{"model":null,"messages":' + MESSAGES + b"}", "model", "'model' must be a string."),
        (b'{"model":["a"],"messages":' + MESSAGES + b"}", "model", "'model' must be a string."),
        (b'{"model":" ","messages":' + MESSAGES + b"}", "model", "Missing required parameter: 'model'."),
        (b'{"model":"http://evil/v1","messages":' + MESSAGES + b"}", "model", "not a URL"),
        (b'{"model":"file-abc123","messages":' + MESSAGES + b"}", "model", "not the id of a file"),
        (b'{"model":"' + b"m" * 600 + b'","messages":' + MESSAGES + b"}", "model", "longer than 512"),
        (b'{"model":"m"}', "messages", "Missing required parameter: 'messages'."),
        (b'{"model":"m","messages":null}', "messages", "Missing required parameter: 'messages'."),
        (b'{"model":"m","messages":"hi"}', "messages", "expected an array"),
        (b'{"model":"m","messages":{}}', "messages", "expected an array"),
        (b'{"model":"m","messages":[]}', "messages", "at least one message"),
        (b'{"model":"m","messages":[ \n ]}', "messages", "at least one message"),
        (body(stream="yes"), "stream", "Invalid type for 'stream': expected a boolean, but got a string instead."),
        (body(stream=1), "stream", "expected a boolean, but got an integer instead"),
        (body(user=5), "user", "Invalid type for 'user': expected a string, but got an integer instead."),
        (body(n=0), "n", "Invalid value for 'n'"),
        (body(n=1.5), "n", "expected an integer, but got a number instead"),
        (body(max_tokens=-1), "max_tokens", "Invalid value for 'max_tokens'"),
        (body(max_completion_tokens=10**30), "max_completion_tokens", "Invalid value for 'max_completion_tokens'"),
        (body(max_tokens=True), "max_tokens", "Invalid type for 'max_tokens'"),
        (body(stream=True, stream_options=[]), "stream_options", "expected an object, but got an array instead"),
        (
            body(metadata="free text"),
            "metadata",
            "Invalid type for 'metadata': expected an object, but got a string instead.",
        ),
        (body(metadata="[1]"), "metadata", "expected an object, but got a string instead"),
        (body(metadata=5), "metadata", "Invalid type for 'metadata': expected "),
        (body(tags={"a": 1}), "tags", "Invalid type for 'tags'"),
        (body(timeout="soon"), "timeout", "Invalid type for 'timeout': expected a number, but got a string instead."),
        (body(timeout=-1), "timeout", "expected 0 or more, but got -1.0"),
        (body(num_retries=-1), "num_retries", "expected 0 or more"),
        (body(fallbacks="m"), "fallbacks", "Invalid type for 'fallbacks': expected an array"),
        (body(extra_headers={"X-A": "b\r\nHost: evil"}), "extra_headers", "must be printable ASCII"),
        (body(extra_headers={"X A": "b"}), "extra_headers", "characters HTTP does not allow"),
        (body(extra_headers={"": "b"}), "extra_headers", "characters HTTP does not allow"),
        (body(extra_headers=["a"]), "extra_headers", "Invalid type for 'extra_headers'"),
        (body(extra_body="x"), "extra_body", "expected an object, but got a string instead"),
    ],
)
def test_bad_input_is_refused_with_the_member_it_is_about(raw: bytes, param: str, message: str) -> None:
    error = refusal(raw)
    assert error.param == param
    assert message in error.message


def test_a_model_of_the_wrong_type_is_refused_even_where_the_path_names_one() -> None:
    assert refusal(body(model=5), model="from-path").message == "'model' must be a string."


@given(raw=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_input_raises_anything_else(raw: bytes) -> None:
    result = attempt(raw)
    if isinstance(result, InvalidRequest):
        assert result.param
        assert result.message


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    name=st.sampled_from([*GATEWAY_ONLY, "stream", "n", "user", "model", "messages", "max_tokens", "stream_options"]),
)
def test_any_value_of_any_known_member_is_taken_or_refused(value: object, name: str) -> None:
    result = attempt(body(**{name: value}))
    if isinstance(result, InvalidRequest):
        assert result.param
    else:
        assert json.loads(encode_upstream(result, model="m"))["model"] == "m"


WRITTEN_VALUES = st.sampled_from(
    [
        b"1.0",
        b"1.00",
        b"1e5",
        b"0.10",
        b"-0",
        b"12345678901234567890123",
        b'"\\u0041\\/\\n"',
        b'"\xc3\xa9"',
        b"{ }",
        b'{"b" : 1 ,\n"a":[ ]}',
        b'{"a":1,"a":2}',
        b"[1 , 2]",
        b"null",
        b"true",
        b'"x"',
    ]
)


@given(
    extras=st.dictionaries(
        st.text("abcxyz_é", min_size=1, max_size=6).map(lambda name: "x_" + name), WRITTEN_VALUES, max_size=6
    ),
    pad=st.sampled_from([b"", b" ", b"\n  "]),
)
def test_unknown_members_reach_the_upstream_byte_for_byte(extras: dict[str, bytes], pad: bytes) -> None:
    members = {"messages": MESSAGES, **extras, "model": b'"asked"', "temperature": b"0.70"}
    raw = (
        b"{" + b",".join(pad + json.dumps(name).encode() + b":" + pad + value for name, value in members.items()) + b"}"
    )
    sent = encode_upstream(decode_request(raw), model="native")
    members["model"] = b'"native"'
    decoded = msgspec.json.decode(sent, type=dict[str, Raw])
    assert {name: bytes(value) for name, value in decoded.items()} == members
    assert list(decoded) == list(members)


def test_what_the_gateway_changes_in_a_stream() -> None:
    request = decode_request(
        b'{ "model": "asked", "stream": true, "messages": [ ], "foo": 1.0,'.replace(b"[ ]", MESSAGES)
        + b'"metadata":{"a":1}, "stream_options": {"x": 2.0, "include_usage": false}}'
    )
    assert encode_upstream(request, model="native/m") == (
        b'{"model":"native/m","stream":true,"messages":' + MESSAGES + b',"foo":1.0,'
        b'"stream_options":{"x":2.0,"include_usage":true}}'
    )
    assert not request.include_usage


def test_a_stream_without_options_gets_them() -> None:
    sent = json.loads(encode_upstream(decode_request(body(stream=True)), model="m"))
    assert sent["stream_options"] == {"include_usage": True}


def test_an_upstream_that_does_not_know_the_option_is_not_asked() -> None:
    request = decode_request(body(stream=True, stream_options={"include_usage": True}))
    assert request.include_usage
    assert "stream_options" not in json.loads(encode_upstream(request, model="m", ask_usage=False))


def test_without_a_stream_nothing_is_asked() -> None:
    assert "stream_options" not in json.loads(encode_upstream(decode_request(body()), model="m"))


@pytest.mark.parametrize("name", sorted(GATEWAY_ONLY))
def test_gateway_members_never_leave(name: str) -> None:
    value = {"num_retries": 1, "timeout": 1, "metadata": {}, "extra_body": {"ok": 1}}.get(name)
    request = decode_request(body(**{name: value}))
    assert name not in json.loads(encode_upstream(request, model="m", defaults={name: Raw(b"1")}))


def test_defaults_fill_what_the_caller_left_out() -> None:
    request = decode_request(body(temperature=None, top_p=0.5))
    defaults = {"temperature": Raw(b"1"), "top_p": Raw(b"1"), "seed": Raw(b"7")}
    sent = json.loads(encode_upstream(request, model="m", defaults=defaults))
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (None, 0.5, 7)


def test_drop_and_set() -> None:
    request = decode_request(body(seed=1, usage={"include": False}))
    sent = json.loads(
        encode_upstream(request, model="m", drop=frozenset({"seed"}), set_members={"usage": Raw(b'{"include":true}')})
    )
    assert "seed" not in sent
    assert sent["usage"] == {"include": True}


def test_extra_body_adds_and_never_replaces() -> None:
    request = decode_request(body(extra_body={"top_k": 5, "model": "other", "tags": ["t"], "n": 3}))
    assert (request.model, request.choices, request.options.tags) == ("gpt-4o", 3, ("t",))
    sent = json.loads(encode_upstream(request, model="m"))
    assert (sent["top_k"], sent["n"], sent["model"]) == (5, 3, "m")
    assert sent.keys().isdisjoint({"extra_body", "tags"})


def test_of_a_repeated_member_the_last_counts_everywhere() -> None:
    raw = b'{"model":"a","messages":' + MESSAGES + b',"user":"x","user":"y","model":"b"}'
    request = decode_request(raw)
    assert (request.model, request.user) == ("b", "y")
    assert encode_upstream(request, model="m").count(b'"user":') == 1


def test_extra_headers_are_typed() -> None:
    request = decode_request(body(extra_headers={"X-Trace": " abc ", "x-n": 5}))
    assert request.options.extra_headers == ((b"x-trace", b"abc"), (b"x-n", b"5"))


def test_the_estimate_counts_text_and_no_pictures() -> None:
    request = decode_request(
        json.dumps(
            {
                "model": "m",
                "messages": [
                    {"role": "user", "content": "é" * 10},
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "abc"}, {"image_url": {"url": "data:" * 999}}],
                    },
                ],
            }
        ).encode()
    )
    assert 20 + 3 <= prompt_text_bytes(request) < 50


# --- the size of a prompt, without decoding it ---


def prompt_size(**members: object) -> tuple[int, bool]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]} | members
    return encoded_prompt_bytes(decode_request(json.dumps(body, separators=(",", ":")).encode()))


def test_messages_and_tools_are_measured() -> None:
    plain, media = prompt_size()
    assert (plain, media) == (len('[{"role":"user","content":"hello"}]'), False)
    assert prompt_size(tools=[1, 2, 3])[0] == plain + len("[1,2,3]")
    assert prompt_size(user="u" * 1000)[0] == plain


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "A" * 1_000_000}},
    ],
)
def test_media_are_left_out(part: dict[str, object]) -> None:
    size, media = prompt_size(messages=[{"role": "user", "content": [part, part, {"type": "text", "text": "x" * 100}]}])
    assert media
    assert 100 < size < 500


def test_a_long_text_is_no_media() -> None:
    size, media = prompt_size(messages=[{"role": "user", "content": 'the "data":"' + "A" * 100_000}])
    assert not media
    assert size > 100_000
