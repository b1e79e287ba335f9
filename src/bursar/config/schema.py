"""The settings as the rooms see them: frozen, typed, with their units in their names.

`bursar.config.keys` says which key of the file fills which field. A field without a value in the file has the default
given here. Records print without what may be secret: mappings show their keys only, secrets nothing.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from bursar.domain.ids import DeploymentId
from bursar.domain.money import NanoUsd
from bursar.domain.secrets import Secret

DEFAULT_REQUEST_TIMEOUT_S = 6000.0
"""What bounds an attempt when neither the client nor the settings say anything: LiteLLM's default."""

MIB = 1024 * 1024

RoutingStrategy = Literal[
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the settings. Its repr leaves out defaults and the values inside mappings."""

    def __repr__(self) -> str:
        parts = []
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            default = {} if field.default_factory is dict else field.default
            if value == default:
                continue
            parts.append(f"{field.name}={_masked(value)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _masked(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(str(key) for key in value) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_masked(item) for item in value) + ")"
    return repr(value)


class ModelInfo(Record, frozen=True, kw_only=True):
    """What `model_info` says of a deployment, beside its id and its prices."""

    mode: str | None = None
    base_model: str | None = None
    """Name in the price book that cost and limits go by, where the upstream name says nothing (Azure)."""
    access_groups: tuple[str, ...] = ()
    max_tokens: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    supports: Mapping[str, bool] = {}
    """`supports_vision: true` is {"vision": True}; what is not said here is the price book's to know."""
    verbatim: Mapping[str, object] = {}
    """The whole mapping as the file has it, for `/model/info` to echo."""


class DeploymentConfig(Record, frozen=True, kw_only=True):
    """One entry of `model_list`: a concrete upstream target of the model group `model_name`."""

    id: DeploymentId
    model_name: str
    """The public name, which may hold wildcards; entries of the same name form a group."""
    model: str
    """As the file has it: `provider/upstream name`, or a bare name the provider has to be found for."""
    custom_llm_provider: str | None = None

    api_key: Secret | None = None
    api_base: str | None = None
    api_version: str | None = None
    organization: str | None = None
    provider_auth: Mapping[str, Secret] = {}
    """Credentials beyond an API key (`aws_*`, `vertex_*`, Entra ID), by their names in the file."""

    rpm: int | None = None
    tpm: int | None = None
    weight: float | None = None
    order: int | None = None
    max_parallel_requests: int | None = None
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    num_retries: int | None = None
    max_retries: int | None = None
    cooldown_time_s: float | None = None
    tags: tuple[str, ...] = ()
    blocked: bool = False

    drop_params: bool | None = None
    additional_drop_params: tuple[str, ...] = ()
    allowed_openai_params: tuple[str, ...] = ()
    extra_params: Mapping[str, object] = {}
    """Default request parameters, merged under the client's (`temperature`, `max_tokens`, anything not known here)."""
    extra_body: Mapping[str, object] = {}
    """More defaults, for the root of the upstream body."""
    extra_headers: Mapping[str, Secret] = {}
    mock_response: str | None = None
    merge_reasoning_content_in_choices: bool = False
    use_in_pass_through: bool = False
    configurable_clientside_auth_params: tuple[object, ...] = ()
    max_budget_nano_usd: NanoUsd | None = None
    budget_duration: str | None = None

    prices: Mapping[str, object] = {}
    """Price keys verbatim (US dollars per unit) of `litellm_params` and `model_info`; the former win."""
    model_info: ModelInfo = ModelInfo()
    built_in_demo: bool = False
    """The model that answers without a provider; no config file can set it."""
    stored: bool = False
    """It comes from the database."""

    def __repr__(self) -> str:
        """Names only: headers, bodies and unknown parameters often carry credentials."""
        return f"DeploymentConfig(model_name={self.model_name!r}, model={self.model!r}, id={self.id!r})"


class FallbackTarget(Record, frozen=True, kw_only=True):
    """A group to try next, and body fields that change for it."""

    model: str
    params: Mapping[str, object] = {}


class FallbackRule(Record, frozen=True, kw_only=True):
    """What to try, in order, after `group` has failed. `*` stands for every group without a rule of its own."""

    group: str
    targets: tuple[FallbackTarget, ...]


class ModelAlias(Record, frozen=True, kw_only=True):
    """Another name for a group. More than one target: route to the first, fall back to the others in order."""

    targets: tuple[str, ...]
    hidden: bool = False
    """Not listed by `/v1/models`."""


class RoutingStrategyArgs(Record, frozen=True, kw_only=True):
    """Tunables of latency- and usage-based routing; None leaves the strategy's own default."""

    ttl_s: float | None = None
    lowest_latency_buffer: float = 0.0
    max_latency_list_size: int = 10
    ttft_percentile: float | None = None


class ProviderBudget(Record, frozen=True, kw_only=True):
    """What may be spent at one provider per period."""

    budget_limit_nano_usd: NanoUsd
    time_period: str


class RouterSettings(Record, frozen=True, kw_only=True):
    """`router_settings`, with what may stand under `litellm_settings` as well already merged in."""

    routing_strategy: RoutingStrategy = "simple-shuffle"
    routing_strategy_args: RoutingStrategyArgs = RoutingStrategyArgs()
    num_retries: int = 2
    retry_after_s: float = 0.0
    retry_policy: Mapping[str, int] = {}
    allowed_fails: int = 3
    cooldown_time_s: float = 5.0
    disable_cooldowns: bool = False
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    fallbacks: tuple[FallbackRule, ...] = ()
    """`default_fallbacks` are in here as the rule for `*`."""
    context_window_fallbacks: tuple[FallbackRule, ...] = ()
    content_policy_fallbacks: tuple[FallbackRule, ...] = ()
    max_fallbacks: int = 5
    model_group_alias: Mapping[str, ModelAlias] = {}
    enable_pre_call_checks: bool = False
    optional_pre_call_checks: tuple[str, ...] = ()
    """`enforce_model_rate_limits`: a deployment's `rpm` and `tpm` are limits, and not only weights."""
    default_max_parallel_requests: int | None = None
    redis_host: str | None = None
    redis_port: int | None = None
    redis_password: Secret | None = None
    redis_url: Secret | None = None
    redis_db: int | None = None
    cache_responses: bool | None = None
    """None: as `litellm_settings.cache` says."""
    enable_tag_filtering: bool = False
    tag_filtering_match_any: bool = True
    tag_routing_prefix: str = ""
    provider_budget_config: Mapping[str, ProviderBudget] = {}


class CacheParams(Record, frozen=True, kw_only=True):
    """`litellm_settings.cache_params`."""

    type: str = "redis"
    host: str | None = None
    port: int | None = None
    password: Secret | None = None
    username: str | None = None
    url: Secret | None = None
    ssl: bool | None = None
    db: int | None = None
    namespace: str | None = None
    ttl_s: float | None = None
    mode: Literal["default_on", "default_off"] = "default_on"
    supported_call_types: tuple[str, ...] | None = None
    """None: all that can be cached; empty: Redis serves coordination only."""
    max_messages: int = 4


class LitellmSettings(Record, frozen=True, kw_only=True):
    """`litellm_settings`, without the routing keys, which `RouterSettings` holds."""

    drop_params: bool = False
    modify_params: bool = False
    request_timeout_s: float | None = None
    """None: DEFAULT_REQUEST_TIMEOUT_S, after everything else that may say otherwise."""
    rpm: int | None = None
    """Requests a minute through the whole gateway."""
    tpm: int | None = None
    """Tokens a minute through the whole gateway."""
    ssl_verify: bool | str = True
    """False: certificates are not checked; text: path of a CA file."""
    ssl_certificate: str | None = None

    success_callback: tuple[str, ...] = ()
    failure_callback: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    service_callback: tuple[str, ...] = ()
    callback_settings: Mapping[str, object] = {}
    turn_off_message_logging: bool = False
    redact_user_api_key_info: bool = False
    set_verbose: bool = False
    json_logs: bool = False
    log_raw_request_response: bool = False
    langfuse_default_tags: tuple[str, ...] = ()
    langsmith_batch_size: int | None = None
    require_auth_for_metrics_endpoint: bool = True
    custom_prometheus_metadata_labels: tuple[str, ...] = ()
    custom_prometheus_tags: tuple[str, ...] = ()
    prometheus: Mapping[str, object] = {}
    """Every other `prometheus_*` key, verbatim."""

    cache: bool = False
    cache_params: CacheParams | None = None
    enable_redis_auth_cache: bool = False

    max_budget_nano_usd: NanoUsd | None = None
    """Cap on the spend of the whole gateway; None or 0 in the file: none."""
    budget_duration: str | None = None
    budget_exceeded_status_code: int = 422
    max_internal_user_budget_nano_usd: NanoUsd | None = None
    internal_user_budget_duration: str | None = None
    max_end_user_budget_nano_usd: NanoUsd | None = None
    max_end_user_budget_id: str | None = None
    tag_budget_config: Mapping[str, object] = {}
    timezone: str = "UTC"
    budget_reset_time: str = "00:00"
    budget_rollover: bool = False
    cost_discount_config: Mapping[str, object] = {}
    cost_margin_config: Mapping[str, object] = {}
    block_requests_for_models_without_pricing: bool = False
    include_cost_in_streaming_usage: bool = False

    default_internal_user_params: Mapping[str, object] = {}
    default_key_generate_params: Mapping[str, object] = {}
    upperbound_key_generate_params: Mapping[str, object] = {}
    key_generation_settings: Mapping[str, object] = {}
    default_team_settings: tuple[Mapping[str, object], ...] = ()
    default_team_params: Mapping[str, object] = {}
    public_model_groups: tuple[str, ...] = ()

    model_alias_map: Mapping[str, str] = {}
    disable_end_user_cost_tracking: bool = False
    validate_end_user_id_in_db: bool = False
    extra_spend_tag_headers: tuple[str, ...] = ()
    disable_add_user_agent_to_request_tags: bool = False
    forward_llm_provider_auth_headers: bool = False
    add_user_information_to_llm_headers: bool = False


class UserHeader(Record, frozen=True, kw_only=True):
    """A request header that names a user: of ours (`internal_user`) or of the client's (`customer`)."""

    header_name: str
    """In lower case."""
    role: Literal["internal_user", "customer"]


class GeneralSettings(Record, frozen=True, kw_only=True):
    """`general_settings`."""

    master_key: Secret | None = None
    dangerously_permit_weak_or_unset_master_key: bool = False
    disable_master_key_return: bool = False
    database_url: Secret | None = None
    database_connection_pool_limit: int | None = None
    database_connection_pool_timeout_s: float | None = None
    store_model_in_db: bool = False
    allow_requests_on_db_unavailable: bool = False

    litellm_key_header_name: str | None = None
    """In lower case."""
    user_header_name: str | None = None
    """In lower case; an older form of one `user_header_mappings` entry for customers."""
    user_header_mappings: tuple[UserHeader, ...] = ()
    enforce_user_param: bool = False
    reject_clientside_metadata_tags: bool = False
    custom_auth: str | None = None
    custom_auth_run_common_checks: bool = False
    user_api_key_cache_ttl_s: float = 60.0
    allowed_routes: tuple[str, ...] = ()
    admin_only_routes: tuple[str, ...] = ()
    public_routes: tuple[str, ...] = ()
    allowed_ips: tuple[str, ...] = ()
    """Networks, in CIDR form; empty: everybody is served."""
    enforced_params: tuple[str, ...] = ()
    use_x_forwarded_for: bool = False
    ui_access_mode: str | None = None

    max_request_size_mb: float | None = None
    max_response_size_mb: float | None = None
    max_parallel_requests: int | None = None
    global_max_parallel_requests: int | None = None
    completion_model: str | None = None
    infer_model_from_keys: bool = False
    forward_client_headers_to_llm_api: bool = False
    forward_openai_org_id: bool = False
    always_include_stream_usage: bool | None = None
    """True: every client gets the usage chunk; False: upstreams are never asked for usage; None: who asks gets it."""
    missing_session_id: Literal["generate", "reject", "omit"] | None = None
    pass_through_endpoints: tuple[Mapping[str, object], ...] = ()

    disable_spend_logs: bool = False
    store_prompts_in_spend_logs: bool = False
    maximum_spend_logs_retention_period: str | None = None
    maximum_spend_logs_retention_interval: str | None = None
    disable_error_logs: bool = False
    proxy_batch_write_at_s: float = 10.0
    proxy_budget_rescheduler_min_time_s: float = 597.0
    proxy_budget_rescheduler_max_time_s: float = 605.0
    token_rate_limit_type: Literal["total", "input", "output"] = "total"  # noqa: S105 (a kind of count, no secret)
    apply_user_budget_to_team_keys: bool = False
    disable_budget_reservation: bool = False
    coordination_redis: Mapping[str, object] = {}
    fail_closed_rate_limit_enforcement: bool = False
    enforce_fallback_model_access: bool = False

    background_health_checks: bool = False
    health_check_interval_s: float = 300.0
    health_check_details: bool = True
    use_shared_health_check: bool = False
    alerting: tuple[str, ...] = ()
    alerting_threshold_s: float | None = None
    alert_types: tuple[str, ...] = ()
    alert_to_webhook_url: Mapping[str, object] = {}
    alerting_args: Mapping[str, object] = {}
    spend_report_frequency: str | None = None


class BursarSettings(Record, frozen=True, kw_only=True):
    """`bursar_settings`: what LiteLLM has no key for. Every default has its reason on the reference page."""

    on_disconnect: Literal["drain", "cancel"] = "drain"
    drain_s: float = 30.0
    grace_s: float = 30.0
    unknown_price: Literal["serve", "refuse"] = "serve"
    budget_wait_s: float = 2.0
    """How long a call waits for budget that others only hold."""
    forward_upstream_headers: Literal["all", "safe"] = "all"
    """Upstream headers a client gets as `llm_provider-*`. `safe` leaves out those that name the provider account's
    organization or project; neither passes `set-cookie` on."""

    transport: Literal["native", "aiohttp"] = "native"
    upstream_proxy: str | None = None
    """URL of an HTTP proxy that all calls leave through; the `aiohttp` transport alone can."""
    upstream_connect_timeout_s: float = 10.0
    upstream_idle_timeout_s: float = 300.0
    upstream_max_connections_per_host: int = 1000
    stored_models_private_addresses: bool = True
    """Whether models of the database may be on private networks and on this machine."""

    max_request_bytes: int = 32 * MIB
    max_response_bytes: int = 256 * MIB
    metadata_max_bytes: int = 65536
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keepalive_timeout_s: float = 75.0
    trusted_proxies: tuple[str, ...] = ()
    """Networks, in CIDR form, whose `X-Forwarded-For` is believed."""

    audit_interval_s: float = 900.0
    """How often the books are compared with themselves; 0: never."""

    durability: Literal["process", "power", "database"] = "process"
    journal_keep_bytes: int = 1024 * MIB
    journal_keep_hours: float = 24.0
    rate_lease_s: float = 600.0
    """How long a worker uses its shares of rate limits without news from the database."""


class Credential(Record, frozen=True, kw_only=True):
    """One entry of `credential_list`; deployments that name it have its values already merged in."""

    name: str
    values: Mapping[str, Secret] = {}
    info: Mapping[str, object] = {}


class Config(Record, frozen=True, kw_only=True):
    """Everything the config file says."""

    deployments: tuple[DeploymentConfig, ...] = ()
    router: RouterSettings = RouterSettings()
    litellm: LitellmSettings = LitellmSettings()
    general: GeneralSettings = GeneralSettings()
    bursar: BursarSettings = BursarSettings()
    credentials: tuple[Credential, ...] = ()

    def groups(self) -> dict[str, tuple[DeploymentConfig, ...]]:
        """Deployments by their group, both in the order of the file."""
        groups: dict[str, tuple[DeploymentConfig, ...]] = {}
        for deployment in self.deployments:
            groups[deployment.model_name] = (*groups.get(deployment.model_name, ()), deployment)
        return groups
