"""Chat completions as upstreams answer them: what is read for the books, and what is changed for the client.

The part of an answer or chunk that matters here is decoded with types; servers that write something else in its place
(content as a list, half a surrogate pair) are read a second time, leniently.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw

from bursar.wire.json_span import member_span
from bursar.wire.openai_edits import FINISH_REASONS, with_model, with_standard_choices
from bursar.wire.openai_error import UpstreamError, read_error
from bursar.wire.openai_usage import MISSING, OPENAI_USAGE, UsageReading, UsageRules, usage_from
from bursar.wire.raw_json import NULL

_NO_ERROR = (b"null", b'""', b"false", b"{}")


class AnswerUnreadable(ValueError):
    """The upstream's answer is not the JSON it claims to be; what it cost is unknown."""


class AnswerRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider's answers differ from OpenAI's."""

    usage: UsageRules = OPENAI_USAGE
    rename_reasoning: bool = True
    """Clients find reasoning in `reasoning_content`, wherever the server puts it."""


OPENAI_ANSWERS = AnswerRules()


class Function(msgspec.Struct, gc=False):
    """A function call, or a piece of one."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A tool call, or a piece of one."""

    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """The generated part of an answer's message or a chunk's delta."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(msgspec.Struct, gc=False):
    """One of the alternatives."""

    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None
    usage: Raw = Raw(b"")
    """Moonshot reports usage here."""


class XGroq(msgspec.Struct, gc=False):
    """Groq's own corner, where it reports the usage of a stream that did not ask."""

    usage: Raw = Raw(b"")


class Completion(msgspec.Struct, gc=False):
    """A whole answer, or a chunk of a stream."""

    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Raw = Raw(b"")
    error: Raw = Raw(b"")
    service_tier: str | None = None
    x_groq: XGroq | None = None
    lenient: bool = False
    """Read the second way: the choices have a shape clients may not know."""


_decode = msgspec.json.Decoder(Completion).decode


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer, understood."""

    id: str | None = None
    model: str | None = None
    """The model that answered, in the provider's words: the finer evidence of what is charged."""
    finish_reasons: tuple[str, ...] = ()
    output_bytes: int = 0
    """UTF-8 bytes of generated text, reasoning and tool calls included, for an estimate."""
    usage: UsageReading = MISSING
    service_tier: str | None = None
    error: UpstreamError | None = None
    """The answer is a failure under a successful status."""
    needs_edits: bool = False
    """The choices are not in OpenAI's words."""


def decode_answer(body: bytes, rules: AnswerRules = OPENAI_ANSWERS) -> ChatAnswer:
    """Read a non-streamed answer of status 200.

    Raises AnswerUnreadable: not a JSON object, or neither choices, usage nor error in it.
    """
    completion = decode_completion(body)
    if completion is None:
        raise AnswerUnreadable("the upstream's answer is not a JSON object")
    error = error_in(completion, body)
    if error is None and completion.choices is None and not completion.usage:
        raise AnswerUnreadable("the upstream's answer has neither choices nor usage nor an error")
    choices = completion.choices or []
    output_bytes = 0
    edits = completion.lenient
    for choice in choices:
        part = choice.message or choice.delta
        if part is not None:
            output_bytes += generated_bytes(part)
        edits = edits or needs_edits(choice, rules.rename_reasoning)
    return ChatAnswer(
        id=completion.id,
        model=completion.model,
        finish_reasons=tuple([choice.finish_reason for choice in choices if choice.finish_reason]),
        output_bytes=output_bytes,
        usage=usage_from(reported_usage(completion), rules.usage),
        service_tier=completion.service_tier,
        error=error,
        needs_edits=edits,
    )


def render_answer(body: bytes, answer: ChatAnswer, *, model: str | None, rules: AnswerRules = OPENAI_ANSWERS) -> bytes:
    """The answer as the client gets it: `body` with the model's name the client used (None: leave the upstream's)."""
    if answer.needs_edits:
        body = with_standard_choices(body, rename_reasoning=rules.rename_reasoning)
    return body if model is None or model == answer.model else with_model(body, msgspec.json.encode(model))


