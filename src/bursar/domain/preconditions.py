"""A change that is meant for a row as it was: refused once the row is another.

An update may carry the `updated_at` of the row it is based on. Whoever stores it compares within the transaction that
changes the row, having locked it.
"""

from datetime import datetime

from bursar.domain.errors import StoreConflict
from bursar.domain.moments import in_utc


def check_unchanged(expected: datetime | None, actual: datetime | None) -> None:
    """Raises StoreConflict when the row's `updated_at` is not the one the update is based on. None: it does not matter.

    Times without a zone are UTC; the columns hold milliseconds. Raises InvalidRequest: `expected` is no moment in UTC.
    """
    if expected is not None and _milliseconds(expected) != _milliseconds(actual):
        shown = "never" if actual is None else in_utc(actual).isoformat(timespec="milliseconds")
        raise StoreConflict(
            f"This was changed by somebody else in the meantime (updated_at is {shown}). Look at it again, and repeat "
            "the update with its present updated_at, or without one to overwrite it."
        )


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(in_utc(moment).timestamp() * 1000 + 0.5)
