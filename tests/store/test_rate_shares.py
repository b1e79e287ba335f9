"""The store of rate shares: one contract over the database and over the model that the simulator runs on."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from bursar.domain.ids import JournalId
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.rate_limits import LimitKind, RateKey
from bursar.domain.rate_shares import Answer, Ask, Outcome, Share, Statement
from bursar.ports.limits import RateStore
from bursar.store.database import Database
from bursar.store.rate_shares import PostgresRateShares
from tests.domain.rate_store_model import RateStoreModel

LEASE_S = 600.0
REQUESTS = RateKey(Scope(ScopeKind.KEY, "k"), LimitKind.REQUESTS)
PARALLEL = RateKey(Scope(ScopeKind.KEY, "k"), LimitKind.PARALLEL)


@dataclass
class Kept:
    """A store, and what a test may do behind its back."""

    store: RateStore
    crash: Callable[[], Awaitable[None]]
    expire: Callable[[JournalId], Awaitable[None]]


@pytest.fixture(params=["model", "postgres"])
async def kept(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Kept]:
    if request.param == "model":
        model = RateStoreModel(time.time)

        async def crash_model() -> None:
            model.crash()

        async def expire_in_model(instance: JournalId) -> None:
            model.workers[instance].lease_until_s = time.time() - 1

        yield Kept(model, crash_model, expire_in_model)
        return

    async def execute(statement: str, *arguments: object) -> None:
        async with database.connection() as connection:
            await connection.execute(statement, *arguments)

    yield Kept(
        PostgresRateShares(database),
        # What the server does to unlogged tables when it recovers.
        crash=lambda: execute("TRUNCATE bursar.rate_shares, bursar.rate_epoch"),
        expire=lambda instance: execute(
            "UPDATE bursar.rate_workers SET lease_until = now() - interval '1 s' WHERE instance_id = $1", instance
        ),
    )


class Worker:
    """One that says what a test has it say."""

    def __init__(self, kept: Kept) -> None:
        self.id = JournalId(str(uuid4()))
        self.kept = kept
        self.number = 0
        self.fresh = True
        self.incarnation = 1
        self.claim: str | None = None

    async def say(self, *asks: Ask, window: int = 0) -> Answer:
        self.number += 1
        answer = await self.kept.store.share(self.id, self.statement(asks, window), lease_s=LEASE_S)
        if answer.outcome is Outcome.OK:
            self.fresh = False
        return answer

    def statement(self, asks: tuple[Ask, ...], window: int = 0) -> Statement:
        return Statement(
            number=self.number,
            incarnation=self.incarnation,
            fresh=self.fresh,
            claim=self.claim,
            window=window,
            sent_s=0.0,
            asks=asks,
        )

    async def share(self, held: int, want: int, demand: int | None = None, *, key: RateKey = REQUESTS) -> Share:
        answer = await self.say(ask(held, want, demand, key=key))
        assert answer.outcome is Outcome.OK
        [share] = answer.shares
        return share


def ask(held: int, want: int, demand: int | None = None, *, limit: int = 100, key: RateKey = REQUESTS) -> Ask:
    return Ask(key=key, limit=limit, held=held, want=want, demand=want if demand is None else demand)


async def test_shares_never_sum_to_more_than_the_limit(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    assert await one.share(0, 130) == Share(100, 0, 0)
    assert await two.share(0, 40) == Share(0, 100, 130)
    assert await one.share(70, 70) == Share(70, 0, 40)
    assert await two.share(0, 40) == Share(30, 70, 70)
    assert await one.share(0, 0) == Share(0, 30, 40)
    assert await two.share(30, 200) == Share(100, 0, 0)


async def test_what_is_held_stays_where_a_limit_was_lowered(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    assert (await one.share(0, 60)).share == 60
    assert (await two.share(0, 40)).share == 40
    lowered = await one.say(ask(60, 60, limit=50))
    assert lowered.shares == (Share(60, 40, 40),)


async def test_only_what_was_granted_counts_as_held(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    assert (await one.share(0, 60)).share == 60
    assert (await two.share(90, 90)).share == 40


async def test_a_statement_that_was_overtaken_changes_nothing(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    await one.share(0, 60)
    late = one.statement((ask(10, 10),))
    assert (await one.share(60, 60)).share == 60
    assert (await kept.store.share(one.id, late, lease_s=LEASE_S)).outcome is Outcome.STALE
    assert (await two.share(0, 100)).share == 40


async def test_a_silent_worker_is_counted_until_its_lease_is_over(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    await one.share(0, 100)
    assert (await two.share(0, 100)).share == 0
    await kept.expire(one.id)
    answer = await two.say(ask(0, 100))
    assert (answer.workers, answer.shares) == (1, (Share(100, 0, 0),))
    assert (await one.say(ask(100, 100))).outcome is Outcome.LAPSED
    one.fresh, one.incarnation = True, 2
    assert await one.share(0, 10) == Share(0, 100, 100)


async def test_a_worker_that_begins_anew_waits_for_what_it_used(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    await one.share(0, 60)
    one.fresh, one.incarnation = True, 2
    assert (await one.say(ask(0, 10))).outcome is Outcome.WAIT
    assert (await two.share(0, 100)).share == 40
    await kept.expire(one.id)  # at the end of the minute
    assert (await one.say(ask(0, 10))).shares == (Share(10, 40, 100),)


async def test_a_lost_first_answer_is_no_former_incarnation(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    await one.share(0, 60)
    one.fresh = True  # it never heard
    assert (await one.share(0, 50)).share == 50
    assert (await two.share(0, 100)).share == 50


async def test_an_ended_worker_counts_to_the_end_of_the_minute(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    await one.say(ask(0, 60), ask(0, 60, key=PARALLEL))
    await kept.store.end(one.id)
    answer = await two.say(ask(0, 100), ask(0, 100, key=PARALLEL))
    assert (answer.workers, answer.shares) == (1, (Share(40, 60, 0), Share(100, 0, 0)))
    assert (await one.say(ask(60, 60))).outcome is Outcome.LAPSED
    await kept.expire(one.id)
    assert (await two.share(40, 100)).share == 100
    await kept.store.end(JournalId(str(uuid4())))  # never heard of


async def test_after_a_crash_nothing_grows_before_all_have_claimed(kept: Kept) -> None:
    one, two, three = Worker(kept), Worker(kept), Worker(kept)
    before = await one.say(ask(0, 60))
    await two.share(0, 30)
    await kept.crash()
    answer = await one.say(ask(60, 100))
    assert (answer.outcome, answer.shares) == (Outcome.CLAIM, ())
    assert answer.epoch != before.epoch
    assert (await three.share(0, 50)).share == 0
    one.claim = answer.epoch
    assert await one.share(60, 100) == Share(60, 0, 50)
    one.claim = None
    assert (await one.share(60, 100)).share == 60
    assert (await two.say()).outcome is Outcome.CLAIM
    two.claim = answer.epoch
    assert (await two.share(30, 30)).share == 30
    two.claim = None
    assert await one.share(60, 100) == Share(70, 30, 80)


async def test_who_is_short_is_told_to_those_who_have_some(kept: Kept) -> None:
    one, two, three = Worker(kept), Worker(kept), Worker(kept)
    await one.share(0, 100, 20)
    await two.share(0, 50)
    await three.say(ask(0, 3, key=PARALLEL))
    assert (await one.say()).short == ((REQUESTS, Share(100, 0, 50)),)
    assert (await two.say()).short == ()
    assert (await three.say()).short == ()
    await one.share(50, 50, 20)
    assert (await two.share(0, 50)).share == 50
    assert (await one.say()).short == ()


async def test_windows_are_told_and_do_not_run_ahead(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    now = int(time.time() // 60)
    assert (await one.say(window=now)).window >= now
    assert (await one.say(window=now + 1)).window >= now + 1
    assert (await two.say(window=0)).window >= now + 1
    assert (await two.say(window=now + 50)).window < now + 50


async def test_the_largest_limits_and_the_longest_ids(kept: Kept) -> None:
    one, two = Worker(kept), Worker(kept)
    key = RateKey(Scope(ScopeKind.END_USER, "é" * 200), LimitKind.TOKENS)
    assert (await one.say(ask(0, 10**15, limit=10**15, key=key))).shares == (Share(10**15, 0, 0),)
    assert (await two.say(ask(0, 10**15, limit=10**15, key=key))).shares == (Share(0, 10**15, 10**15),)
    assert (await two.say(ask(0, 0, limit=0))).shares == (Share(0, 0, 0),)


async def test_the_database_does_what_the_model_does(database: Database) -> None:
    """Any statements: the same answers from both."""
    seed = random.SystemRandom().getrandbits(32)
    draw = random.Random(seed)
    model, store = RateStoreModel(time.time), PostgresRateShares(database)
    sides = [Kept(kept, _nothing, _nobody) for kept in (model, store)]
    workers = [[Worker(side) for side in sides] for _ in range(4)]
    for pair in workers:
        pair[1].id = pair[0].id
    keys = [RateKey(Scope(ScopeKind.KEY, str(n)), kind) for n in range(3) for kind in LimitKind]
    held: dict[tuple[int, RateKey], int] = {}
    for _ in range(300):
        number = draw.randrange(len(workers))
        pair = workers[number]
        asks = tuple(
            ask(
                draw.randint(0, held.get((number, key), 0) + 1),
                draw.randint(0, 120),
                draw.randint(0, 120),
                limit=draw.choice((50, 100)),
                key=key,
            )
            for key in draw.sample(keys, draw.randint(0, 4))
        )
        if draw.random() < 0.02:
            await model.end(pair[0].id)
            await store.end(pair[0].id)
        answers = [await worker.say(*asks) for worker in pair]
        comparable = [_comparable(answer) for answer in answers]
        assert comparable[0] == comparable[1], f"seed {seed}"
        for one, share in zip(asks, answers[0].shares, strict=False):
            held[number, one.key] = share.share
        if answers[0].outcome in (Outcome.LAPSED, Outcome.WAIT):
            for worker in pair:
                worker.fresh, worker.incarnation = True, worker.incarnation + 1
            held = {known: share for known, share in held.items() if known[0] != number}


async def _nothing() -> None: ...


async def _nobody(_: JournalId) -> None: ...


def _comparable(answer: Answer) -> Answer:
    return msgspec.structs.replace(
        answer, at_s=0.0, epoch="", window=0, short=tuple(sorted(answer.short, key=lambda told: told[0]))
    )


async def test_many_at_once_stay_within_the_limit(database: Database) -> None:
    """Growing and giving up, all at the same time: what is granted never sums to more, at any moment."""
    kept = Kept(PostgresRateShares(database), _nothing, _nobody)
    keys = [RateKey(Scope(ScopeKind.KEY, str(n)), LimitKind.REQUESTS) for n in range(20)]
    granted: dict[tuple[JournalId, RateKey], int] = {}

    async def work(worker: Worker, draw: random.Random) -> None:
        for _ in range(40):
            chosen = draw.sample(keys, 6)
            asks = []
            for key in chosen:
                has = granted.get((worker.id, key), 0)
                keeps = granted[worker.id, key] = draw.randint(0, has)  # given up before it is told
                asks.append(ask(keeps, draw.randint(keeps, 100), key=key))
            answer = await worker.say(*asks)
            assert answer.outcome is Outcome.OK
            for key, share in zip(chosen, answer.shares, strict=True):
                granted[worker.id, key] = share.share
                assert sum(n for (_, other), n in granted.items() if other == key) <= 100

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(work(Worker(kept), random.Random(number)))
    assert max(granted.values()) > 0


async def test_what_is_left_of_the_dead_is_removed(database: Database) -> None:
    kept = Kept(PostgresRateShares(database), _nothing, _nobody)
    dead, alive = Worker(kept), Worker(kept)
    await dead.share(0, 10)

    async def count(table: str) -> Any:
        async with database.connection() as connection:
            return await connection.fetchval(f"SELECT count(*) FROM bursar.{table}")

    async with database.connection() as connection:
        await connection.execute("UPDATE bursar.rate_workers SET lease_until = now() - interval '2 hours'")
    alive.number = 63
    assert (await alive.share(0, 10)).share == 10
    assert (await count("rate_shares"), await count("rate_workers")) == (1, 1)
