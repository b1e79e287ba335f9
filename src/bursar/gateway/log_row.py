"""A finished call as its log row will tell it: the facts, and the caller's own words."""

from functools import lru_cache

import msgspec

from bursar.domain.accounting import CallBody, CallStatus, Failure, KeyNames
from bursar.domain.money import NanoUsd
from bursar.domain.prices import usd_of_scaled
from bursar.domain.principals import MASTER_KEY_NAME
from bursar.domain.storable import TEXT_MAX_CHARS, storable_members, storable_text
from bursar.domain.usage import Usage
from bursar.gateway.call import Attempt, Call

_LOGS_METADATA_MAX_BYTES = 16_384
_NO_USAGE = Usage()


def call_body(
    call: Call, attempt: Attempt | None, *, spend: NanoUsd, end_us: int, failure: Failure | None, logged: bool
) -> CallBody:
    """The facts of `call`; `attempt` is the one that answered, or the last one that failed."""
    charge = attempt.charge if attempt is not None else None
    deployment = attempt.deployment if attempt is not None else None
    principal, attribution = call.principal, call.attribution
    usage = charge.usage if charge is not None else _NO_USAGE
    parts = charge.parts if charge is not None else None
    logs_metadata, dropped = None, attribution.dropped
    if attribution.logs_metadata:
        logs_metadata, too_large = storable_members(attribution.logs_metadata, max_bytes=_LOGS_METADATA_MAX_BYTES)
        dropped = [*dropped, *(f"spend_logs_metadata.{name}" for name in too_large)]
    provider_id = attempt.provider_id if attempt is not None and attempt.provider_id else call.id
    return CallBody(
        request_id=storable_text(provider_id, TEXT_MAX_CHARS),
        attempt_id=attempt.id if attempt is not None else None,
        api_key=principal.api_key,
        spend_nano_usd=spend,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        start_us=call.started_us,
        end_us=end_us,
        first_token_us=call.first_token_us or None,
        model=deployment.qualified_model if deployment is not None else "unknown-model",
        model_id=deployment.id if deployment is not None else "",
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
        litellm_call_id=attribution.litellm_call_id,
        request_tags=attribution.tags,
        metadata=attribution.metadata,
        key_names=_key_names(
            principal.key_alias, principal.user_id, principal.team_id, principal.team_alias, principal.organization_id
        ),
        spend_logs_metadata=logs_metadata,
        error_information=failure,
        usage_object=msgspec.Raw(charge.provider_usage) if charge is not None and charge.provider_usage else None,
        evidence=charge.evidence if charge is not None else None,
        input_cost=usd_of_scaled(parts.input) if parts is not None else None,
        output_cost=usd_of_scaled(parts.output) if parts is not None else None,
        price=attempt.price.version if attempt is not None and attempt.price is not None else None,
        flags=charge.flags if charge is not None else (),
        client_left=call.drained,
        metadata_dropped=dropped,
        logged=logged,
    )


def _user(call: Call) -> str:
    """The key's owner; without one, what the body says; the master key's own user comes last (decision 0005)."""
    principal = call.principal
    if principal.user_id and principal.api_key != MASTER_KEY_NAME:
        return principal.user_id
    return call.attribution.user or principal.user_id or ""


@lru_cache(maxsize=4096)
def _key_names(
    alias: str | None, user_id: str | None, team_id: str | None, team_alias: str | None, organization_id: str | None
) -> msgspec.Raw:
    """Encoded once for all calls of a key."""
    names = KeyNames(alias or None, user_id or None, team_id or None, team_alias or None, organization_id or None)
    return msgspec.Raw(msgspec.json.encode(names))
