"""Every key a configuration may hold: its kind, its default, and whether this release acts on it.

This table drives the reading of the file, the hints for misspelt keys and the check of the reference page. A key
without a room is active. One with a room is accepted, and what that means today is listed at start in the room's words.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from bursar.config.routing_values import (
    ALIASES,
    DEFAULT_FALLBACKS,
    FALLBACKS,
    PROVIDER_BUDGETS,
    RETRY_POLICY,
    USER_HEADERS,
)
from bursar.config.values import (
    ANYTHING,
    BOOLEAN,
    BOOLEAN_OR_PATH,
    COUNT,
    CREDENTIALS,
    DURATION,
    HEADER_NAME,
    HEADERS,
    LIST,
    MAPPING,
    MAPPINGS,
    NAMES,
    NETWORKS,
    NUMBER,
    POSITIVE,
    SECONDS,
    SECONDS_OR_ZERO,
    SECRET,
    TEXT,
    TEXTS,
    URL,
    USD,
    USD_OR_OFF,
    Kind,
    choice,
    count,
)


class Room(StrEnum):
    """Parts of the gateway that are not built yet, each with what it means for a setting that waits for it."""

    ROUTING = "calls are spread over a group by simple-shuffle"
    RETRIES = "a failed call is not tried again"
    FALLBACKS = "no other group is tried after a failure"
    COOLDOWNS = "a failing deployment stays in use"
    LIMITS = "this limit is not enforced"
    BUDGETS = "spend is booked, and this budget is not enforced"
    DEFAULTS = "these defaults are not given to new keys, users and teams"
    CACHE = "answers are not cached"
    REDIS = "Redis is not used"
    CALLBACKS = "nothing is sent to these integrations"
    METRICS = "there are no metrics of end users yet"
    ACCESS = "nothing is refused because of it"
    SIGN_IN = "nobody can sign in this way"
    GUARDRAILS = "nothing is inspected"
    ALERTING = "nobody is alerted"
    HEALTH = "deployments are not probed in the background"
    RETENTION = "nothing is deleted from the logs"
    ENDPOINTS = "these paths answer 501"
    PROVIDERS = "the providers that read it cannot be called"
    PARAMS = "requests reach the provider without this change"
    ALIAS_LISTS = "calls go to the first name in this list, and after a failure to no other"
    OTHER = "it has no effect"


class Key(msgspec.Struct, frozen=True):
    """One key of a section."""

    name: str
    """As in the file. With a `*` at its end: every key that begins so."""
    kind: Kind | None = None
    """None: accepted, neither read nor checked."""
    default: object = None
    room: Room | None = None
    fine: tuple[object, ...] = ()
    """Values that ask for nothing that is not there, though the room is not built."""
    into: str = ""
    """The schema's field, where it is not the name and the unit; `x[]` collects several keys under their names, and
    `router.x` belongs to the router's settings."""
    belongs: str = ""
    """The section this key should stand in; here it is accepted with a warning."""

    @property
    def field(self) -> str:
        """The field of the section's record that holds its value."""
        if self.into:
            return self.into
        unit = f"_{self.kind.unit}" if self.kind and self.kind.unit else ""
        return self.name if self.name.endswith(unit) else self.name + unit


class Section(msgspec.Struct, frozen=True):
    """The keys of one mapping in the file."""

    name: str
    keys: Mapping[str, Key]

    def find(self, name: str) -> Key | None:
        """The key called `name`, or the one whose pattern it fits."""
        key = self.keys.get(name)
        if key is None:
            key = next((k for k in self.keys.values() if k.name.endswith("*") and name.startswith(k.name[:-1])), None)
        return key


def _section(name: str, *keys: Key) -> Section:
    return Section(name, MappingProxyType({key.name: key for key in keys}))


def _accepted(room: Room, *names: str) -> tuple[Key, ...]:
    return tuple(Key(name, room=room) for name in names)


ENTRY = _section(
    "model_list",
    Key("model_name", TEXT),
    Key("litellm_params", MAPPING),
    Key("model_info", MAPPING),
    Key("rpm", COUNT),
    Key("tpm", COUNT),
    Key("blocked", BOOLEAN, False),
)

