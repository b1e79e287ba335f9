"""Rate limiters before a real database: what they ask of it, and what they do without it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from bursar.domain.errors import StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.limits import Limits, Scope, ScopeKind
from bursar.domain.rate_limits import Hold, Need, Plan
from bursar.ports.limits import RateLimitReached
from bursar.quotas.rate_limits import RateLimiter
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.rate_shares import PostgresRateShares
from tests.gateway.windows import within_one_minute

NEED = Need(0, 0)
StartLimiter = Callable[..., Awaitable[RateLimiter]]


@asynccontextmanager
async def running(limiter: RateLimiter) -> AsyncIterator[RateLimiter]:
    task = asyncio.create_task(limiter.run())
    try:
        yield limiter
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def start(database_url: str) -> AsyncIterator[StartLimiter]:
    """Starts limiters, each with connections of its own."""
    async with AsyncExitStack() as stack:

        async def make(lease_s: float = 600.0) -> RateLimiter:
            database = Database(DatabaseOptions({"dsn": database_url}, connect_timeout_s=0.5))
            stack.push_async_callback(database.close)
            limiter = RateLimiter(PostgresRateShares(database), JournalId(str(uuid4())), lease_s=lease_s)
            return await stack.enter_async_context(running(limiter))

        yield make


def a_plan(limiter: RateLimiter, name: str = "k", *, rpm: int | None = 100, parallel: int | None = None) -> Plan:
    limits = Limits(scope=Scope(ScopeKind.KEY, name), requests_per_minute=rpm, parallel_calls=parallel)
    plan = limiter.plan([limits])
    assert plan is not None
    return plan


async def admit(limiter: RateLimiter, plan: Plan) -> Hold | None:
    """At once or in turn; None: refused by the limit."""
    try:
        return limiter.admit(plan, NEED) or await limiter.admit_in_turn(plan, NEED)
    except RateLimitReached:
        return None


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_no_limits_no_plan(start: StartLimiter) -> None:
    limiter = await start()
    assert limiter.plan([Limits(scope=Scope(ScopeKind.KEY, "k"))]) is None


async def test_the_first_use_of_many_limits_is_one_statement(start: StartLimiter) -> None:
    limiter = await start()
    await admit(limiter, a_plan(limiter, "first"))
    before = limiter.statements
    plans = [a_plan(limiter, str(number)) for number in range(500)]
    holds = await asyncio.gather(*(admit(limiter, plan) for plan in plans))
    assert None not in holds
    assert limiter.statements - before <= 2


async def test_ten_thousand_limits_in_use_cost_a_statement_a_second(start: StartLimiter, database_url: str) -> None:
    """For each of two workers; counted by them, and by the database."""
    limiters = [await start() for _ in range(2)]
    plans = [[a_plan(limiter, str(number), rpm=10_000) for number in range(10_000)] for limiter in limiters]

    async def first_use(limiter: RateLimiter, plan: Plan) -> bool:
        while True:  # a statement takes 2,000 of them; nobody waits for more than a moment
            try:
                (limiter.admit(plan, NEED) or await limiter.admit_in_turn(plan, NEED)).end()
                return True
            except StoreUnavailable:
                await asyncio.sleep(0.2)

    for limiter, own in zip(limiters, plans, strict=True):
        await asyncio.gather(*(first_use(limiter, plan) for plan in own))
    await asyncio.sleep(2)  # what the second one needs is given up by the first
    connection = await asyncpg.connect(database_url)
    transactions = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    begun, committed, counted = (
        time.monotonic(),
        await connection.fetchval(transactions),
        [x.statements for x in limiters],
    )
    seconds = 5
    refused = 0
    while time.monotonic() - begun < seconds:
        for limiter, own in zip(limiters, plans, strict=True):
            for plan in random.sample(own, 50):
                hold = limiter.admit(plan, NEED)
                refused += hold is None
        await asyncio.sleep(0.005)
    assert refused == 0
    for limiter, before in zip(limiters, counted, strict=True):
        assert limiter.statements - before <= time.monotonic() - begun + 1
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    assert await connection.fetchval(transactions) - committed <= 2 * (time.monotonic() - begun + 1) + 10
    await connection.close()


async def test_unused_limits_are_forgotten_and_leave_no_rows(start: StartLimiter, database: Database) -> None:
    limiter = await start()
    plan = a_plan(limiter)
    assert await admit(limiter, plan) is not None
    limiter._book.turn(limiter._book.window)
    for bucket in plan.buckets:
        bucket.window -= 2  # two minutes ago

    async def forgotten() -> bool:
        async with database.connection() as connection:
            return plan.outdated and not await connection.fetchval("SELECT count(*) FROM bursar.rate_shares")

    await eventually(forgotten)


async def test_without_the_store_shares_go_on_and_come_back(
    start: StartLimiter, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    limiter = await start()
    plan, unseen = a_plan(limiter, rpm=3), a_plan(limiter, "unseen")
    await within_one_minute(20)
    assert await admit(limiter, plan) is not None
    async with database_closed(postgres_server, database_url):
        await eventually(lambda: _is(limiter._shares.away))
        assert await admit(limiter, plan) is not None
        with pytest.raises(StoreUnavailable):
            await limiter.admit_in_turn(unseen, NEED)
        assert await admit(limiter, plan) is not None
        assert await admit(limiter, plan) is None, "it is used up"
    await eventually(lambda: _is(not limiter._shares.away))
    assert await admit(limiter, unseen) is not None


async def test_a_burst_on_a_new_limit_is_refused_by_the_limit_alone(start: StartLimiter) -> None:
    """Also those who come while its share is being asked for: who waits before them takes all of it."""
    limiter = await start()
    await within_one_minute(5)
    plan = a_plan(limiter, rpm=5)
    found = await asyncio.gather(*(admit(limiter, plan) for _ in range(40)))
    assert sum(hold is not None for hold in found) == 5


async def test_a_lease_that_was_not_renewed_ends(
    start: StartLimiter, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    """Frozen or cut off for so long, a worker admits nothing, whatever it had, until it has begun anew."""
    limiter = await start(lease_s=2.0)
    plan = a_plan(limiter)
    assert await admit(limiter, plan) is not None
    async with database_closed(postgres_server, database_url):
        await asyncio.sleep(2.1)
        assert limiter.admit(plan, NEED) is None
        with pytest.raises(StoreUnavailable):
            await limiter.admit_in_turn(plan, NEED)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE bursar.rate_workers SET lease_until = now()")  # the end of the minute
    await connection.close()

    async def admitted() -> bool:
        try:
            return await admit(limiter, plan) is not None
        except StoreUnavailable:
            return False

    await eventually(admitted)


async def test_a_worker_that_leaves_gives_back_what_it_did_not_use(start: StartLimiter, database_url: str) -> None:
    database = Database(DatabaseOptions({"dsn": database_url}))
    leaving = RateLimiter(PostgresRateShares(database), JournalId(str(uuid4())), lease_s=600)
    await within_one_minute(10)
    async with running(leaving):
        plan = a_plan(leaving, rpm=10, parallel=5)
        for _ in range(4):
            assert await admit(leaving, plan) is not None
    await leaving.leave()
    await database.close()
    following = await start()
    plan = a_plan(following, rpm=10, parallel=5)
    for _ in range(5):
        assert await admit(following, plan) is not None
    [requests, slots] = plan.buckets
    assert (requests.share, slots.share) == (6, 5), "what was used of this minute counts, calls at a time do not"


async def test_the_tables_lost_in_a_crash(start: StartLimiter, database: Database) -> None:
    """Unlogged tables are empty after one: everybody claims what they have, and nobody gets more before."""
    limiters = [await start() for _ in range(3)]
    await within_one_minute(15)
    plans = [a_plan(limiter, rpm=30) for limiter in limiters]
    for limiter, plan in zip(limiters, plans, strict=True):
        assert await admit(limiter, plan) is not None
    async with database.connection() as connection:
        await connection.execute("TRUNCATE bursar.rate_shares, bursar.rate_epoch")
    served = 3
    async with asyncio.timeout(12):
        while served < 30:
            for limiter, plan in zip(limiters, plans, strict=True):
                served += await admit(limiter, plan) is not None
    for limiter, plan in zip(limiters, plans, strict=True):
        assert await admit(limiter, plan) is None


async def _is(truth: bool) -> bool:
    return truth


@asynccontextmanager
async def database_closed(server: EmbeddedPostgres, url: str) -> AsyncIterator[None]:
    """Nobody can connect, and whoever is connected is thrown out."""
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.close()
    admin = await asyncpg.connect(server.url("postgres"))
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
