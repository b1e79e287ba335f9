"""What files and environment say arrives in the records, and what they cannot say is warned of."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bursar.config.keys import Room
from bursar.config.load import LoadedConfig, load_config
from bursar.config.schema import FallbackRule, FallbackTarget, ModelAlias, UserHeader
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret

Load = Callable[..., LoadedConfig]

GROUPS = """
    model_list:
      - {model_name: fast, litellm_params: {model: openai/fast-1}}
      - {model_name: smart, litellm_params: {model: openai/smart-1}}
"""


def texts(findings: object) -> list[str]:
    assert isinstance(findings, tuple)
    return [str(finding) for finding in findings]


# Fragments of the shape that guides hand around, each meaning what its text says


def test_a_model_with_its_key_in_the_environment_and_a_token_limit(load: Load) -> None:
    loaded = load(
        """
        model_list:
          - model_name: chat-large
            litellm_params:
              model: openai/chat-large-1
              api_key: os.environ/OPENAI_API_KEY
              max_tokens: 2048
        """,
        {"OPENAI_API_KEY": "sk-upstream"},
    )
    (deployment,) = loaded.config.deployments
    assert deployment.model_name == "chat-large"
    assert deployment.api_key == Secret("sk-upstream")
    assert deployment.extra_params == {"max_tokens": 2048}
    assert loaded.warnings == ()
    assert loaded.inactive == ()


def test_rpm_and_tpm_under_litellm_settings_are_limits_of_the_whole_gateway(load: Load) -> None:
    loaded = load(GROUPS + "    litellm_settings: {rpm: 600, tpm: 90000, max_budget: 50}\n")
    assert (loaded.config.litellm.rpm, loaded.config.litellm.tpm) == (600, 90000)
    assert loaded.config.litellm.max_budget_nano_usd == 50_000_000_000
    assert loaded.inactive == ()
    (warning,) = texts(loaded.warnings)
    assert warning.startswith(
        "config.yaml: litellm_settings.max_budget: global budget: it caps the whole gateway at $50"
    )


def test_fallbacks_and_an_alias_with_several_groups(load: Load) -> None:
    loaded = load(
        GROUPS
        + """
    router_settings:
      fallbacks:
        - smart: ["fast", "absent"]
      model_group_alias:
        best: ["smart", "fast"]
        hidden-one: {model: fast, hidden: true}
        plain: fast
"""
    )
    assert loaded.config.router.fallbacks == (
        FallbackRule(group="smart", targets=(FallbackTarget(model="fast"), FallbackTarget(model="absent"))),
    )
    assert loaded.config.router.model_group_alias == {
        "best": ModelAlias(targets=("smart", "fast")),
        "hidden-one": ModelAlias(targets=("fast",), hidden=True),
        "plain": ModelAlias(targets=("fast",)),
    }
    assert texts(loaded.warnings) == [
        "config.yaml: router_settings.fallbacks[0].smart: no model group is called absent"
    ]
    assert [finding.path for finding in loaded.inactive] == [
        "router_settings.fallbacks",
        "router_settings.model_group_alias.best",
    ]


def test_callbacks_in_a_top_level_litellm_params_are_meant_for_litellm_settings(load: Load) -> None:
    loaded = load(
        """
        litellm_params:
          success_callback: ["supabase", "langfuse"]
          failure_callback: ["langfuse"]
          model: openai/not-a-deployment
        litellm_settings:
          failure_callback: ["langsmith"]
        """
        + GROUPS.replace("\n    ", "\n        ")
    )
    assert loaded.config.litellm.success_callback == ("supabase", "langfuse")
    assert loaded.config.litellm.failure_callback == ("langsmith",), "its proper place wins"
    assert [deployment.model_name for deployment in loaded.config.deployments] == ["fast", "smart"]
    belongs = "belongs under litellm_settings; LiteLLM ignores it here, Bursar takes it"
    assert texts(loaded.warnings) == [
        f"config.yaml: litellm_params.success_callback: {belongs}",
        f"config.yaml: litellm_params.failure_callback: {belongs}",
        "config.yaml: litellm_params.model: has no effect: litellm_params stands inside the entries of model_list",
    ]


# Sections


def test_routing_keys_count_in_litellm_settings_too_and_the_routers_own_win(load: Load) -> None:
    config = load(
        GROUPS
        + """
    litellm_settings:
      num_retries: 7
      allowed_fails: 9
      request_timeout: "45"
      default_fallbacks: [fast]
      context_window_fallbacks: [{fast: [smart]}]
    router_settings:
      num_retries: 1
      timeout: 12.5
      routing_strategy: latency-based-routing
      routing_strategy_args: {ttl: 60, lowest_latency_buffer: 0.5}
      retry_policy: {TimeoutErrorRetries: 3}
      provider_budget_config:
        openai: {budget_limit: 2.5, time_period: 1d}
        azure: {max_budget: 1, budget_duration: 1mo}
