"""Durations as LiteLLM writes them: `30s`, `15m`, `24h`, `7d`, `1w`, `1mo`."""

import calendar
import re
from datetime import datetime, timedelta

from bursar.domain.errors import InvalidRequest

_FORM = re.compile(r"([0-9]{1,9})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def after(start: datetime, duration: str, *, param: str = "duration") -> datetime:
    """The moment `duration` after `start`. A month ends on the same day of the month, or on its last.

    Raises InvalidRequest, naming `param`: not a duration, or beyond the calendar.
    """
    match = _FORM.fullmatch(duration.strip())
    if match is None:
        raise InvalidRequest(
            f"Unknown duration {duration!r}: write a whole number and one of s, m, h, d, w, mo, such as 30d.",
            param=param,
        )
    number, unit = int(match[1]), match[2]
    try:
        if unit != "mo":
            return start + timedelta(seconds=number * _SECONDS[unit])
        months = start.year * 12 + start.month - 1 + number
        year, month = divmod(months, 12)
        day = min(start.day, calendar.monthrange(year, month + 1)[1])
        return start.replace(year=year, month=month + 1, day=day)
    except (OverflowError, ValueError):
        raise InvalidRequest(f"The duration {duration!r} ends beyond the calendar.", param=param) from None
