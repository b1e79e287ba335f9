"""What an app tells about one finished attempt, and the entries that it becomes.

Apps tell the same attempt more than once: a callback that is registered twice, a retry, a replay. So its ids are not
drawn but derived from what every telling has in common, and the books take it once. An attempt that failed and the
fallback that answered share LiteLLM's call id; hence the outcome, the model and the start are in it too, and each of
them is a call of one attempt here, as the app sees it.

The app waits while a `Spend` is written down, so that it is written as it is, as one record of the journal; the entries
are made of it by whoever reads the journal.
"""

import hashlib
from uuid import UUID

import msgspec

from bursar.domain.accounting import (
    NO_JSON,
    CallBody,
    CallStatus,
    EndBody,
    Entry,
    Evidence,
    Failure,
    KeyNames,
    OpenBody,
    SettleBody,
    encode_entries,
    ended,
    opened,
    settled,
    voided,
)
from bursar.domain.errors import ConfigError
from bursar.domain.ids import AttemptId, CallId, DeploymentId, attempt_id, call_id
from bursar.domain.money import NanoUsd, nano_from_usd
from bursar.domain.usage import Usage
from bursar.wire.openai_usage import usage_from
from bursar.wire.usage_report import encoded_report

_NAMESPACE = UUID("6f1d1b0c-6f0d-5b53-9a56-3c6f4c1a9b1e").bytes
_HASH_BITS = (1 << 66) - 1


class Charge(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="charge"):
    """What the attempt cost, and on what that rests."""

    cost: NanoUsd
    evidence: Evidence
    usage: Usage = Usage()
    price_version: str | None = None
    provider_usage: bytes = b""
    """The report of usage, as JSON."""
    flags: tuple[str, ...] = ()


class Stated(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="stated"):
    """The same as the app's client says: what it cost, and the provider's report. Read with the record."""

    cost_usd: float
    """At least a nano-dollar, and not beyond what `domain.money` takes."""
    usage: msgspec.Raw
    """The report of usage, as JSON."""
    price_version: str


class Void(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="void"):
    """It failed, and nothing was billed."""

    status: int | None = None


class Spend(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="spend"):
    """One attempt of an app. All text is fit to be stored; times in microseconds since 1970."""

    told_id: str
    """The app's own id of the call: LiteLLM's, say."""
    request_id: str
    call_type: str
    provider: str
    model: str
    """The provider's own name of it."""
    model_group: str
    model_id: str = ""
    api_base: str = ""
    start_us: int
    end_us: int
    first_token_us: int | None = None
    outcome: Charge | Stated | Void
    failure: Failure | None = None
    api_key: str = ""
    user: str = ""
    team_id: str = ""
    organization_id: str = ""
    end_user: str = ""
    session_id: str | None = None
    request_tags: list[str] = []
    cache_hit: str = "None"
    metadata: dict[str, msgspec.Raw] = {}
    metadata_dropped: list[str] = []


def name_of(spend: Spend) -> str:
    """What all tellings of the attempt have in common, and no other attempt."""
    outcome = "success" if spend.failure is None else "failure"
    return f"{spend.told_id}\0{outcome}\0{spend.model}\0{spend.start_us}"


def id_of(spend: Spend) -> CallId:
    """The id by which the books know `spend`: time-ordered, as the gateway's are, with a UUIDv5's hash in the place of
    what is random there."""
    told = hashlib.sha1(_NAMESPACE + name_of(spend).encode(), usedforsecurity=False).digest()
    return call_id(spend.start_us // 1000, int.from_bytes(told[:16], "big") & _HASH_BITS)


def written(spend: Spend) -> bytes:
    """The journal record of `spend`, as an app writes it: quickly."""
    return _encode(spend)


def entries_of(record: bytes) -> bytes:
    """The entries of a journal record, in JSON: of one that is `written` those it becomes; any other has them in it."""
    if not record.startswith(_WRITTEN):
        return record
    try:
        spend = _decode(record)
        return record_of(spend, id_of(spend))
    except (msgspec.MsgspecError, ConfigError):  # the database will refuse it, and it is set aside
        return record


def record_of(spend: Spend, call: CallId) -> bytes:
    """The journal record of `spend` as entries, of a call whose id was drawn."""
    attempt = attempt_id(call, 1)
    return encode_entries([_end(spend, call, attempt), _call(spend, call, attempt)])


_WRITTEN = b'["spend",'
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Spend).decode