"""
    ).config
    assert (config.router.num_retries, config.router.allowed_fails) == (1, 9)
    assert (config.router.timeout_s, config.litellm.request_timeout_s) == (12.5, 45.0)
    assert config.router.fallbacks == (FallbackRule(group="*", targets=(FallbackTarget(model="fast"),)),)
    assert config.router.context_window_fallbacks[0].group == "fast"
    assert config.router.routing_strategy_args.ttl_s == 60
    assert config.router.retry_policy == {"TimeoutErrorRetries": 3}
    assert config.router.provider_budget_config["openai"].budget_limit_nano_usd == 2_500_000_000
    assert config.router.provider_budget_config["azure"].time_period == "1mo"


def test_a_fallback_may_change_the_request(load: Load) -> None:
    config = load(GROUPS + "    router_settings: {fallbacks: [{smart: [{model: fast, temperature: 0}]}]}\n").config
    assert config.router.fallbacks[0].targets == (FallbackTarget(model="fast", params={"temperature": 0}),)


@pytest.mark.parametrize("section", ["general_settings", "litellm_settings"])
def test_aliases_in_the_wrong_section_are_taken_with_a_warning(load: Load, section: str) -> None:
    loaded = load(
        GROUPS
        + f"    {section}: {{model_group_alias: {{a: fast, b: fast}}}}\n"
        + "    router_settings: {model_group_alias: {b: smart}}\n"
    )
    aliases = loaded.config.router.model_group_alias
    assert {name: alias.targets for name, alias in aliases.items()} == {"a": ("fast",), "b": ("smart",)}
    (warning,) = texts(loaded.warnings)
    assert warning.startswith(f"config.yaml: {section}.model_group_alias: belongs under router_settings;")


def test_fallbacks_as_a_mapping_are_read_as_rules(load: Load) -> None:
    loaded = load(GROUPS + "    litellm_settings: {fallbacks: {fast: [smart], smart: fast}}\n")
    assert loaded.config.router.fallbacks == (
        FallbackRule(group="fast", targets=(FallbackTarget(model="smart"),)),
        FallbackRule(group="smart", targets=(FallbackTarget(model="fast"),)),
    )
    (warning,) = texts(loaded.warnings)
    assert "litellm_settings.fallbacks: LiteLLM takes only a list" in warning


def test_general_settings_arrive_typed(load: Load) -> None:
    general = load(
        GROUPS
        + """
    general_settings:
      master_key: sk-a-long-random-master-key
      database_url: postgresql://u:p@db/x
      litellm_key_header_name: X-Team-Key
      user_header_name: X-User
      user_header_mappings:
        - {header_name: X-Customer, litellm_user_role: customer}
      user_api_key_cache_ttl: "15"
      max_request_size_mb: 2
      always_include_stream_usage: false
      disable_spend_logs: "true"