LITELLM_PARAMS = _section(
    "litellm_params",
    Key("model", TEXT),
    Key("custom_llm_provider", TEXT),
    Key("api_key", SECRET),
    Key("api_base", URL),
    Key("base_url", URL, into="api_base"),
    Key("api_version", TEXT, room=Room.PROVIDERS),
    Key("organization", TEXT),
    Key("litellm_credential_name", TEXT),
    Key("rpm", COUNT),
    Key("tpm", COUNT),
    Key("weight", NUMBER),
    Key("order", COUNT, room=Room.ROUTING),
    Key("max_parallel_requests", POSITIVE),
    Key("timeout", SECONDS),
    Key("stream_timeout", SECONDS),
    Key("num_retries", COUNT, room=Room.RETRIES, fine=(0,)),
    Key("max_retries", COUNT, room=Room.RETRIES, fine=(0,)),
    Key("cooldown_time", SECONDS_OR_ZERO, room=Room.COOLDOWNS, fine=(0,)),
    Key("tags", NAMES, (), Room.ROUTING),
    Key("drop_params", BOOLEAN),
    Key("additional_drop_params", NAMES, ()),
    Key("allowed_openai_params", NAMES, ()),
    Key("extra_headers", HEADERS, {}),
    Key("extra_body", MAPPING, {}),
    Key("mock_response", TEXT),
    Key("merge_reasoning_content_in_choices", BOOLEAN, False, Room.PARAMS),
    Key("use_in_pass_through", BOOLEAN, False, Room.ENDPOINTS),
    Key("configurable_clientside_auth_params", LIST, (), Room.OTHER),
    Key("max_budget", USD),
    Key("budget_duration", DURATION),
    Key("base_model", TEXT, into="model_info.base_model"),
    *(
        Key(name, SECRET, room=Room.PROVIDERS, into="provider_auth[]")
        for name in (
            "aws_region_name",
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
            "aws_role_name",
            "aws_session_name",
            "aws_profile_name",
            "aws_web_identity_token",
            "aws_sts_endpoint",
            "aws_external_id",
            "aws_bedrock_runtime_endpoint",
            "vertex_project",
            "vertex_location",
            "vertex_ai_project",
            "vertex_ai_location",
            "azure_ad_token",
            "tenant_id",
            "client_id",
            "client_secret",
            "azure_scope",
        )
    ),
    Key("vertex_credentials", CREDENTIALS, room=Room.PROVIDERS, into="provider_auth[]"),
    Key("vertex_ai_credentials", CREDENTIALS, room=Room.PROVIDERS, into="provider_auth[]"),
    *_accepted(Room.LIMITS, "itpm", "otpm", "default_api_key_tpm_limit", "default_api_key_rpm_limit"),
    *_accepted(Room.ROUTING, "tag_regex", "region_name", "provider_affinity_header"),
    *_accepted(Room.ROUTING, "auto_router_*", "complexity_router_*"),
    *_accepted(Room.FALLBACKS, "fallbacks"),
    *_accepted(Room.GUARDRAILS, "guardrails"),
    *_accepted(Room.PROVIDERS, "azure_username", "azure_password", "watsonx_region_name"),
    *_accepted(Room.OTHER, "timeout_by_service_tier", "keepalive_seconds", "allow_client_keepalive_override"),
    *_accepted(Room.OTHER, "use_chat_completions_api", "vector_store_id", "ssl_verify", "metadata", "hf_model_name"),
    *_accepted(Room.PARAMS, "cache_control_injection_points", "supports_system_message"),
)

REQUEST_PARAMS = (
    "audio",
    "chat_template_kwargs",
    "dimensions",
    "encoding_format",
    "frequency_penalty",
    "include_reasoning",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "modalities",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "provider",
    "reasoning",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "route",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "transforms",
    "user",
    "verbosity",
    "web_search_options",
)
"""Request parameters often set in `litellm_params`. Unknown ones are sent as well; these are never taken for slips."""

MODEL_INFO = _section(
    "model_info",
    Key("id", TEXT),
    Key("mode", TEXT),
    Key("base_model", TEXT),
    Key("access_groups", NAMES, ()),
    Key("max_tokens", COUNT),
    Key("max_input_tokens", COUNT),
    Key("max_output_tokens", COUNT),
    Key("rpm", COUNT, into="deployment.rpm"),
    Key("tpm", COUNT, into="deployment.tpm"),
    Key("supports_*", BOOLEAN, into="supports[]"),
    *_accepted(Room.ACCESS, "team_id", "team_public_model_name", "access_windows"),
    *_accepted(Room.OTHER, "supported_environments", "tier", "discoverable", "ptu_*"),
    *_accepted(Room.HEALTH, "health_check_model", "health_check_timeout", "disable_background_health_check"),
    *_accepted(Room.COOLDOWNS, "allowed_fails", "allowed_fails_policy", "cooldown_time"),
)

