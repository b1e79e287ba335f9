"""Limits of end users and tags in memory: what is asked of the store, and what is not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bursar.access.limit_directory import LimitDirectory
from bursar.domain.errors import StoreUnavailable, Unauthenticated
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind
from bursar.domain.money import NanoUsd
from bursar.ports.limits import AnyLimits, NamedLimits
from bursar.store.database import Database
from bursar.store.limits import PostgresLimits
from bursar.tasks import TaskOwner


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Table:
    """Implements `ports.limits.LimitStore` over a mapping, and notes what it is asked."""

    def __init__(self) -> None:
        self.rows: dict[Scope, NamedLimits] = {}
        self.default: Limits | None = None
        self.asked: list[object] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def any(self) -> AnyLimits:
        self.asked.append("any")
        await self._answer()
        kinds = {scope.kind for scope in self.rows}
        return AnyLimits(end_users=ScopeKind.END_USER in kinds, tags=ScopeKind.TAG in kinds, default=self.default)

    async def find(self, end_users: Sequence[str], tags: Sequence[str]) -> dict[Scope, NamedLimits]:
        self.asked.append((sorted(end_users), sorted(tags)))
        await self._answer()
        wanted = {Scope(ScopeKind.END_USER, one) for one in end_users} | {Scope(ScopeKind.TAG, one) for one in tags}
        return {scope: row for scope, row in self.rows.items() if scope in wanted}

    async def _answer(self) -> None:
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away")


def limits(kind: ScopeKind, name: str, rpm: int = 5) -> Limits:
    return Limits(scope=Scope(kind, name), requests_per_minute=rpm)


CUSTOMER = limits(ScopeKind.END_USER, "customer")
TAGGED = limits(ScopeKind.TAG, "tagged")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def table() -> Table:
    table = Table()
    table.rows = {CUSTOMER.scope: NamedLimits(CUSTOMER), TAGGED.scope: NamedLimits(TAGGED)}
    return table


@pytest.fixture
async def tasks() -> Any:
    owner = TaskOwner("test")
    yield owner
    await owner.cancel()


@pytest.fixture
async def directory(table: Table, tasks: TaskOwner, clock: Clock) -> LimitDirectory:
    return LimitDirectory(table, tasks, clock=clock)


async def test_nobody_named_nothing_asked(directory: LimitDirectory, table: Table) -> None:
    assert directory.recall("", []) == ()
    assert table.asked == []


async def test_where_nobody_has_limits_nobody_is_looked_up(directory: LimitDirectory, table: Table) -> None:
    table.rows = {}
    assert directory.recall("somebody", ["a"]) is None
    assert await directory.find("somebody", ["a"]) == ()
    for number in range(100):
        assert directory.recall(f"user{number}", ["b", "c"]) == ()
    assert table.asked == ["any"]


async def test_looked_up_once(directory: LimitDirectory, table: Table) -> None:
    assert await directory.find("customer", ["tagged", "other"]) == (CUSTOMER, TAGGED)
    assert table.asked == ["any", (["customer"], ["other", "tagged"])]
    for _ in range(3):
        assert directory.recall("customer", ["other", "tagged"]) == (CUSTOMER, TAGGED)
        assert await directory.find("customer", []) == (CUSTOMER,)
    assert len(table.asked) == 2


async def test_the_unknown_are_remembered(directory: LimitDirectory, table: Table) -> None:
    for _ in range(3):
        assert await directory.find("nobody", []) == ()
    assert table.asked == ["any", (["nobody"], [])]


async def test_who_asks_at_the_same_time_is_looked_up_together(directory: LimitDirectory, table: Table) -> None:
    await directory.find("customer", [])
    table.asked.clear()
    found = await asyncio.gather(*(directory.find(f"user{number % 10}", ["tagged"]) for number in range(50)))
    assert found == [(TAGGED,)] * 50
    assert table.asked == [(sorted(f"user{number}" for number in range(10)), ["tagged"])]


async def test_who_asks_during_a_look_up_comes_with_the_next(directory: LimitDirectory, table: Table) -> None:
    await directory.find("customer", [])
    table.asked.clear()
    table.gate.clear()
    first = asyncio.create_task(directory.find("one", []))
    while not table.asked:
        await asyncio.sleep(0)
    more = [asyncio.create_task(directory.find(name, [])) for name in ("two", "three", "two")]
    await asyncio.sleep(0)
    table.gate.set()
    assert await asyncio.gather(first, *more) == [()] * 4
    assert table.asked == [(["one"], []), (["three", "two"], [])]


async def test_a_blocked_end_user(directory: LimitDirectory, table: Table) -> None:
    table.rows = {Scope(ScopeKind.END_USER, "bad"): NamedLimits(None, blocked=True)}
    with pytest.raises(Unauthenticated, match=r"End User=bad is blocked\. Update via `/customer/unblock`"):
        await directory.find("bad", [])
    with pytest.raises(Unauthenticated):
        directory.recall("bad", [])
    assert await directory.find("good", []) == ()


async def test_fresh_for_a_minute_then_served_while_it_is_looked_up_again(
    directory: LimitDirectory, table: Table, clock: Clock, tasks: TaskOwner
) -> None:
    await directory.find("customer", [])
    raised = limits(ScopeKind.END_USER, "customer", 50)
    table.rows[CUSTOMER.scope] = NamedLimits(raised)
    clock.now_s += 59
    assert directory.recall("customer", []) == (CUSTOMER,)
    clock.now_s += 2
    assert directory.recall("customer", []) == (CUSTOMER,)
    assert await tasks.finish(1)
    assert directory.recall("customer", []) == (raised,)


async def test_without_the_store_what_is_known_goes_on_for_ten_minutes(
    directory: LimitDirectory, table: Table, clock: Clock, tasks: TaskOwner
) -> None:
    await directory.find("customer", [])
    table.away = True
    for _ in range(9):
        clock.now_s += 60
        assert directory.recall("customer", []) == (CUSTOMER,)
        await tasks.finish(1)
    with pytest.raises(StoreUnavailable):
        await directory.find("unknown", [])
    clock.now_s += 61
    assert directory.recall("customer", []) is None
    with pytest.raises(StoreUnavailable):
        await directory.find("customer", [])
    table.away = False
    assert await directory.find("customer", []) == (CUSTOMER,)


async def test_a_failed_look_up_fails_all_who_wait_and_no_later_one(directory: LimitDirectory, table: Table) -> None:
    await directory.find("customer", [])
    table.gate.clear()
    table.away = True
    table.asked.clear()
    first = asyncio.create_task(directory.find("one", []))
    while not table.asked:
        await asyncio.sleep(0)
    second = asyncio.create_task(directory.find("two", []))
    await asyncio.sleep(0)
    table.gate.set()
    failed = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(error) for error in failed] == [StoreUnavailable] * 2
    table.away = False
    assert await directory.find("two", []) == ()


async def test_one_that_gives_up_waiting_stops_no_other(directory: LimitDirectory, table: Table) -> None:
    table.gate.clear()
    waiting = [asyncio.create_task(directory.find("customer", [])) for _ in range(2)]
    while not table.asked:
        await asyncio.sleep(0)
    waiting[0].cancel()
    table.gate.set()
    assert await waiting[1] == (CUSTOMER,)


@pytest.mark.parametrize("payload", ["end_user:customer", "", "something else"])
async def test_what_has_changed_is_looked_up_anew(directory: LimitDirectory, table: Table, payload: str) -> None:
    await directory.find("customer", ["tagged"])
    raised = limits(ScopeKind.END_USER, "customer", 50)
    table.rows[CUSTOMER.scope] = NamedLimits(raised)
    directory.told(payload)
    assert directory.recall("customer", []) is None
    assert await directory.find("customer", []) == (raised,)


async def test_the_first_one_with_limits_is_told_of(directory: LimitDirectory, table: Table) -> None:
    table.rows = {}
    assert await directory.find("customer", ["tagged"]) == ()
    table.rows = {TAGGED.scope: NamedLimits(TAGGED)}
    directory.told("tag:tagged")
    assert await directory.find("customer", ["tagged"]) == (TAGGED,)


async def test_a_change_during_a_look_up_is_not_overlooked(directory: LimitDirectory, table: Table) -> None:
    await directory.find("somebody", [])
    table.gate.clear()
    looking = asyncio.create_task(directory.find("customer", []))
    while len(table.asked) < 3:
        await asyncio.sleep(0)
    directory.told("end_user:customer")
    table.gate.set()
    assert await looking == (CUSTOMER,)
    assert table.asked[2:] == [(["customer"], []), "any", (["customer"], [])]


async def test_a_default_for_all_end_users(table: Table, tasks: TaskOwner, clock: Clock) -> None:
    table.rows = {CUSTOMER.scope: NamedLimits(CUSTOMER)}
    table.default = Limits(scope=Scope(ScopeKind.END_USER, ""), requests_per_minute=1)
    directory = LimitDirectory(table, tasks, clock=clock, default_budget=NanoUsd(7))
    assert await directory.find("unknown", ["a"]) == (limits(ScopeKind.END_USER, "unknown", 1),)
    assert await directory.find("customer", []) == (CUSTOMER,)
    amount_alone = LimitDirectory(Table(), tasks, clock=clock, default_budget=NanoUsd(7))
    assert await amount_alone.find("unknown", []) == (
        Limits(scope=Scope(ScopeKind.END_USER, "unknown"), budget=Budget(NanoUsd(7))),
    )


# --- the database's side ---


async def test_a_change_just_before_a_look_up_does_not_hide_the_default(
    directory: LimitDirectory, table: Table
) -> None:
    """The look-up is asked for, and begins in the next turn: what was known of the default is gone by then."""
    table.default = limits(ScopeKind.END_USER, "", rpm=1)
    await directory.find("somebody", [])
    looking = asyncio.create_task(directory.find("another", []))
    await asyncio.sleep(0)  # it has asked
    directory.forget_all()
    assert await looking == (limits(ScopeKind.END_USER, "another", rpm=1),)


async def test_what_the_tables_say(database: Database) -> None:
    store = PostgresLimits(database, default_budget_id="d")
    assert await store.any() == AnyLimits(end_users=False, tags=False, default=None)
    async with database.connection() as connection:
        for budget, rpm in (("b", 5), ("d", 1)):
            await connection.execute(
                """INSERT INTO "LiteLLM_BudgetTable" (budget_id, rpm_limit, created_by, updated_by)
                VALUES ($1, $2, 'x', 'x')""",
                budget,
                rpm,
            )
        await connection.execute(
            """INSERT INTO "LiteLLM_EndUserTable" (user_id, blocked, budget_id)
            VALUES ('customer', false, 'b'), ('plain', false, NULL), ('bad', true, NULL)"""
        )
        await connection.execute(
            """INSERT INTO "LiteLLM_TagTable" (tag_name, models, budget_id, created_by, updated_at)
            VALUES ('tagged', '{}', 'b', 'x', now()), ('free', '{}', NULL, 'x', now())"""
        )
    assert await store.any() == AnyLimits(
        end_users=True, tags=True, default=Limits(scope=Scope(ScopeKind.END_USER, ""), requests_per_minute=1)
    )
    default = {name: limits(ScopeKind.END_USER, name, 1) for name in ("plain", "bad")}
    assert await store.find(["customer", "plain", "bad", "nobody"], ["tagged", "free", "none"]) == {
        CUSTOMER.scope: NamedLimits(CUSTOMER),
        Scope(ScopeKind.END_USER, "plain"): NamedLimits(default["plain"], by_default=True),
        Scope(ScopeKind.END_USER, "bad"): NamedLimits(default["bad"], blocked=True, by_default=True),
        TAGGED.scope: NamedLimits(TAGGED),
    }
