"""Usage reports: one reading for each provider's way of counting, and no way to book nothing by accident."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.usage import Usage
from bursar.wire.openai_usage import MAX_TOKENS, UsageFlag, UsageReading, UsageRules, usage_from

XAI = UsageRules(reasoning_beside=True)
GOOGLE = UsageRules(hidden_output_in_total=True)
OPENROUTER = UsageRules(states_cost=True)


def read(report: Any, rules: UsageRules | None = None) -> UsageReading:
    raw = report if isinstance(report, bytes) else json.dumps(report).encode()
    return usage_from(raw) if rules is None else usage_from(raw, rules)


def counts(**classes: int) -> Usage:
    return Usage(**classes)


@pytest.mark.parametrize(
    ("report", "rules", "usage", "flags"),
    [
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 20,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 3,
                    "rejected_prediction_tokens": 4,
                },
            },
            None,
            counts(uncached_prompt_tokens=40, cached_prompt_tokens=60, answer_tokens=30, reasoning_tokens=20),
            set(),
            id="openai: cached inside prompt, reasoning inside completion",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 40},
            },
            None,
            counts(
                uncached_prompt_tokens=50,
                cached_prompt_tokens=20,
                audio_prompt_tokens=30,
                answer_tokens=10,
                audio_completion_tokens=40,
            ),
            set(),
            id="openai: audio",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": None,
                "completion_tokens_details": None,
            },
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5),
            set(),
            id="vllm: details are null",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "queue_time": 0.1,
                "prompt_tokens_details": {"cached_tokens": None},
                "completion_tokens_details": {"reasoning_tokens": None, "audio_tokens": None},
            },
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5),
            set(),
            id="groq: null counts inside the details",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            None,
            counts(uncached_prompt_tokens=36, cached_prompt_tokens=64, answer_tokens=20, reasoning_tokens=30),
            set(),
            id="deepseek: hits and misses",
        ),
        pytest.param(
            {"completion_tokens": 5, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4, "total_tokens": 15},
            None,
            counts(uncached_prompt_tokens=4, cached_prompt_tokens=6, answer_tokens=5),
            set(),
            id="deepseek: only hits and misses",
        ),
        pytest.param(
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
            },
            XAI,
            counts(uncached_prompt_tokens=26, cached_prompt_tokens=6, answer_tokens=9, reasoning_tokens=94),
            set(),
            id="xai: reasoning beside completion, as the total shows",
        ),
        pytest.param(
            {
                "prompt_tokens": 32,
                "completion_tokens": 103,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            XAI,
            counts(uncached_prompt_tokens=32, answer_tokens=9, reasoning_tokens=94),
            set(),
            id="xai: corrected already, not corrected again",
        ),
        pytest.param(
            {
                "prompt_tokens": 32,
                "completion_tokens": 100,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            XAI,
            counts(uncached_prompt_tokens=32, answer_tokens=100, reasoning_tokens=94),
            set(),
            id="xai: without a total the provider's habit counts",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 7,
                "total_tokens": 250,
            },
            GOOGLE,
            counts(uncached_prompt_tokens=10, answer_tokens=7, reasoning_tokens=233),
            set(),
            id="google: thinking shows in the total alone",
        ),
        pytest.param(
            {
                "prompt_tokens": 60,
                "completion_tokens": 40,
                "total_tokens": 100,
                "cache_read_input_tokens": 30,
                "cache_creation_input_tokens": 20,
                "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
                "prompt_tokens_details": {"cached_tokens": 30},
            },
            None,
            counts(
                uncached_prompt_tokens=10,
                cached_prompt_tokens=30,
                cache_write_5m_tokens=15,
                cache_write_1h_tokens=5,
                answer_tokens=40,
            ),
            set(),
            id="another gateway: anthropic's words, inside the prompt",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 40,
                "total_tokens": 100,
                "cache_read_input_tokens": 30,
                "cache_creation_input_tokens": 20,
            },
            None,
            counts(uncached_prompt_tokens=10, cached_prompt_tokens=30, cache_write_5m_tokens=20, answer_tokens=40),
            set(),
            id="anthropic's words beside the prompt, as the total shows",
        ),
        pytest.param(
            {"input_tokens": 10, "output_tokens": 40, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0},
            None,
            counts(uncached_prompt_tokens=10, cached_prompt_tokens=5, answer_tokens=40),
            set(),
            id="anthropic's own object",
        ),
        pytest.param(
            {
                "input_tokens": 10,
                "output_tokens": 40,
                "total_tokens": 50,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 30},
            },
            None,
            counts(uncached_prompt_tokens=6, cached_prompt_tokens=4, answer_tokens=10, reasoning_tokens=30),
            set(),
            id="openai responses: other names, same meaning",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 8},
            None,
            counts(uncached_prompt_tokens=2, cached_prompt_tokens=8, answer_tokens=5),
            set(),
            id="moonshot: cached at the top",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
            },
            None,
            counts(uncached_prompt_tokens=5, cached_prompt_tokens=2, cache_write_5m_tokens=3, answer_tokens=5),
            set(),
            id="openrouter: cache writes among the details",
        ),
        pytest.param(
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            None,
            counts(),
            set(),
            id="an explicit zero is a zero",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99},
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5),
            {UsageFlag.CONTRADICTORY},
            id="a total is recomputed, not believed",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 30}},
            None,
            counts(uncached_prompt_tokens=10, cached_prompt_tokens=30, answer_tokens=5),
            {UsageFlag.CONTRADICTORY},
            id="more cached than prompt: the dearer reading",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 30}},
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5, reasoning_tokens=30),
            {UsageFlag.CONTRADICTORY},
            id="more reasoning than completion: the dearer reading",
        ),
        pytest.param(
            {"prompt_tokens": "10", "completion_tokens": 5.0, "total_tokens": 15.5},
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5),
            {UsageFlag.COERCED, UsageFlag.CONTRADICTORY},
            id="text and fractions",
        ),
        pytest.param(
            {"prompt_tokens": -10, "completion_tokens": 5},
            None,
            Usage(),
            {UsageFlag.NEGATIVE, UsageFlag.MISSING},
            id="negative: nothing to charge by",
        ),
        pytest.param(
            {"prompt_tokens": 10**15, "completion_tokens": 5},
            None,
            Usage(),
            {UsageFlag.ABSURD, UsageFlag.MISSING},
            id="absurd: nothing to charge by",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": -15},
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=5),
            {UsageFlag.NEGATIVE, UsageFlag.CONTRADICTORY},
            id="an absurd total over sides that can be used",
        ),
        *(
            pytest.param(
                {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **absurd},
                None,
                counts(uncached_prompt_tokens=10, answer_tokens=5),
                {UsageFlag.ABSURD},
                id=f"absurd parts say nothing: {next(iter(absurd))}",
            )
            for absurd in (
                {"completion_tokens_details": {"reasoning_tokens": 1e30, "audio_tokens": 10**9}},
                {"prompt_tokens_details": {"cached_tokens": 10**20}},
                {"cache_creation_input_tokens": 10**9},
                {"reasoning_tokens": 10**9},
                {"total_tokens": 10**12},
            )
        ),
        *(
            pytest.param(
                {"prompt_tokens": 10, "total_tokens": total},
                None,
                Usage(),
                {flag, UsageFlag.MISSING},
                id=f"no side follows from a total that is {flag}",
            )
            for total, flag in ((10**12, UsageFlag.ABSURD), (-1, UsageFlag.NEGATIVE))
        ),
        pytest.param(
            {"prompt_tokens": 10, "total_tokens": 12},
            None,
            counts(uncached_prompt_tokens=10, answer_tokens=2),
            {UsageFlag.PARTIAL},
            id="a side that follows from the total",
        ),
        pytest.param(
            {"completion_tokens": 12},
            None,
            counts(answer_tokens=12),
            {UsageFlag.PARTIAL},
            id="a side that follows from nothing",
        ),
    ],
)
def test_ways_of_counting(
    report: dict[str, Any], rules: UsageRules | None, usage: Usage, flags: set[UsageFlag]
) -> None:
    reading = read(report, rules)
    assert reading.usage == usage
    assert reading.flags == flags
    assert reading.raw == json.dumps(report).encode()


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b"{}",
        b'{"total_tokens":5}',
        b'{"prompt_tokens":"many"}',
        b"{",
        b'{"a":"\xff"}',
        b'{"prompt_tokens":true,"completion_tokens":[1]}',
        b'{"prompt_tokens":1e999}',
        b"[" * 5000,
    ],
)
def test_no_usage_is_missing_and_never_zero_without_a_flag(report: bytes) -> None:
    reading = usage_from(report)
    assert reading.missing
    assert reading.usage == Usage()


@pytest.mark.parametrize("odd", [b"1e999999999", b'"\\ud800 \\u0000"', b'"\xff"', b"-" + b"9" * 5000 + b".5"])
def test_what_else_is_in_a_report_does_not_spoil_its_counts(odd: bytes) -> None:
    reading = usage_from(b'{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"n":' + odd + b"}")
    assert (reading.usage.prompt_tokens, reading.usage.completion_tokens) == (1, 2)
    assert not reading.flags


def test_none_is_missing() -> None:
    assert usage_from(None).missing


NUMBERS = (
    st.none()
    | st.integers(-5, 50)
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text("0123456789.-e", max_size=4)
    | st.booleans()
    | st.lists(st.integers(), max_size=1)
)
DETAIL_NAMES = ["cached_tokens", "audio_tokens", "reasoning_tokens", "cache_write_tokens", "cache_creation_tokens"]
DETAILS = NUMBERS | st.dictionaries(st.sampled_from(DETAIL_NAMES), NUMBERS, max_size=4)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"],
            NUMBERS,
        ),
        **dict.fromkeys(
            ["cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "cost"], NUMBERS
        ),
        **dict.fromkeys(
            ["prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"],
            DETAILS,
        ),
        "cache_creation": st.dictionaries(
            st.sampled_from(["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]), NUMBERS
        ),
    },
)


@given(report=REPORTS, rules=st.sampled_from([UsageRules(), XAI, GOOGLE, OPENROUTER]))
def test_whatever_is_reported_no_class_is_negative(report: dict[str, Any], rules: UsageRules) -> None:
    reading = read(report, rules)
    classes = [getattr(reading.usage, field) for field in reading.usage.__struct_fields__]
    assert min(classes) >= 0
    assert max(classes) <= 4 * MAX_TOKENS
    assert reading.stated_cost is None or reading.stated_cost >= 0


SMALL = st.integers(0, 1000)


@given(prompt=SMALL, cached=SMALL, completion=SMALL, reasoning=SMALL, with_total=st.booleans())
def test_parts_inside_their_whole_never_change_the_sums(
    prompt: int, cached: int, completion: int, reasoning: int, with_total: bool
) -> None:
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    report = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **({"total_tokens": prompt + completion} if with_total else {}),
    }
    reading = read(report)
    assert (reading.usage.prompt_tokens, reading.usage.completion_tokens) == (prompt, completion)
    assert (reading.usage.cached_prompt_tokens, reading.usage.reasoning_tokens) == (cached, reasoning)
    assert reading.flags == frozenset()


@given(prompt=SMALL, completion=SMALL, reasoning=SMALL)
def test_xai_reads_the_same_before_and_after_correction(prompt: int, completion: int, reasoning: int) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    total = prompt + completion + reasoning
    native = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **details}
    corrected = {"prompt_tokens": prompt, "completion_tokens": completion + reasoning, "total_tokens": total, **details}
    assert read(native, XAI).usage == read(corrected, XAI).usage


@pytest.mark.parametrize(
    ("report", "nano_usd"),
    [
        ({"cost": 0.00014}, 140_000),
        ({"cost": 0}, 0),
        ({"cost": "0.95"}, 950_000_000),
        ({"cost": 0.00001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0002}}, 210_000),
        ({"cost": 0.00001, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, 10_000),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.0002}}, 10_000_000),
        ({"cost": -1}, None),
        ({"cost": "free"}, None),
        ({"cost": None}, None),
        ({"cost": True}, None),
        ({"cost": 1e30}, None),
        ({}, None),
    ],
)
def test_a_stated_cost_is_taken_where_the_provider_states_costs(report: dict[str, Any], nano_usd: int | None) -> None:
    report = {"prompt_tokens": 1, "completion_tokens": 1, **report}
    assert read(report, OPENROUTER).stated_cost == nano_usd
    assert read(report).stated_cost is None
