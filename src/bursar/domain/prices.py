"""Prices: from published rates to the exact cost of one attempt.

A published price rarely states every class of tokens. `Stated*` records keep what was stated, so that an operator's
price can be laid over it; `Rates` are complete, every gap filled by the price of its side, and are all that the hot
path reads. Amounts are integers throughout: tokens times rates are summed exactly, and rounded up once per charge.

The algebra that follows (and that the tests hold us to), for one price without tiers: the order of tokens never
matters; the cost of n charges is at least the cost of their sum, and less than n nano-dollars above it.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256

import msgspec

from bursar.domain.errors import ConfigError
from bursar.domain.money import NANO_PER_USD, UNITS_PER_RATE, NanoUsd, Rate, rate_from_usd
from bursar.domain.price_keys import PRICE_KEYS, TIERED_PRICING, TokenClass, price_key
from bursar.domain.usage import Usage

__all__ = [
    "PRICE_KEYS",
    "CostParts",
    "Price",
    "Rates",
    "StatedPrice",
    "StatedRates",
    "StatedTier",
    "Tier",
    "cost_of",
    "cost_parts",
    "covers",
    "overlay",
    "price_of",
    "rates_for",
    "stated_price",
    "usd_of_scaled",
]

SCALED_PER_USD = NANO_PER_USD * UNITS_PER_RATE
"""Tokens × rate is money in this many parts of a dollar."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The price of every class of tokens, complete."""

    prompt: Rate
    cached_prompt: Rate
    cache_write_5m: Rate
    cache_write_1h: Rate
    audio_prompt: Rate
    completion: Rate
    reasoning: Rate
    audio_completion: Rate


class StatedRates(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "prompt": "in",
        "cached_prompt": "read",
        "cache_write_5m": "write",
        "cache_write_1h": "write_1h",
        "audio_prompt": "audio_in",
        "completion": "out",
        "reasoning": "reason",
        "audio_completion": "audio_out",
    },
):
    """The rates that a source states; None where it says nothing. The short names are the price book's."""

    prompt: Rate | None = None
    cached_prompt: Rate | None = None
    cache_write_5m: Rate | None = None
    cache_write_1h: Rate | None = None
    audio_prompt: Rate | None = None
    completion: Rate | None = None
    reasoning: Rate | None = None
    audio_completion: Rate | None = None


class StatedTier(StatedRates, frozen=True, kw_only=True, omit_defaults=True, rename={"above_prompt_tokens": "above"}):
    """Rates for prompts above a length. What a tier leaves out stays as it is below the tier."""

    above_prompt_tokens: int
    inclusive: bool = False
    """The tier begins at the length itself, not at one token more."""


class StatedPrice(StatedRates, frozen=True, kw_only=True, omit_defaults=True):
    """The stated rates of one model, tiers included, shortest prompt first."""

    tiers: tuple[StatedTier, ...] = ()


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """Complete rates for prompts above a length: they price the whole request, not only what is above."""

    above_prompt_tokens: int
    inclusive: bool
    rates: Rates


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one model's tokens cost at one time. Immutable: other rates are another price with another version."""

    version: str
    """Names the rates for ever: `book:<date>:<provider>/<model>[@from][+hours]` or `config:<hash of the rates>`."""
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    """By prompt length, shortest first."""
    stated: StatedPrice | None = None
    """What was stated before gaps were filled; None when all of `rates` was."""

    @property
    def free(self) -> bool:
        """Known to cost nothing: all rates are 0. Not to be confused with an unknown price, which is no Price."""
        if self.rates.completion or any(msgspec.structs.astuple(self.rates)):
            return False
        return not any(any(msgspec.structs.astuple(tier.rates)) for tier in self.tiers)

    @property
    def states_prompt(self) -> bool:
        """Some source states what input costs."""
        return self.stated is None or self.stated.prompt is not None

    @property
    def states_completion(self) -> bool:
        """Some source states what output costs; embeddings, for one, have no such price and need none."""
        return self.stated is None or self.stated.completion is not None


def rates_for(price: Price, prompt_tokens: int) -> Rates:
    """The rates of the highest tier that a prompt of this length (all input, cached or not) has passed."""
    for tier in reversed(price.tiers):
        if prompt_tokens > tier.above_prompt_tokens or (tier.inclusive and prompt_tokens == tier.above_prompt_tokens):
            return tier.rates
    return price.rates


