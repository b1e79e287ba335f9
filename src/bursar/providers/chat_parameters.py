"""Which of OpenAI's parameters of chat a deployment takes, as far as anybody knows: for `/model/info` to tell.

Nothing is refused by this. A parameter that no table says anything against is passed on, and listed.
"""

from collections.abc import Mapping, Set

_PARAMETERS = (
    *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens"),
    *("max_tokens", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty", "reasoning_effort"),
    *("response_format", "seed", "service_tier", "stop", "stream", "stream_options", "temperature", "tool_choice"),
    *("tools", "top_logprobs", "top_p", "user", "web_search_options"),
)
"""Chat completions, beside the model and the messages."""
_TAKE: Mapping[str, tuple[str, ...]] = {
    "function_calling": ("function_call", "functions", "tools", "tool_choice", "parallel_tool_calls"),
    "parallel_function_calling": ("parallel_tool_calls",),
    "tool_choice": ("tool_choice",),
    "reasoning": ("reasoning_effort",),
    "response_schema": ("response_format",),
    "audio_output": ("audio", "modalities"),
    "web_search": ("web_search_options",),
}
"""What takes an ability (`supports_…`): without it these do nothing."""


def chat_parameters(refused: Set[str], supports: Mapping[str, bool]) -> list[str]:
    """The names, sorted. `refused`: by the deployment's dialect; `supports`: abilities by LiteLLM's names, of which one
    that is missing is not known either way."""
    lacking = {
        name for ability, names in _TAKE.items() if not supports.get(f"supports_{ability}", True) for name in names
    }
    return sorted({*_PARAMETERS} - refused - lacking)
