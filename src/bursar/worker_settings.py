"""What the configuration says to each part of a worker. Part of the composition."""

import ssl
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bursar.config.schema import Config
from bursar.domain.errors import ConfigError
from bursar.domain.limits import GATEWAY, Budget, Limits
from bursar.domain.periods import Calendar
from bursar.gateway.attribution import END_USER_HEADERS, AttributionRules
from bursar.gateway.chat import ChatSettings
from bursar.ports.upstream import Transport
from bursar.providers.native import NativeTransport
from bursar.server import limits as server_limits
from bursar.wire.http import RawHeaders


def gateway_limits(config: Config) -> Limits | None:
    """Of everything that goes through."""
    general, litellm = config.general, config.litellm
    amount = litellm.max_budget_nano_usd
    at_a_time = [n for n in (general.global_max_parallel_requests, general.max_parallel_requests) if n is not None]
    limits = Limits(
        scope=GATEWAY,
        budget=Budget(amount, litellm.budget_duration) if amount else None,  # LiteLLM's 0 means none here
        requests_per_minute=litellm.rpm,
        tokens_per_minute=litellm.tpm,
        parallel_calls=min(at_a_time, default=None),
    )
    return limits if limits.limiting else None


def chat_settings(config: Config) -> ChatSettings:
    """How calls are read, attributed and answered."""
    general, litellm, own = config.general, config.litellm, config.bursar
    mapped = tuple(h.header_name for h in general.user_header_mappings if h.role == "customer")
    named = (*mapped, *((general.user_header_name,) if general.user_header_name else ()))
    return ChatSettings(
        attribution=AttributionRules(
            end_user_headers=(*END_USER_HEADERS, *(name.lower().encode() for name in named)),
            tag_headers=tuple(name.lower().encode() for name in litellm.extra_spend_tag_headers),
            user_agent_tags=not litellm.disable_add_user_agent_to_request_tags,
            track_end_users=not litellm.disable_end_user_cost_tracking,
            metadata_max_bytes=own.metadata_max_bytes,
            trusted_proxies=tuple(ip_network(network) for network in own.trusted_proxies),
        ),
        drain_s=own.drain_s if own.on_disconnect == "drain" else 0.0,
        max_response_bytes=own.max_response_bytes,
        refuse_unpriced=own.unknown_price == "refuse",
        budget_exceeded_status=litellm.budget_exceeded_status_code,
        default_model=general.completion_model,
        usage_for_all=general.always_include_stream_usage is True,
        enforced_params=general.enforced_params,
        forward_headers=_forwarded_headers(config),
    )


def _forwarded_headers(config: Config) -> Callable[[RawHeaders], RawHeaders]:
    """Which client headers go to providers: none, unless configured."""
    general = config.general
    custom, organization = general.forward_client_headers_to_llm_api, general.forward_openai_org_id
    if not custom and not organization:
        return lambda _: []

    def forwarded(headers: RawHeaders) -> RawHeaders:
        return [
            (name, value)
            for name, value in headers
            if (organization and name == b"openai-organization")
            or (custom and name.startswith(b"x-") and not name.startswith((b"x-stainless", b"x-litellm", b"x-api-key")))
            or (custom and name == b"anthropic-beta")
        ]

    return forwarded


def transport_of(config: Config) -> Transport:
    """What carries attempts to providers. Raises ConfigError: it is not installed, or certificates cannot be used."""
    own = config.bursar
    tls = _upstream_tls(config.litellm.ssl_verify)
    if own.transport == "native":
        return NativeTransport(max_connections_per_host=own.upstream_max_connections_per_host, tls=tls)
    try:
        from bursar.providers.aiohttp_transport import AiohttpTransport  # an optional dependency
    except ImportError as error:
        raise ConfigError(
            "bursar_settings.transport: aiohttp is not installed. Install it: pip install 'bursar[aiohttp]'"
        ) from error
    return AiohttpTransport(
        max_connections_per_host=own.upstream_max_connections_per_host, tls=tls, proxy=own.upstream_proxy
    )


def _upstream_tls(verify: bool | str) -> ssl.SSLContext | None:
    """None: the system's certificates. Raises ConfigError: the file with others cannot be used."""
    if verify is True:
        return None
    if isinstance(verify, str):
        try:
            return ssl.create_default_context(cafile=verify)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"litellm_settings.ssl_verify: {verify} cannot be used: {error.strerror}") from error
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_limits_of(config: Config) -> server_limits.Limits:
    """What the server bears of a client."""
    own = config.bursar
    return server_limits.Limits(
        body_max_bytes=own.max_request_bytes,
        header_timeout_s=own.header_timeout_s,
        body_timeout_s=own.body_timeout_s,
        keepalive_timeout_s=own.keepalive_timeout_s,
    )


def available_teams(config: Config) -> list[str]:
    """Teams that users may join by themselves."""
    teams = config.litellm.default_internal_user_params.get("available_teams")
    return [team for team in teams if isinstance(team, str)] if isinstance(teams, list | tuple) else []


def calendar_of(config: Config) -> Calendar:
    """Where budget periods end. Raises ConfigError: there is no such time zone, or time of day."""
    litellm = config.litellm
    try:
        zone = ZoneInfo(litellm.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(
            f"litellm_settings.timezone: there is no time zone {litellm.timezone!r}; write one such as Europe/Berlin"
        ) from error
    try:
        return Calendar(zone, datetime.strptime(litellm.budget_reset_time, "%H:%M").time())  # noqa: DTZ007  # a time of day
    except ValueError as error:
        raise ConfigError(
            f"litellm_settings.budget_reset_time: expected HH:MM, got {litellm.budget_reset_time!r}"
        ) from error