def cost_of(usage: Usage, price: Price) -> NanoUsd:
    """Cost of one attempt: exact until the last line, then rounded up once to a whole nano-dollar."""
    rates = rates_for(price, usage.prompt_tokens) if price.tiers else price.rates
    scaled = (
        usage.uncached_prompt_tokens * rates.prompt
        + usage.cached_prompt_tokens * rates.cached_prompt
        + usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + usage.audio_prompt_tokens * rates.audio_prompt
        + usage.answer_tokens * rates.completion
        + usage.reasoning_tokens * rates.reasoning
        + usage.audio_completion_tokens * rates.audio_completion
    )
    return NanoUsd(-(-scaled // UNITS_PER_RATE))


class CostParts(msgspec.Struct, frozen=True, kw_only=True):
    """The exact cost by class, in 10⁻¹⁵ US dollars. The fields do not overlap; the properties are their sums."""

    uncached_prompt: int
    cache_read: int
    cache_creation: int
    audio_prompt: int
    answer: int
    reasoning: int
    audio_completion: int

    @property
    def input(self) -> int:
        """All of the prompt's side, cache included."""
        return self.uncached_prompt + self.cache_read + self.cache_creation + self.audio_prompt

    @property
    def output(self) -> int:
        """All of the completion's side, reasoning included."""
        return self.answer + self.reasoning + self.audio_completion

    @property
    def total(self) -> int:
        """Both sides, exact; rounded up to nano-dollars it is `cost_of`."""
        return self.input + self.output

    @property
    def nano_usd(self) -> NanoUsd:
        """What is charged: the same as `cost_of`."""
        return NanoUsd(-(-self.total // UNITS_PER_RATE))


def cost_parts(usage: Usage, price: Price) -> CostParts:
    """How `cost_of` comes about, for headers and logs."""
    rates = rates_for(price, usage.prompt_tokens)
    return CostParts(
        uncached_prompt=usage.uncached_prompt_tokens * rates.prompt,
        cache_read=usage.cached_prompt_tokens * rates.cached_prompt,
        cache_creation=usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h,
        audio_prompt=usage.audio_prompt_tokens * rates.audio_prompt,
        answer=usage.answer_tokens * rates.completion,
        reasoning=usage.reasoning_tokens * rates.reasoning,
        audio_completion=usage.audio_completion_tokens * rates.audio_completion,
    )


def usd_of_scaled(scaled: int) -> float:
    """The float nearest to a part of `CostParts` in US dollars: for headers and JSON only."""
    return scaled / SCALED_PER_USD


def covers(price: Price, usage: Usage) -> bool:
    """False when `usage` has tokens on a side for which no source states a price, so that they would cost nothing."""
    return (price.states_prompt or usage.prompt_tokens == 0) and (
        price.states_completion or usage.completion_tokens == 0
    )


def _complete(stated: StatedRates) -> Rates:
    """Fill the gaps: what has no price of its own costs what its side costs; a 1 h cache write, what a 5 min one does.

    A side that states nothing at all is 0; `covers` tells when that matters.
    """
    prompt = Rate(0) if stated.prompt is None else stated.prompt
    completion = Rate(0) if stated.completion is None else stated.completion
    write = prompt if stated.cache_write_5m is None else stated.cache_write_5m
    return Rates(
        prompt=prompt,
        cached_prompt=prompt if stated.cached_prompt is None else stated.cached_prompt,
        cache_write_5m=write,
        cache_write_1h=write if stated.cache_write_1h is None else stated.cache_write_1h,
        audio_prompt=prompt if stated.audio_prompt is None else stated.audio_prompt,
        completion=completion,
        reasoning=completion if stated.reasoning is None else stated.reasoning,
        audio_completion=completion if stated.audio_completion is None else stated.audio_completion,
    )


_CLASSES: tuple[TokenClass, ...] = (
    "prompt",
    "cached_prompt",
    "cache_write_5m",
    "cache_write_1h",
    "audio_prompt",
    "completion",
    "reasoning",
    "audio_completion",
)


def stated_rates(stated: StatedRates) -> dict[str, Rate]:
    """Only what is stated, by class."""
    return {name: rate for name in _CLASSES if (rate := getattr(stated, name)) is not None}


def price_of(stated: StatedPrice, *, version: str) -> Price | None:
    """The complete price; None when neither input nor output states one, which means that the price is unknown."""
    if stated.prompt is None and stated.completion is None:
        return None
    base = stated_rates(stated)
    tiers = tuple(
        Tier(
            above_prompt_tokens=tier.above_prompt_tokens,
            inclusive=tier.inclusive,
            rates=_complete(StatedRates(**(base | stated_rates(tier)))),
        )
        for tier in sorted(stated.tiers, key=lambda tier: tier.above_prompt_tokens)
    )
    return Price(version=version, rates=_complete(stated), tiers=tiers, stated=stated)


# --- prices in LiteLLM's words ---


def stated_price(
    prices: Mapping[str, object], *, service: str | None = None, inclusive_tiers: bool = False
) -> StatedPrice:
    """The token prices among `prices`, a mapping in LiteLLM's words (`price_keys`); everything else is passed over.

    `service`: take the prices of this service tier instead of the standard ones. `inclusive_tiers`: the provider counts
    a prompt of exactly the tier's length as above it (xAI does).

    Raises ConfigError, its path the offending key: not a price, negative, or too fine to be billed exactly.
    """
    base: dict[str, Rate] = {}
    tiers: dict[int, dict[str, Rate]] = {}
    for name in sorted(prices, key=_older_names_first):
        key = price_key(name)
        if key is None or key.token_class is None or key.service != service or prices[name] is None:
            continue
        rates = base if key.above_prompt_tokens is None else tiers.setdefault(key.above_prompt_tokens, {})
        rates[key.token_class] = _rate(prices[name], path=name)
    ranges = prices.get(TIERED_PRICING)
    if ranges is not None and service is None:
        for above, rates in _ranges(ranges):
            (tiers.setdefault(above, {}) if above else base).update(rates)
    return StatedPrice(
        **base,
        tiers=tuple(
            StatedTier(above_prompt_tokens=above, inclusive=inclusive_tiers, **tiers[above]) for above in sorted(tiers)
        ),
    )


def _older_names_first(name: str) -> tuple[bool, str]:
    """Of two names for one price the current one is read last, so that it wins."""
    return "cache_hit" not in name, name


def _ranges(ranges: object) -> list[tuple[int, dict[str, Rate]]]:
    """`tiered_pricing` as (prompts longer than, rates). Ranges by anything but prompt length are passed over."""
    if not isinstance(ranges, Sequence) or isinstance(ranges, str):
        raise ConfigError("expected a list of ranges", path=TIERED_PRICING)
    found: list[tuple[int, dict[str, Rate]]] = []
    for index, entry in enumerate(ranges):
        path = f"{TIERED_PRICING}[{index}]"
        if not isinstance(entry, Mapping):
            raise ConfigError("expected {range: [from, to], input_cost_per_token: …}", path=path)
        if "range" not in entry:
            continue
        rates: dict[str, Rate] = {}
        for name, value in entry.items():
            key = price_key(str(name))
            if key is not None and key.token_class is not None and value is not None:
                rates[key.token_class] = _rate(value, path=f"{path}.{name}")
        found.append((_range_start(entry["range"], path=f"{path}.range"), rates))
    return found


def _range_start(bounds: object, *, path: str) -> int:
    if isinstance(bounds, Sequence) and len(bounds) == 2:
        start = bounds[0]
        if isinstance(start, int | float) and not isinstance(start, bool) and start >= 0 and start == int(start):
            return int(start)
    raise ConfigError(f"expected [from, to] in tokens, got {bounds!r}", path=path)


def _rate(value: object, *, path: str) -> Rate:
    if not isinstance(value, int | float | str | Decimal) or isinstance(value, bool):
        raise ConfigError(f"expected a price in US dollars per unit, got {value!r}", path=path)
    try:
        return rate_from_usd(value)
    except ConfigError as error:
        raise error.at(path) from None


def overlay(base: Price | None, overrides: Mapping[str, object], version_hint: str = "config") -> Price | None:
    """`base` with the operator's prices laid over it, name by name: what they don't mention stays.

    So setting only the input price of a known model keeps its cache prices and its tiers; a model without a base bills
    cached tokens as full input. A tier's price changes only by its own name (`input_cost_per_token_above_200k_tokens`);
    `tiered_pricing` describes all prompt lengths and so replaces the tiers. Keys that are no token prices change
    nothing, and `base` itself is returned when there is nothing to change. None when no price is known either way.

    The version is `<version_hint>:<12 hex digits over the resulting rates>`: the same rates have the same version.

    Raises ConfigError as `stated_price` does.
    """
    inclusive = base is not None and any(tier.inclusive for tier in base.tiers)
    over = stated_price(overrides, inclusive_tiers=inclusive)
    if not stated_rates(over) and not over.tiers:
        return base
    below = StatedPrice() if base is None else _stated_of(base)
    if overrides.get(TIERED_PRICING) is not None:
        below = msgspec.structs.replace(below, tiers=())
    price = price_of(lay_over(below, over), version="")
    return price and msgspec.structs.replace(price, version=f"{version_hint}:{fingerprint(price)}")


def lay_over(below: StatedPrice, over: StatedPrice) -> StatedPrice:
    """What `over` states, and what `below` states where `over` says nothing; tiers meet by their length."""
    tiers = {tier.above_prompt_tokens: tier for tier in below.tiers}
    for tier in over.tiers:
        under = tiers.get(tier.above_prompt_tokens)
        if under is None:
            tiers[tier.above_prompt_tokens] = tier
        else:
            tiers[tier.above_prompt_tokens] = msgspec.structs.replace(under, **stated_rates(tier))
    return StatedPrice(
        **(stated_rates(below) | stated_rates(over)),
        tiers=tuple(tiers[above] for above in sorted(tiers)),
    )


def _stated_of(price: Price) -> StatedPrice:
    if price.stated is not None:
        return price.stated
    return StatedPrice(
        **msgspec.structs.asdict(price.rates),
        tiers=tuple(
            StatedTier(
                above_prompt_tokens=tier.above_prompt_tokens,
                inclusive=tier.inclusive,
                **msgspec.structs.asdict(tier.rates),
            )
            for tier in price.tiers
        ),
    )


def fingerprint(price: Price) -> str:
    """12 hex digits that two prices share only if all their rates and tiers are equal (SHA-256, cut)."""
    parts = [("base", *msgspec.structs.astuple(price.rates))]
    parts += [
        (f"{'from' if tier.inclusive else 'above'} {tier.above_prompt_tokens}", *msgspec.structs.astuple(tier.rates))
        for tier in price.tiers
    ]
    return sha256(repr(parts).encode()).hexdigest()[:12]
