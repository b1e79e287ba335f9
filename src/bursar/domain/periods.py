"""Budget periods: when spending starts again at zero. LiteLLM's durations and its rules for where a period ends.

Seconds, minutes and hours end at the next multiple on the clock (`2h`: at even hours), days at midnight, weeks on
Monday, months on the first. `30d` ends like a month, and `7d` like a week: so LiteLLM's tables have it.
Clock and calendar are those of a time zone (`litellm_settings.timezone`).
"""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from bursar.domain.errors import InvalidRequest

_WORDS = {"hourly": "1h", "daily": "1d", "weekly": "7d", "monthly": "1mo"}
_FORM = re.compile(r"([0-9]{1,6})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LENGTHS_S = {**_SECONDS, "d": 86_400, "w": 604_800, "mo": 2_592_000}
"""About: a month is 30 days."""
_LONGEST_S = 1000 * 365 * 86_400
"""A thousand years: every period ends within the calendar, whenever it begins."""


class Calendar(NamedTuple):
    """Where periods end."""

    zone: tzinfo = UTC
    reset_time: time = time()
    """Time of day at which days, weeks and months end (`litellm_settings.budget_reset_time`)."""


def checked_duration(duration: str, *, param: str = "budget_duration") -> str:
    """`duration`, if it is one. Raises InvalidRequest, naming `param`."""
    _parsed(duration, param)
    return duration


def length_s(duration: str, *, param: str = "duration") -> int:
    """Seconds that `duration` takes, to compare it with others: a month is 30 days. Raises InvalidRequest."""
    number, unit = _parsed(duration, param)
    return number * _LENGTHS_S[unit]


def next_reset(duration: str, now: datetime, calendar: Calendar = Calendar()) -> datetime:  # noqa: B008  # immutable
    """When the period of `duration` that holds `now` ends, in UTC: always later than `now`.

    `now` has a time zone. Raises InvalidRequest: not a duration.
    """
    number, unit = _parsed(duration, "budget_duration")
    local = now.astimezone(calendar.zone)
    if unit in _SECONDS:
        return _next_multiple(local, number * _SECONDS[unit]).astimezone(UTC)
    days = {"d": number, "w": 7 * number, "mo": 0}[unit]
    # The end of today's share of the calendar: the coming reset time, then as far as the unit says.
    first = _at(local, calendar)
    if unit == "mo" or days == 30:
        months = number if unit == "mo" else 1
        ends = _first_of_month(first, months, local, calendar)
    elif days == 7:
        ends = _monday(first, calendar)
    else:
        ends = _moved(first, days - 1, calendar)
    return ends.astimezone(UTC)


def _parsed(duration: str, param: str) -> tuple[int, str]:
    match = _FORM.fullmatch(_WORDS.get(duration, duration).strip())
    if match is None or int(match[1]) == 0:
        raise InvalidRequest(
            f"Unknown duration {duration!r}: write a whole number from 1 and one of s, m, h, d, w, mo, such as 30d.",
            param=param,
        )
    number, unit = int(match[1]), match[2]
    if number * _LENGTHS_S[unit] > _LONGEST_S:
        raise InvalidRequest(f"The duration {duration!r} is longer than a thousand years.", param=param)
    return number, unit


def _next_multiple(local: datetime, seconds: int) -> datetime:
    """The next whole multiple of `seconds` since the local day began; longer steps count from 1970.

    Counted in seconds that really pass: on the days when clocks change, hours do not repeat a period.
    """
    now = local.astimezone(UTC)
    if seconds > 86_400:
        return datetime.fromtimestamp((int(now.timestamp()) // seconds + 1) * seconds, UTC)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start = midnight.astimezone(UTC)
    passed = int((now - start).total_seconds())
    following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=local.tzinfo)
    return min(start + timedelta(seconds=(passed // seconds + 1) * seconds), following.astimezone(UTC))


def _at(local: datetime, calendar: Calendar) -> datetime:
    """The next time of day at which days end, after `local`."""
    reset = calendar.reset_time
    today = local.replace(hour=reset.hour, minute=reset.minute, second=reset.second, microsecond=0, fold=0)
    return today if _is_later(today, local) else _moved(today, 1, calendar)


def _is_later(one: datetime, other: datetime) -> bool:
    """In time that passes: within a zone Python compares what clocks show, which on some days they show twice."""
    return one.astimezone(UTC) > other.astimezone(UTC)


def _moved(moment: datetime, days: int, calendar: Calendar) -> datetime:
    """The same time of day, `days` later on the local calendar, whatever its hours do in between."""
    naive = moment.replace(tzinfo=None) + timedelta(days=days)
    return naive.replace(tzinfo=calendar.zone)


def _monday(first: datetime, calendar: Calendar) -> datetime:
    return _moved(first, -first.weekday() % 7, calendar)


def _first_of_month(first: datetime, months: int, local: datetime, calendar: Calendar) -> datetime:
    """The reset time on the first of a month: the coming one, and `months` - 1 further."""
    start = first if first.day == 1 else _moved(first.replace(day=1), 0, calendar)
    if not _is_later(start, local):
        months += 1
    index = start.year * 12 + start.month - 1 + months - 1
    year, month = divmod(index, 12)
    return start.replace(year=year, month=month + 1, day=1, tzinfo=None).replace(tzinfo=calendar.zone)
