"""What `check` prints, from the first line to the last, and when it says no."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bursar.config.check import CheckReport, render_check
from bursar.config.load import LoadedConfig, load_config
from bursar.config.schema import DeploymentConfig
from bursar.domain.errors import ConfigError
from bursar.providers.catalogue import Provider, resolve

Load = Callable[..., LoadedConfig]


def find_price(deployment: DeploymentConfig) -> str | None:
    if "input_cost_per_token" in deployment.prices:
        return "set here: $1 in, $2 out per million tokens"
    if deployment.model == "openai/odd-price":
        raise ConfigError("this price cannot be billed")
    return "$3 in, $4 out per million tokens" if deployment.model == "openai/known" else None


def resolve_provider(deployment: DeploymentConfig) -> Provider:
    return resolve(
        deployment.model,
        custom_llm_provider=deployment.custom_llm_provider,
        api_base=deployment.api_base,
        is_known_model=lambda _: None,
    ).provider


def check(loaded: LoadedConfig, environ: Mapping[str, str] | None = None) -> CheckReport:
    return render_check(loaded, find_price=find_price, resolve_provider=resolve_provider, environ=environ or {})


def test_the_whole_of_it(load: Load) -> None:
    loaded = load(
        """
        model_list:
          - model_name: large
            litellm_params: {model: openai/known, api_key: sk-secret, weight: 2, rpm: 60}
            model_info: {id: first}
          - model_name: large
            litellm_params: {model: hosted_vllm/big, api_base: "http://gpu:8000/secret-path/v1", order: 2}
            model_info: {id: second}
          - model_name: small
            litellm_params: {model: groq/small, api_key: os.environ/GROQ, input_cost_per_token: 1e-6}
            model_info: {id: third-with-a-long-id}
        router_settings:
          model_group_alias: {best: [large, small], quiet: {model: small, hidden: true}}
          fallbacks: [{large: [small]}]
          default_fallbacks: [small]
          context_window_fallbacks: [{small: [large]}]
        litellm_settings: {rpm: 600, max_budget: 12.5, budget_duration: 1mo, drop_parms: true}
        """
    )
    assert check(loaded) == CheckReport(
        ok=True,
        text="""\
config.yaml: 3 deployments in 2 model groups

Models
  large
    openai/known: provider openai; key set; $3 in, $4 out per million tokens; weight 2; rpm 60; id first
    hosted_vllm/big: provider hosted_vllm; at gpu:8000; key not set; no price; id second
  small
    groq/small: provider groq; no key; set here: $1 in, $2 out per million tokens; id third-with-a…

Aliases
  best → large, then small
  quiet → small (hidden)

Fallbacks
  large → small
  every other group → small
  context too long: small → large

Without a price
  large: hosted_vllm/big
  Calls to them are served, and booked with an unknown cost; bursar_settings.unknown_price: refuse turns them away.
  Set input_cost_per_token and output_cost_per_token, or model_info.base_model.

Keys not set
  config.yaml: model_list[2].litellm_params.api_key: GROQ
  small: groq/small: no key: set api_key or GROQ_API_KEY

For the whole gateway
  litellm_settings.rpm: 600 requests a minute, over all keys and models
  litellm_settings.max_budget: $12.5 per 1mo, over all keys and users

Warnings
  config.yaml: model_list[2].litellm_params.api_key: the environment variable GROQ is not set, so neither is this \
setting
  config.yaml: litellm_settings.drop_parms: unknown key, so it has no effect; did you mean drop_params?
  config.yaml: litellm_settings.max_budget: global budget: it caps the whole gateway at $12.5, not each user; \
for users there are max_internal_user_budget and max_end_user_budget

Not active yet
  config.yaml: model_list[1].litellm_params.order: calls are spread over a group by simple-shuffle
  config.yaml: router_settings.fallbacks: no other group is tried after a failure
  config.yaml: router_settings.default_fallbacks: no other group is tried after a failure
  config.yaml: router_settings.context_window_fallbacks: no other group is tried after a failure
  config.yaml: router_settings.model_group_alias.best: calls go to the first name in this list, and after a failure to \
no other

The configuration can be used.
""",
    )


def test_a_deployment_that_cannot_be_called_is_a_problem(load: Load) -> None:
    loaded = load("model_list: [{model_name: g, litellm_params: {model: mystery}}]")
    report = check(loaded)
    assert not report.ok
    assert "Problems\n  g: mystery: LLM Provider NOT provided." in report.text
    assert report.text.endswith("\nThe configuration cannot be used as it is.\n")


def test_a_price_that_cannot_be_used_is_a_problem(load: Load) -> None:
    report = check(load("model_list: [{model_name: g, litellm_params: {model: openai/odd-price}}]"))
    assert not report.ok
    assert "Problems\n  g: openai/odd-price: this price cannot be billed\n" in report.text
    assert "Without a price" not in report.text


@pytest.mark.parametrize(
    ("params", "environ", "expected"),
    [
        ("model: openai/m", {"OPENAI_API_KEY": "sk-secret"}, "key from OPENAI_API_KEY"),
        ("model: together_ai/m", {"TOGETHER_AI_API_KEY": "sk-secret"}, "key from TOGETHER_AI_API_KEY"),
        ("model: openai/m", {"OPENAI_API_KEY": ""}, "no key"),
        ("model: ollama_chat/m", {}, "key not set"),
        ("model: bedrock/m, aws_region_name: eu", {}, "key set"),
    ],
)
def test_where_the_key_comes_from(load: Load, params: str, environ: dict[str, str], expected: str) -> None:
    report = check(load(f"model_list: [{{model_name: g, litellm_params: {{{params}}}}}]"), environ)
    assert f"; {expected}; no price" in report.text
    assert "secret" not in report.text


def test_an_own_server_may_ask_for_no_key(load: Load) -> None:
    report = check(load("model_list: [{model_name: g, litellm_params: {model: openai/m, api_base: 'http://gpu/v1'}}]"))
    assert "no key: set api_key or OPENAI_API_KEY, unless its server asks for none" in report.text


def test_unpriced_models_may_be_refused(load: Load) -> None:
    report = check(
        load(
            "model_list: [{model_name: g, litellm_params: {model: openai/m}}]\nbursar_settings: {unknown_price: refuse}"
        )
    )
    assert "  Calls to them are refused.\n" in report.text


def test_the_defaults(tmp_path: Path) -> None:
    report = check(load_config(None, {}, directory=tmp_path))
    assert report.text.startswith(
        "No config file, so the defaults: 1 deployment in 1 model group\n\nModels\n  demo\n"
        "    openai/demo: built-in demo; needs no key; set here: $1 in, $2 out per million tokens; id "
    )


def test_wildcards_are_told_as_such(load: Load) -> None:
    models = ("*", "openai/*", "azure/gpt-4o")
    entries = ", ".join(f"{{model_name: '{model}', litellm_params: {{model: '{model}'}}}}" for model in models)
    report = check(load(f"model_list: [{entries}]"))
    assert report.ok
    assert "*: provider by the name that is asked for; key by provider; priced by the name" in report.text
    assert "openai/*: provider openai; no key; priced by the name" in report.text
    assert "azure/gpt-4o: the provider azure cannot be called; calls to it answer 501" in report.text