"""
    ).config.general
    assert general.master_key == Secret("sk-a-long-random-master-key")
    assert general.database_url == Secret("postgresql://u:p@db/x")
    assert (general.litellm_key_header_name, general.user_header_name) == ("x-team-key", "x-user")
    assert general.user_header_mappings == (UserHeader(header_name="x-customer", role="customer"),)
    assert general.user_api_key_cache_ttl_s == 15.0
    assert general.always_include_stream_usage is False
    assert general.disable_spend_logs is True


def test_litellms_keys_fill_bursars_own_settings_which_win(load: Load) -> None:
    theirs = (
        GROUPS
        + "    general_settings: {max_request_size_mb: 2}\n"
        + "    litellm_settings: {block_requests_for_models_without_pricing: true}\n"
    )
    bursar = load(theirs).config.bursar
    assert (bursar.max_request_bytes, bursar.unknown_price) == (2 * 1024 * 1024, "refuse")
    bursar = load(theirs + "    bursar_settings: {max_request_bytes: 500, unknown_price: serve}\n").config.bursar
    assert (bursar.max_request_bytes, bursar.unknown_price) == (500, "serve")


def test_bursar_settings(load: Load) -> None:
    bursar = load(
        GROUPS + "    bursar_settings: {on_disconnect: cancel, drain_s: 0, trusted_proxies: [10.0.0.0/8, '::1']}\n"
    ).config.bursar
    assert (bursar.on_disconnect, bursar.drain_s) == ("cancel", 0.0)
    assert bursar.trusted_proxies == ("10.0.0.0/8", "::1/128")


def test_cache_params_are_a_record_of_their_own(load: Load) -> None:
    loaded = load(
        GROUPS
        + """
    litellm_settings:
      cache: true
      cache_params: {type: redis, host: os.environ/REDIS_HOST, port: "6380", ttl: 60, supported_call_types: [], tlt: 3}
""",
        {"REDIS_HOST": "cache"},
    )
    params = loaded.config.litellm.cache_params
    assert params is not None
    assert (params.host, params.port, params.ttl_s, params.supported_call_types) == ("cache", 6380, 60.0, ())
    assert params.max_messages == 4
    assert texts(loaded.warnings) == [
        "config.yaml: litellm_settings.cache_params.tlt: unknown key, so it has no effect; did you mean ttl?"
    ]


def test_null_sections_and_values_are_not_set(load: Load) -> None:
    loaded = load(GROUPS + "    router_settings:\n    general_settings: {master_key: }\n")
    assert loaded.config.general.master_key is None
    assert loaded.warnings == ()


def test_what_asks_for_nothing_is_not_listed_as_inactive(load: Load) -> None:
    loaded = load(
        GROUPS
        + """
    router_settings: {routing_strategy: simple-shuffle, num_retries: 0, enable_tag_filtering: false, fallbacks: []}
    litellm_settings: {cache: false, callbacks: [], set_verbose: False, turn_off_message_logging: true}
    general_settings: {store_model_in_db: false, alerting: []}
    guardrails: []
