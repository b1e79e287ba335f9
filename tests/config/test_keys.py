"""The table, the records and the reading of files agree."""

import subprocess
import sys
from collections.abc import Callable, Mapping

import msgspec
import pytest

from bursar.config.keys import (
    BURSAR_SETTINGS,
    CACHE_PARAMS,
    GENERAL_SETTINGS,
    LITELLM_PARAMS,
    LITELLM_SETTINGS,
    MODEL_INFO,
    ROUTER_SETTINGS,
    ROUTING_STRATEGY_ARGS,
    SECTIONS,
    Key,
    Room,
    Section,
)
from bursar.config.load import LoadedConfig
from bursar.config.schema import (
    BursarSettings,
    CacheParams,
    DeploymentConfig,
    GeneralSettings,
    LitellmSettings,
    ModelInfo,
    Record,
    RouterSettings,
    RoutingStrategyArgs,
)

Load = Callable[..., LoadedConfig]

RECORDS: list[tuple[Section, type[Record]]] = [
    (ROUTER_SETTINGS, RouterSettings),
    (ROUTING_STRATEGY_ARGS, RoutingStrategyArgs),
    (LITELLM_SETTINGS, LitellmSettings),
    (CACHE_PARAMS, CacheParams),
    (GENERAL_SETTINGS, GeneralSettings),
    (BURSAR_SETTINGS, BursarSettings),
    (LITELLM_PARAMS, DeploymentConfig),
    (MODEL_INFO, ModelInfo),
]

# Filled from elsewhere than a key of their own name.
FOLDED = {"default_fallbacks", "litellm_credential_name", "id"}
DERIVED = {"id", "model_name", "blocked", "extra_params", "prices", "model_info", "built_in_demo", "stored", "verbatim"}


def read_keys(section: Section) -> list[Key]:
    return [key for key in section.keys.values() if key.kind is not None and "." not in key.into]


def defaults(record: type[Record]) -> dict[str, object]:
    return {
        field.name: {} if field.default_factory is dict else field.default for field in msgspec.structs.fields(record)
    }


@pytest.mark.parametrize(("section", "record"), RECORDS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_key_has_its_field_and_every_field_its_key(section: Section, record: type[Record]) -> None:
    fields = {key.field.removesuffix("[]") for key in read_keys(section) if key.name not in FOLDED}
    assert fields - set(defaults(record)) == set()
    assert set(defaults(record)) - fields - DERIVED == set()


@pytest.mark.parametrize(("section", "record"), RECORDS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_tables_defaults_are_the_records(section: Section, record: type[Record]) -> None:
    real = defaults(record)
    nested: tuple[object, ...] = (RoutingStrategyArgs(),)
    for key in read_keys(section):
        default = real.get(key.field)
        if key.name in FOLDED or key.into or default in nested or default is msgspec.NODEFAULT:
            continue
        assert key.default == default, key.name


def test_shared_keys_have_the_routers_kind_and_default() -> None:
    for section in (LITELLM_SETTINGS, GENERAL_SETTINGS):
        for key in section.keys.values():
            if key.into.startswith("router."):
                own = ROUTER_SETTINGS.keys[key.into.removeprefix("router.")]
                assert (key.kind, key.default, key.room) == (own.kind, own.default, own.room), key.name


def test_names_are_unique_and_patterns_end_in_a_star() -> None:
    for section in SECTIONS:
        for name, key in section.keys.items():
            assert name == key.name
            assert name.strip("*") == name.removesuffix("*")


def test_a_pattern_finds_what_begins_like_it() -> None:
    assert LITELLM_SETTINGS.find("prometheus_metrics_config") is LITELLM_SETTINGS.keys["prometheus_*"]
    assert LITELLM_SETTINGS.find("prometheu") is None


ACTIVE_THIS_RELEASE: Mapping[str, set[str]] = {
    "router_settings": {"timeout", "stream_timeout", "model_group_alias", "default_max_parallel_requests"},
    "litellm_settings": {
        "default_internal_user_params",
        "default_key_generate_params",
        "internal_user_budget_duration",
        "key_generation_settings",
        "max_internal_user_budget",
        "upperbound_key_generate_params",
        "drop_params",
        "rpm",
        "tpm",
        "request_timeout",
        "max_budget",
        "max_end_user_budget",
        "max_end_user_budget_id",
        "budget_duration",
        "budget_exceeded_status_code",
        "budget_reset_time",
        "timezone",
        "model_alias_map",
        "model_group_alias",
        "ssl_verify",
        "block_requests_for_models_without_pricing",
        "include_cost_in_streaming_usage",
        "disable_end_user_cost_tracking",
        "extra_spend_tag_headers",
        "require_auth_for_metrics_endpoint",
        "disable_add_user_agent_to_request_tags",
        "add_user_information_to_llm_headers",
    },
    "general_settings": {
        "allowed_ips",
        "enforced_params",
        "master_key",
        "dangerously_permit_weak_or_unset_master_key",
        "database_url",
        "database_connection_pool_limit",
        "database_connection_pool_timeout",
        "litellm_key_header_name",
        "user_header_name",
        "user_header_mappings",
        "user_api_key_cache_ttl",
        "max_request_size_mb",
        "max_response_size_mb",
        "forward_client_headers_to_llm_api",
        "forward_openai_org_id",
        "always_include_stream_usage",
        "disable_spend_logs",
        "store_model_in_db",
        "store_prompts_in_spend_logs",
        "model_group_alias",
        "max_parallel_requests",
        "global_max_parallel_requests",
        "token_rate_limit_type",
        "fail_closed_rate_limit_enforcement",
        "completion_model",
        "disable_error_logs",
    },
    "bursar_settings": set(BURSAR_SETTINGS.keys),
}


@pytest.mark.parametrize("section", [s for s in SECTIONS if s.name in ACTIVE_THIS_RELEASE], ids=lambda s: s.name)
def test_what_is_active(section: Section) -> None:
    """A reminder on purpose: whoever builds a room moves its keys here, in the table and on the reference page."""
    assert {key.name for key in section.keys.values() if key.room is None} == ACTIVE_THIS_RELEASE[section.name]


@pytest.mark.parametrize("room", Room)
def test_every_room_is_waited_for(room: Room) -> None:
    waiting = [key for section in SECTIONS for key in section.keys.values() if key.room is room]
    assert waiting or room is Room.ALIAS_LISTS


def test_a_setting_that_waits_is_listed_with_what_that_means(load: Load) -> None:
    loaded = load(
        "model_list: [{model_name: g, litellm_params: {model: m}}]\n"
        "general_settings: {public_routes: [/x], enable_jwt_auth: true}\n"
        "guardrails: [{guardrail_name: x}]\n"
    )
    assert [str(finding) for finding in loaded.inactive] == [
        "config.yaml: guardrails: not active yet: nothing is inspected",
        "config.yaml: general_settings.public_routes: not active yet: nothing is refused because of it",
        "config.yaml: general_settings.enable_jwt_auth: not active yet: nobody can sign in this way",
    ]


def test_importing_the_room_brings_in_nothing_heavy() -> None:
    """Commands start in well under a second; the room must not add a framework, a client or an event loop to that."""
    heavy = ["asyncio", "asyncpg", "click", "cryptography", "email", "http", "httptools", "pyaiohttp", "ssl", "uvloop"]
    code = (
        "import sys, bursar.config.load, bursar.config.options, bursar.config.check\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