def decode_completion(payload: bytes) -> Completion | None:
    """An answer or chunk, typed; read leniently where its types are unusual; None if it is not a JSON object."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_leniently(payload)


def reported_usage(completion: Completion) -> Raw | None:
    """The usage object, wherever the server puts it; None if there is none, or null."""
    usage = completion.usage
    if usage and usage != NULL:
        return usage
    if completion.x_groq is not None and completion.x_groq.usage:
        return completion.x_groq.usage
    for choice in completion.choices or ():
        if choice.usage and choice.usage != NULL:
            return choice.usage
    return None


def error_in(completion: Completion, payload: bytes) -> UpstreamError | None:
    """The failure that a payload under a successful status reports, or None."""
    says_error = completion.error and bytes(completion.error) not in _NO_ERROR
    if says_error or (completion.choices is None and not completion.usage):
        error = read_error(payload)
        return error if error.shaped else None
    return None


def generated_bytes(message: Message) -> int:
    """UTF-8 bytes of everything the model wrote into a message or delta."""
    total = 0
    for text in (message.content, message.reasoning_content or message.reasoning, message.refusal):
        if text:
            total += utf8_length(text)
    for call in message.tool_calls or ():
        if call.function is not None:
            total += _function_bytes(call.function)
    if message.function_call is not None:
        total += _function_bytes(message.function_call)
    return total


def needs_edits(choice: Choice, rename_reasoning: bool) -> bool:
    """Whether a choice is not in OpenAI's words."""
    if choice.finish_reason is not None and choice.finish_reason not in FINISH_REASONS:
        return True
    part = choice.message or choice.delta
    return rename_reasoning and part is not None and part.reasoning is not None and part.reasoning_content is None


def utf8_length(text: str) -> int:
    """Bytes of `text` in UTF-8; half a surrogate pair counts one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _function_bytes(function: Function) -> int:
    return utf8_length(function.name or "") + utf8_length(function.arguments or "")


def _decode_leniently(payload: bytes) -> Completion | None:
    try:
        decoded = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, dict):
        return None
    choices = decoded.get("choices")
    groq = decoded.get("x_groq")
    return Completion(
        id=_string(decoded.get("id")),
        model=_string(decoded.get("model")),
        choices=[_lenient_choice(choice) for choice in choices] if isinstance(choices, list) else None,
        usage=_raw_member(payload, b"usage"),
        error=_raw_member(payload, b"error"),
        service_tier=_string(decoded.get("service_tier")),
        x_groq=XGroq(Raw(json.dumps(groq["usage"]).encode())) if isinstance(groq, dict) and "usage" in groq else None,
        lenient=True,
    )


def _lenient_choice(choice: Any) -> Choice:  # noqa: ANN401 (untyped JSON)
    if not isinstance(choice, dict):
        return Choice()
    part = choice.get("delta") or choice.get("message")
    return Choice(
        delta=Message(content="".join(_strings(part)) or None),
        finish_reason=_string(choice.get("finish_reason")),
        usage=Raw(json.dumps(choice["usage"]).encode()) if isinstance(choice.get("usage"), dict) else Raw(b""),
    )


_NAMES = frozenset({"role", "type", "id", "index"})
"""Members of a message whose text the model did not write."""


def _strings(value: Any) -> list[str]:  # noqa: ANN401 (untyped JSON)
    found, left = [], [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            left += [inner for name, inner in item.items() if name not in _NAMES]
    return found


def _raw_member(payload: bytes, name: bytes) -> Raw:
    span = member_span(payload, name)
    return Raw(b"" if span is None else payload[span[0] : span[1]])


def _string(value: Any) -> str | None:  # noqa: ANN401 (untyped JSON)
    """Text without halves of surrogate pairs, which JSON cannot hold again."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
