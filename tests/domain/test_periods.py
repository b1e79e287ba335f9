"""Where budget periods end."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import InvalidRequest
from bursar.domain.periods import Calendar, checked_duration, length_s, next_reset

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("duration", "ends"),
    [
        ("30s", "2026-01-31T23:30:30"),
        ("15m", "2026-01-31T23:45:00"),
        ("hourly", "2026-02-01T00:00:00"),
        ("2h", "2026-02-01T00:00:00"),
        ("7h", "2026-02-01T00:00:00"),
        ("36h", "2026-02-01T12:00:00"),
        ("1d", "2026-02-01T00:00:00"),
        ("3d", "2026-02-03T00:00:00"),
        ("7d", "2026-02-02T00:00:00"),
        ("1w", "2026-02-02T00:00:00"),
        ("weekly", "2026-02-02T00:00:00"),
        ("30d", "2026-02-01T00:00:00"),
        ("1mo", "2026-02-01T00:00:00"),
        ("2mo", "2026-03-01T00:00:00"),
    ],
)
def test_litellms_rules(duration: str, ends: str) -> None:
    assert next_reset(duration, NOW) == datetime.fromisoformat(ends).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "now", "ends"),
    [
        ("1d", "2026-01-31T18:30:00-05:00", "2026-02-01T06:00:00-05:00"),
        ("1d", "2026-01-31T05:59:59-05:00", "2026-01-31T06:00:00-05:00"),
        ("1mo", "2026-02-01T05:00:00-05:00", "2026-02-01T06:00:00-05:00"),
        ("1mo", "2026-02-01T06:00:00-05:00", "2026-03-01T06:00:00-05:00"),
        ("7d", "2026-11-29T23:00:00-05:00", "2026-11-30T06:00:00-05:00"),
        # A day of 23 hours: clocks go forward on 8 March.
        ("1d", "2026-03-07T07:00:00-05:00", "2026-03-08T06:00:00-04:00"),
    ],
)
def test_in_a_time_zone(duration: str, now: str, ends: str) -> None:
    calendar = Calendar(NEW_YORK, time(6))
    assert next_reset(duration, datetime.fromisoformat(now), calendar) == datetime.fromisoformat(ends)


@pytest.mark.parametrize(
    ("duration", "reset", "now", "ends"),
    [
        # Half past one comes twice on 1 November: it is the first that counts.
        ("1d", time(1, 30), "2026-11-01T05:29:59", "2026-11-01T05:30:00"),
        ("1d", time(1, 30), "2026-11-01T05:30:00", "2026-11-02T06:30:00"),
        ("1d", time(1, 30), "2026-11-01T06:10:00", "2026-11-02T06:30:00"),
        ("1mo", time(1, 30), "2026-11-01T05:29:59", "2026-11-01T05:30:00"),
        ("1mo", time(1, 30), "2026-11-01T06:10:00", "2026-12-01T06:30:00"),
        # Half past two does not come on 8 March: an hour later by the clock is as long after midnight.
        ("1d", time(2, 30), "2026-03-08T07:00:00", "2026-03-08T07:30:00"),
        ("1d", time(2, 30), "2026-03-08T07:30:00", "2026-03-09T06:30:00"),
        ("1mo", time(2, 30), "2001-04-01T07:10:00", "2001-04-01T07:30:00"),
    ],
)
def test_at_a_time_that_comes_twice_or_not_at_all(duration: str, reset: time, now: str, ends: str) -> None:
    at = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (now, ends)]
    assert next_reset(duration, at[0], Calendar(NEW_YORK, reset)) == at[1]


@given(
    number=st.integers(1, 500),
    unit=st.sampled_from(["s", "m", "h", "d", "w", "mo"]),
    at=st.integers(946_684_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana"]),
    reset=st.sampled_from([time(), time(1, 30), time(2, 30), time(23, 59)]),
)
def test_a_period_ends_later_and_all_of_it_ends_there(
    number: int, unit: str, at: datetime, zone: str, reset: time
) -> None:
    """Also on the days when clocks change; a moment before the end belongs to the same period."""
    calendar, now = Calendar(ZoneInfo(zone), reset), at
    duration = f"{number}{unit}"
    ends = next_reset(duration, now, calendar)
    assert ends > now
    if unit in "smh" or number == 1:
        assert next_reset(duration, ends - timedelta(microseconds=1), calendar) == ends


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5h", "1y", "1 d", "1000000d", "30", "daily "])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Unknown duration") as caught:
        checked_duration(text, param="budget_duration")
    assert caught.value.param == "budget_duration"


@pytest.mark.parametrize("duration", ["12167mo", "999999mo", "365001d", "999999d", "53000w"])
def test_no_period_goes_beyond_the_calendar(duration: str) -> None:
    with pytest.raises(InvalidRequest, match="longer than a thousand years"):
        next_reset(duration, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("duration", ["12120mo", "365000d", "52142w", "999999h"])
def test_the_longest_periods(duration: str) -> None:
    assert next_reset(duration, datetime(8950, 12, 31, tzinfo=UTC)).year > 9000


@pytest.mark.parametrize(
    ("duration", "seconds"), [("90s", 90), ("2h", 7200), ("daily", 86_400), ("1w", 604_800), ("2mo", 5_184_000)]
)
def test_lengths_to_compare(duration: str, seconds: int) -> None:
    assert length_s(duration) == seconds
    with pytest.raises(InvalidRequest, match="Unknown duration"):
        length_s("x" + duration)
