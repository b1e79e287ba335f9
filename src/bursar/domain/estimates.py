"""Tokens from bytes, for charges whose usage the provider did not report: a ratio per model, learnt as it reports."""

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

    def __init__(self) -> None:
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
        return math.ceil(text_bytes / self._ratios.get(model, _START))