CREDENTIAL = _section(
    "credential_list",
    Key("credential_name", TEXT),
    Key("credential_values", MAPPING, {}),
    Key("credential_info", MAPPING, {}),
)

ROUTING_STRATEGY_ARGS = _section(
    "routing_strategy_args",
    Key("ttl", SECONDS, room=Room.ROUTING),
    Key("lowest_latency_buffer", NUMBER, 0.0, Room.ROUTING),
    Key("max_latency_list_size", POSITIVE, 10, Room.ROUTING),
    Key("ttft_percentile", NUMBER, room=Room.ROUTING),
)

ROUTER_SETTINGS = _section(
    "router_settings",
    Key(
        "routing_strategy",
        choice(
            "simple-shuffle",
            "least-busy",
            "usage-based-routing",
            "usage-based-routing-v2",
            "latency-based-routing",
            "cost-based-routing",
        ),
        "simple-shuffle",
        Room.ROUTING,
    ),
    Key("routing_strategy_args", MAPPING, {}, Room.ROUTING),
    Key("num_retries", COUNT, 2, Room.RETRIES, fine=(0,)),
    Key("retry_after", SECONDS_OR_ZERO, 0.0, Room.RETRIES),
    Key("retry_policy", RETRY_POLICY, {}, Room.RETRIES),
    Key("allowed_fails", COUNT, 3, Room.COOLDOWNS),
    Key("cooldown_time", SECONDS_OR_ZERO, 5.0, Room.COOLDOWNS, fine=(0,)),
    Key("disable_cooldowns", BOOLEAN, False, Room.COOLDOWNS, fine=(True,)),
    Key("timeout", SECONDS),
    Key("stream_timeout", SECONDS),
    Key("fallbacks", FALLBACKS, (), Room.FALLBACKS),
    Key("default_fallbacks", DEFAULT_FALLBACKS, (), Room.FALLBACKS),
    Key("context_window_fallbacks", FALLBACKS, (), Room.FALLBACKS),
    Key("content_policy_fallbacks", FALLBACKS, (), Room.FALLBACKS),
    Key("max_fallbacks", COUNT, 5, Room.FALLBACKS, fine=(0,)),
    Key("model_group_alias", ALIASES, {}),
    Key("enable_pre_call_checks", BOOLEAN, False, Room.ROUTING),
    Key("optional_pre_call_checks", NAMES, (), Room.ROUTING, fine=(("enforce_model_rate_limits",),)),
    Key("default_max_parallel_requests", POSITIVE),
    Key("redis_host", TEXT, room=Room.REDIS),
    Key("redis_port", count(least=1, most=65535), room=Room.REDIS),
    Key("redis_password", SECRET, room=Room.REDIS),
    Key("redis_url", SECRET, room=Room.REDIS),
    Key("redis_db", COUNT, room=Room.REDIS),
    Key("cache_responses", BOOLEAN, room=Room.CACHE),
    Key("enable_tag_filtering", BOOLEAN, False, Room.ROUTING),
    Key("tag_filtering_match_any", BOOLEAN, True, Room.ROUTING),
    Key("tag_routing_prefix", TEXT, "", Room.ROUTING),
    Key("provider_budget_config", PROVIDER_BUDGETS, {}, Room.BUDGETS),
    *_accepted(Room.RETRIES, "model_group_retry_policy"),
    *_accepted(Room.COOLDOWNS, "allowed_fails_policy"),
    *_accepted(Room.ROUTING, "enable_weighted_failover", "routing_groups"),
    *_accepted(Room.ROUTING, "model_group_affinity_config", "deployment_affinity_ttl_seconds", "default_priority"),
    *_accepted(Room.ROUTING, "enable_health_check_routing", "router_general_settings"),
    *_accepted(Room.CACHE, "caching_groups", "cache_kwargs"),
    *_accepted(Room.ALERTING, "alerting_config"),
    *_accepted(Room.GUARDRAILS, "guardrail_list"),
    *_accepted(Room.OTHER, "default_litellm_params", "set_verbose", "debug_level", "client_ttl", "polling_interval"),
    *_accepted(Room.OTHER, "search_tools", "assistants_config", "ignore_invalid_deployments"),
)

