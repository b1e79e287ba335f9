"""Buckets, and what a call takes from them and gives back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.limits import Limits, Scope, ScopeKind
from bursar.domain.rate_limits import HIGHEST, Bucket, Hold, LimitKind, Need, Plan, RateBook, rate_key, stated_limits

SCOPE = Scope(ScopeKind.KEY, "k")
NEED = Need(10, 5)


def a_book(*limits: Limits) -> tuple[RateBook, Plan]:
    """A worker that has all of these limits."""
    book = RateBook()
    book.turn(1000)
    plan = book.plan(stated_limits(limits))
    for bucket in plan.buckets:
        bucket.share = bucket.limit
    return book, plan


def all_kinds(limit: int) -> Limits:
    return Limits(scope=SCOPE, requests_per_minute=limit, tokens_per_minute=limit * 100, parallel_calls=limit)


def used(plan: Plan) -> list[int]:
    return [bucket.used for bucket in plan.buckets]


def admitted(book: RateBook, plan: Plan, need: Need = NEED) -> Hold:
    hold = book.admit(plan, need)
    assert hold is not None
    return hold


def test_limits_of_all_kinds() -> None:
    stated = stated_limits(
        [
            Limits(scope=SCOPE, requests_per_minute=-5, tokens_per_minute=10**18),
            Limits(scope=Scope(ScopeKind.TEAM, "t"), parallel_calls=0),
            Limits(scope=Scope(ScopeKind.USER, "u")),
        ]
    )
    assert [(key.scope.kind, key.kind, limit) for key, limit in stated] == [
        ("key", "requests", 0),
        ("key", "tokens", HIGHEST),
        ("team", "max_parallel_requests", 0),
    ]


def test_long_ids_become_their_hash() -> None:
    key = rate_key(Scope(ScopeKind.END_USER, "x" * 201), LimitKind.TOKENS)
    assert len(key.scope.id) < 100
    assert key != rate_key(Scope(ScopeKind.END_USER, "x" * 202), LimitKind.TOKENS)
    assert rate_key(Scope(ScopeKind.END_USER, "x" * 200), LimitKind.TOKENS).scope.id == "x" * 200


def test_all_or_none() -> None:
    book, plan = a_book(all_kinds(5), Limits(scope=Scope(ScopeKind.TEAM, "t"), tokens_per_minute=20))
    admitted(book, plan)
    before = used(plan)
    assert book.admit(plan, NEED) is None
    assert used(plan) == before
    lacking = book.lacking(plan, NEED)
    assert lacking is not None
    assert lacking.key.scope.kind is ScopeKind.TEAM


def test_settled_with_what_was_used() -> None:
    book, plan = a_book(all_kinds(5))
    hold = admitted(book, plan)
    assert used(plan) == [1, 1, 15]
    hold.settle(400)
    assert used(plan) == [1, 1, 400]
    hold.end()
    assert used(plan) == [1, 0, 400]


def test_failed() -> None:
    book, plan = a_book(all_kinds(5))
    admitted(book, plan).end()
    assert used(plan) == [1, 0, 0]


def test_withdrawn() -> None:
    book, plan = a_book(all_kinds(5))
    admitted(book, plan).withdraw()
    assert used(plan) == [0, 0, 0]


def test_closed_once() -> None:
    book, plan = a_book(all_kinds(5))
    admitted(book, plan)
    hold = admitted(book, plan)
    for _ in range(3):
        hold.settle(7)
        hold.end()
        hold.withdraw()
    assert used(plan) == [2, 1, 15 + 7]


def test_more_than_the_share_makes_it_negative() -> None:
    book, plan = a_book(Limits(scope=SCOPE, tokens_per_minute=100))
    hold = admitted(book, plan)
    hold.settle(1000)
    assert plan.tokens[0].remaining == 0
    assert book.admit(plan, Need(1, 0)) is None


def test_a_new_window_begins_with_nothing_used() -> None:
    book, plan = a_book(all_kinds(2))
    first = admitted(book, plan)
    admitted(book, plan)
    assert book.admit(plan, NEED) is None
    first.end()
    book.turn(1001)
    hold = admitted(book, plan)
    assert used(plan) == [1, 2, 15], "calls at a time know no window"
    hold.end()


def test_of_a_call_that_outlives_its_window_only_the_excess_counts_in_the_next() -> None:
    book, plan = a_book(Limits(scope=SCOPE, requests_per_minute=10, tokens_per_minute=1000))
    short, long, withdrawn = (admitted(book, plan) for _ in range(3))
    book.turn(1001)
    short.settle(5)
    short.end()
    withdrawn.withdraw()
    long.settle(115)
    assert [bucket.used for bucket in plan.tokens] == [100]
    admitted(book, plan)
    assert used(plan) == [1, 115]


def test_the_guess_of_the_output_keeps_no_call_from_a_small_limit() -> None:
    book, plan = a_book(Limits(scope=SCOPE, tokens_per_minute=100))
    admitted(book, plan, Need(10, 5000))
    assert used(plan) == [10 + 25]
    assert book.admit(plan, Need(101, 0)) is None


def test_windows_do_not_go_back_unless_the_clock_was_set() -> None:
    book = RateBook()
    for told, now in ((1000, 1000), (999, 1000), (1001, 1001), (999, 999), (1000, 1000)):
        book.turn(told)
        assert book.window == now


def test_a_raised_limit_is_not_had_before_it_is_asked_for() -> None:
    book, plan = a_book(Limits(scope=SCOPE, requests_per_minute=10))
    [bucket] = plan.buckets
    book.bucket(bucket.key, 20)
    assert (bucket.limit, bucket.share) == (20, 10)
    assert bucket in book.touched


@given(limits=st.lists(st.integers(0, 1000), min_size=2, max_size=6), shares=st.lists(st.integers(0, 1000), min_size=5))
def test_lowered_shares_fit_into_the_lowered_limit(limits: list[int], shares: list[int]) -> None:
    """However often it changes: once everybody knows the limit, their shares fit into it."""
    limit, *later = limits
    books = []
    left = limit
    for share in shares:
        book = RateBook()
        bucket = book.bucket(rate_key(SCOPE, LimitKind.REQUESTS), limit)
        bucket.share = min(share, left)
        left -= bucket.share
        books.append(book)
    for changed in later:
        buckets: list[Bucket] = [book.bucket(rate_key(SCOPE, LimitKind.REQUESTS), changed) for book in books]
        assert sum(bucket.share for bucket in buckets) <= changed


@given(
    calls=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 200), st.sampled_from("sew"), st.booleans()),
        max_size=40,
    )
)
def test_in_the_end_everything_is_free_and_what_was_used_is_counted(
    calls: list[tuple[int, int, int, str, bool]],
) -> None:
    book, plan = a_book(all_kinds(20))
    open_holds: list[tuple[Hold, int, str]] = []
    requests = tokens = 0
    for given_input, given_output, actual, end, later in calls:
        hold = book.admit(plan, Need(given_input, given_output))
        if hold is None:
            continue
        open_holds.append((hold, actual, end))
        requests += 1
        if later:
            continue
        hold, actual, end = open_holds.pop()
        requests -= _end(hold, actual, end)
        tokens += actual if end == "s" else 0
    for hold, actual, end in open_holds:
        requests -= _end(hold, actual, end)
        tokens += actual if end == "s" else 0
    assert used(plan) == [requests, 0, tokens]


def _end(hold: Hold, actual: int, end: str) -> int:
    """How many requests it takes back."""
    if end == "s":
        hold.settle(actual)
        hold.end()
    elif end == "e":
        hold.end()
    else:
        hold.withdraw()
    return int(end == "w")


@pytest.mark.parametrize("share", [0, 40, 100])
def test_remaining_is_the_share_and_what_nobody_had(share: int) -> None:
    _, plan = a_book(Limits(scope=SCOPE, requests_per_minute=100))
    [bucket] = plan.buckets
    bucket.share = bucket.share_there = share
    bucket.others_share = min(30, 100 - share)
    bucket.used = 10
    assert bucket.remaining == max(0, (70 if share < 100 else 100) - 10)
