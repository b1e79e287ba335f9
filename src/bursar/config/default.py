"""The configuration without a file: a demo model that needs nobody, and providers whose keys are in the environment."""

from collections.abc import Iterator, Mapping

from bursar.config.deployments import deployment_id
from bursar.config.schema import Config, DeploymentConfig, GeneralSettings
from bursar.domain.secrets import Secret

DEMO_GROUP = "demo"
DEMO_PRICES: Mapping[str, object] = {"input_cost_per_token": 0.00000015, "output_cost_per_token": 0.0000006}
"""0.15 and 0.60 US dollars per million tokens, so that the demo has something to book."""

_PROVIDERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("openai", "OPENAI_API_KEY", ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini")),
    ("anthropic", "ANTHROPIC_API_KEY", ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")),
)
"""Provider, the variable with its key, and the models that can be asked for without the provider's prefix."""


def default_config(environ: Mapping[str, str]) -> Config:
    """What works with nothing but `environ`: `demo`, and OpenAI's and Anthropic's models where a key is set."""
    return Config(
        deployments=(_demo(), *_from_environment(environ)),
        general=GeneralSettings(store_model_in_db=stores_models(environ)),
    )


def stores_models(environ: Mapping[str, str]) -> bool:
    """What STORE_MODEL_IN_DB says where no file says it."""
    return environ.get("STORE_MODEL_IN_DB", "").lower() == "true"


def _demo() -> DeploymentConfig:
    model = f"openai/{DEMO_GROUP}"
    return DeploymentConfig(
        id=deployment_id(DEMO_GROUP, {"model": model}),
        model_name=DEMO_GROUP,
        model=model,
        prices=DEMO_PRICES,
        built_in_demo=True,
    )


def _from_environment(environ: Mapping[str, str]) -> Iterator[DeploymentConfig]:
    for provider, variable, names in _PROVIDERS:
        key = environ.get(variable)
        if not key:
            continue
        for name, model in ((f"{provider}/*", f"{provider}/*"), *((name, f"{provider}/{name}") for name in names)):
            yield DeploymentConfig(
                id=deployment_id(name, {"model": model, "api_key": key}),
                model_name=name,
                model=model,
                api_key=Secret(key),
            )
