"""A planted secret shows up nowhere: not in reprs, findings, errors or what `check` prints."""

import dataclasses
from collections.abc import Callable

import pytest

from bursar.config.check import render_check
from bursar.config.findings import quoted
from bursar.config.load import LoadedConfig
from bursar.config.options import Flags, resolve_options
from bursar.domain.errors import ConfigError
from bursar.providers.catalogue import PROVIDERS

Load = Callable[..., LoadedConfig]

CANARY = "c4n4ry-sk-9f8e7d6c5b4a"

EVERYWHERE = f"""
environment_variables: {{REDIS_PASSWORD: {CANARY}, LANGFUSE_SECRET_KEY: os.environ/CANARY}}
credential_list:
  - credential_name: c
    credential_values: {{api_key: {CANARY}, azure_ad_token: {CANARY}}}
    credential_info: {{k: {CANARY}}}
model_list:
  - model_name: g
    litellm_params:
      model: openai/m
      api_key: os.environ/CANARY
      api_base: https://host/{CANARY}/v1?key={CANARY}
      litellm_credential_name: c
      extra_headers: {{Authorization: Bearer {CANARY}}}
      extra_body: {{token: {CANARY}}}
      aws_secret_access_key: {CANARY}
      vertex_credentials: {{private_key: {CANARY}}}
      some_param: {CANARY}
      my_api_key: {CANARY}
    model_info: {{note: {CANARY}}}
router_settings:
  redis_password: {CANARY}
  redis_url: redis://:{CANARY}@host
litellm_settings:
  cache_params: {{password: {CANARY}, url: 'redis://:{CANARY}@h'}}
  default_team_settings: [{{team_id: t, langfuse_secret: {CANARY}}}]
  callback_settings: {{otel: {{headers: {CANARY}}}}}
  prometheus_x: {CANARY}
  unknown_key: {CANARY}
general_settings:
  master_key: {CANARY}
  database_url: postgresql://u:{CANARY}@h/d
  alert_to_webhook_url: {{budget_alerts: 'https://hooks/{CANARY}'}}
  pass_through_endpoints: [{{path: /x, headers: {{Authorization: {CANARY}}}}}]
  coordination_redis: {{password: {CANARY}}}
guardrails: [{{litellm_params: {{api_key: {CANARY}}}}}]
"""


def test_nothing_printed_shows_it(load: Load) -> None:
    loaded = load(EVERYWHERE, {"CANARY": CANARY, "HOME": "/h"})
    options = resolve_options(Flags(), loaded.environ, loaded.config)
    report = render_check(
        loaded,
        find_price=lambda _: None,
        resolve_provider=lambda _: PROVIDERS["openai"],
        environ={"OPENAI_API_KEY": CANARY},
    )
    printed = [
        repr(loaded),
        str(loaded.config),
        *(repr(getattr(loaded.config, field)) for field in loaded.config.__struct_fields__),
        *(f"{finding} {finding!r}" for finding in (*loaded.warnings, *loaded.inactive)),
        repr(options),
        repr(options.database),
        report.text,
    ]
    assert len(loaded.warnings) > 1
    assert all(CANARY not in text for text in printed)
    deployment = loaded.config.deployments[0]
    assert deployment.api_key is not None
    assert deployment.api_key.reveal() == CANARY, "the secret is there, for those who ask"


@pytest.mark.parametrize(
    "text",
    [
        "general_settings: {master_key: [CANARY]}",
        "general_settings: {database_url: {a: CANARY}}",
        "model_list: [{model_name: g, litellm_params: {model: m, api_key: {a: CANARY}}}]",
        'model_list: [{model_name: g, litellm_params: {model: m, extra_headers: {X: "CANARY\\n"}}}]',
        "model_list: [CANARY]",
        "model_list: CANARY",
        "router_settings: CANARY",
        "environment_variables: {A: [CANARY]}",
        "environment_variables: {LD_PRELOAD: CANARY}",
        "credential_list: [CANARY]",
        "litellm_settings: {cache_params: {password: [CANARY]}}",
        "general_settings: {master_key: CANARY: CANARY}",
        "general_settings: {proxy_batch_write_at: os.environ/CANARY}",
        "CANARY",
    ],
)
def test_no_error_shows_it(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text.replace("os.environ/CANARY", "os.environ/NAME").replace("CANARY", CANARY), {"NAME": CANARY})
    assert CANARY not in str(caught.value)


def test_the_options_and_targets_are_frozen(load: Load) -> None:
    loaded = load("model_list: [{model_name: g, litellm_params: {model: m}}]")
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.files = ()  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        loaded.config.router.num_retries = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:pa55word@h/v1?sig=TOPSECRET", '"http://…@h/v1?…"'),
        ("htp://h/?k=TOPSECRET", '"htp://h/?…"'),
        ("postgres://u:pa55word@h", '"postgres://…@h"'),
        ("https://h/v1", '"https://h/v1"'),
    ],
)
def test_urls_are_shown_without_what_lets_one_in(url: str, said: str) -> None:
    assert quoted(url) == said
