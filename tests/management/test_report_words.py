"""Days, moments and failures, as all reports read and tell them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.access.keys import LitellmKeyForms
from bursar.domain.errors import InvalidRequest, StoreBusy, StoreTooSlow, StoreUnavailable, Unavailable
from bursar.domain.reports import Days
from bursar.management.report_words import days, hash_of, last_days, moment, report


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2025-11-20", datetime(2025, 11, 20)),  # noqa: DTZ001  # as the columns are
        (" 2025-11-20 13:14:15 ", datetime(2025, 11, 20, 13, 14, 15)),  # noqa: DTZ001
        ("2025-11-20T13:14:15.5Z", datetime(2025, 11, 20, 13, 14, 15, 500_000)),  # noqa: DTZ001
        ("2025-11-20T13:14:15+02:00", datetime(2025, 11, 20, 11, 14, 15)),  # noqa: DTZ001
        ("2025-11-20T13:14:15 02:00", datetime(2025, 11, 20, 11, 14, 15)),  # noqa: DTZ001  # the plus of a query
    ],
)
def test_moments(text: str, at: datetime) -> None:
    assert moment(text, param="start_date") == at


@given(st.text(max_size=40))
def test_other_texts_are_told_to_be_none(text: str) -> None:
    try:
        found = moment(text, param="start_date")
    except InvalidRequest:
        return
    assert found.tzinfo is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_moments_beyond_the_calendar(text: str) -> None:
    with pytest.raises(InvalidRequest):
        moment(text, param="end_date")


def test_days() -> None:
    assert days("2025-01-01", "2025-01-31 23:00:00") == Days("2025-01-01", "2025-01-31")
    today = datetime.now(UTC).date()
    assert last_days(1) in [Days(day.isoformat(), day.isoformat()) for day in (today, today + timedelta(days=1))]
    for start, end in ((None, "2025-01-01"), ("2025-01-02", "2025-01-01"), ("1800-01-01", "2025-01-01")):
        with pytest.raises(InvalidRequest):
            days(start, end)


def test_keys_by_any_of_their_names() -> None:
    forms = LitellmKeyForms()
    assert hash_of("sk-0123456789abcdef", forms) == (forms.hash("sk-0123456789abcdef"),)
    assert hash_of("f" * 64, forms) == ("f" * 64,)
    assert hash_of("litellm_proxy_master_key", forms) == ("litellm_proxy_master_key",)
    assert hash_of("", forms) is hash_of(None, forms) is None


@pytest.mark.parametrize(
    ("error", "kind"), [(StoreBusy("2 other reports"), "report_busy"), (StoreTooSlow("late"), "report_too_slow")]
)
async def test_what_the_reader_of_a_report_is_told(error: StoreUnavailable, kind: str) -> None:
    with pytest.raises(Unavailable) as caught:
        async with report():
            raise error
    assert (caught.value.type, caught.value.retry_after_s) == (kind, 5)
    with pytest.raises(StoreUnavailable):
        async with report():
            raise StoreUnavailable("away")
