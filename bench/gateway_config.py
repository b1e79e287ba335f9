"""The configuration of gateways under test: two models of the oracle's, at its prices. Bursar and LiteLLM read it."""

from bench.upstream import ANSWER_MODEL, STREAM_MODEL, Upstream

ANSWERS = "bench"
STREAMS = "bench-stream"

_MODEL = """\
  - model_name: {name}
    litellm_params:
      model: openai/{model}
      api_base: {base_url}
      api_key: {key}
      input_cost_per_token: 0.000001
      cache_read_input_token_cost: 0.00000025
      output_cost_per_token: 0.000004
    model_info: {{max_output_tokens: 4096}}
"""


def gateway_config(upstream: Upstream, *, provider_key: str) -> str:
    """A `config.yaml`. `provider_key`: what the gateway shows the provider, which tells its part of the bill."""
    models = ((ANSWERS, ANSWER_MODEL), (STREAMS, STREAM_MODEL))
    entries = (_MODEL.format(name=n, model=m, base_url=upstream.base_url, key=provider_key) for n, m in models)
    return "model_list:\n" + "".join(entries)
