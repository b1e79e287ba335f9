"""Chat completion requests in OpenAI's dialect: read what the gateway needs, write what the upstream gets.

Only the top level of the body is decoded. Every value stays the bytes it came as (`msgspec.Raw`), so a prompt of 2 MB
is stepped over, not parsed, and members the gateway has never heard of reach the provider unchanged and in order.
"""

import json
from collections.abc import Mapping, Set
from typing import Any

import msgspec
from msgspec import Raw

from bursar.domain.errors import InvalidRequest
from bursar.wire.gateway_options import GATEWAY_ONLY_NAMES, NO_OPTIONS, GatewayOptions, decode_options, wrong_type

MODEL_MAX_CHARS = 512

_NULL = Raw(b"null")
_INCLUDE_USAGE = Raw(b'{"include_usage":true}')
_TRUE = Raw(b"true")

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_str = msgspec.json.Decoder(str).decode
_decode_bool = msgspec.json.Decoder(bool).decode
_decode_count = msgspec.json.Decoder(int, strict=False).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode

Members = dict[str, Raw]
"""The top level of a JSON object, in order; values as they were written."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded as far as the gateway looks at it.

    `extra_body` has been merged already: its members stand behind the others, and never replace one of them.
    """

    members: Members
    model: str
    """What the caller asked for: the path's model where the path names one."""
    stream: bool = False
    include_usage: bool = False
    """The caller wants the usage chunk of a stream (`stream_options.include_usage`)."""
    user: str | None = None
    choices: int = 1
    """`n`: how many answers are generated, and paid."""
    max_tokens: int | None = None
    """The caller's bound on the output of one choice: `max_completion_tokens`, else `max_tokens`."""
    options: GatewayOptions = NO_OPTIONS


def decode_request(body: bytes, *, model: str | None = None) -> ChatRequest:
    """Read a request body; an empty one counts as `{}`. `model` comes from the path and goes before the body's.

    Raises InvalidRequest: not JSON, not an object, nested beyond reason, wrong types, no model, no messages.
    """
    members = _members(body)
    if "extra_body" in members:
        members = _with_extra_body(members)
    stream = _flag(members, "stream")
    limit = _count(members, "max_completion_tokens")
    return ChatRequest(
        members=members,
        model=_model(members, model),
        stream=stream,
        include_usage=stream and _wants_usage(members),
        user=_text(members, "user"),
        choices=_count(members, "n") or 1,
        max_tokens=limit if limit is not None else _count(members, "max_tokens"),
        options=decode_options(_with_messages(members)),
    )


def encode_upstream(
    request: ChatRequest,
    *,
    model: str,
    drop: Set[str] = frozenset(),
    defaults: Mapping[str, Raw] | None = None,
    set_members: Mapping[str, Raw] | None = None,
    ask_usage: bool = True,
) -> bytes:
    """The body for an upstream: the caller's members in their order, values byte for byte, but for what is named.

    `model` replaces the caller's; gateway-only members and those in `drop` are left out; `defaults` are added where the
    caller gave nothing (null is something); `set_members` always win. A stream asks for its usage, unless `ask_usage`
    is off because the upstream does not know the option.
    """
    return _encode(
        upstream_members(
            request, model=model, drop=drop, defaults=defaults, ask_usage=ask_usage, set_members=set_members
        )
    )


def upstream_members(
    request: ChatRequest,
    *,
    model: str,
    drop: Set[str] = frozenset(),
    defaults: Mapping[str, Raw] | None = None,
    set_members: Mapping[str, Raw] | None = None,
    ask_usage: bool = True,
) -> Members:
    """Like `encode_upstream`, before it becomes bytes: a fresh dict that the provider's adapter may change."""
    members = request.members.copy()
    members["model"] = Raw(_encode(model))
    if not GATEWAY_ONLY_NAMES.isdisjoint(members):
        for name in [name for name in members if name in GATEWAY_ONLY_NAMES]:
            del members[name]
    if defaults:
        for name, value in defaults.items():
            if name not in GATEWAY_ONLY_NAMES:
                members.setdefault(name, value)
    if drop:
        for name in [name for name in members if name in drop]:
            del members[name]
    if set_members:
        members.update(set_members)
    if request.stream:
        if ask_usage:
            members["stream_options"] = _asking_usage(members.get("stream_options"))
        else:
            members.pop("stream_options", None)
    return members


def encode_members(members: Members) -> bytes:
    """An object from its members: values as they are, nothing between them."""
    return _encode(members)


def bounded(request: ChatRequest, tokens: int) -> ChatRequest:
    """`request` with a bound on the output of each answer. Adapters give it the name that their provider knows."""
    members = {name: value for name, value in request.members.items() if name != "max_completion_tokens"}
    members["max_tokens"] = Raw(str(tokens).encode())
    return msgspec.structs.replace(request, members=members, max_tokens=tokens)


def prompt_text_bytes(request: ChatRequest) -> int:
    """UTF-8 bytes of text in messages and tools, for the estimate when an upstream reports no usage.

    Images, audio and files inside the messages are not text and not counted. Decodes the whole prompt: not for the hot
    path.
    """
    total = 0
    for name in _PROMPT:
        raw = request.members.get(name)
        if raw is not None:
            try:
                total += _text_bytes(msgspec.json.decode(raw))
            except RecursionError:
                total += len(memoryview(raw))  # too deep for this look, though not for the first one
    return total


