"""The rate limiter of one worker: admits from memory, and keeps its shares of the limits in step with the others'.

One statement a second goes to the store (`_PACE_S`), whatever the number of limits. A call that finds no share for it,
where one may be had, waits for the next statement, which then goes at once: for that there is a credit, small enough
that it hardly adds to their number.
"""

import asyncio
import logging
import math
from collections.abc import Sequence

from bursar.domain.errors import StoreError, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.limits import Limits
from bursar.domain.rate_limits import WINDOW_S, Bucket, Hold, LimitKind, Need, Plan, RateBook, stated_limits
from bursar.domain.rate_shares import PATIENCE_S, WorkerShares
from bursar.ports.limits import RateLimitReached, RateStore
from bursar.quotas.store_clock import StoreClock, steady_s

log = logging.getLogger(__name__)

_PACE_S = 1.0
_IDLE_PACE_S = 5.0
"""Without any limit in use: to be known as a worker, and to know of others."""
_AGAIN_S = 0.2
"""Between statements while calls wait."""
_GAP_S = 0.005
_CREDIT_MAX = 10.0
_CREDIT_PER_S = 0.2
"""How many statements may come before their time."""
_ANSWER_TIMEOUT_S = 5.0
_FAILED_PAUSE_S = 2.0


class RateLimiter:
    """Implements `ports.limits.RateLimits`."""

    def __init__(
        self, store: RateStore, instance: JournalId, *, lease_s: float, clock: StoreClock | None = None
    ) -> None:
        """`lease_s`: how long shares are used without news from the store."""
        self._store = store
        self._instance = instance
        self._lease_s = lease_s
        self._clock = clock or StoreClock()
        self._book = RateBook()
        self._shares = WorkerShares(self._book, lease_s=lease_s)
        self._wake = asyncio.Event()
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = False
        self._waiting = 0
        self._last_s = -math.inf
        self._credit = _CREDIT_MAX
        self._turn(steady_s())
        self.statements = 0
        """How many were sent."""

    # Calls

    def plan(self, limits: Sequence[Limits]) -> Plan | None:
        """See `ports.limits.RateLimits.plan`."""
        stated = stated_limits(limits)
        if not stated:
            return None
        plan = self._book.plan(stated)
        self._wake.set()
        return plan

    def admit(self, plan: Plan, need: Need) -> Hold | None:
        """See `ports.limits.RateLimits.admit`."""
        now_s = steady_s()
        if now_s > self._shares.until_s:
            return None
        self._turn(now_s)
        return self._book.admit(plan, need)

    async def admit_in_turn(self, plan: Plan, need: Need) -> Hold:
        """See `ports.limits.RateLimits.admit_in_turn`."""
        deadline_s = steady_s() + PATIENCE_S
        waited = False
        while True:
            now_s = steady_s()
            self._turn(now_s)
            if self._shares.usable(now_s) and (hold := self._book.admit(plan, need)) is not None:
                return hold
            lacking = self._book.lacking(plan, need)
            assert lacking is not None, "without a lease there are no shares"
            if now_s >= deadline_s or self._shares.hopeless(lacking, need.of(lacking), now_s):
                raise self._refusal(lacking, need.of(lacking), now_s)
            self._asked |= not waited
            waited = True
            await self._until_answered(plan, need, deadline_s - now_s)

    async def _until_answered(self, plan: Plan, need: Need, timeout_s: float) -> None:
        buckets = self._shares.wait(plan, need)
        self._waiting += 1
        self._wake.set()
        try:
            await asyncio.wait({self._answered}, timeout=timeout_s)
        finally:
            self._waiting -= 1
            self._shares.wait_no_more(buckets, need)

    def _refusal(self, bucket: Bucket, amount: int, now_s: float) -> RateLimitReached | StoreUnavailable:
        """Why there is no room in `bucket`: the limit, which counts those who wait before this one as well, or that
        nobody could be asked for a share of it."""
        unasked = self._shares.away or now_s > self._shares.until_s or bucket.short_since_s is None
        if unasked and bucket.share < amount <= bucket.limit - bucket.used - bucket.waiting:
            return StoreUnavailable("this process has no share of a rate limit, and cannot ask for one")
        bucket.refused += amount
        at_s = self._clock.now_s()
        reset_at_s = at_s + 1 if bucket.key.kind is LimitKind.PARALLEL else self.reset_at_s()
        return RateLimitReached(
            scope=bucket.key.scope,
            kind=bucket.key.kind,
            limit=bucket.limit,
            remaining=bucket.remaining,
            reset_at_s=reset_at_s,
            retry_after_s=max(1, math.ceil(reset_at_s - at_s)),
        )

    def has_room(self, plan: Plan) -> bool:
        """See `ports.limits.RateLimits.has_room`."""
        self._turn(steady_s())
        window = self._book.window
        for bucket in plan.buckets:
            if bucket.windowed and bucket.window != window:
                bucket.turn(window)
            if bucket.remaining <= 0:
                return False
        return True

    def reset_at_s(self) -> float:
        """See `ports.limits.RateLimits.reset_at_s`."""
        return (self._book.window + 1) * float(WINDOW_S)

    def until_reset_s(self) -> int:
        """See `ports.limits.RateLimits.until_reset_s`."""
        return max(1, math.ceil(self.reset_at_s() - self._clock.now_s()))

    def _turn(self, now_s: float) -> None:
        self._book.turn(int(self._clock.at(now_s) // WINDOW_S))

    # The store

    async def run(self) -> None:
        """Keep in step with the store, until cancelled."""
        while True:
            await self._until_due()
            try:
                await self._exchange()
            except Exception:  # the edge of a task: limits hold without it, and it may be mended meanwhile
                log.exception("rates.exchange_failed")
                await asyncio.sleep(_FAILED_PAUSE_S)

    async def _until_due(self) -> None:
        while (left_s := self._due_s() - steady_s()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                pass  # and look again: those who waited may have been served

    def _due_s(self) -> float:
        """When the next statement is to be sent."""
        busy = self._book.buckets or self._shares.away
        due_s = self._last_s + (_PACE_S if busy else min(_IDLE_PACE_S, self._lease_s / 4))
        if self._shares.away or self._credit < 1:
            return due_s
        if self._asked or self._shares.urgent:
            return self._last_s + _GAP_S
        return self._last_s + _AGAIN_S if self._waiting else due_s

    async def _exchange(self) -> None:
        """Send a statement, and bring its answer into the book."""
        sent_s = steady_s()
        passed_s = sent_s - self._last_s
        self._credit = min(_CREDIT_MAX, self._credit + passed_s * _CREDIT_PER_S) - (passed_s < _PACE_S)
        self._last_s = sent_s
        self._asked = False
        self._turn(sent_s)
        statement = self._shares.statement(sent_s)
        self.statements += 1
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                answer = await self._store.share(self._instance, statement, lease_s=self._lease_s)
        except (StoreError, TimeoutError) as error:
            if not self._shares.away:
                log.warning("rates.store_away reason=%s", _reason(error))
            self._shares.unanswered(statement)
        except BaseException:
            self._shares.unanswered(statement)
            raise
        else:
            if self._shares.away:
                log.warning("rates.store_back")
            received_s = steady_s()
            self._clock.learn(answer.at_s, sent_s=sent_s, received_s=received_s)
            self._turn(received_s)
            self._shares.answered(statement, answer, received_s)
        finally:
            answered, self._answered = self._answered, asyncio.get_running_loop().create_future()
            answered.set_result(None)

    async def leave(self) -> None:
        """No call will be admitted any more: let go of all shares. `run` has ended. What cannot be told is found out
        when the lease is over."""
        statement = self._shares.statement(steady_s(), last=True)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                if not statement.fresh:
                    await self._store.share(self._instance, statement, lease_s=self._lease_s)
                await self._store.end(self._instance)
        except (StoreError, TimeoutError) as error:
            log.warning("rates.not_left reason=%s", _reason(error))


def _reason(error: Exception) -> str:
    return str(error) or "no answer in time"
