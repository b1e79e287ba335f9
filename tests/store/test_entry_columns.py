"""Entries taken apart: what does not fit is refused, and what only looks like it is not."""

import pytest

from bursar.domain.errors import StoreRefused
from bursar.store.entry_columns import columns_of

ID = "00000000-0000-7000-8000-000000000001"


def entry(body: bytes, more: bytes = b"") -> bytes:
    return b'{"kind":"call","attempt_id":"%b","call_id":"%b","at_us":5%b,"body":%b}' % (
        ID.encode(),
        ID.encode(),
        more,
        body,
    )


def test_each_column() -> None:
    first = entry(b'{"a": 1}', b',"cost_nano_usd":7,"evidence":"free","hold_nano_usd":9,"windows":["w","x"]')
    columns = columns_of(b"[%b,%b]" % (first, entry(b"{}")))
    assert columns == (
        *(["call"] * 2, [ID] * 2, [5, 5], ['{"a": 1}', "{}"], [7, None], ["free", None], [9, None], ["{w,x}", None]),
        *((), ()),
    )


def test_columns_that_are_seldom_there() -> None:
    columns = columns_of(b"[%b,%b]" % (entry(b"{}", b',"seq":3,"owner":"o"'), entry(b"{}")))
    assert columns[-2:] == ([3, 0], ["o", None])


@pytest.mark.parametrize(
    "entries", [b"[", b"{}", b'[{"kind":"call"}]', b'["\xff"]', b"[%b]" % entry(rb'{"x":"\u0000"}')]
)
def test_what_no_journal_holds(entries: bytes) -> None:
    with pytest.raises(StoreRefused):
        columns_of(entries)


def test_a_backslash_before_it_is_no_nul() -> None:
    assert columns_of(b"[%b]" % entry(rb'{"x":"\\u0000"}'))[3] == [r'{"x":"\\u0000"}']
