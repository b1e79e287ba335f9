"""The store of rate shares in memory: what `bursar.share_rates` does in the database, in a few lines of Python.

Both are held to one contract (tests/store/test_rate_shares.py); the simulator runs on this one.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from bursar.domain.ids import JournalId
from bursar.domain.rate_limits import WINDOW_S, LimitKind, RateKey
from bursar.domain.rate_shares import Answer, Ask, Outcome, Share, Statement

AHEAD_S = 2.0
"""The clock of a worker that uses nothing any more may have been so far before the store's."""


def minute_end(at_s: float) -> float:
    return (at_s // WINDOW_S + 1) * WINDOW_S


@dataclass
class Worker:
    incarnation: int
    number: int
    epoch: int
    lease_until_s: float
    ended: bool = False


@dataclass
class Row:
    share: int
    demand: int


@dataclass
class RateStoreModel:
    clock: Callable[[], float]
    workers: dict[JournalId, Worker] = field(default_factory=dict)
    rows: dict[RateKey, dict[JournalId, Row]] = field(default_factory=dict)
    epoch: int = 1
    window: int = 0

    async def share(self, instance: JournalId, statement: Statement, *, lease_s: float) -> Answer:
        """See `ports.limits.RateStore`."""
        await asyncio.sleep(0)
        return self.take(instance, statement, lease_s=lease_s)

    async def end(self, instance: JournalId) -> None:
        """See `ports.limits.RateStore`."""
        await asyncio.sleep(0)
        self.ended(instance)

    def ended(self, instance: JournalId) -> None:
        if (worker := self.workers.get(instance)) is not None:
            worker.ended = True
            worker.lease_until_s = min(worker.lease_until_s, minute_end(self.clock() + AHEAD_S))

    def crash(self) -> None:
        """Tables that are not logged are empty after it."""
        self.rows.clear()
        self.epoch += 1
        self.window = 0

    def take(self, me: JournalId, statement: Statement, *, lease_s: float) -> Answer:
        now = self.clock()
        outcome = self._admit(me, statement, now, lease_s)
        if outcome is not Outcome.OK:
            return Answer(outcome=outcome, at_s=now, epoch=str(self.epoch))
        alive = [w for w in self.workers.values() if w.lease_until_s > now]
        grows = all(worker.epoch == self.epoch for worker in alive)
        claims = statement.claim == str(self.epoch)
        shares = tuple(self._share(me, ask, now, grows=grows, claims=claims) for ask in statement.asks)
        if statement.window <= now // WINDOW_S + 1:
            self.window = max(self.window, statement.window)
        return Answer(
            outcome=Outcome.OK,
            at_s=now,
            window=self.window,
            epoch=str(self.epoch),
            workers=sum(not w.ended for w in alive),
            shares=shares,
            short=tuple(self._short(me, now)),
        )

    def _admit(self, me: JournalId, statement: Statement, now: float, lease_s: float) -> Outcome:
        own = self.workers.get(me)
        until = minute_end(now + lease_s * 1.01 + 5)
        if own is not None and own.number >= statement.number:
            return Outcome.STALE
        if statement.fresh:
            mine = [key for key, rows in self.rows.items() if me in rows]
            if own is not None and own.incarnation < statement.incarnation and own.lease_until_s > now:
                # The former incarnation uses nothing any more, but what it used of this minute still counts.
                own.number, own.lease_until_s = statement.number, min(own.lease_until_s, minute_end(now + AHEAD_S))
                return Outcome.WAIT
            for key in mine:
                del self.rows[key][me]
            self.workers[me] = Worker(statement.incarnation, statement.number, self.epoch, until)
            return Outcome.OK
        if own is None or own.incarnation != statement.incarnation or own.ended or own.lease_until_s <= now:
            return Outcome.LAPSED
        if own.epoch != self.epoch and statement.claim != str(self.epoch):
            return Outcome.CLAIM
        own.number, own.epoch, own.lease_until_s = statement.number, self.epoch, until
        return Outcome.OK

    def _share(self, me: JournalId, ask: Ask, now: float, *, grows: bool, claims: bool) -> Share:
        rows = self.rows.setdefault(ask.key, {})
        before = rows[me].share if me in rows else 0
        others_share, others_demand = self.others(me, ask.key, now)
        share = ask.held if claims else min(ask.held, before)
        if grows:
            share = max(share, min(ask.want, ask.limit - others_share))
        rows[me] = Row(share, ask.demand)
        if not share and not ask.demand:
            del rows[me]
        return Share(share, others_share, others_demand)

    def others(self, me: JournalId, key: RateKey, now: float) -> tuple[int, int]:
        share = demand = 0
        for instance, row in self.rows.get(key, {}).items():
            worker = self.workers.get(instance)
            if instance == me or worker is None or worker.lease_until_s <= now:
                continue
            if worker.ended and key.kind is LimitKind.PARALLEL:
                continue
            share += row.share
            demand += 0 if worker.ended else row.demand
        return share, demand

    def _short(self, me: JournalId, now: float) -> list[tuple[RateKey, Share]]:
        found = []
        for key, rows in self.rows.items():
            if (
                me in rows
                and rows[me].share
                and any(
                    row.demand > row.share
                    for instance, row in rows.items()
                    if instance != me
                    and (worker := self.workers.get(instance)) is not None
                    and not worker.ended
                    and worker.lease_until_s > now
                )
            ):
                found.append((key, Share(rows[me].share, *self.others(me, key, now))))
        return found


class EagerStore(RateStoreModel):
    """With the bug that the whole mechanism is there to avoid: a share grows before the others have given up. What they
    should give up, by their demand, counts as given up already."""

    def _share(self, me: JournalId, ask: Ask, now: float, *, grows: bool, claims: bool) -> Share:
        others_share, others_demand = self.others(me, ask.key, now)
        total = ask.demand + others_demand
        right = math.ceil(ask.limit * others_demand / total) if total > ask.limit else others_demand
        others_share = min(others_share, right)
        share = max(ask.held, min(ask.want, ask.limit - others_share))
        self.rows.setdefault(ask.key, {})[me] = Row(share, ask.demand)
        return Share(share, others_share, others_demand)
