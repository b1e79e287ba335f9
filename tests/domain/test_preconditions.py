"""Updates that are meant for a row as it was."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bursar.domain.errors import StoreConflict
from bursar.domain.preconditions import check_unchanged

NOW = datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "expected",
    [
        None,
        NOW,
        NOW.replace(tzinfo=None),
        NOW.astimezone(timezone(timedelta(hours=2))),
        NOW + timedelta(microseconds=200),
    ],
)
def test_the_same(expected: datetime | None) -> None:
    check_unchanged(expected, NOW)
    check_unchanged(expected, NOW.replace(tzinfo=None))


@pytest.mark.parametrize("actual", [NOW + timedelta(milliseconds=1), NOW - timedelta(days=1), None])
def test_another(actual: datetime | None) -> None:
    with pytest.raises(StoreConflict, match="changed by somebody else in the meantime"):
        check_unchanged(NOW, actual)
