"""Durations as LiteLLM writes them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.durations import after
from bursar.domain.errors import InvalidRequest

START = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "end"),
    [
        ("30s", START + timedelta(seconds=30)),
        ("15m", START + timedelta(minutes=15)),
        ("24h", START + timedelta(days=1)),
        ("7d", START + timedelta(days=7)),
        ("2w", START + timedelta(days=14)),
        ("0s", START),
        ("1mo", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("2mo", datetime(2026, 3, 31, 12, 30, tzinfo=UTC)),
        ("11mo", datetime(2026, 12, 31, 12, 30, tzinfo=UTC)),
        ("12mo", datetime(2027, 1, 31, 12, 30, tzinfo=UTC)),
        ("25mo", datetime(2028, 2, 29, 12, 30, tzinfo=UTC)),
        (" 1d\n", START + timedelta(days=1)),
    ],
)
def test_durations(duration: str, end: datetime) -> None:
    assert after(START, duration) == end


@pytest.mark.parametrize(
    "duration",
    ["", "d", "1", "1y", "-1d", "+1d", "1.5h", "1 d", "1D", "1dd", "1d2h", "١d", "1e3s", "0x1s", "9" * 10 + "s"],
)
def test_what_is_none(duration: str) -> None:
    with pytest.raises(InvalidRequest, match="Unknown duration") as caught:
        after(START, duration, param="budget_duration")
    assert caught.value.param == "budget_duration"


@pytest.mark.parametrize("duration", ["999999999d", "999999999w", "999999999mo", "99999mo"])
def test_beyond_the_calendar(duration: str) -> None:
    with pytest.raises(InvalidRequest, match="beyond the calendar"):
        after(START, duration)


@given(
    st.datetimes(timezones=st.just(UTC)), st.integers(0, 10**9 - 1), st.sampled_from(["s", "m", "h", "d", "w", "mo"])
)
def test_the_end_is_never_before_the_start(start: datetime, number: int, unit: str) -> None:
    try:
        end = after(start, f"{number}{unit}")
    except InvalidRequest:
        return
    assert end >= start
    assert end.tzinfo is start.tzinfo
    if unit == "mo":
        assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == number
        assert end.day <= start.day
