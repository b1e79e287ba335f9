"""A call as its log row will tell it: the facts, and the caller's own words; some of them already before it is sent."""

from functools import lru_cache

import msgspec

from bursar.domain.accounting import NO_JSON, CallBody, CallStatus, Failure, KeyNames, OpenBody, SettleBody
from bursar.domain.masking import masked_kept
from bursar.domain.prices import usd_of_scaled
from bursar.domain.principals import MASTER_KEY_NAME
from bursar.domain.storable import TEXT_MAX_CHARS, storable_members, storable_text
from bursar.gateway.call import Attempt, Call, Charge, Estimate

_LOGS_METADATA_MAX_BYTES = 16_384
_OPEN_METADATA_MAX_BYTES = 512
"""More of the caller's metadata is not put on record before the call: it would be missing from the row only of calls
whose process died."""


def open_body(call: Call, attempt: Attempt, *, estimate: Estimate, logged: bool, error_logged: bool) -> OpenBody:
    """The facts that are known before `attempt` is sent."""
    deployment = attempt.deployment
    principal, attribution = call.principal, call.attribution
    metadata = attribution.metadata
    return OpenBody(
        provider=deployment.provider,
        model=deployment.upstream_model,
        deployment_id=deployment.id,
        price_version=_price_version(attempt),
        estimate_nano_usd=estimate.cost,
        estimate_prompt_tokens=estimate.prompt_tokens,
        api_key=principal.api_key,
        start_us=call.started_us,
        model_group=storable_text(call.group),
        api_base=deployment.upstream.api_base if deployment.upstream is not None else "",
        user=_user(call),
        team_id=principal.team_id or "",
        organization_id=principal.organization_id or "",
        end_user=attribution.end_user,
        requester_ip_address=attribution.client_host,
        session_id=attribution.session_id,
        litellm_call_id=_litellm_call_id(call),
        request_tags=attribution.tags,
        metadata=metadata if not metadata or sum(map(len, metadata.values())) <= _OPEN_METADATA_MAX_BYTES else {},
        key_names=_names_of(call),
        logged=logged,
        error_logged=error_logged,
    )


def settle_body(attempt: Attempt, charge: Charge) -> SettleBody:
    """What `attempt` cost."""
    deployment, parts, usage = attempt.deployment, charge.parts, charge.usage
    return SettleBody(
        opened_us=attempt.opened_us,
        provider=deployment.provider,
        model=deployment.upstream_model,
        deployment_id=deployment.id,
        price_version=_price_version(attempt),
        usage=usage,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_prompt_tokens,
        cache_creation_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        provider_usage=msgspec.Raw(charge.provider_usage) if charge.provider_usage else None,
        input_cost=usd_of_scaled(parts.input) if parts is not None else None,
        output_cost=usd_of_scaled(parts.output) if parts is not None else None,
        flags=charge.flags,
    )


def call_body(
    call: Call, attempt: Attempt | None, *, end_us: int, failure: Failure | None, logged: bool, error_logged: bool
) -> CallBody:
    """The facts of `call`; `attempt` is the one that answered, or the last one that failed."""
    deployment = attempt.deployment if attempt is not None else None
    principal, attribution = call.principal, call.attribution
    logs_metadata, dropped = None, attribution.dropped
    if attribution.logs_metadata:
        kept, too_large = storable_members(attribution.logs_metadata, max_bytes=_LOGS_METADATA_MAX_BYTES)
        logs_metadata = masked_kept(kept)
        dropped = [*dropped, *(f"spend_logs_metadata.{name}" for name in too_large)]
    provider_id = attempt.provider_id if attempt is not None and attempt.provider_id else call.id
    return CallBody(
        request_id=storable_text(provider_id, TEXT_MAX_CHARS),
        attempt_id=attempt.id if attempt is not None else None,
        attempts=call.attempts if attempt is not None else 1,
        api_key=principal.api_key,
        start_us=call.started_us,
        end_us=end_us,
        first_token_us=call.first_token_us or None,
        model=deployment.qualified_model if deployment is not None else "unknown-model",
        model_group=storable_text(call.group),
        custom_llm_provider=deployment.provider if deployment is not None else "",
        api_base=deployment.upstream.api_base if deployment is not None and deployment.upstream is not None else "",
        user=_user(call),
        team_id=principal.team_id or "",
        organization_id=principal.organization_id or "",
        end_user=attribution.end_user,
        requester_ip_address=attribution.client_host,
        user_agent=attribution.user_agent,
        session_id=attribution.session_id,
        status=CallStatus.SUCCESS if failure is None else CallStatus.FAILURE,
        cache_hit="False" if call.chat.stream or failure is not None else "None",
        litellm_call_id=_litellm_call_id(call),
        request_tags=attribution.tags,
        metadata=attribution.metadata,
        key_names=_names_of(call),
        spend_logs_metadata=logs_metadata,
        error_information=failure,
        client_left=call.drained,
        metadata_dropped=dropped,
        logged=logged,
        error_logged=error_logged,
    )


def _price_version(attempt: Attempt) -> str | None:
    return None if attempt.price is None else attempt.price.version


def _litellm_call_id(call: Call) -> str:
    said = call.attribution.litellm_call_id
    return "" if said == call.id else said


def _user(call: Call) -> str:
    """The key's owner; without one, what the body says; the master key's own user comes last (decision 0005)."""
    principal = call.principal
    if principal.user_id and principal.api_key != MASTER_KEY_NAME:
        return principal.user_id
    return call.attribution.user or principal.user_id or ""


def _names_of(call: Call) -> msgspec.Raw:
    key = call.principal
    return _key_names(key.key_alias, key.user_id, key.team_id, key.team_alias, key.organization_id)


@lru_cache(maxsize=4096)
def _key_names(
    alias: str | None, user_id: str | None, team_id: str | None, team_alias: str | None, organization_id: str | None
) -> msgspec.Raw:
    """Encoded once for all calls of a key."""
    names = KeyNames(alias or None, user_id or None, team_id or None, team_alias or None, organization_id or None)
    return NO_JSON if names == KeyNames() else msgspec.Raw(msgspec.json.encode(names))
