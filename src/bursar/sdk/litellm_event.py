"""LiteLLM's record of a call, read: what its callbacks are given, as one `Spend`.

`kwargs` is live and full of secrets (the provider's key, headers): named values are copied out of it, nothing else is.
Names and forms are those of reference/sdk-callback; what a release of LiteLLM leaves out is left empty.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

import msgspec

from bursar.domain.accounting import Evidence
from bursar.domain.errors import ConfigError
from bursar.domain.estimates import TokenRatios
from bursar.domain.money import NanoUsd, nano_from_usd
from bursar.domain.outcomes import Outcome
from bursar.domain.prices import Price, cost_of, covers
from bursar.domain.storable import TEXT_MAX_CHARS
from bursar.domain.usage import Usage
from bursar.sdk.app_words import is_secret_name, kept_members, kept_tags
from bursar.sdk.app_words import kept_text as _text
from bursar.sdk.litellm_failure import failure_of, outcome_of_failure, status_of
from bursar.wire.openai_usage import MAX_TOKENS, MISSING, UsageFlag, UsageReading, usage_from
from bursar.wire.spend import Charge, Spend, Stated, Void
from bursar.wire.usage_report import encoded_report

PriceOf = Callable[[str, str, float], Price | None]
"""The book's price of a provider's model at a time, in seconds since 1970."""

MAPPINGS = (dict, Mapping)
"""The quicker one first: an abstract class takes half a microsecond to say that it knows a class."""
_HASH = re.compile(r"[0-9a-f]{64}")
_OURS = frozenset(
    {
        "tags",
        "hidden_params",
        "previous_models",
        "model_info",
        "caching_groups",
        "deployment",
        "headers",
        "requester_headers",
    }
)
"""Of the metadata: what stands elsewhere, and what LiteLLM's router keeps there for itself."""
_OURS_BEGIN = ("user_api_key", "_", "model_group", "attempted_", "original_model", "max_retries")
_REPORT_MAX_BYTES = 4096
_ASKS = re.compile(
    r"_?a?(completion|text_completion|responses|anthropic_messages|generate_content(_stream)?|embedding|rerank"
    r"|image_generation)"
)
"""Types of calls whose input is tokens. Others have a prompt of LiteLLM's own making in its record."""
_BATCH_LOOK = frozenset({"retrieve_batch", "aretrieve_batch"})
_BATCH_ENDS = ("completed_at", "expired_at", "cancelled_at", "failed_at", "created_at")
_WITHOUT_TEXT = frozenset({"embedding", "aembedding", "rerank", "arerank", "image_generation", "aimage_generation"})
"""Types of calls that generate none."""
_OF_FAILURE = frozenset({"standard_logging_object", "response_cost", "exception", "traceback_exception", "end_time"})
_BROKEN = frozenset({UsageFlag.NEGATIVE, UsageFlag.ABSURD})
_STATED_MIN_USD, _STATED_MAX_USD = 1e-9, 1e6
_NO_FACTS: Mapping[str, object] = {}
_RATIOS = TokenRatios()


def spend_of(
    details: Mapping[str, object], response: object, *, failed: bool, price_of: PriceOf, version: str
) -> Spend:
    """What `details`, LiteLLM's `kwargs`, and its response tell. `version`: LiteLLM's, which priced it.

    Raises whatever the app's objects raise.
    """
    told = _mapping(details.get("standard_logging_object"))
    params = _mapping(details.get("litellm_params"))
    metadata = _mapping(params.get("metadata")) or _mapping(params.get("litellm_metadata"))
    allowed = _mapping(told.get("metadata"))
    provider = _text(told.get("custom_llm_provider")) or _text(details.get("custom_llm_provider"))
    model = (_text(told.get("model")) or _text(details.get("model"))).removeprefix(f"{provider}/")
    start_us = _time_us(told.get("startTime"), details.get("start_time"))
    end_us = max(_time_us(told.get("endTime"), details.get("end_time")) or start_us, start_us)
    told_id = _text(told.get("litellm_call_id")) or _text(details.get("litellm_call_id"))
    hit = told.get("cache_hit", details.get("cache_hit"))
    cached = hit is True
    request_id = _text(told.get("id")) or _text(_field(response, "id")) or told_id
    user = _text(allowed.get("user_api_key_user_id")) or _text(metadata.get("user_api_key_user_id"))
    user = user or _text(details.get("user"))
    kept, dropped = kept_members(metadata, is_ours=_is_ours)
    tags, more = kept_tags(told.get("request_tags") or metadata.get("tags"))
    failure = None
    outcome: Charge | Stated | Void
    if failed:
        error = details.get("exception")
        failure = failure_of(told, error, provider, _credentials(details, params))
        if outcome_of_failure(failure, error, provider) is Outcome.VOID:
            outcome = Void(status=status_of(failure))
        else:
            outcome = _input_charge(details, price_of(provider, model, start_us / 1e6))
    else:
        outcome = _stated(told, details, version) or _charge(
            told, details, response, price_of=lambda: price_of(provider, model, start_us / 1e6), version=version
        )
    first_us = _time_us(told.get("completionStartTime"), details.get("completion_start_time"))
    call_type = _text(told.get("call_type")) or _text(details.get("call_type"))
    if call_type in _BATCH_LOOK and not failed and (ended_us := _batch_end_us(response)) and _is_some(outcome):
        # Each look tells of all its cost, from whatever process, and all have to say the same.
        told_id, start_us, end_us, kept, dropped = f"{provider}/{request_id}", ended_us, ended_us, {}, []
    return Spend(
        told_id=told_id,
        request_id=f"{request_id}_cache_hit{end_us}"[:TEXT_MAX_CHARS] if cached else request_id,
        call_type=call_type,
        provider=provider,
        model=model,
        model_group=_text(told.get("model_group")) or _text(metadata.get("model_group")) or model,
        model_id=_text(told.get("model_id")),
        api_base=_where(_text(told.get("api_base")) or _text(params.get("api_base"))),
        start_us=start_us,
        end_us=end_us,
        first_token_us=first_us if start_us <= first_us <= end_us else None,
        outcome=outcome,
        failure=failure,
        api_key=_key_hash(metadata.get("user_api_key") or allowed.get("user_api_key_hash")),
        user=user,
        team_id=_first(allowed.get("user_api_key_team_id"), allowed.get("team_id"), metadata.get("team_id")),
        organization_id=_first(allowed.get("user_api_key_org_id"), metadata.get("organization_id")),
        end_user=_first(told.get("end_user"), details.get("user")),
        session_id=_text(metadata.get("session_id")) or None,
        request_tags=tags,
        cache_hit=str(hit) if isinstance(hit, bool) else "None",
        metadata=kept,
        metadata_dropped=dropped + more,
    )


