"""A change that is meant for a row as it was: refused once the row is another.

An update may carry the `updated_at` of the row it is based on. Whoever stores it compares within the transaction that
changes the row, having locked it.
"""

from datetime import UTC, datetime

from bursar.domain.errors import StoreConflict


def check_unchanged(expected: datetime | None, actual: datetime | None) -> None:
    """Raises StoreConflict when the row's `updated_at` is not the one the update is based on. None: it does not matter.

    Times without a zone are UTC; the columns hold milliseconds.
    """
    if expected is not None and _milliseconds(expected) != _milliseconds(actual):
        shown = "never" if actual is None else _utc(actual).isoformat(timespec="milliseconds")
        raise StoreConflict(
            f"This was changed by somebody else in the meantime (updated_at is {shown}). Look at it again, and repeat "
            "the update with its present updated_at, or without one to overwrite it."
        )


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(_utc(moment).timestamp() * 1000 + 0.5)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
