"""Budgets in one process: calls hold what they can cost, in memory, out of what was leased from the database.

Most calls find enough and never wait. One that does not makes an exchange (`domain.windows`), the same for all who are
short at that moment; where the money is only held by others, it waits its turn for a stated time and is then refused.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bursar.domain.errors import BudgetExceeded, StoreUnavailable, Unavailable
from bursar.domain.holds import HoldPlan
from bursar.domain.ids import JournalId
from bursar.domain.limits import Budget, Limits, Scope
from bursar.domain.periods import Calendar, next_reset
from bursar.domain.purse import Share
from bursar.domain.windows import Answer, WindowId, window_id
from bursar.ports.budgets import BudgetAsk, BudgetStore
from bursar.quotas.budget_words import budget_exceeded

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.1
"""How soon a call that waits asks again, if nothing is told before."""
_ASK_SPACING_S = 0.01
_REMEMBER_S = 1.0
"""How long a budget is known to be used up without asking."""
_REGISTER_S = 0.02
_SLOW_S = 0.5
"""An exchange that takes longer has not been answered."""
_AWAY_RETRY_S = 0.5
_HEARTBEAT_S = 5.0
_IDLE_S = 60.0
"""What was not used for so long goes back."""
_LINES_MAX = 200_000
_REMIND_S = 5.0
_EXCHANGE_MAX = 500
"""Windows in one transaction."""


class Line:
    """One budget window as this process sees it: its share, and who waits for it."""

    __slots__ = (
        "asked_at_s",
        "budget",
        "due_s",
        "fallen",
        "limits",
        "lowers_at_s",
        "queue",
        "share",
        "short",
        "unsure",
        "used_up",
    )

    def __init__(self, limits: Limits, budget: Budget, ends_at_s: float | None) -> None:
        self.set(limits, budget)
        self.share = Share(window_id(limits.scope, ends_at_s), limits.scope, ends_at_s)
        self.queue: deque[_Waiter] = deque()
        self.due_s = 0.0
        """When to ask next, on the monotonic clock."""
        self.asked_at_s = 0.0
        self.fallen = False
        """The limit fell while an exchange was under way, which may be of the old one still: until that is answered,
        nobody holds anything more."""
        self.short = False
        """The last exchange did not bring what was needed."""
        self.unsure = False
        """The database may have forgotten what it granted: the next exchange reminds it."""
        self.used_up: tuple[float, int] | None = None
        """Until when (monotonic) it is known that holds above an amount do not fit, whatever comes back."""

    @property
    def until_s(self) -> float:
        """Up to when calls may hold of it as now, by the store's clock: until its period ends, or its limit falls."""
        ends_at_s = self.share.ends_at_s
        return self.lowers_at_s if ends_at_s is None else min(ends_at_s, self.lowers_at_s)

    def set(self, limits: Limits, budget: Budget) -> None:
        """What applies to the period."""
        self.limits = limits
        self.budget = budget
        self.lowers_at_s = math.inf if budget.raised is None else budget.raised.until_s
        """When less is allowed than before, by the store's clock; infinite once that is heeded."""


class Hold:
    """What one call holds of its budgets. Closed exactly once, by `settle` or `void`."""

    __slots__ = ("_budgets", "_lines", "_open", "amount", "bound")

    def __init__(self, budgets: "Budgets", lines: Sequence[Line], amount: int, bound: int | None) -> None:
        self._budgets = budgets
        self._lines = lines
        self._open = True
        self.amount = amount
        """Nano-dollars, of each window."""
        self.bound = bound
        """The bound on the output of each answer that has to be set; None: none."""

    @property
    def windows(self) -> tuple[WindowId, ...]:
        """Of which the hold is a part."""
        return tuple([line.share.window for line in self._lines])

    def settle(self, cost: int) -> None:
        """The call cost so much. What was held beyond it is free again."""
        if self._open:
            self._open = False
            self._budgets.settled(self._lines, self.amount, cost)

    def void(self) -> None:
        """It cost nothing."""
        self.settle(0)