_PROMPT = ("messages", "tools", "functions", "response_format")
_LOOK_FOR_MEDIA_BYTES = 16_384
_MEDIA_BEGINS = (b";base64,", b'"data":"', b'"data": "', b'"file_data":"', b'"file_data": "')


def encoded_prompt_bytes(request: ChatRequest) -> tuple[int, bool]:
    """Bytes of messages and tools as they are encoded, without media inside them; and whether there are any.

    For the guess before a call. Decodes nothing: short prompts are only measured, long ones searched as well.
    """
    members = request.members
    size = media = 0
    for name in _PROMPT:
        raw = members.get(name)
        if raw is not None:
            written = memoryview(raw)
            size += len(written)
            if len(written) > _LOOK_FOR_MEDIA_BYTES:
                media += _media_bytes(bytes(written))
    return size - media, media > 0


def _media_bytes(written: bytes) -> int:
    total = 0
    for mark in _MEDIA_BEGINS:
        start = written.find(mark)
        while start >= 0:
            start += len(mark)
            end = written.find(b'"', start)
            total += max(0, end - start)
            start = written.find(mark, max(start, end))
    return total


def _members(body: bytes) -> Members:
    try:
        if not body.isascii():
            body.decode()  # values are passed on unread, so nothing else would notice text that is not UTF-8
        return _decode_members(body or b"{}")
    except msgspec.ValidationError as error:
        kind = str(error).rpartition("got ")[2].strip("`.")
        message = f"Invalid JSON payload: expected an object, got {kind}."
    except UnicodeDecodeError:
        message = "Invalid JSON payload: the body is not UTF-8."
    except RecursionError:
        message = "Invalid JSON payload: nested too deeply."
    except msgspec.DecodeError as error:
        message = f"Invalid JSON payload: {_syntax_error(body, error)}."
    raise InvalidRequest(message, param="request_body")


def _syntax_error(body: bytes, error: msgspec.DecodeError) -> str:
    """msgspec's words, except for half of a surrogate pair, which it reports as something else."""
    if b"\\u" in body:
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            return str(error)
        return r"a \u escape is half of a surrogate pair, which is no character"
    return str(error)


def _with_extra_body(members: Members) -> Members:
    raw = members["extra_body"]
    if raw == _NULL:
        return members
    try:
        extra = _decode_members(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, "extra_body") from None
    return {**members, **{name: value for name, value in extra.items() if name not in members}}


def _model(members: Members, from_path: str | None) -> str:
    raw = members.get("model", _NULL)
    try:
        model = from_path if raw == _NULL and from_path is not None else _decode_str(raw)
    except msgspec.ValidationError:
        if raw == _NULL and "model" not in members:
            raise InvalidRequest("Missing required parameter: 'model'.", param="model") from None
        raise InvalidRequest("'model' must be a string.", param="model") from None
    model = from_path or model
    if not model.strip():
        raise InvalidRequest("Missing required parameter: 'model'.", param="model")
    if not model.isprintable():
        raise InvalidRequest("'model' holds control characters, which no model's name does.", param="model")
    if "://" in model:
        raise InvalidRequest("'model' must be the name of a model, not a URL.", param="model")
    if model.startswith("file-"):
        raise InvalidRequest("'model' must be the name of a model, not the id of a file.", param="model")
    if len(model) > MODEL_MAX_CHARS:
        raise InvalidRequest(f"'model' is longer than {MODEL_MAX_CHARS} characters.", param="model")
    return model


def _with_messages(members: Members) -> Members:
    raw = members.get("messages", _NULL)
    if raw == _NULL:
        raise InvalidRequest("Missing required parameter: 'messages'.", param="messages")
    written = memoryview(raw)
    if written[0] != 0x5B:
        raise InvalidRequest("Invalid type for 'messages': expected an array of messages.", param="messages")
    if len(written) < 64 and not written[1:-1].tobytes().strip():
        raise InvalidRequest("Invalid 'messages': expected at least one message.", param="messages")
    return members


def _flag(members: Members, name: str) -> bool:
    raw = members.get(name, _NULL)
    if raw == _NULL:
        return False
    try:
        return _decode_bool(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, name) from None


def _text(members: Members, name: str) -> str | None:
    raw = members.get(name, _NULL)
    if raw == _NULL:
        return None
    try:
        return _decode_str(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, name) from None


def _count(members: Members, name: str) -> int | None:
    raw = members.get(name, _NULL)
    if raw == _NULL:
        return None
    try:
        count = _decode_count(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, name) from None
    if not 1 <= count < 2**31:
        raise InvalidRequest(f"Invalid value for {name!r}: expected a number from 1, but got {count}.", param=name)
    return count


def _wants_usage(members: Members) -> bool:
    raw = members.get("stream_options", _NULL)
    if raw == _NULL:
        return False
    try:
        options = _decode_members(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, "stream_options") from None
    return _flag(options, "include_usage")


def _asking_usage(raw: Raw | None) -> Raw:
    """`stream_options` with `include_usage` on; its other members are the caller's and stay."""
    if raw is None or raw == _NULL:
        return _INCLUDE_USAGE
    options = _decode_members(raw)
    options["include_usage"] = _TRUE
    return Raw(_encode(options))


_NOT_TEXT = frozenset({"image_url", "input_audio", "file", "video_url", "audio", "url", "data", "file_data"})
"""Members of content parts that hold or name media."""


def _text_bytes(value: Any) -> int:  # noqa: ANN401 (a decoded prompt)
    total = 0
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            total += len(item.encode("utf-8", "replace"))
        elif isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            left += [part for name, part in item.items() if name not in _NOT_TEXT]
    return total