CACHE_PARAMS = _section(
    "cache_params",
    Key("type", TEXT, "redis"),
    Key("host", TEXT),
    Key("port", count(least=1, most=65535)),
    Key("password", SECRET),
    Key("username", TEXT),
    Key("url", SECRET),
    Key("redis_url", SECRET, into="url"),
    Key("ssl", BOOLEAN),
    Key("db", COUNT),
    Key("namespace", TEXT),
    Key("ttl", SECONDS),
    Key("mode", choice("default_on", "default_off"), "default_on"),
    Key("supported_call_types", NAMES),
    Key("max_messages", COUNT, 4),
    *_accepted(Room.CACHE, "redis_startup_nodes", "service_name", "sentinel_nodes", "sentinel_password"),
    *_accepted(Room.CACHE, "similarity_threshold", "redis_semantic_cache_*", "semantic_cache_scope", "qdrant_*"),
    *_accepted(Room.CACHE, "s3_*", "gcs_*", "azure_*", "disk_cache_dir", "valkey_*", "default_in_memory_ttl"),
    *_accepted(Room.CACHE, "default_in_redis_ttl", "redis_flush_size", "ssl_*", "max_connections", "socket_timeout"),
    *_accepted(Room.CACHE, "gcp_*"),
)

LITELLM_SETTINGS = _section(
    "litellm_settings",
    Key("drop_params", BOOLEAN, False),
    Key("modify_params", BOOLEAN, False, Room.PARAMS),
    Key("request_timeout", SECONDS),
    Key("num_retries", COUNT, 2, Room.RETRIES, fine=(0,), into="router.num_retries"),
    Key("allowed_fails", COUNT, 3, Room.COOLDOWNS, into="router.allowed_fails"),
    Key("fallbacks", FALLBACKS, (), Room.FALLBACKS, into="router.fallbacks"),
    Key("default_fallbacks", DEFAULT_FALLBACKS, (), Room.FALLBACKS, into="router.default_fallbacks"),
    Key("context_window_fallbacks", FALLBACKS, (), Room.FALLBACKS, into="router.context_window_fallbacks"),
    Key("content_policy_fallbacks", FALLBACKS, (), Room.FALLBACKS, into="router.content_policy_fallbacks"),
    Key("max_fallbacks", COUNT, 5, Room.FALLBACKS, fine=(0,), into="router.max_fallbacks"),
    Key("model_group_alias", ALIASES, {}, into="router.model_group_alias", belongs="router_settings"),
    Key("model_alias_map", TEXTS, {}),
    Key("rpm", COUNT),
    Key("tpm", COUNT),
    Key("ssl_verify", BOOLEAN_OR_PATH, True),
    Key("ssl_certificate", TEXT, room=Room.OTHER),
    Key("success_callback", NAMES, (), Room.CALLBACKS),
    Key("failure_callback", NAMES, (), Room.CALLBACKS),
    Key("callbacks", NAMES, (), Room.CALLBACKS),
    Key("service_callback", NAMES, (), Room.CALLBACKS),
    Key("callback_settings", MAPPING, {}, Room.CALLBACKS),
    Key("turn_off_message_logging", BOOLEAN, False, Room.CALLBACKS, fine=(True,)),
    Key("redact_user_api_key_info", BOOLEAN, False, Room.CALLBACKS, fine=(True,)),
    Key("set_verbose", BOOLEAN, False, Room.OTHER),
    Key("json_logs", BOOLEAN, False, Room.OTHER),
    Key("log_raw_request_response", BOOLEAN, False, Room.CALLBACKS),
    Key("langfuse_default_tags", NAMES, (), Room.CALLBACKS),
    Key("langsmith_batch_size", POSITIVE, room=Room.CALLBACKS),
    Key("require_auth_for_metrics_endpoint", BOOLEAN, True),
    Key("custom_prometheus_metadata_labels", NAMES, (), Room.METRICS),
    Key("custom_prometheus_tags", NAMES, (), Room.METRICS),
    Key("prometheus_*", ANYTHING, {}, Room.METRICS, into="prometheus[]"),
    Key("cache", BOOLEAN, False, Room.CACHE),
    Key("cache_params", MAPPING, room=Room.CACHE),
    Key("enable_redis_auth_cache", BOOLEAN, False, Room.REDIS),
    Key("max_budget", USD_OR_OFF),
    Key("budget_duration", DURATION),
    Key("budget_exceeded_status_code", count(least=400, most=499), 422),
    Key("max_internal_user_budget", USD),
    Key("internal_user_budget_duration", DURATION),
    Key("max_end_user_budget", USD),
    Key("max_end_user_budget_id", TEXT),
    Key("tag_budget_config", MAPPING, {}, Room.BUDGETS),
    Key("timezone", TEXT, "UTC"),
    Key("budget_reset_time", TEXT, "00:00"),
    Key("budget_rollover", BOOLEAN, False, Room.BUDGETS),
    Key("cost_discount_config", MAPPING, {}, Room.OTHER),
    Key("cost_margin_config", MAPPING, {}, Room.OTHER),
    Key("block_requests_for_models_without_pricing", BOOLEAN, False),
    Key("include_cost_in_streaming_usage", BOOLEAN, False),
    Key("default_internal_user_params", MAPPING, {}),
    Key("default_key_generate_params", MAPPING, {}),
    Key("upperbound_key_generate_params", MAPPING, {}),
    Key("key_generation_settings", MAPPING, {}),
    Key("default_team_settings", MAPPINGS, (), Room.DEFAULTS),
    Key("default_team_params", MAPPING, {}, Room.DEFAULTS),
    Key("public_model_groups", NAMES, (), Room.OTHER),
    Key("disable_end_user_cost_tracking", BOOLEAN, False),
    Key("validate_end_user_id_in_db", BOOLEAN, False, Room.OTHER),
    Key("extra_spend_tag_headers", NAMES, ()),
    Key("disable_add_user_agent_to_request_tags", BOOLEAN, False),
    Key("forward_llm_provider_auth_headers", BOOLEAN, False, Room.OTHER),
    Key("add_user_information_to_llm_headers", BOOLEAN, False),
    *_accepted(Room.LIMITS, "priority_reservation", "priority_reservation_settings"),
    *_accepted(Room.OTHER, "store_audit_logs", "audit_log_callbacks", "telemetry", "suppress_debug_info"),
    *_accepted(Room.METRICS, "enable_end_user_cost_tracking_prometheus_only"),
    *_accepted(Room.METRICS, "disable_end_user_cost_tracking_prometheus_only"),
    *_accepted(Room.PROVIDERS, "custom_provider_map", "enable_json_schema_validation"),
    *_accepted(Room.GUARDRAILS, "guardrails"),
    *_accepted(Room.OTHER, "mcp_*", "network_mock", "disable_copilot_system_to_assistant"),
    *_accepted(Room.CALLBACKS, "langfuse_*", "s3_*", "datadog_*", "gcs_pub_sub_*", "sentry_*"),
)

