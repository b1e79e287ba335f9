"""Shares of rate limits: what is right, and that together they never exceed the limit, whatever happens."""

import time
from collections.abc import Callable
from random import SystemRandom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.ids import JournalId
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.rate_limits import LimitKind, Need, Plan, RateBook, RateKey
from bursar.domain.rate_shares import PATIENCE_S, Outcome, WorkerShares, target
from tests.domain.rate_simulation import LEASE_S, OverTheLimit, Simulation
from tests.domain.rate_store_model import EagerStore, RateStoreModel

KEY = RateKey(Scope(ScopeKind.KEY, "k"), LimitKind.REQUESTS)


# --- the simulator ---


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_used_beyond_its_limit(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.run(600)
    assert simulation.steps > 5_000


def test_the_clock_is_set_back_before_a_worker_leaves_at_the_end_of_a_minute() -> None:
    """It had used some of the next one already."""
    Simulation(1727275510).run(600)


def test_nothing_is_used_beyond_its_limit_by_a_fresh_seed() -> None:
    for _ in range(4):
        Simulation(SystemRandom().getrandbits(32)).run(600)  # a failure names its seed


@pytest.mark.long
def test_nothing_is_used_beyond_its_limit_for_long() -> None:
    steps = 0
    while steps < 10**7:
        simulation = Simulation(SystemRandom().getrandbits(32))
        simulation.run(600)
        steps += simulation.steps


@pytest.mark.parametrize("kind", [LimitKind.REQUESTS, LimitKind.TOKENS])
def test_uneven_and_moving_load_uses_the_whole_limit(kind: LimitKind) -> None:
    """Offered twice the limit in all, most of it at one worker or two, elsewhere after a while."""
    used = []
    for seed in range(4):
        simulation = Simulation(seed, faults=False, kinds=(kind,))
        simulation.run(600)
        key = simulation.key("busy", kind)
        whole = sorted(simulation.charged[key])[1:-1]
        used += [simulation.charged[key][window] / simulation.limits[key] for window in whole]
    assert len(used) > 30
    assert min(used) >= 0.95


def found_within(seconds: float, make: Callable[[int], Simulation]) -> bool:
    begun = time.monotonic()
    for seed in range(1000):
        try:
            make(seed).run(300)
        except OverTheLimit:
            return True
        if time.monotonic() - begun > seconds:
            return False
    return False


def test_a_share_that_grows_before_the_others_gave_up_is_found() -> None:
    assert found_within(60, lambda seed: Simulation(seed, store_of=EagerStore))


def test_a_worker_that_does_not_notice_that_it_was_frozen_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerShares, "usable", lambda self, _now_s: not self._fresh)

    class Freezing(Simulation):
        def fault(self) -> None:
            self.freeze()
            self.after(self.random.expovariate(1 / 15), self.fault)

    assert found_within(60, Freezing)


def test_a_store_that_takes_statements_in_any_order_is_found() -> None:
    class Forgetful(RateStoreModel):
        def _admit(self, me: JournalId, *arguments: object) -> Outcome:
            if me in self.workers:
                self.workers[me].number = 0
            return super()._admit(me, *arguments)  # type: ignore[arg-type]

    class Blind(Simulation):
        def check_rows(self) -> None: ...

    assert found_within(60, lambda seed: Blind(seed, store_of=Forgetful))


# --- what is right ---


@given(
    limit=st.integers(0, 10**15),
    demands=st.lists(st.integers(0, 10**15), min_size=1, max_size=8),
    absent=st.integers(0, 4),
)
def test_right_shares_fit_into_the_limit(limit: int, demands: list[int], absent: int) -> None:
    demands = [min(limit, demand) for demand in demands]
    total = sum(demands)
    workers = len(demands) + absent
    shares = [target(limit=limit, demand=d, others_demand=total - d, workers=workers) for d in demands]
    rounding = len(demands) - 1
    assert sum(shares) <= limit + rounding
    if total <= limit:
        assert all(share >= demand for share, demand in zip(shares, demands, strict=True))
        if workers > 1:
            assert limit - sum(shares) >= (limit - total) // 2, "half of what nobody needs is free for the next one"