def promise_of(spend: Spend, call: CallId) -> bytes:
    """The journal record that `spend` is about to be asked for: if its process dies, what it promises is booked."""
    charge = spend.outcome
    body = OpenBody(
        provider=spend.provider,
        model=spend.model,
        price_version=charge.price_version if isinstance(charge, Charge) else None,
        estimate_nano_usd=charge.cost if isinstance(charge, Charge) else NanoUsd(0),
        estimate_prompt_tokens=charge.usage.prompt_tokens if isinstance(charge, Charge) else 0,
        api_key=spend.api_key,
        start_us=spend.start_us,
        model_group=spend.model_group,
        call_type=spend.call_type,
        user=spend.user,
        team_id=spend.team_id,
        organization_id=spend.organization_id,
        end_user=spend.end_user,
        session_id=spend.session_id,
        litellm_call_id=spend.told_id,
        request_tags=spend.request_tags,
        metadata=spend.metadata,
        key_names=_names(spend),
    )
    return encode_entries([opened(attempt_id=attempt_id(call, 1), call_id=call, at_us=spend.start_us, body=body)])


def charge_of(stated: Stated) -> Charge:
    """What is booked for what was stated."""
    reading = usage_from(encoded_report(msgspec.json.decode(stated.usage)))
    return Charge(
        cost=nano_from_usd(stated.cost_usd),
        evidence=Evidence.PROVIDER,
        usage=reading.usage,
        price_version=stated.price_version,
        provider_usage=reading.raw,
        flags=tuple(sorted(reading.flags)),
    )


def _end(spend: Spend, call: CallId, attempt: AttemptId) -> Entry:
    outcome = spend.outcome
    deployment = DeploymentId(spend.model_id) if spend.model_id else None
    if isinstance(outcome, Void):
        body = EndBody(
            opened_us=spend.start_us,
            provider=spend.provider,
            model=spend.model,
            deployment_id=deployment,
            reason=spend.failure.error_class if spend.failure is not None else "",
            status=outcome.status,
        )
        return voided(attempt_id=attempt, call_id=call, at_us=spend.end_us, body=body)
    if isinstance(outcome, Stated):
        outcome = charge_of(outcome)
    usage = outcome.usage
    return settled(
        attempt_id=attempt,
        call_id=call,
        at_us=spend.end_us,
        cost=outcome.cost,
        evidence=outcome.evidence,
        body=SettleBody(
            opened_us=spend.start_us,
            provider=spend.provider,
            model=spend.model,
            deployment_id=deployment,
            price_version=outcome.price_version,
            usage=usage,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cache_read_tokens=usage.cached_prompt_tokens,
            cache_creation_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
            provider_usage=msgspec.Raw(outcome.provider_usage) if outcome.provider_usage else None,
            flags=outcome.flags,
        ),
    )


def _call(spend: Spend, call: CallId, attempt: AttemptId) -> Entry:
    return ended(
        call_id=call,
        at_us=spend.end_us,
        body=CallBody(
            request_id=spend.request_id or call,
            call_type=spend.call_type,
            attempt_id=attempt,
            api_key=spend.api_key,
            start_us=spend.start_us,
            end_us=spend.end_us,
            first_token_us=spend.first_token_us,
            model=_qualified(spend),
            model_group=spend.model_group,
            custom_llm_provider=spend.provider,
            api_base=spend.api_base,
            user=spend.user,
            team_id=spend.team_id,
            organization_id=spend.organization_id,
            end_user=spend.end_user,
            session_id=spend.session_id,
            status=CallStatus.SUCCESS if spend.failure is None else CallStatus.FAILURE,
            cache_hit=spend.cache_hit,
            litellm_call_id=spend.told_id,
            request_tags=spend.request_tags,
            metadata=spend.metadata,
            key_names=_names(spend),
            error_information=spend.failure,
            metadata_dropped=spend.metadata_dropped,
        ),
    )


def _qualified(spend: Spend) -> str:
    prefix = f"{spend.provider}/"
    return spend.model if not spend.provider or spend.model.startswith(prefix) else prefix + spend.model


def _names(spend: Spend) -> msgspec.Raw:
    """The app vouches for its user, as the gateway does for the owner of a key: the user's budget counts the call."""
    names = KeyNames(
        user_api_key_user_id=spend.user or None,
        user_api_key_team_id=spend.team_id or None,
        user_api_key_org_id=spend.organization_id or None,
    )
    return NO_JSON if names == KeyNames() else msgspec.Raw(msgspec.json.encode(names))