GENERAL_SETTINGS = _section(
    "general_settings",
    Key("master_key", SECRET),
    Key("dangerously_permit_weak_or_unset_master_key", BOOLEAN, False),
    Key("disable_master_key_return", BOOLEAN, False, Room.OTHER),
    Key("database_url", SECRET),
    Key("database_connection_pool_limit", POSITIVE),
    Key("database_connection_pool_timeout", SECONDS),
    Key("store_model_in_db", BOOLEAN, False),
    Key("allow_requests_on_db_unavailable", BOOLEAN, False, Room.OTHER),
    Key("litellm_key_header_name", HEADER_NAME),
    Key("user_header_name", HEADER_NAME),
    Key("user_header_mappings", USER_HEADERS, ()),
    Key("enforce_user_param", BOOLEAN, False, Room.ACCESS),
    Key("reject_clientside_metadata_tags", BOOLEAN, False, Room.ACCESS),
    Key("custom_auth", TEXT, room=Room.ACCESS),
    Key("custom_auth_run_common_checks", BOOLEAN, False, Room.ACCESS),
    Key("user_api_key_cache_ttl", SECONDS, 60.0),
    Key("allowed_routes", NAMES, (), Room.ACCESS),
    Key("admin_only_routes", NAMES, (), Room.ACCESS),
    Key("public_routes", NAMES, (), Room.ACCESS),
    Key("allowed_ips", NETWORKS, ()),
    Key("enforced_params", NAMES, ()),
    Key("use_x_forwarded_for", BOOLEAN, False, Room.OTHER),
    Key("ui_access_mode", TEXT, room=Room.SIGN_IN),
    Key("max_request_size_mb", NUMBER),
    Key("max_response_size_mb", NUMBER),
    Key("max_parallel_requests", POSITIVE),
    Key("global_max_parallel_requests", POSITIVE),
    Key("completion_model", TEXT),
    Key("infer_model_from_keys", BOOLEAN, False, Room.OTHER),
    Key("forward_client_headers_to_llm_api", BOOLEAN, False),
    Key("forward_openai_org_id", BOOLEAN, False),
    Key("always_include_stream_usage", BOOLEAN),
    Key("missing_session_id", choice("generate", "reject", "omit"), room=Room.OTHER, fine=("omit",)),
    Key("pass_through_endpoints", MAPPINGS, (), Room.ENDPOINTS),
    Key("disable_spend_logs", BOOLEAN, False),
    Key("store_prompts_in_spend_logs", BOOLEAN, False),
    Key("maximum_spend_logs_retention_period", DURATION, room=Room.RETENTION),
    Key("maximum_spend_logs_retention_interval", DURATION, room=Room.RETENTION),
    Key("disable_error_logs", BOOLEAN, False),
    Key("proxy_batch_write_at", SECONDS, 10.0, Room.OTHER),
    Key("proxy_budget_rescheduler_min_time", SECONDS, 597.0, Room.BUDGETS),
    Key("proxy_budget_rescheduler_max_time", SECONDS, 605.0, Room.BUDGETS),
    Key("token_rate_limit_type", choice("total", "input", "output"), "total"),
    Key("apply_user_budget_to_team_keys", BOOLEAN, False),
    Key("disable_budget_reservation", BOOLEAN, False, Room.BUDGETS),
    Key("coordination_redis", MAPPING, {}, Room.REDIS),
    Key("fail_closed_rate_limit_enforcement", BOOLEAN, False),
    Key("enforce_fallback_model_access", BOOLEAN, False, Room.FALLBACKS),
    Key("background_health_checks", BOOLEAN, False, Room.HEALTH),
    Key("health_check_interval", SECONDS, 300.0, Room.HEALTH),
    Key("health_check_details", BOOLEAN, True, Room.HEALTH),
    Key("use_shared_health_check", BOOLEAN, False, Room.HEALTH),
    Key("alerting", NAMES, (), Room.ALERTING),
    Key("alerting_threshold", SECONDS, room=Room.ALERTING),
    Key("alert_types", NAMES, (), Room.ALERTING),
    Key("alert_to_webhook_url", MAPPING, {}, Room.ALERTING),
    Key("alerting_args", MAPPING, {}, Room.ALERTING),
    Key("spend_report_frequency", DURATION, room=Room.ALERTING),
    Key("model_group_alias", ALIASES, {}, into="router.model_group_alias", belongs="router_settings"),
    *_accepted(Room.SIGN_IN, "enable_jwt_auth", "litellm_jwtauth", "enable_oauth2_auth", "enable_oauth2_proxy_auth"),
    *_accepted(Room.SIGN_IN, "custom_sso", "custom_ui_sso_sign_in_handler", "oauth2_config_mappings"),
    *_accepted(Room.SIGN_IN, "password_policy_*", "max_failed_login_attempts_per_source", "allow_user_auth"),
    *_accepted(Room.ACCESS, "role_permissions", "custom_key_generate", "custom_key_update"),
    *_accepted(Room.ACCESS, "default_team_disabled", "user_url_validation", "control_plane_url"),
    *_accepted(Room.OTHER, "key_management_system", "key_management_settings", "use_google_kms", "use_azure_key_vault"),
    *_accepted(Room.OTHER, "database_type", "database_args", "supported_db_objects", "otel", "use_queue"),
    *_accepted(Room.OTHER, "allow_client_side_credentials", "allow_client_pricing_override", "cancel_on_disconnect"),
    *_accepted(Room.OTHER, "allow_client_mock_response", "disable_responses_id_security", "enable_public_model_hub"),
    *_accepted(Room.OTHER, "proxy_config_reload_interval_seconds", "disable_prisma_schema_update"),
    *_accepted(Room.OTHER, "disable_adding_master_key_hash_to_db", "mcp_*", "user_mcp_management_mode"),
    *_accepted(Room.OTHER, "max_file_size_mb", "max_batch_*", "batch_*", "moderation_model", "image_generation_model"),
    *_accepted(Room.BUDGETS, "disable_reset_budget", "fail_closed_budget_enforcement", "proxy_budget_*"),
    *_accepted(Room.RETRIES, "disable_retry_on_max_parallel_request_limit_error"),
    *_accepted(Room.REDIS, "use_redis_transaction_buffer"),
    *_accepted(Room.HEALTH, "health_check_concurrency", "enable_health_check_routing"),
)