def is_silenced(details: Mapping[str, object]) -> bool:
    """The call asked for no callbacks (`no-log`)."""
    return _mapping(details.get("litellm_params")).get("no-log") is True


def untold(details: Mapping[str, object]) -> Mapping[str, object]:
    """`details` of a call that was answered, and of which LiteLLM has not told: without what it says there of an
    attempt before, which failed. It keeps one record of all attempts of a call, and writes in it from other threads.

    Raises whatever the app's objects raise.
    """
    if _mapping(details.get("standard_logging_object")).get("status") != "failure":
        return details
    kept = {name: value for name, value in dict(details).items() if name not in _OF_FAILURE}
    return kept | {"start_time": details.get("api_call_start_time") or details.get("start_time")}


def _stated(told: Mapping[str, object], details: Mapping[str, object], version: str) -> Stated | None:
    """What LiteLLM says of nearly every call: its cost, and the usage by which it was priced. None: look closer."""
    cost, usage = details.get("response_cost"), _mapping(told.get("metadata")).get("usage_object")
    if type(cost) is not float or not _STATED_MIN_USD <= cost <= _STATED_MAX_USD or type(usage) is not dict:
        return None
    if not usage or told.get("cache_hit", details.get("cache_hit")) is True:
        return None
    for name in ("prompt_tokens", "completion_tokens"):
        if type(count := usage.get(name)) is not int or not 0 <= count <= MAX_TOKENS:
            return None
    try:
        report = msgspec.json.encode(usage)
    except (TypeError, ValueError, OverflowError, RecursionError):  # something of some client's is in it
        return None
    if len(report) > _REPORT_MAX_BYTES:
        return None
    return Stated(cost_usd=cost, usage=msgspec.Raw(report), price_version=f"litellm {version}")


def _charge(
    told: Mapping[str, object],
    details: Mapping[str, object],
    response: object,
    *,
    price_of: Callable[[], Price | None],
    version: str,
) -> Charge:
    reading = _usage(told, response)
    if told.get("cache_hit", details.get("cache_hit")) is True:
        return Charge(cost=NanoUsd(0), evidence=Evidence.CACHE, usage=reading.usage, provider_usage=reading.raw)
    usage = reading.usage
    flags: tuple[str, ...] = tuple(sorted(reading.flags))
    broken = reading.missing and not _BROKEN.isdisjoint(reading.flags)
    cost = None if broken else _stated_cost(details, response)  # it is reckoned from that usage
    size = 0 if usage.completion_tokens else _answer_bytes(response)
    kind = _text(told.get("call_type")) or _text(details.get("call_type"))
    asked = _ASKS.fullmatch(kind) is not None and bool(details.get("messages"))
    estimated = not cost and (size > 0 or (reading.missing and asked))
    if estimated:  # LiteLLM says 0 tokens and $0 of streams whose usage it did not ask for
        prompt = usage.prompt_tokens or _RATIOS.tokens("", _bytes_of(details.get("messages")))
        usual = 0 if kind in _WITHOUT_TEXT else _RATIOS.usual_answer("")
        answer = _RATIOS.tokens("", size) if size else usual
        usage = Usage(uncached_prompt_tokens=prompt, answer_tokens=answer)
        flags = (*flags, "usage_estimated")
    else:
        if cost is not None:
            return Charge(
                cost=cost,
                evidence=Evidence.PROVIDER if cost else Evidence.FREE,
                usage=usage,
                price_version=f"litellm {version}",
                provider_usage=reading.raw,
                flags=flags,
            )
    price = price_of()
    if price is None:
        return Charge(
            cost=NanoUsd(0),
            evidence=Evidence.UNPRICED,
            usage=usage,
            provider_usage=reading.raw,
            flags=(*flags, "price_unknown"),
        )
    return Charge(
        cost=cost_of(usage, price),
        evidence=Evidence.ESTIMATED if estimated else Evidence.PROVIDER,
        usage=usage,
        price_version=price.version,
        provider_usage=reading.raw,
        flags=flags if covers(price, usage) else (*flags, "price_unknown"),
    )


