"""Words that all reports share: days and moments in queries, keys, what the caller sees, and how the store's failures
read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from bursar.domain.authority import Reach, Standing
from bursar.domain.errors import InvalidRequest, StoreBusy, StoreTooSlow, Unavailable
from bursar.domain.reports import EVERYTHING, Days, Sight
from bursar.ports.keys import KeyForms
from bursar.ports.reports import ReportNames

_DAYS_MAX = 36_600
_BUSY_RETRY_S = 5
OTHERS = "others"
"""Keys, users or customers beyond those that spent most, where all of them would be too many: their sum."""
DateText = Annotated[
    str,
    Meta(
        description="A day, or a moment of it, in UTC.",
        examples=["2025-11-20", "2025-11-20 13:00:00", "2025-11-20T13:00:00Z", "0001-01-01", "9999-12-31"],
    ),
]
"""See `moment`, which takes it."""
DATES_MISSING = "Please provide start_date and end_date"


def day(text: str, *, param: str) -> date:
    """`YYYY-MM-DD`, perhaps with a time, which is passed over. Raises InvalidRequest."""
    return moment(text, param=param).date()


def moment(text: str, *, param: str) -> datetime:
    """`YYYY-MM-DD` or `YYYY-MM-DD HH:MM:SS` (also with `T`, fractions, a zone), in UTC without a zone, as LiteLLM's
    columns are. Raises InvalidRequest."""
    words = text.strip()
    try:
        if len(words) < len("YYYY-MM-DD") or words[4:5] != "-" or words[7:8] != "-":
            raise ValueError
        found = datetime.fromisoformat(words.replace(" ", "+") if words.count(" ") == 1 and "T" in words else words)
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{param}: expected a date such as 2025-11-20, or 2025-11-20 13:00:00, in UTC.", param=param
        ) from None


def days(start: str | None, end: str | None) -> Days:
    """From the day of `start` to the day of `end`, both included. Raises InvalidRequest: missing, not dates, the wrong
    way round, or a century apart."""
    if not start or not end:
        raise InvalidRequest(DATES_MISSING, param="end_date" if start else "start_date")
    first, last = day(start, param="start_date"), day(end, param="end_date")
    if first > last:
        raise InvalidRequest("start_date is after end_date.", param="start_date")
    if (last - first).days > _DAYS_MAX:
        raise InvalidRequest("A report covers a hundred years at most.", param="start_date")
    return Days(first.isoformat(), last.isoformat())


def last_days(number: int) -> Days:
    """So many days, up to today's."""
    today = datetime.now(UTC).date()
    return Days((today - timedelta(days=number - 1)).isoformat(), today.isoformat())


def hash_of(key: str | None, forms: KeyForms) -> tuple[str, ...] | None:
    """What the tables call a key that is named by itself, by its hash, or by a name that stands for one."""
    if not key:
        return None
    return (str(forms.hash(key)) if key.startswith("sk-") else key,)


async def sight_of(standing: Standing, names: ReportNames) -> Sight:
    """What of the books a caller sees."""
    if standing.all:
        return EVERYTHING
    caller, memberships = standing.caller, standing.memberships
    own = await names.keys_of(caller.user_id) if caller.user_id else []
    teams: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()
    if standing.reach.covers(Reach.TEAM):
        teams |= memberships.administered_teams
    if standing.reach.covers(Reach.ORGANIZATION):
        teams |= memberships.teams_of_organizations
        organizations = memberships.administered_organizations
    return Sight(
        user_id=caller.user_id or None,
        api_keys=tuple({*own, str(caller.api_key)}),
        teams=tuple(teams),
        organizations=tuple(organizations),
        member_of=tuple(memberships.teams),
    )


@asynccontextmanager
async def report() -> AsyncIterator[None]:
    """Around the making of a report: what can go wrong with it, as its reader may be told.

    Raises Unavailable: others are being made, or it takes too long.
    """
    try:
        yield
    except StoreBusy as error:
        raise Unavailable(
            f"This report has to wait: {error}. Try again in a moment.", kind="report_busy", retry_after_s=_BUSY_RETRY_S
        ) from error
    except StoreTooSlow as error:
        raise Unavailable(
            "The report takes too long. Ask for fewer days, or for one key, user or team.",
            kind="report_too_slow",
            retry_after_s=_BUSY_RETRY_S,
        ) from error