BURSAR_SETTINGS = _section(
    "bursar_settings",
    Key("on_disconnect", choice("drain", "cancel"), "drain"),
    Key("drain_s", SECONDS_OR_ZERO, 30.0),
    Key("budget_wait_s", SECONDS_OR_ZERO, 2.0),
    Key("audit_interval_s", SECONDS_OR_ZERO, 900.0),
    Key("grace_s", SECONDS_OR_ZERO, 30.0),
    Key("unknown_price", choice("serve", "refuse"), "serve"),
    Key("forward_upstream_headers", choice("all", "safe"), "all"),
    Key("transport", choice("native", "aiohttp"), "native"),
    Key("upstream_proxy", URL, None),
    Key("upstream_connect_timeout_s", SECONDS, 10.0),
    Key("upstream_idle_timeout_s", SECONDS, 300.0),
    Key("upstream_max_connections_per_host", POSITIVE, 1000),
    Key("stored_models_private_addresses", BOOLEAN, True),
    Key("max_request_bytes", POSITIVE, 33554432),
    Key("max_response_bytes", POSITIVE, 268435456),
    Key("metadata_max_bytes", COUNT, 65536),
    Key("header_timeout_s", SECONDS, 10.0),
    Key("body_timeout_s", SECONDS, 30.0),
    Key("keepalive_timeout_s", SECONDS, 75.0),
    Key("trusted_proxies", NETWORKS, ()),
    Key("durability", choice("process", "power", "database"), "process"),
    Key("journal_keep_bytes", COUNT, 1073741824),
    Key("journal_keep_hours", NUMBER, 24.0),
    Key("rate_lease_s", SECONDS, 600.0),
)

