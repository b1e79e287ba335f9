"""Tokens as token limits count them: guessed before a call, known after it."""

from typing import Literal

from bursar.domain.accounting import Evidence
from bursar.domain.estimates import TokenForecast
from bursar.domain.rate_limits import Need
from bursar.domain.usage import Usage
from bursar.gateway.models import Deployment
from bursar.wire.openai_chat import ChatRequest, encoded_prompt_bytes

TokenKind = Literal["total", "input", "output"]
"""Which tokens count: `general_settings.token_rate_limit_type`."""
_REPORTED = frozenset({Evidence.PROVIDER, Evidence.DRAINED, Evidence.FREE})


class TokenMeter:
    """Guesses, counts, and learns to guess."""

    def __init__(self, counted: TokenKind = "total") -> None:
        self._counted = counted
        self._forecast = TokenForecast()

    def need(self, chat: ChatRequest, deployment: Deployment) -> tuple[Need, int]:
        """What a call will probably use; and the size of its prompt, to learn from, where it can be."""
        size, media = encoded_prompt_bytes(chat)
        model = deployment.upstream_model
        prompt = completion = 0
        if self._counted != "output":
            prompt = self._forecast.input(model, size)
            most = deployment.info.get("max_input_tokens")
            if isinstance(most, int):
                prompt = min(prompt, most)
        if self._counted != "input":
            completion = self._forecast.output(model, choices=chat.choices, max_tokens=chat.max_tokens)
        return Need(prompt, completion), 0 if media else size

    def used(self, usage: Usage) -> int:
        """How many tokens count of what was used. Cached ones of the prompt never do."""
        prompt = usage.prompt_tokens - usage.cached_prompt_tokens
        if self._counted == "total":
            return prompt + usage.completion_tokens
        return prompt if self._counted == "input" else usage.completion_tokens

    def learn(self, model: str, size_bytes: int, *, choices: int, usage: Usage, evidence: Evidence) -> None:
        """A call has ended. `size_bytes` as `need` gave it."""
        if size_bytes and evidence in _REPORTED:
            self._forecast.learn(
                model,
                encoded_bytes=size_bytes,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                choices=choices,
            )
