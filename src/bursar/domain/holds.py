"""Holds: the most a call can cost, set aside from its budgets before it is sent.

A hold must never be too small, or budgets would be overspent; so every rule here rounds up. A token of text is at
least one byte, whatever the tokenizer, so text is bounded by its bytes. What is only referred to (images, files) is
bounded by the model's context window. Which class of tokens will be billed is not known beforehand: the dearest counts.
"""

import msgspec

from bursar.domain.money import UNITS_PER_RATE, NanoUsd, Rate
from bursar.domain.prices import Price, Rates

TOKENS_PER_MESSAGE = 8
"""What providers put around a message: role, separators. OpenAI's cookbook counts 3 to 4."""
TOKENS_FOR_TOOLS = 1024
"""What providers say to the model about tools, beside their definitions. Anthropic documents up to 530 (10/2025)."""
ASSUMED_OUTPUT_TOKENS = 4096
"""The bound on an answer that nothing else bounds: what most models take."""
LEAST_OUTPUT_TOKENS = 16
"""An answer shorter than this is of no use to anybody: rather none."""


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How large a request is, as far as can be told without a tokenizer."""

    body_bytes: int
    messages: int = 1
    tools: bool = False
    only_text: bool = True
    """False: it refers to something, or holds what is no text."""


def most_prompt_tokens(extent: Extent, *, context_window: int | None) -> int | None:
    """The most input tokens the request can be; None: nothing bounds them."""
    if not extent.only_text:
        return context_window
    bound = extent.body_bytes + TOKENS_PER_MESSAGE * extent.messages + (TOKENS_FOR_TOOLS if extent.tools else 0)
    return bound if context_window is None else min(bound, context_window)


class Ceiling(msgspec.Struct, frozen=True):
    """The dearest rates that a prompt of up to a certain length can meet."""

    prompt: Rate
    completion: Rate
    prompt_tokens: int

    def cost(self, output_tokens: int) -> NanoUsd:
        """The most that so many output tokens can cost, the prompt included; rounded up."""
        scaled = self.prompt_tokens * self.prompt + output_tokens * self.completion
        return NanoUsd(-(-scaled // UNITS_PER_RATE))

    def output_within(self, amount: int) -> int | None:
        """The most output tokens that `amount` pays for; None: any number; negative: not even the prompt."""
        left = amount * UNITS_PER_RATE - self.prompt_tokens * self.prompt
        if left < 0:
            return -1
        return left // self.completion if self.completion else None


def ceiling_of(price: Price, prompt_tokens: int, *, only_text: bool = True) -> Ceiling:
    """The dearest rates of `price` for prompts of up to `prompt_tokens`, in any tier that such a prompt can reach."""
    prompt = _dearest_prompt(price.rates, only_text=only_text)
    completion = _dearest_completion(price.rates, only_text=only_text)
    for tier in price.tiers:
        if prompt_tokens >= tier.above_prompt_tokens:
            prompt = max(prompt, _dearest_prompt(tier.rates, only_text=only_text))
            completion = max(completion, _dearest_completion(tier.rates, only_text=only_text))
    return Ceiling(prompt=Rate(prompt), completion=Rate(completion), prompt_tokens=prompt_tokens)


def bounded_output(
    ceiling: Ceiling, *, remaining: int, calls_in_flight: int, floor: int, most: int | None
) -> int | None:
    """The bound on the output of a call that brings none, when the budget cannot hold the model's maximum.

    A share of what remains, so that others in flight get theirs: half of it for a lone call. Never below `floor` while
    that can be paid, and then whatever can be, down to `LEAST_OUTPUT_TOKENS`. `most`: the model's own maximum.
    None: it does not fit at all.
    """
    affordable = ceiling.output_within(remaining)
    share = ceiling.output_within(remaining // (2 * (calls_in_flight + 1)))
    if affordable is None or share is None:
        return most
    least = LEAST_OUTPUT_TOKENS if most is None else min(LEAST_OUTPUT_TOKENS, most)
    bound = min(max(share, floor, least), affordable)
    if most is not None:
        bound = min(bound, most)
    return bound if bound >= least else None


class HoldPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a call will hold, depending on what there is."""

    ceiling: Ceiling
    choices: int = 1
    """How many answers are generated."""
    output: int | None = None
    """The bound on the output of each that the request brings; None: it brings none."""
    most: int | None = None
    """The model's own bound; None: not known, so that the gateway sets one in any case."""
    floor: int = 256
    """Where the gateway sets the bound, not below this while it can be paid."""

    @property
    def full(self) -> NanoUsd:
        """Enough for whatever the model does, or is assumed to do."""
        return self.ceiling.cost((self.output or self._most) * self.choices)

    @property
    def full_bound(self) -> int | None:
        """The bound to set when all of `full` is held; None: none."""
        return ASSUMED_OUTPUT_TOKENS if self.output is None and self.most is None else None

    @property
    def least(self) -> NanoUsd:
        """The smallest hold with which it can be sent."""
        return self.ceiling.cost((self.output or min(LEAST_OUTPUT_TOKENS, self._most)) * self.choices)

    @property
    def _most(self) -> int:
        return ASSUMED_OUTPUT_TOKENS if self.most is None else self.most

    def within(self, free: int, *, calls_in_flight: int) -> tuple[NanoUsd, int | None] | None:
        """The hold, and the bound to set, when `free` is all there is; None: it does not fit."""
        if (full := self.full) <= free:
            return full, self.full_bound
        if self.output is not None:
            return None
        bound = bounded_output(
            Ceiling(self.ceiling.prompt, Rate(self.ceiling.completion * self.choices), self.ceiling.prompt_tokens),
            remaining=free,
            calls_in_flight=calls_in_flight,
            floor=self.floor,
            most=self._most,
        )
        return None if bound is None else (self.ceiling.cost(bound * self.choices), bound)


def _dearest_prompt(rates: Rates, *, only_text: bool) -> int:
    text = max(rates.prompt, rates.cached_prompt, rates.cache_write_5m, rates.cache_write_1h)
    return text if only_text else max(text, rates.audio_prompt)


def _dearest_completion(rates: Rates, *, only_text: bool) -> int:
    text = max(rates.completion, rates.reasoning)
    return text if only_text else max(text, rates.audio_completion)
