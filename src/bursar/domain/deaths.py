"""What is booked for attempts whose process did not live to tell how they ended.

A journal whose process has died is read to its end by another one, which books what was under way at its estimate.
Where the journal is gone as well (its disk, its host), a person or a deadline declares its process lost: then what the
database knows of is booked at what it held. The truth replaces that when the journal comes back after all.
"""

import msgspec

from bursar.domain.accounting import (
    AdjustBody,
    CallBody,
    CallStatus,
    EndBody,
    Entry,
    Evidence,
    Failure,
    OpenBody,
    Pins,
    SettleBody,
    adjusted,
    ended,
    settled,
    unknown,
)
from bursar.domain.ids import AttemptId, CallId
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage

PROCESS_DIED = Failure(
    "GatewayProcessDied",
    "500",
    "The gateway's process ended before the answer did. What it cost is estimated.",
)
INSTANCE_LOST = Failure(
    "GatewayInstanceLost",
    "500",
    "The gateway's process was declared lost with its journal. Booked is what the call held.",
)


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that was opened and not ended."""

    attempt_id: AttemptId
    call_id: CallId
    at_us: int
    """When it was opened. Its ends bear the same time: whoever makes them, they are the same entries."""
    opened: OpenBody
    pins: Pins | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A `settle` or `void` entry, as an instance that was declared lost tells it after all."""

    kind: str
    attempt_id: AttemptId
    call_id: CallId
    at_us: int
    cost_nano_usd: NanoUsd = NanoUsd(0)
    evidence: Evidence = Evidence.PROVIDER
    body: msgspec.Raw


class _Tokens(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0


def presumed(attempt: UnderWay) -> list[Entry]:
    """The ends of an attempt whose process died: booked at the stated estimate."""
    sent = _sent(attempt)
    mark = EndBody(reason=PROCESS_DIED.error_class, **sent)  # type: ignore[arg-type]
    cost = attempt.opened.estimate_nano_usd
    evidence = Evidence.ESTIMATED if attempt.opened.price_version is not None else Evidence.UNPRICED
    return [
        unknown(
            attempt_id=attempt.attempt_id, call_id=attempt.call_id, at_us=attempt.at_us, body=mark, pins=attempt.pins
        ),
        _charge(attempt, cost, evidence, "process_died"),
        _end(attempt, PROCESS_DIED),
    ]


def lost(attempt: UnderWay) -> list[Entry]:
    """The ends of an attempt whose process was declared lost: booked at what it held, else at its estimate."""
    cost = attempt.opened.estimate_nano_usd if attempt.pins is None else attempt.pins.hold
    return [_charge(attempt, cost, Evidence.LOST, "instance_lost"), _end(attempt, INSTANCE_LOST)]


def outlived(told: Told, *, booked: NanoUsd, body: bytes, pins: Pins | None) -> Entry:
    """The truth about an attempt that was booked as lost, at `booked` and with `body`: the difference."""
    before = msgspec.json.decode(body, type=_Tokens)
    now = msgspec.json.decode(told.body, type=_Tokens)
    return adjusted(
        attempt_id=told.attempt_id,
        call_id=told.call_id,
        at_us=told.at_us,
        number=0,
        difference=NanoUsd(told.cost_nano_usd - booked),
        evidence=told.evidence,
        body=AdjustBody(
            reason="instance_came_back",
            prompt_tokens=now.prompt_tokens - before.prompt_tokens,
            completion_tokens=now.completion_tokens - before.completion_tokens,
            cache_read_tokens=now.cache_read_tokens - before.cache_read_tokens,
            cache_creation_tokens=now.cache_creation_tokens - before.cache_creation_tokens,
        ),
        pins=pins,
    )


def _sent(attempt: UnderWay) -> dict[str, object]:
    opened = attempt.opened
    return {
        "opened_us": attempt.at_us,
        "provider": opened.provider,
        "model": opened.model,
        "deployment_id": opened.deployment_id,
        "price_version": opened.price_version,
    }


def _charge(attempt: UnderWay, cost: NanoUsd, evidence: Evidence, flag: str) -> Entry:
    tokens = attempt.opened.estimate_prompt_tokens
    return settled(
        attempt_id=attempt.attempt_id,
        call_id=attempt.call_id,
        at_us=attempt.at_us,
        cost=cost,
        evidence=evidence,
        body=SettleBody(
            usage=Usage(uncached_prompt_tokens=tokens),
            prompt_tokens=tokens,
            flags=(flag, "usage_estimated"),
            **_sent(attempt),  # type: ignore[arg-type]
        ),
        pins=attempt.pins,
    )


def _end(attempt: UnderWay, failure: Failure) -> Entry:
    return cut_off(
        attempt.opened,
        attempt_id=attempt.attempt_id,
        attempts=int(attempt.attempt_id[-2:], 16),
        call_id=attempt.call_id,
        at_us=attempt.at_us,
        failure=failure,
    )


def cut_off(
    opened: OpenBody, *, attempt_id: AttemptId, attempts: int, call_id: CallId, at_us: int, failure: Failure
) -> Entry:
    """The end of a call whose process did not live to tell it, from the last attempt that it opened.

    It belongs beside the end of that attempt, or before it: then the end moves the call's row and totals when it comes.
    """
    return ended(
        call_id=call_id,
        at_us=at_us,
        body=CallBody(
            request_id=call_id,
            call_type=opened.call_type,
            attempt_id=attempt_id,
            attempts=attempts,
            api_key=opened.api_key,
            start_us=opened.start_us,
            end_us=at_us,
            model=f"{opened.provider}/{opened.model}",
            model_id=opened.deployment_id or "",
            model_group=opened.model_group,
            custom_llm_provider=opened.provider,
            api_base=opened.api_base,
            user=opened.user,
            team_id=opened.team_id,
            organization_id=opened.organization_id,
            end_user=opened.end_user,
            requester_ip_address=opened.requester_ip_address,
            session_id=opened.session_id,
            status=CallStatus.FAILURE,
            cache_hit="False",
            litellm_call_id=opened.litellm_call_id,
            request_tags=opened.request_tags,
            metadata=opened.metadata,
            key_names=opened.key_names,
            error_information=failure,
            logged=opened.logged,
            error_logged=opened.error_logged,
        ),
    )