"""
    )
    assert loaded.inactive == ()
    assert loaded.warnings == ()


def test_the_same_inactive_key_in_many_deployments_is_listed_once(load: Load) -> None:
    loaded = load(
        "model_list:\n"
        + "".join(f"  - {{model_name: g, litellm_params: {{model: openai/m{n}, order: {n}}}}}\n" for n in range(1, 4))
    )
    assert texts(loaded.inactive) == [
        f"config.yaml: model_list[*].litellm_params.order: not active yet: {Room.ROUTING} (3 times)"
    ]


# Hints


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        ("litellm_settings", "routing_strategy", "did you mean router_settings.routing_strategy?"),
        ("litellm_settings", "drop_parms", "did you mean drop_params?"),
        ("litellm_settings", "ttl", "did you mean litellm_settings.cache_params.ttl?"),
        ("litellm_settings", "default_model", "general_settings.completion_model forces one"),
        ("router_settings", "store_model_in_db", "did you mean general_settings.store_model_in_db?"),
        ("router_settings", "api_base", "did you mean model_list[].litellm_params.api_base?"),
        ("general_settings", "masterkey", "did you mean master_key?"),
        ("general_settings", "drop_params", "did you mean litellm_settings.drop_params?"),
        ("general_settings", "zzzz", "unknown key, so it has no effect"),
    ],
)
def test_unknown_keys_are_warned_of_with_a_hint(load: Load, section: str, key: str, hint: str) -> None:
    loaded = load(GROUPS + f"    {section}: {{{key}: 1}}\n")
    (warning,) = texts(loaded.warnings)
    assert warning.startswith(f"config.yaml: {section}.{key}: ")
    assert warning.endswith(hint)


def test_an_unknown_section_is_warned_of(load: Load) -> None:
    loaded = load(GROUPS + "    router_setting: {num_retries: 3}\n")
    assert texts(loaded.warnings) == [
        "config.yaml: router_setting: unknown key, so it has no effect; did you mean router_settings?"
    ]


# The environment


def test_references_anywhere_in_the_tree(load: Load) -> None:
    loaded = load(
        """
        model_list:
          - model_name: m
            litellm_params:
              model: os.environ/MODEL
              api_base: os.environ/BASE
              rpm: os.environ/RPM
              extra_body: {deep: [os.environ/DEEP, "x os.environ/DEEP"], flag: os.environ/FLAG}
        """,
        {"MODEL": "openai/m1", "BASE": "http://gpu:8000/v1", "RPM": "60", "DEEP": "value", "FLAG": "True"},
    )
    (deployment,) = loaded.config.deployments
    assert (deployment.model, deployment.api_base, deployment.rpm) == ("openai/m1", "http://gpu:8000/v1", 60)
    assert deployment.extra_body == {"deep": ["value", "x os.environ/DEEP"], "flag": True}


def test_an_unset_variable_gives_null_and_a_warning_naming_it(load: Load) -> None:
    loaded = load(
        """
        model_list:
          - model_name: m
            litellm_params: {model: openai/m, api_key: os.environ/NO_SUCH, organization: os.environ/BLANK}
        """,
        {"BLANK": ""},
    )
    assert loaded.config.deployments[0].api_key is None
    assert loaded.config.deployments[0].organization is None
    assert [(place.path, name) for place, name in loaded.unset] == [("model_list[0].litellm_params.api_key", "NO_SUCH")]
    params = "config.yaml: model_list[0].litellm_params"
    assert texts(loaded.warnings) == [
        f"{params}.api_key: the environment variable NO_SUCH is not set, so neither is this setting",
        f"{params}.organization: the environment variable BLANK is empty",
    ]


def test_shell_syntax_is_not_replaced_and_warned_of(load: Load) -> None:
    loaded = load("model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: '${OPENAI_API_KEY}'}}]")
    (warning,) = texts(loaded.warnings)
    assert warning.endswith("is not replaced by a variable's value; write os.environ/OPENAI_API_KEY")


def test_environment_variables_are_exported_and_seen_by_references(load: Load) -> None:
    loaded = load(
        """
        environment_variables:
          {REDIS_HOST: os.environ/REAL_HOST, REDIS_PORT: 6379, JSON_LOGS: true, GONE: os.environ/NOT}
        router_settings: {redis_host: os.environ/REDIS_HOST, redis_port: os.environ/REDIS_PORT}
        """
        + GROUPS.replace("\n    ", "\n        "),
        {"REAL_HOST": "true", "REDIS_HOST": "old"},
    )
    assert loaded.exports == {"REDIS_HOST": "true", "REDIS_PORT": "6379", "JSON_LOGS": "True"}
    assert loaded.environ["REDIS_HOST"] == "true"
    assert loaded.config.router.redis_port == 6379


def test_dotenv_fills_what_the_process_has_not_set(load: Load) -> None:
    text = """
        model_list:
          - {model_name: m, litellm_params: {model: openai/m, api_key: os.environ/A, organization: os.environ/B}}
        """
    dotenv = """
        # keys
        export A="from file"   # a comment
        B = file
        LD_PRELOAD=/tmp/evil.so
        what is this
        """
    loaded = load(text, {"B": "process"}, dotenv=dotenv)
    (deployment,) = loaded.config.deployments
    assert (deployment.api_key, deployment.organization) == (Secret("from file"), "process")
    assert loaded.exports == {"A": "from file"}
    assert [str(warning).partition(";")[0] for warning in loaded.warnings] == [
        ".env: line 6: is not NAME=value, so it was left out",
        ".env: LD_PRELOAD: may not be set from a file, because it changes what programs run",
    ]
    assert load(text, {"B": "b", "LITELLM_MODE": "PRODUCTION"}).exports == {}


def test_store_model_in_db_by_environment(load: Load) -> None:
    loaded = load(GROUPS, {"STORE_MODEL_IN_DB": "True"})
    assert loaded.config.general.store_model_in_db is True
    assert texts(loaded.inactive) == []
    assert load_config(None, {"STORE_MODEL_IN_DB": "true"}).config.general.store_model_in_db is True
    assert load_config(None, {}).config.general.store_model_in_db is False


# Includes


def test_includes_join_lists_and_merge_mappings(load: Load) -> None:
    loaded = load(
        """
        include: [more.yaml]
        model_list: [{model_name: a, litellm_params: {model: openai/a}}]
        litellm_settings: {drop_params: true, request_timeout: 5}
        """,
        more="""
        include: deep.yaml
        model_list: [{model_name: b, litellm_params: {model: openai/b}}]
        litellm_settings: {drop_params: false, rpm: 10}
        """,
        deep="""
        include: [config.yaml]
        model_list: [{model_name: c, litellm_params: {model: openai/c}}]
        """,
    )
    assert [deployment.model_name for deployment in loaded.config.deployments] == ["a", "b", "c"]
    assert (loaded.config.litellm.drop_params, loaded.config.litellm.rpm) == (True, 10)
    assert [str(file) for file in loaded.files] == ["config.yaml", "more.yaml", "deep.yaml"]
    assert texts(loaded.warnings) == [
        "deep.yaml: include[0]: config.yaml is included already, so it was not read again",
        "more.yaml: litellm_settings.drop_params: is also set at config.yaml: litellm_settings.drop_params, which wins",
    ]


def test_included_entries_keep_their_own_place_in_messages(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("include: [more.yaml]\n", more="model_list: [{model_name: b, litellm_params: {model: openai/b, rpm: x}}]")
    assert str(caught.value) == (
        'more.yaml: model_list[0].litellm_params.rpm: expected a whole number of 0 or more, got "x"'
    )


# Without a file


def test_the_default_has_a_demo_and_the_providers_whose_keys_are_set(tmp_path: Path) -> None:
    nothing = load_config(None, {}, directory=tmp_path)
    (demo,) = nothing.config.deployments
    assert demo.built_in_demo
    assert (demo.model_name, demo.model, demo.api_base) == ("demo", "openai/demo", None)
    assert demo.prices == {"input_cost_per_token": 0.00000015, "output_cost_per_token": 0.0000006}
    environ = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a"}
    groups = load_config(None, environ, directory=tmp_path).config.groups()
    assert groups["openai/*"][0].model == "openai/*"
    assert groups["gpt-4o"][0].api_key == Secret("sk-o")
    assert groups["anthropic/*"][0].api_key == Secret("sk-a")
    assert groups["claude-sonnet-4-5"][0].model == "anthropic/claude-sonnet-4-5"


def test_the_default_takes_keys_from_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-dotenv\n")
    loaded = load_config(None, {}, directory=tmp_path)
    assert loaded.config.groups()["gpt-4o"][0].api_key == Secret("sk-dotenv")
    assert loaded.exports == {"OPENAI_API_KEY": "sk-dotenv"}