class Account:
    """The budgets of calls of one kind. Implements `ports.budgets.BudgetAccount`.

    Remembers its lines: finding them takes as long as holding.
    """

    __slots__ = ("_budgets", "_dropped", "_limits", "_lines", "_until_s")

    def __init__(self, budgets: "Budgets", limits: Sequence[Limits]) -> None:
        self._budgets = budgets
        self._limits = limits
        self._lines: tuple[Line, ...] = ()
        self._until_s = -math.inf
        """When the first of their periods, or of what they are raised by, ends, by the store's clock."""
        self._dropped = 0

    def hold_now(self, plan: HoldPlan) -> Hold | None:
        """See `ports.budgets.BudgetAccount.hold_now`."""
        return self._budgets.hold_now(self._current(), plan)

    async def hold(self, plan: HoldPlan) -> Hold:
        """See `ports.budgets.BudgetAccount.hold`."""
        return await self._budgets.hold(self._current(), plan)

    def _current(self) -> tuple[Line, ...]:
        """The windows of this moment."""
        budgets = self._budgets
        if budgets.now_s() >= self._until_s or self._dropped != budgets.dropped:
            self._lines = budgets.lines(self._limits)
            self._until_s = min((line.until_s for line in self._lines), default=math.inf)
            self._dropped = budgets.dropped
        return self._lines


class _Waiter:
    """A call that waits for its turn."""

    __slots__ = ("asked", "bounding", "future", "lines", "plan", "short")

    def __init__(self, lines: Sequence[Line], plan: HoldPlan, future: "asyncio.Future[Hold]") -> None:
        self.lines = lines
        self.plan = plan
        self.future = future
        self.bounding = False
        """The model's maximum does not fit: what does is enough."""
        self.asked = False
        """What could be had for it has been asked for."""
        self.short: Line | None = None

    @property
    def need(self) -> int:
        return self.plan.least if self.bounding else self.plan.full


