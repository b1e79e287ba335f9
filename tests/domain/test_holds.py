"""Holds: never too small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.holds import (
    LEAST_OUTPUT_TOKENS,
    TOKENS_FOR_TOOLS,
    Extent,
    bounded_output,
    ceiling_of,
    most_prompt_tokens,
)
from bursar.domain.money import Rate
from bursar.domain.prices import Price, Rates, Tier, cost_of
from bursar.domain.usage import Usage

counts = st.integers(0, 2_000_000)
rate = st.integers(0, 10**11).map(Rate)
rates = st.builds(
    Rates,
    prompt=rate,
    cached_prompt=rate,
    cache_write_5m=rate,
    cache_write_1h=rate,
    audio_prompt=rate,
    completion=rate,
    reasoning=rate,
    audio_completion=rate,
)
tiers = st.builds(Tier, above_prompt_tokens=st.sampled_from([128_000, 200_000]), inclusive=st.booleans(), rates=rates)
prices = st.builds(
    Price,
    version=st.just("v"),
    rates=rates,
    tiers=st.lists(tiers, max_size=2, unique_by=lambda t: t.above_prompt_tokens).map(
        lambda found: tuple(sorted(found, key=lambda t: t.above_prompt_tokens))
    ),
)


@given(price=prices, parts=st.lists(counts, min_size=8, max_size=8), room=counts)
def test_no_usage_within_the_bounds_costs_more_than_the_hold(price: Price, parts: list[int], room: int) -> None:
    usage = Usage(
        uncached_prompt_tokens=parts[0],
        cached_prompt_tokens=parts[1],
        cache_write_5m_tokens=parts[2],
        cache_write_1h_tokens=parts[3],
        audio_prompt_tokens=parts[4],
        answer_tokens=parts[5],
        reasoning_tokens=parts[6],
        audio_completion_tokens=parts[7],
    )
    ceiling = ceiling_of(price, usage.prompt_tokens + room, only_text=False)
    assert cost_of(usage, price) <= ceiling.cost(usage.completion_tokens)


@given(price=prices, prompt=counts, amount=st.integers(0, 10**15))
def test_what_an_amount_pays_for_costs_no_more_than_it(price: Price, prompt: int, amount: int) -> None:
    ceiling = ceiling_of(price, prompt)
    output = ceiling.output_within(amount)
    if output is None:
        assert ceiling.completion == 0
        assert ceiling.cost(10**9) <= amount
    elif output < 0:
        assert ceiling.cost(0) > amount
    else:
        assert ceiling.cost(output) <= amount < ceiling.cost(output + 1) + 1


@given(
    price=prices,
    prompt=counts,
    remaining=st.integers(0, 10**13),
    flight=st.integers(0, 1000),
    floor=st.integers(0, 4096),
    most=st.none() | st.integers(1, 200_000),
)
def test_a_bound_always_fits(
    price: Price, prompt: int, remaining: int, flight: int, floor: int, most: int | None
) -> None:
    ceiling = ceiling_of(price, prompt)
    bound = bounded_output(ceiling, remaining=remaining, calls_in_flight=flight, floor=floor, most=most)
    if bound is None:
        output = ceiling.output_within(remaining)
        assert most is None or output is not None
        assert output is None or output < LEAST_OUTPUT_TOKENS
    else:
        assert ceiling.cost(bound) <= remaining
        assert most is None or bound <= most


@pytest.mark.parametrize(
    ("extent", "window", "tokens"),
    [
        (Extent(body_bytes=100), None, 108),
        (Extent(body_bytes=100, messages=3), 1000, 124),
        (Extent(body_bytes=100, tools=True), None, 108 + TOKENS_FOR_TOOLS),
        (Extent(body_bytes=5000), 4096, 4096),
        (Extent(body_bytes=100, only_text=False), 4096, 4096),
        (Extent(body_bytes=100, only_text=False), None, None),
    ],
)
def test_bounds_of_the_input(extent: Extent, window: int | None, tokens: int | None) -> None:
    assert most_prompt_tokens(extent, context_window=window) == tokens


def test_the_share_of_a_call() -> None:
    one_dollar_a_million = Price(
        version="v",
        rates=Rates(**{name: Rate(10**9) for name in Rates.__struct_fields__}),
    )
    ceiling = ceiling_of(one_dollar_a_million, 0)  # a thousand nano-dollars a token

    def bound(remaining: int, flight: int) -> int | None:
        return bounded_output(ceiling, remaining=remaining, calls_in_flight=flight, floor=100, most=4096)

    assert bound(8_000_000, 0) == 4000
    assert bound(8_000_000, 3) == 1000
    assert bound(800_000, 9) == 100  # the floor
    assert bound(50_000, 0) == 50  # what is left
    assert bound(10_000, 0) is None
    assert bound(10**12, 0) == 4096
