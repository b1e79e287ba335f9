"""Updates that are meant for a row as it was."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bursar.domain.errors import InvalidRequest, StoreConflict
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


@pytest.mark.parametrize(
    "beyond",
    [
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=23))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23))),
    ],
)
def test_no_moment_at_all(beyond: datetime) -> None:
    with pytest.raises(InvalidRequest, match="outside of the years"):
        check_unchanged(beyond, NOW)