class Budgets:
    """All budget windows that this process spends of. Made inside a running loop; `run` serves it."""

    def __init__(
        self,
        store: BudgetStore,
        *,
        instance: JournalId,
        epoch: Callable[[], int | None],
        calendar: Calendar = Calendar(),  # noqa: B008  # immutable
        wait_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`epoch`: under which the instance is registered; None: not yet."""
        self._store = store
        self._instance = instance
        self._epoch = epoch
        self._calendar = calendar
        self._wait_s = wait_s
        self._clock = clock
        self._wall = wall_clock
        self._offset_s = 0.0
        """The store's clock minus ours."""
        self._by_scope: OrderedDict[Scope, Line] = OrderedDict()
        self._by_window: dict[WindowId, Line] = {}
        self._wanting: dict[WindowId, Line] = {}
        self._wake = asyncio.Event()
        self._doubted: set[WindowId] = set()
        """Windows of which the database has not been reminded yet, after it was away."""
        self._sure = asyncio.Event()
        self._sure.set()
        self._unheard_of = False
        """The last heartbeat did not arrive."""
        self._away = False
        self.dropped = 0
        """How many lines have been forgotten."""
        self.overages = 0
        """Charges above their hold."""

    # What calls do

    def account(self, limits: Sequence[Limits]) -> Account | None:
        """See `ports.budgets.BudgetKeeper.account`."""
        budgeted = [one for one in limits if one.budget is not None]
        return Account(self, budgeted) if budgeted else None

    def lines(self, limits: Sequence[Limits]) -> tuple[Line, ...]:
        """The windows of those of `limits` that have a budget, in the period of this moment."""
        return tuple([self._line(one, one.budget) for one in limits if one.budget is not None])

    def now_s(self) -> float:
        """The store's time, in seconds since 1970."""
        return self._wall() + self._offset_s

    def hold_now(self, lines: Sequence[Line], plan: HoldPlan) -> Hold | None:
        """Hold what the call may cost at most, if that is at hand and nobody waits for it."""
        full = plan.full
        for line in lines:
            share = line.share
            if line.queue or line.fallen or share.leased - share.spent - share.held < full:
                return None
        for line in lines:
            line.share.held += full
            line.share.calls += 1
        return Hold(self, lines, full, plan.full_bound)

    async def hold(self, lines: Sequence[Line], plan: HoldPlan) -> Hold:
        """Hold what the call may cost, waiting for it if it must.

        Raises BudgetExceeded: it does not fit, or did not become free in time; Unavailable: the database is needed.
        """
        if (held := self.hold_now(lines, plan)) is not None:
            return held
        self._check_used_up(lines, plan)
        waiter = _Waiter(lines, plan, asyncio.get_running_loop().create_future())
        self._queue_up(waiter, self._short_of(waiter))
        try:
            async with asyncio.timeout(self._wait_s):
                return await waiter.future
        except TimeoutError:
            if waiter.future.done() and not waiter.future.cancelled():
                return waiter.future.result()
            if (late := self._take(waiter, at_any_rate=True)) is not None:
                return late
            if self._unheard(waiter):
                raise _store_away() from None
            raise self._refusal(waiter) from None
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                waiter.future.result().void()
            raise
        finally:
            waiter.future.cancel()

    def settled(self, lines: Sequence[Line], amount: int, cost: int) -> None:
        """A hold came out; for `Hold` alone."""
        now_s = self._clock()
        if cost > amount:
            self.overages += 1
            log.warning("budget.overage held=%d cost=%d", amount, cost)
        for line in lines:
            line.share.settle(hold=amount, cost=cost, now_s=now_s)
            if line.queue:
                self._serve(line)
            elif line.share.recalled and line.share.free > 0:
                self._want(line, now_s)

    # What the database tells

    def told(self, payload: str) -> None:
        """A notification: `freed:<window>`, `wanted:<window>:<by whom>`, or `spent:<window>`: somebody has said what is
        spent there."""
        kind, _, rest = payload.partition(":")
        window, _, by = rest.partition(":")
        line = self._by_window.get(WindowId(window))
        if line is None:
            return
        if kind == "spent":
            self._give_back(line)
        if kind in ("freed", "spent"):
            line.used_up = None
            if line.queue:
                self._want(line, max(self._clock(), line.asked_at_s + _ASK_SPACING_S))
        elif by != self._instance and not line.queue and line.share.free > 0:
            line.share.recalled = True
            self._want(line, self._clock())

    async def remind(self) -> None:
        """The database was restored to an earlier state: tell it what it has granted us, before anything else. Returns
        when it knows, or after a few seconds: what is still unsaid then is said later."""
        self._doubt_all()
        try:
            async with asyncio.timeout(_REMIND_S):
                await self._sure.wait()
        except TimeoutError:
            log.warning("budgets.not_reminded windows=%d", len(self._doubted))

    def _doubt_all(self) -> None:
        for window, line in self._by_window.items():
            if line.share.operation:
                line.unsure = True
                self._doubted.add(window)
                self._sure.clear()
                self._want(line, self._clock())

    async def run(self) -> None:
        """Make exchanges, and show that we live. Until cancelled.

        Raises JournalTaken: this instance was declared dead, and must not spend any more.
        """
        heartbeat_s = 0.0
        while True:
            now_s = self._clock()
            if now_s >= heartbeat_s:
                heartbeat_s = now_s + (_HEARTBEAT_S if self._epoch() is not None else _REGISTER_S)
                await self._show_life()
                self._give_back_idle()
            due = [line for line in self._wanting.values() if line.due_s <= self._clock()]
            if due:
                await self._exchange(due[:_EXCHANGE_MAX])
                continue
            next_s = min([heartbeat_s, *(line.due_s for line in self._wanting.values())])
            self._wake.clear()
            try:
                async with asyncio.timeout(max(next_s - self._clock(), 0.001)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    # Inside

    def _line(self, limits: Limits, budget: Budget) -> Line:
        line = self._by_scope.get(limits.scope)
        now_s = self.now_s()
        if line is not None and (line.share.ends_at_s is None or now_s < line.share.ends_at_s):
            if line.budget is not budget:
                self._changed(line, limits, budget)
            if line.budget is budget:
                if now_s >= line.lowers_at_s:
                    line.lowers_at_s = math.inf
                    self._give_back(line)
                return line
        return self._new_line(limits, budget, now_s)

    def _new_line(self, limits: Limits, budget: Budget, now_s: float) -> Line:
        line = Line(limits, budget, self._end_of(budget, now_s))
        known = self._by_window.get(line.share.window)
        if known is not None:
            line = known  # the period was named differently, and is the same
            line.set(limits, budget)
        self._by_scope[limits.scope] = line
        self._by_scope.move_to_end(limits.scope)
        self._by_window[line.share.window] = line
        if len(self._by_window) > _LINES_MAX:
            self._forget_some()
        self._wake.set()
        return line

    def _end_of(self, budget: Budget, now_s: float) -> float | None:
        if budget.duration is None:
            return None
        if budget.reset_at_s is not None and budget.reset_at_s > now_s:
            return budget.reset_at_s
        return next_reset(budget.duration, datetime.fromtimestamp(now_s, UTC), self._calendar).timestamp()

    def _changed(self, line: Line, limits: Limits, budget: Budget) -> None:
        """The directory has read the scope anew: usually the same; else a limit or a period was edited."""
        before = line.budget
        if (before.duration, before.reset_at_s) != (budget.duration, budget.reset_at_s) and (
            self._end_of(budget, self.now_s()) != line.share.ends_at_s
        ):
            return  # another period: another line
        now_s = self.now_s()
        line.set(limits, budget)
        line.used_up = None
        if budget.limit_at(now_s) < before.limit_at(now_s):
            self._give_back(line)

    def _give_back(self, line: Line) -> None:
        """The limit has fallen: what is not in use goes back at once, and is leased anew under the new one."""
        share, now_s = line.share, self._clock()
        if share.asked is not None:
            line.fallen = True
        elif share.free > 0:
            share.recalled = True
            share.ask(need=0, now_s=now_s, give_back=share.free)
            line.asked_at_s = now_s
            self._want(line, now_s)

    def _short_of(self, waiter: _Waiter) -> Line:
        """The line that keeps it from being served, or, where others are before it, one of those."""
        need = waiter.need
        for line in waiter.lines:
            if line.queue or line.fallen or line.share.free < need:
                return line
        return waiter.lines[0]

    def _queue_up(self, waiter: _Waiter, line: Line) -> None:
        if self._away and not line.share.known:
            waiter.future.set_exception(_store_away())  # not raised: it may be another call that finds out, as it ends
            return
        waiter.short = line
        line.queue.append(waiter)
        if len(line.queue) == 1:
            self._want(line, self._clock())

    def _want(self, line: Line, at_s: float) -> None:
        if line.share.window not in self._wanting or at_s < line.due_s:
            line.due_s = at_s
            self._wanting[line.share.window] = line
            self._wake.set()

    def _take(self, waiter: _Waiter, *, at_any_rate: bool = False) -> Hold | None:
        """Hold for a waiter whatever it may have, now; None: not enough, and `short` says of what."""
        full = waiter.plan.full
        if (fallen := next((line for line in waiter.lines if line.fallen), None)) is not None:
            waiter.short = fallen
            return None
        free = min(line.share.free for line in waiter.lines)
        bound: int | None
        if full <= free:
            amount, bound = full, waiter.plan.full_bound
        elif waiter.bounding and (at_any_rate or waiter.asked or self._worth_bounding(waiter)):
            flight = max(line.share.calls for line in waiter.lines)
            found = waiter.plan.within(free, calls_in_flight=flight)
            if found is None:
                waiter.short = min(waiter.lines, key=lambda line: line.share.free)
                return None
            amount, bound = found
        else:
            waiter.short = min(waiter.lines, key=lambda line: line.share.free)
            return None
        for line in waiter.lines:
            line.share.held += amount
            line.share.calls += 1
        return Hold(self, waiter.lines, amount, bound)

    def _unheard(self, waiter: _Waiter) -> bool:
        """Whether it is the database that has not answered, rather than the money that is not there."""
        line = waiter.short
        return line is not None and (
            not line.share.known or (line.share.asked is not None and self._clock() - line.asked_at_s >= _SLOW_S)
        )

    def _worth_bounding(self, waiter: _Waiter) -> bool:
        """Whether asking for more would not bring much more: a call should not be cut short for want of asking."""
        return all(line.share.free >= line.share.rest // 4 for line in waiter.lines)

    def _serve(self, line: Line) -> None:
        """Those who wait for `line`, in order, as far as it goes."""
        queue = line.queue
        while queue:
            waiter = queue[0]
            if waiter.future.done():
                queue.popleft()
                continue
            if not waiter.bounding and waiter.plan.output is None:
                waiter.bounding = line.share.known and waiter.plan.full > line.share.free + line.share.rest
            held = self._take(waiter)
            if held is not None:
                queue.popleft()
                line.short = False
                waiter.future.set_result(held)
                continue
            if waiter.short is line:
                self._want(line, line.asked_at_s + (_ASK_AGAIN_S if line.short else _ASK_SPACING_S))
                return
            queue.popleft()
            assert waiter.short is not None
            self._queue_up(waiter, waiter.short)

    async def _exchange(self, lines: Sequence[Line]) -> None:
        epoch = self._epoch()
        if epoch is None:  # the poster has not reached the database yet
            for line in lines:
                line.due_s = self._clock() + _REGISTER_S
            return
        asks = [asked for line in lines if (asked := self._ask(line)) is not None]
        if not asks:
            return
        try:
            answers = await self._store.exchange(self._instance, epoch, asks)
        except StoreUnavailable as error:
            self._fail([self._by_window[asked.ask.window] for asked in asks], str(error))
            return
        if self._away:
            self._away = False
            log.warning("budgets.store_back")
            self._doubt_all()  # it may have been restored meanwhile
        for answer in answers:
            self._answered(self._by_window[answer.window], answer)

    def _ask(self, line: Line) -> BudgetAsk | None:
        """What `line` needs now; None: nothing any more."""
        share, now_s = line.share, self._clock()
        while line.queue and line.queue[0].future.done():
            line.queue.popleft()
        self._wanting.pop(share.window, None)
        need = give_back = want = 0
        if line.queue:
            waiter = line.queue[0]
            need = waiter.need
            if waiter.bounding:
                want = share.limit
                waiter.asked = True
            if line.short or waiter.bounding:
                give_back = max(share.free, 0)  # too little for us, and perhaps enough for somebody else
            else:
                need -= share.free
        elif share.recalled:
            give_back = max(share.free, 0)
        if need <= 0 and give_back <= 0 and share.asked is None and not line.unsure:
            self._serve(line)
            return None
        line.asked_at_s, line.unsure = now_s, False
        ask = share.ask(need=max(need, 0), now_s=now_s, give_back=give_back, want=want)
        return BudgetAsk(ask, line.limits.scope, line.budget, share.ends_at_s)

    def _answered(self, line: Line, answer: Answer) -> None:
        share, now_s = line.share, self._clock()
        asked = line.queue[0] if line.queue else None
        share.answered(answer)
        if line.fallen and share.asked is None:
            line.fallen = False
            self._give_back(line)
        if not line.unsure:
            self._be_sure_of(share.window)
        left = answer.limit - answer.spent
        while line.queue and line.queue[0].plan.least > left:
            hopeless = line.queue.popleft()
            if not hopeless.future.done():
                line.used_up = (now_s + _REMEMBER_S, left)
                hopeless.future.set_exception(self._refusal(hopeless))
        was_bounding = asked is not None and asked.bounding
        self._serve(line)
        if not line.queue:
            line.short = False
            if share.recalled and share.free > 0 and share.calls == 0:
                self._want(line, now_s)
        elif line.queue[0] is asked and asked.bounding == was_bounding and not line.short:
            line.short = True  # it was asked for, and is not to be had at the moment
            self._wanting[share.window] = line
            line.due_s = now_s + _ASK_AGAIN_S

    def _fail(self, lines: Sequence[Line], reason: str) -> None:
        """The database is away: whoever needs it is told so at once."""
        if not self._away:
            self._away = True
            log.warning("budgets.store_away reason=%s", reason)
        for line in lines:
            while line.queue:
                waiter = line.queue.popleft()
                if not waiter.future.done():
                    waiter.future.set_exception(_store_away())
            if line.share.asked is not None:
                self._want(line, self._clock() + _AWAY_RETRY_S)

    def _check_used_up(self, lines: Sequence[Line], plan: HoldPlan) -> None:
        for line in lines:
            if line.used_up is None:
                continue
            until_s, left = line.used_up
            if self._clock() >= until_s:
                line.used_up = None
            elif plan.least > left:
                raise self._exceeded(line, plan.least)

    def _refusal(self, waiter: _Waiter) -> BudgetExceeded:
        line = waiter.short or waiter.lines[0]
        return self._exceeded(line, waiter.plan.least)

    def _exceeded(self, line: Line, needed: int) -> BudgetExceeded:
        share = line.share
        return budget_exceeded(
            line.limits,
            limit=share.limit,
            spent=share.spent_everywhere,
            held=share.committed - share.spent_everywhere,
            needed=needed,
            ends_at_s=share.ends_at_s,
            now_s=self.now_s(),
        )

    async def _show_life(self) -> None:
        began_s, epoch = self._wall(), self._epoch()
        if epoch is None:
            return
        try:
            now_s = await self._store.heartbeat(self._instance, epoch)
        except StoreUnavailable:
            self._unheard_of = True
            return
        if self._unheard_of:
            self._unheard_of = False
            self._doubt_all()  # it may have been restored meanwhile
        self._offset_s = now_s - (began_s + self._wall()) / 2

    def _give_back_idle(self) -> None:
        now_s, wall_s = self._clock(), self.now_s()
        for window, line in list(self._by_window.items()):
            share = line.share
            if line.queue or not share.idle:
                continue
            if share.free > 0 and now_s - share.used_at_s > _IDLE_S:
                share.recalled = True
                self._want(line, now_s)
            elif share.ends_at_s is not None and wall_s > share.ends_at_s + _IDLE_S and share.free <= 0:
                self._drop(window, line)

    def _forget_some(self) -> None:
        """The budgets unused longest, with nothing left in them."""
        for line in list(self._by_scope.values())[:100]:
            if line.share.idle and not line.queue and line.share.free <= 0:
                self._drop(line.share.window, line)

    def _be_sure_of(self, window: WindowId) -> None:
        self._doubted.discard(window)
        if not self._doubted:
            self._sure.set()

    def _drop(self, window: WindowId, line: Line) -> None:
        self.dropped += 1
        self._wanting.pop(window, None)
        self._be_sure_of(window)
        del self._by_window[window]
        if self._by_scope.get(line.limits.scope) is line:
            del self._by_scope[line.limits.scope]


def _store_away() -> Unavailable:
    return Unavailable(
        "The budget of this call cannot be checked: the database does not answer. Try again.", kind="store_unavailable"
    )
