"""A finished call as its log row: LiteLLM's columns and metadata, plus what the caller's own metadata says."""

import msgspec
from msgspec import UNSET, UnsetType

from bursar.domain.accounting import CallBody, CallStatus, Evidence
from bursar.domain.ids import AttemptId, CallId
from bursar.domain.money import NanoUsd, usd_float
from bursar.domain.prices import usd_of_scaled
from bursar.domain.principals import MASTER_KEY_NAME
from bursar.domain.storable import TEXT_MAX_CHARS, storable_members, storable_text
from bursar.domain.usage import Usage
from bursar.gateway.call import Attempt, Call, Charge

_LOGS_METADATA_MAX_BYTES = 16_384
_NO_USAGE = Usage()


class Failure(msgspec.Struct, frozen=True):
    """Why a call failed, as the row's `error_information` tells it. The message is the one the client got."""

    error_class: str
    error_code: str
    error_message: str
    llm_provider: str = ""


def call_body(
    call: Call, attempt: Attempt | None, *, spend: NanoUsd, end_us: int, failure: Failure | None, logged: bool
) -> CallBody:
    """The row of `call`; `attempt` is the one that answered, or the last one that failed."""
    charge = attempt.charge if attempt is not None else None
    deployment = attempt.deployment if attempt is not None else None
    principal, attribution = call.principal, call.attribution
    usage = charge.usage if charge is not None else _NO_USAGE
    prompt_tokens, completion_tokens = usage.prompt_tokens, usage.completion_tokens
    provider_id = attempt.provider_id if attempt is not None and attempt.provider_id else call.id
    return CallBody(
        request_id=storable_text(provider_id, TEXT_MAX_CHARS),
        call_type="acompletion",
        api_key=principal.api_key,
        spend_nano_usd=spend,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        start_us=call.started_us,
        end_us=end_us,
        first_token_us=call.first_token_us or end_us,
        model=deployment.qualified_model if deployment is not None else "unknown-model",
        model_id=deployment.id if deployment is not None else "",
        model_group=storable_text(call.group),
        custom_llm_provider=deployment.provider if deployment is not None else "",
        api_base=deployment.upstream.api_base if deployment is not None and deployment.upstream is not None else "",
        user=_user(call),
        metadata=_metadata(call, attempt, charge, failure),
        request_tags=attribution.tags,
        team_id=principal.team_id or "",
        organization_id=principal.organization_id or "",
        end_user=attribution.end_user,
        requester_ip_address=attribution.client_host,
        session_id=attribution.session_id,
        status=CallStatus.SUCCESS if failure is None else CallStatus.FAILURE,
        cache_hit="False" if call.chat.stream or failure is not None else "None",
        cache_key="Cache OFF",
        litellm_call_id=attribution.litellm_call_id,
        logged=logged,
    )


def _user(call: Call) -> str:
    """The key's owner; without one, what the body says; the master key's own user comes last (decision 0005)."""
    principal = call.principal
    if principal.user_id and principal.api_key != MASTER_KEY_NAME:
        return principal.user_id
    return call.attribution.user or principal.user_id or ""


class CostBreakdown(msgspec.Struct, frozen=True):
    """The metadata's `cost_breakdown`: US dollars."""

    total_cost: float
    original_cost: float
    input_cost: float | UnsetType = UNSET
    output_cost: float | UnsetType = UNSET


class OwnMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What LiteLLM has no words for: our ids, the price that was applied, the evidence, and what was odd."""

    call_id: CallId
    attempt_id: AttemptId | UnsetType = UNSET
    price: str | UnsetType | None = UNSET
    evidence: Evidence | UnsetType = UNSET
    flags: tuple[str, ...] | UnsetType = UNSET
    client_left: bool | UnsetType = UNSET
    metadata_dropped: list[str] | UnsetType = UNSET


class LogMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a row's metadata that are ours to fill, by LiteLLM's names."""

    user_api_key: str
    user_api_key_alias: str | UnsetType = UNSET
    user_api_key_user_id: str | UnsetType = UNSET
    user_api_key_team_id: str | UnsetType = UNSET
    user_api_key_team_alias: str | UnsetType = UNSET
    user_api_key_org_id: str | UnsetType = UNSET
    requester_ip_address: str
    user_agent: str
    spend_logs_metadata: dict[str, msgspec.Raw] | UnsetType = UNSET
    status: str | None
    error_information: Failure | UnsetType = UNSET
    attempted_retries: int = 0
    attempted_fallbacks: int = 0
    usage_object: msgspec.Raw | UnsetType = UNSET
    cost_breakdown: CostBreakdown | UnsetType = UNSET
    bursar: OwnMetadata


_encode = msgspec.json.Encoder().encode


def _metadata(call: Call, attempt: Attempt | None, charge: Charge | None, failure: Failure | None) -> msgspec.Raw:
    """The caller's members first: of a name that stands twice, the database keeps the last, which is ours."""
    principal, attribution = call.principal, call.attribution
    logs_metadata = attribution.logs_metadata
    own = _encode(
        LogMetadata(
            user_api_key=principal.api_key,
            user_api_key_alias=principal.key_alias or UNSET,
            user_api_key_user_id=principal.user_id or UNSET,
            user_api_key_team_id=principal.team_id or UNSET,
            user_api_key_team_alias=principal.team_alias or UNSET,
            user_api_key_org_id=principal.organization_id or UNSET,
            requester_ip_address=attribution.client_host,
            user_agent=attribution.user_agent,
            spend_logs_metadata=_storable(logs_metadata) if logs_metadata else UNSET,
            status=None if failure is None else "failure",
            error_information=failure or UNSET,
            usage_object=msgspec.Raw(charge.provider_usage) if charge is not None and charge.provider_usage else UNSET,
            cost_breakdown=UNSET if charge is None else _cost_breakdown(charge),
            bursar=_own(call, attempt, charge),
        )
    )
    if attribution.metadata:
        return msgspec.Raw(_encode(attribution.metadata)[:-1] + b"," + own[1:])
    return msgspec.Raw(own)


def _storable(members: dict[str, object]) -> dict[str, msgspec.Raw]:
    return storable_members(members, max_bytes=_LOGS_METADATA_MAX_BYTES)[0]


def _cost_breakdown(charge: Charge) -> CostBreakdown:
    total, parts = usd_float(charge.cost), charge.parts
    if parts is None:
        return CostBreakdown(total, total)
    return CostBreakdown(total, total, usd_of_scaled(parts.input), usd_of_scaled(parts.output))


def _own(call: Call, attempt: Attempt | None, charge: Charge | None) -> OwnMetadata:
    price = attempt.price if attempt is not None else None
    return OwnMetadata(
        call_id=call.id,
        attempt_id=UNSET if attempt is None else attempt.id,
        price=UNSET if attempt is None else None if price is None else price.version,
        evidence=UNSET if charge is None else charge.evidence,
        flags=charge.flags if charge is not None and charge.flags else UNSET,
        client_left=True if call.drained else UNSET,
        metadata_dropped=call.attribution.dropped or UNSET,
    )