def test_a_lone_worker_has_all_of_a_limit() -> None:
    assert target(limit=100, demand=1, others_demand=0, workers=1) == 100


def test_in_proportion_where_there_is_too_little() -> None:
    shares = [target(limit=100, demand=d, others_demand=150 - d, workers=3) for d in (100, 50, 0)]
    assert shares == [67, 34, 0]


# --- one worker, step by step ---


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class One:
    """A worker before a store, both by the same clock."""

    def __init__(self, store: RateStoreModel, name: str, limit: int = 100) -> None:
        self.store = store
        self.id = JournalId(name)
        self.book = RateBook()
        self.shares = WorkerShares(self.book, lease_s=LEASE_S)
        self.turn()
        self.plan = Plan([self.book.bucket(KEY, limit)])
        self.bucket = self.plan.buckets[0]

    def turn(self) -> None:
        self.book.turn(int(self.store.clock() // 60))

    def use(self, times: int) -> int:
        """How many of so many calls are admitted."""
        self.turn()
        if not self.shares.usable(self.store.clock()):
            return 0
        return sum(self.book.admit(self.plan, Need(0, 0)) is not None for _ in range(times))

    def want(self, more: int) -> None:
        for _ in range(more):
            self.shares.wait(self.plan, Need(0, 0))

    def want_no_more(self) -> None:
        self.bucket.waiting = 0

    def exchange(self) -> None:
        now = self.store.clock()
        self.turn()
        statement = self.shares.statement(now)
        self.shares.answered(statement, self.store.take(self.id, statement, lease_s=LEASE_S), now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> RateStoreModel:
    return RateStoreModel(clock)


def test_a_second_worker_gets_what_the_first_does_not_need(store: RateStoreModel) -> None:
    one, two = One(store, "one"), One(store, "two")
    one.want(1)
    one.exchange()
    assert (one.bucket.share, one.bucket.remaining) == (100, 100)
    one.want_no_more()
    assert one.use(10) == 10
    two.want(1)
    two.exchange()
    assert two.bucket.share == 0
    one.exchange()  # hears of it
    one.exchange()  # tells what it has given up
    two.exchange()
    two.want_no_more()
    assert two.use(5) == 5
    assert one.bucket.share >= 10
    assert one.bucket.share + two.bucket.share <= 100


def test_what_was_used_is_not_had_by_others_before_the_window_ends(store: RateStoreModel, clock: Clock) -> None:
    one, two = One(store, "one"), One(store, "two")
    clock.now_s = clock.now_s // 60 * 60 + 30
    one.want(1)
    one.exchange()
    one.want_no_more()
    assert one.use(200) == 100
    two.want(1)
    for _ in range(3):
        two.exchange()
        one.exchange()
    two.want_no_more()
    assert two.use(1) == 0
    clock.now_s += 31
    two.want(1)
    for _ in range(3):
        one.exchange()
        two.exchange()
    two.want_no_more()
    assert two.use(1) == 1


def test_a_lowered_limit_lowers_shares_at_once_and_without_asking(store: RateStoreModel) -> None:
    one, two = One(store, "one"), One(store, "two")
    for worker in (one, two, one, two, one, two):
        worker.want(50 - worker.bucket.waiting)
        worker.exchange()
    assert (one.bucket.share, two.bucket.share) == (50, 50)
    for worker in (one, two):
        worker.want_no_more()
        worker.book.bucket(KEY, 20)
    assert (one.use(30), two.use(30)) == (10, 10)


def test_a_raised_limit_is_asked_for_however_short_the_lower_one_was(store: RateStoreModel, clock: Clock) -> None:
    one, two = One(store, "one", 2), One(store, "two", 2)
    one.want(2)
    one.exchange()
    one.want_no_more()
    assert one.use(2) == 2
    two.want(1)
    two.exchange()
    two.want_no_more()
    clock.now_s += 2 * PATIENCE_S
    assert two.shares.hopeless(two.bucket, 1, clock())
    for worker in (one, two):
        worker.book.bucket(KEY, 4)
    assert not two.shares.hopeless(two.bucket, 1, clock())
    two.want(1)
    two.exchange()
    assert two.use(1) == 1


def test_a_lost_answer_leaves_a_share_as_it_was(store: RateStoreModel, clock: Clock) -> None:
    one, two = One(store, "one"), One(store, "two")
    two.exchange()
    one.want(10)
    statement = one.shares.statement(clock())
    store.take(one.id, statement, lease_s=LEASE_S)
    one.shares.unanswered(statement)
    assert one.bucket.share == 0
    assert one.shares.away
    assert one.shares.hopeless(one.bucket, 1, clock())
    one.exchange()
    assert one.bucket.share >= 10
    assert not one.shares.away


def test_a_worker_whose_lease_is_over_uses_nothing(store: RateStoreModel, clock: Clock) -> None:
    one = One(store, "one")
    one.want(1)
    one.exchange()
    one.want_no_more()
    clock.now_s += LEASE_S - 1
    assert one.use(1) == 1
    clock.now_s += 2
    assert one.use(1) == 0
    one.want(1)
    one.exchange()
    assert one.bucket.share == 0, "what it used of this minute still counts"
    clock.now_s += 60
    one.exchange()
    one.want_no_more()
    assert one.use(1) == 1


def test_an_answer_that_comes_after_the_lease_renews_nothing(store: RateStoreModel, clock: Clock) -> None:
    one = One(store, "one")
    one.want(1)
    one.exchange()
    one.want_no_more()
    statement = one.shares.statement(clock())
    answer = store.take(one.id, statement, lease_s=LEASE_S)
    clock.now_s += LEASE_S + 1
    one.shares.answered(statement, answer, clock())
    assert one.use(1) == 0


def test_a_bucket_that_nobody_uses_is_given_up_and_forgotten(store: RateStoreModel, clock: Clock) -> None:
    one = One(store, "one")
    one.want(1)
    one.exchange()
    one.want_no_more()
    assert one.use(1) == 1
    for _ in range(200):
        clock.now_s += 1
        one.exchange()
    assert not one.book.buckets
    assert one.plan.outdated
    assert not store.rows[KEY]
    assert one.use(1) == 0
    one.plan = one.book.plan([(KEY, 100)])
    one.want(1)
    one.exchange()
    assert one.use(1) == 1


def test_nothing_new_is_not_told(store: RateStoreModel, clock: Clock) -> None:
    """Ten thousand limits in use cost no rows while their shares are right."""
    one = One(store, "one")
    plans = [one.book.plan([(RateKey(Scope(ScopeKind.KEY, str(n)), LimitKind.REQUESTS), 100)]) for n in range(10_000)]
    for plan in plans:
        one.shares.wait(plan, Need(0, 0))
    rows = []
    for _ in range(10):
        clock.now_s += 1
        statement = one.shares.statement(clock())
        rows.append(len(statement.asks))
        one.shares.answered(statement, store.take(one.id, statement, lease_s=LEASE_S), clock())
    assert rows[:5] == [2000] * 5
    assert rows[6:] == [0] * 4
    for plan in plans:
        one.shares.wait_no_more(plan.buckets, Need(0, 0))
        assert one.book.admit(plan, Need(0, 0)) is not None
    clock.now_s += 1
    assert len(one.shares.statement(clock()).asks) == 0


def test_a_worker_that_leaves_keeps_what_it_used(store: RateStoreModel, clock: Clock) -> None:
    one = One(store, "one")
    one.want(1)
    one.exchange()
    one.want_no_more()
    assert one.use(7) == 7
    [ask] = one.shares.statement(clock(), last=True).asks
    assert (ask.held, ask.want, ask.demand) == (7, 0, 0)