def _input_charge(details: Mapping[str, object], price: Price | None) -> Charge:
    """Of an attempt that may have been billed: its input. Nobody knows of an output."""
    usage = Usage(uncached_prompt_tokens=_RATIOS.tokens("", _bytes_of(details.get("messages") or details.get("input"))))
    if price is None:
        flags = ("usage_estimated", "price_unknown")
        return Charge(cost=NanoUsd(0), evidence=Evidence.UNPRICED, usage=usage, flags=flags)
    return Charge(
        cost=cost_of(usage, price),
        evidence=Evidence.ESTIMATED,
        usage=usage,
        price_version=price.version,
        flags=("usage_estimated",),
    )


def _stated_cost(details: Mapping[str, object], response: object) -> NanoUsd | None:
    """LiteLLM's own, to the nearest nano-dollar. None: it knows no price."""
    cost = details.get("response_cost")
    if cost is None and "standard_logging_object" not in details:  # the event has not come: it stands in the response
        cost = _mapping(_field(response, "_hidden_params")).get("response_cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0:
        return None
    try:
        return nano_from_usd(cost)
    except ConfigError:  # not a number, or beyond all bounds
        return None


def _usage(told: Mapping[str, object], response: object) -> UsageReading:
    report: object = _mapping(told.get("metadata")).get("usage_object") or _field(response, "usage")
    if not report:
        report = {name: told.get(name) for name in ("prompt_tokens", "completion_tokens") if told.get(name)}
    try:
        return usage_from(encoded_report(report))
    except (TypeError, ValueError, OverflowError, RecursionError):  # some client's object
        return MISSING


def _batch_end_us(batch: object) -> int:
    """When it ended, the same whoever looks; 0: nobody knows."""
    moments = (_field(batch, name) for name in _BATCH_ENDS)
    return next((_time_us(moment, None) for moment in moments if moment), 0)


def _is_some(outcome: Charge | Stated | Void) -> bool:
    return isinstance(outcome, Stated) or (
        isinstance(outcome, Charge) and (outcome.cost or outcome.usage.total_tokens) > 0
    )


def _answer_bytes(response: object) -> int:
    """Of generated text, in the forms of OpenAI and Anthropic."""
    size = 0
    for choice in _list(_field(response, "choices")):
        message = _field(choice, "message")
        size += _bytes_of(_field(message, "content")) + _bytes_of(_field(message, "reasoning_content"))
        for call in _list(_field(message, "tool_calls")):
            size += _bytes_of(_field(_field(call, "function"), "arguments"))
        size += _bytes_of(_field(choice, "text"))
    for block in _list(_field(response, "content")):
        size += sum(_bytes_of(_field(block, name)) for name in ("text", "thinking", "input"))
    return size


def _bytes_of(value: object) -> int:
    """Of all text within."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    return sum(map(_bytes_of, value)) if isinstance(value, list | tuple) else 0


@lru_cache(maxsize=4096)
def _is_ours(name: object) -> bool:
    """Not the app has put it there."""
    return isinstance(name, str) and (name in _OURS or name.startswith(_OURS_BEGIN))


def _key_hash(key: object) -> str:
    if not isinstance(key, str):
        return ""
    if key.startswith("sk-"):
        return hashlib.sha256(key.encode()).hexdigest()
    return key if _HASH.fullmatch(key) else ""


def _time_us(epoch_s: object, moment: object) -> int:
    """Microseconds since 1970; LiteLLM's `datetime` is local time without a zone. 0: neither is there."""
    if isinstance(epoch_s, int | float) and epoch_s > 0:
        return round(epoch_s * 1e6)
    return round(moment.timestamp() * 1e6) if isinstance(moment, datetime) else 0


def _where(url: str) -> str:
    """Some put keys behind the path, or a user before the host."""
    url = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url


def _credentials(details: Mapping[str, object], params: Mapping[str, object]) -> list[object]:
    """By which the call was made. LiteLLM's threads may write in all of these places meanwhile."""
    places = (details, params, _mapping(details.get("optional_params")))
    return [value for place in places for name, value in dict(place).items() if is_secret_name(name)]


def _first(*values: object) -> str:
    for value in values:
        if text := _text(value):
            return text
    return ""


def _field(value: object, name: str) -> object:
    """Of an object of LiteLLM's, or of a provider's as it came."""
    return value.get(name) if isinstance(value, MAPPINGS) else getattr(value, name, None)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, MAPPINGS) else _NO_FACTS
