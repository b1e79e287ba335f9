"""Tokens from bytes: a ratio per model, learnt as its provider reports.

For charges whose usage nobody reported, and for what a call will probably use, before it is made.
"""

import math
from collections import OrderedDict

_START = 3.0
"""Bytes per token before anything is learnt: below most text's ratio, so the estimate is rather too high."""
_LOWEST, _HIGHEST = 1.3, 6.0
_WEIGHT = 0.05
_MODELS_MAX = 1000
_WORTH_LEARNING_TOKENS = 50
_USUAL_ANSWER_TOKENS = 300.0
"""Before anything is learnt."""


class TokenRatios:
    """UTF-8 bytes per token, an exponentially weighted average for each model."""

    def __init__(self, start: float = _START) -> None:
        """`start`: bytes per token before anything is learnt."""
        self._start = start
        self._ratios: OrderedDict[str, float] = OrderedDict()
        self._answers: OrderedDict[str, float] = OrderedDict()

    def learn(self, model: str, *, text_bytes: int, tokens: int) -> None:
        """A provider counted `tokens` for `text_bytes` of text."""
        if tokens < _WORTH_LEARNING_TOKENS:
            return
        seen = min(max(text_bytes / tokens, _LOWEST), _HIGHEST)
        known = self._ratios.get(model, seen)
        self._ratios[model] = known + _WEIGHT * (seen - known)
        if len(self._ratios) > _MODELS_MAX:
            self._ratios.popitem(last=False)

    def learn_answer(self, model: str, tokens: int) -> None:
        """An answer had so many tokens."""
        known = self._answers.get(model, float(tokens))
        self._answers[model] = known + _WEIGHT * (tokens - known)
        if len(self._answers) > _MODELS_MAX:
            self._answers.popitem(last=False)

    def usual_answer(self, model: str) -> int:
        """How many tokens answers have as a rule, rounded up."""
        return math.ceil(self._answers.get(model, _USUAL_ANSWER_TOKENS))

    def tokens(self, model: str, text_bytes: int) -> int:
        """About how many tokens `text_bytes` of text are, rounded up; at least one for any text."""
        return math.ceil(text_bytes / self._ratios.get(model, self._start))


_TYPICAL_START = 256
_TYPICAL_WEIGHT = 0.1
_JSON_START = 4.0
"""Bytes of encoded messages for a token: text, and the JSON around it."""


class TokenForecast:
    """What calls of a model will probably use: not the most they could, which nearly none does."""

    def __init__(self) -> None:
        self._ratios = TokenRatios(_JSON_START)
        self._typical: OrderedDict[str, float] = OrderedDict()

    def input(self, model: str, encoded_bytes: int) -> int:
        """Prompt tokens of so many bytes of messages and tools."""
        return self._ratios.tokens(model, encoded_bytes)

    def output(self, model: str, *, choices: int, max_tokens: int | None) -> int:
        """Completion tokens: the usual number for the model, unless the caller allows fewer."""
        typical = math.ceil(self._typical.get(model, _TYPICAL_START))
        return choices * (typical if max_tokens is None else min(typical, max_tokens))

    def learn(
        self, model: str, *, encoded_bytes: int, prompt_tokens: int, completion_tokens: int, choices: int
    ) -> None:
        """A call has used so many tokens, says the provider."""
        self._ratios.learn(model, text_bytes=encoded_bytes, tokens=prompt_tokens)
        each = completion_tokens / choices
        known = self._typical.get(model, each)
        self._typical[model] = known + _TYPICAL_WEIGHT * (each - known)
        if len(self._typical) > _MODELS_MAX:
            self._typical.popitem(last=False)
