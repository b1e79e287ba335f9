"""Moments as callers write them, and as the tables have them."""

from datetime import UTC, datetime

from bursar.domain.errors import InvalidRequest


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; without a zone it is UTC already. Raises InvalidRequest: it is in no year from 1 to 9999
    there."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("A moment lies outside of the years 1 to 9999 in UTC.") from None