TOP_LEVEL = _section(
    "the file",
    Key("include", NAMES, ()),
    Key("environment_variables", TEXTS, {}),
    Key("model_list", MAPPINGS, ()),
    Key("router_settings", MAPPING, {}),
    Key("litellm_settings", MAPPING, {}),
    Key("general_settings", MAPPING, {}),
    Key("bursar_settings", MAPPING, {}),
    Key("credential_list", MAPPINGS, ()),
    *_accepted(Room.CALLBACKS, "callback_settings"),
    *_accepted(Room.GUARDRAILS, "guardrails", "policies", "policy_attachments"),
    *_accepted(Room.ENDPOINTS, "files_settings", "finetune_settings", "assistant_settings"),
    *_accepted(Room.ENDPOINTS, "default_vertex_config", "vector_store_registry"),
    *_accepted(Room.OTHER, "prompts", "search_tools", "sandbox_tools", "mcp_servers", "mcp_tools", "agent_list"),
    *_accepted(Room.OTHER, "mcp_aliases", "worker_registry"),
)

SETTINGS = (ROUTER_SETTINGS, LITELLM_SETTINGS, GENERAL_SETTINGS, BURSAR_SETTINGS)
"""The sections that are plain settings; hints look for a misplaced key in them, in this order."""

SECTIONS = (
    TOP_LEVEL,
    ENTRY,
    LITELLM_PARAMS,
    MODEL_INFO,
    CREDENTIAL,
    ROUTER_SETTINGS,
    ROUTING_STRATEGY_ARGS,
    LITELLM_SETTINGS,
    CACHE_PARAMS,
    GENERAL_SETTINGS,
    BURSAR_SETTINGS,
)
"""All of them, in the order of the reference page."""
