"""Budgets in memory: what is held, who waits, and that nothing is spent twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bursar.domain.errors import BudgetExceeded, Unavailable
from bursar.domain.holds import Ceiling, HoldPlan
from bursar.domain.ids import JournalId
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind
from bursar.domain.money import NanoUsd, Rate
from bursar.domain.windows import WindowId
from bursar.quotas.budgets import Budgets, Hold
from bursar.tasks import TaskOwner
from tests.patience import PATIENCE_S
from tests.quotas.memory import MemoryBudgets

CENT = 10_000_000
DOLLAR = 100 * CENT


def limits(name: str = "k", limit: int = DOLLAR, kind: ScopeKind = ScopeKind.KEY, **more: Any) -> Limits:
    return Limits(scope=Scope(kind, name), name=name, budget=Budget(NanoUsd(limit), **more))


def plan(amount: int = CENT) -> HoldPlan:
    """A call that costs `amount` at most: its output tokens cost a nano-dollar each."""
    return HoldPlan(ceiling=Ceiling(Rate(0), Rate(1_000_000), 0), output=amount)


class Place:
    """Some gateway processes on one store; what they settle is booked at once, as a poster would later."""

    def __init__(self, store: MemoryBudgets) -> None:
        self.store = store
        self.owner = TaskOwner("budgets")
        self.budgets: list[Budgets] = []
        self._instances: dict[int, JournalId] = {}

    def start(self, **more: Any) -> Budgets:
        instance = JournalId(f"i{len(self.budgets)}")
        epoch = self.store.register(instance)
        budgets = Budgets(self.store, instance=instance, epoch=lambda: epoch, **more)
        self.budgets.append(budgets)
        self._instances[id(budgets)] = instance
        self.store.listeners.append(budgets.told)
        self.owner.start(budgets.run())
        return budgets

    def settle(self, budgets: Budgets, held: Hold, cost: int) -> None:
        for window in held.windows:
            self.store.book(self._instances[id(budgets)], window, cost)
        held.settle(cost)

    def leased(self) -> int:
        (window,) = self.store.windows.values()
        return window.leased


@asynccontextmanager
async def place(delay_s: float = 0.001) -> AsyncIterator[Place]:
    found = Place(MemoryBudgets(delay_s=delay_s))
    yield found
    await found.owner.cancel()


async def test_a_call_holds_and_settles() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits()])
        assert budgets.hold_now(lines, plan()) is None
        held = await budgets.hold(lines, plan())
        assert (held.amount, held.bound) == (CENT, None)
        assert lines[0].share.held == CENT
        here.settle(budgets, held, CENT // 2)
        assert (lines[0].share.held, lines[0].share.spent) == (0, CENT // 2)
        held.settle(DOLLAR)  # once is enough
        assert lines[0].share.spent == CENT // 2
        before = here.store.exchanges
        for _ in range(5):
            again = budgets.hold_now(lines, plan())
            assert again is not None
            again.void()
        assert here.store.exchanges == before


async def test_all_scopes_or_none() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits("big"), limits("small", CENT // 2, ScopeKind.TEAM)])
        with pytest.raises(BudgetExceeded, match="Team=small"):
            await budgets.hold(lines, plan())
        assert [line.share.held for line in lines] == [0, 0]


@pytest.mark.parametrize("processes", [1, 4])
async def test_every_cent_and_no_more(processes: int) -> None:
    """A thousand calls at once for a hundred cents."""
    async with place() as here:
        all_budgets = [here.start() for _ in range(processes)]
        served = 0

        async def call(number: int) -> None:
            nonlocal served
            budgets = all_budgets[number % processes]
            try:
                held = await budgets.hold(budgets.lines([limits()]), plan())
            except BudgetExceeded:
                return
            served += 1
            await asyncio.sleep(0.005)
            here.settle(budgets, held, CENT)

        await asyncio.gather(*(call(number) for number in range(1000)))
        assert served == 100
        assert here.leased() == DOLLAR


async def test_a_call_waits_for_money_that_is_only_held() -> None:
    async with place() as here:
        one, other = here.start(), here.start()
        first = await one.hold(one.lines([limits(limit=CENT)]), plan())
        waiting = asyncio.ensure_future(other.hold(other.lines([limits(limit=CENT)]), plan()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        first.void()
        held = await asyncio.wait_for(waiting, 1.0)
        assert held.amount == CENT


async def test_what_is_held_too_long_is_refused_with_the_figures() -> None:
    async with place() as here:
        budgets = here.start(wait_s=0.1)
        lines = budgets.lines([limits("ci", CENT)])
        await budgets.hold(lines, plan())
        with pytest.raises(BudgetExceeded) as caught:
            await budgets.hold(lines, plan())
        assert caught.value.message == (
            "Budget has been exceeded! Key=ci Current cost: 0, Max budget: 0.01. "
            "The call may cost up to 0.01; 0.01 is held by calls under way."
        )


async def test_what_is_spent_is_refused_at_once() -> None:
    async with place() as here:
        budgets = here.start(wait_s=30.0)
        lines = budgets.lines([limits("ci", CENT)])
        here.settle(budgets, await budgets.hold(lines, plan()), CENT)
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(50):
                with pytest.raises(BudgetExceeded):
                    await budgets.hold(lines, plan())
        assert here.store.exchanges < 6, "a used-up budget costs the database nothing"


async def test_without_a_bound_of_its_own_a_call_gets_one_that_fits() -> None:
    """`most` would cost ten dollars; the budget has one."""
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits()])
        unbounded = HoldPlan(ceiling=Ceiling(Rate(0), Rate(1_000_000), 0), most=10 * DOLLAR, floor=CENT // 100)
        held: list[Hold] = [await budgets.hold(lines, unbounded) for _ in range(8)]
        assert all(0 < hold.amount == hold.bound for hold in held)
        assert sum(hold.amount for hold in held) <= DOLLAR
        for hold in held:
            here.settle(budgets, hold, hold.amount // 2)
        spent = lines[0].share.spent
        for _ in range(400):
            try:
                hold = await budgets.hold(lines, unbounded)
            except BudgetExceeded:
                break
            spent += hold.amount // 2
            here.settle(budgets, hold, hold.amount // 2)
        assert 0.9 * DOLLAR <= spent <= DOLLAR


async def test_a_model_without_a_maximum_gets_a_bound() -> None:
    async with place() as here:
        budgets = here.start()
        held = await budgets.hold(
            budgets.lines([limits()]), HoldPlan(ceiling=Ceiling(Rate(0), Rate(1_000_000), 0), floor=10)
        )
        assert held.bound is not None


async def test_a_charge_above_its_hold_is_booked_and_counted() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits()])
        here.settle(budgets, await budgets.hold(lines, plan()), 2 * DOLLAR)
        assert budgets.overages == 1
        with pytest.raises(BudgetExceeded, match="Current cost: 2, Max budget: 1"):
            await budgets.hold(lines, plan())


async def test_lost_answers_lose_no_money() -> None:
    async with place() as here:
        budgets = here.start(wait_s=5.0)
        lines = budgets.lines([limits(limit=3 * CENT)])
        here.store.lose_answers = 1
        with pytest.raises(Unavailable) as caught:
            await budgets.hold(lines, plan())
        assert caught.value.type == "store_unavailable"
        for _ in range(3):
            here.settle(budgets, await _until_it_works(lambda: budgets.hold(lines, plan())), CENT)
        with pytest.raises(BudgetExceeded):
            await budgets.hold(lines, plan())
        assert here.leased() == 3 * CENT


async def _until_it_works(attempt: Callable[[], Awaitable[Hold]]) -> Hold:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await attempt()
            except Unavailable:
                await asyncio.sleep(0.02)


async def test_while_the_store_is_away_grants_are_spent_to_their_end() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits()])
        here.settle(budgets, await budgets.hold(lines, plan()), CENT)
        here.store.away = True
        served = 0
        while (held := budgets.hold_now(lines, plan())) is not None:
            held.settle(CENT)
            served += 1
        assert served > 5
        with pytest.raises(Unavailable) as caught:
            await budgets.hold(lines, plan())
        assert caught.value.type == "store_unavailable"
        with pytest.raises(Unavailable):
            await budgets.hold(budgets.lines([limits("never seen")]), plan())


async def test_a_store_that_went_back_is_reminded_of_what_it_granted() -> None:
    """It was restored to a state in which half of the dollar was not spent yet: it is not given out again."""
    async with place() as here:
        first, second = here.start(), here.start()
        for _ in range(10):
            here.settle(first, await first.hold(first.lines([limits()]), plan()), CENT)
        before = (dict(here.store.windows), dict(here.store.grants))
        for _ in range(40):
            here.settle(first, await first.hold(first.lines([limits()]), plan()), CENT)
        [known] = here.store.windows.values()
        [(key, grant)] = here.store.grants.items()
        here.store.windows, here.store.grants = before
        await first.remind()
        assert here.leased() == known.leased
        assert here.store.grants[key].leased == grant.leased
        for _ in range(40):
            here.store.book(key[1], key[0], CENT)  # the poster carries the journal over again
        for _ in range(50):
            here.settle(second, await second.hold(second.lines([limits()]), plan()), CENT)
        with pytest.raises(BudgetExceeded):
            await second.hold(second.lines([limits()]), plan())


async def test_a_cancelled_call_leaves_nothing_held() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits(limit=CENT)])
        first = await budgets.hold(lines, plan())
        waiting = asyncio.ensure_future(budgets.hold(lines, plan()))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.void()
        assert (await budgets.hold(lines, plan())).amount == CENT


async def test_a_lowered_limit_binds() -> None:
    async with place() as here:
        budgets = here.start()
        here.settle(budgets, await budgets.hold(budgets.lines([limits()]), plan()), CENT)
        lowered = limits(limit=2 * CENT)
        lines = budgets.lines([lowered])
        async with asyncio.timeout(PATIENCE_S):
            while here.leased() > 2 * CENT:
                await asyncio.sleep(0.01)
        here.settle(budgets, await budgets.hold(lines, plan()), CENT)
        with pytest.raises(BudgetExceeded):
            await budgets.hold(lines, plan())


@pytest.mark.parametrize("asking", [False, True])
async def test_a_limit_that_fell_long_ago_binds_the_very_next_call(asking: bool) -> None:
    """Also where an exchange of before is under way, and brings more of what there was."""
    async with place(delay_s=0.05) as here:
        budgets = here.start()
        (line,) = lines = budgets.lines([limits(limit=100 * CENT)])
        here.settle(budgets, await budgets.hold(lines, plan()), CENT)
        assert line.share.free > CENT
        waiting = asyncio.ensure_future(budgets.hold(lines, plan(line.share.free + CENT))) if asking else None
        while asking and here.store.exchanges == 1 and line.share.asked is None:
            await asyncio.sleep(0.001)
        lowered = budgets.lines([limits(limit=CENT)])
        assert lowered == lines
        assert budgets.hold_now(lowered, plan()) is None
        with pytest.raises(BudgetExceeded):
            await budgets.hold(lowered, plan())
        if waiting is not None:
            with pytest.raises(BudgetExceeded):
                await waiting
        async with asyncio.timeout(PATIENCE_S):
            while here.leased() > CENT:
                await asyncio.sleep(0.01)


async def test_a_period_ends_and_the_next_begins_with_all_of_it() -> None:
    now_s = 1_000_000.0
    async with place() as here:
        budgets = here.start(wall_clock=lambda: now_s)
        budgets._show_life = _nothing  # type: ignore[method-assign]  # the store's clock is not the one of this test
        daily = limits(limit=CENT, duration="1d")
        held = await budgets.hold(budgets.lines([daily]), plan())
        first = held.windows
        now_s += 86_400.0
        again = await budgets.hold(budgets.lines([daily]), plan())
        assert again.windows != first
        here.settle(budgets, held, CENT)
        assert here.store.windows[first[0]].spent == CENT
        assert here.store.windows[again.windows[0]].spent == 0
        budgets._wait_s = 0.05
        with pytest.raises(BudgetExceeded, match="the budget resets at 1970-01-14 00:00:00 UTC"):
            await budgets.hold(budgets.lines([daily]), plan())


async def _nothing() -> None:
    return


async def test_the_table_says_when_a_period_ends() -> None:
    async with place() as here:
        budgets = here.start(wall_clock=lambda: 1000.0)
        (line,) = budgets.lines([limits(duration="30d", reset_at_s=5000.0)])
        assert line.share.ends_at_s == 5000.0


async def test_small_holds_do_not_starve_a_large_one() -> None:
    async with place() as here:
        budgets = here.start()
        lines = budgets.lines([limits(limit=10 * CENT)])
        small = [await budgets.hold(lines, plan()) for _ in range(10)]
        large = asyncio.ensure_future(budgets.hold(lines, plan(10 * CENT)))
        await asyncio.sleep(0.01)
        late = asyncio.ensure_future(budgets.hold(lines, plan()))
        for hold in small:
            await asyncio.sleep(0.002)
            hold.void()
        held = await asyncio.wait_for(large, 1.0)
        assert not late.done()
        held.void()
        assert (await asyncio.wait_for(late, 1.0)).amount == CENT


async def test_windows_have_the_same_name_everywhere() -> None:
    async with place() as here:
        (one,), (other,) = here.start().lines([limits()]), here.start().lines([limits()])
        assert one.share.window == other.share.window
        assert isinstance(WindowId(one.share.window), str)


async def test_a_call_that_ends_does_not_hear_what_another_one_cannot_have() -> None:
    """The store is away, and whoever waits behind it needs a budget that nobody has asked about yet."""
    async with place() as here:
        budgets = here.start(wait_s=1.0)
        known = budgets.lines([limits(limit=CENT)])
        held = await budgets.hold(known, plan())
        both = budgets.lines([limits(limit=CENT), limits("new", kind=ScopeKind.END_USER)])
        waiting = asyncio.ensure_future(budgets.hold(both, plan()))
        await asyncio.sleep(0.01)
        here.store.away = True
        other = budgets.lines([limits("other")])
        with pytest.raises(Unavailable):
            await budgets.hold(other, plan())
        held.void()  # it is the waiting call's turn, and it cannot be served
        with pytest.raises(Unavailable):
            await waiting
