"""Shares of rate limits: who may use how much of a limit, so that all workers together never use more than it.

The store has a row for each worker and limit: its *share*, and its *demand*, what it needs in the next seconds. A
worker changes its own rows only, by numbered *statements*, one at a time:

- It **gives up** before it tells: the share in memory shrinks first, then the row. The row stays above what was used
  in the current window until that has ended.
- It **grows** only by an answer: the store grants what the other rows leave of the limit, under a lock for that limit.

So a share in memory is never above its row, rows never sum to more than the limit, and use stays within shares. A lost
answer leaves a row too high, which is safe; the next statement mends it. A statement that arrives after a later one is
turned away by its number, because it could undo what has been granted since.

A worker holds its rows by a *lease*, which each answered statement renews, counted from when it was sent. The store
counts it longer than the worker does, and to the end of a minute. A worker whose lease is over, because it was frozen
or the store was away for so long, uses nothing any more and begins anew, as another *incarnation*.

The rows live in a table that a crash of the database empties. That begins another *epoch*: every worker claims what it
holds, and nobody's share grows before all have.

How much is right for a worker is `target`. With demands that fit into the limit everybody gets theirs, and some of what
is left; else in proportion to the demands. What is over is given up when somebody else is short of it, and slowly
otherwise.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from bursar.domain.rate_limits import NEVER, Bucket, Need, Plan, RateBook, RateKey

ROWS_MAX = 2000
"""In one statement; what is left waits for the next."""
PATIENCE_S = 1.5
"""After so long a shortage everybody has given up what they could."""
_HALF_LIFE_S = 5.0
"""How soon what was wanted is half forgotten: as much is expected to be wanted in as many seconds."""
_SMALL = 10
"""Of a limit below so many times the workers nobody keeps for later what somebody else needs now."""
_SWEPT_IN = 30
"""Statements in which every bucket is looked at."""
_LATER = 5
"""After so many statements they are thought about again."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement says of one limit."""

    key: RateKey
    limit: int
    held: int
    """The share in memory, or what was used already of the row: the row does not shrink below it."""
    want: int
    demand: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """All that a worker tells and asks at once."""

    number: int
    incarnation: int
    fresh: bool
    """Nothing of this incarnation has been answered: it holds nothing."""
    claim: str | None
    """The epoch under which the asks claim what is held."""
    window: int
    """What was given up may be used by others from this window on. 0: nothing was."""
    sent_s: float
    """By the worker's clock."""
    asks: tuple[Ask, ...]


class Outcome(StrEnum):
    """How the store took a statement."""

    OK = "ok"
    WAIT = "wait"
    """What an earlier incarnation used of this minute still counts. Try again later."""
    LAPSED = "lapsed"
    """The lease is over: whatever was held may be others' by now."""
    CLAIM = "claim"
    """Another epoch has begun: claim what is held."""
    STALE = "stale"
    """A later statement came first."""


class Share(msgspec.Struct, frozen=True):
    """What the store says of a limit: our row, and the sums over the other workers'."""

    share: int
    others_share: int
    others_demand: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says to a statement."""

    outcome: Outcome
    at_s: float
    """The store's clock, in seconds since 1970."""
    window: int = 0
    """The latest that any worker has told of."""
    epoch: str = ""
    workers: int = 1
    """Alive, this one included."""
    shares: tuple[Share, ...] = ()
    """For each of the asks, in their order."""
    short: tuple[tuple[RateKey, Share], ...] = ()
    """Limits of which this worker has a share, and another one less than it needs."""


def target(*, limit: int, demand: int, others_demand: int, workers: int) -> int:
    """The share that is right for a worker. A lone one has all of the limit. Of what nobody needs, each takes so little
    that half of it is left for whoever comes next."""
    if workers <= 1:
        return limit
    total = demand + others_demand
    if total <= limit:
        return demand + (limit - total) // (2 * workers)
    return -(-limit * demand // total)


class WorkerShares:
    """One worker's side: makes statements of its book, and brings the answers into it."""

    def __init__(self, book: RateBook, *, lease_s: float) -> None:
        self.book = book
        self._lease_s = lease_s
        self.workers = 1
        self.until_s = -1.0
        """The end of the lease, by the worker's clock."""
        self.away = False
        """The last statement was not answered."""
        self.urgent = False
        """Something was given up that others wait for, is to be claimed, or did not fit into the last statement: the
        next one should not wait."""
        self._number = 0
        self._incarnation = 1
        self._fresh = True
        self._claim: str | None = None
        self._told_window = 0
        self._sent: list[Bucket] = []
        self._later: dict[Bucket, None] = {}
        """Buckets about which nothing new is to be expected in the next second: those with less than they need, and
        those that give up what they have used, when the window has ended."""
        self._to_sweep: list[Bucket] = []

    # Calls

    def usable(self, now_s: float) -> bool:
        """Whether shares may be used. When the lease is over they are gone: so a worker notices that it was frozen."""
        if now_s <= self.until_s:
            return True
        if not self._fresh:
            self._begin_anew()
        return False

    def _begin_anew(self) -> None:
        self._fresh = True
        self._claim = None
        self._incarnation += 1
        self.until_s = -1.0
        for bucket in self.book.buckets.values():
            bucket.share = bucket.share_there = bucket.demand_there = 0
            bucket.mark = NEVER
            if bucket.used or bucket.waiting:
                self.book.touched[bucket] = None

    def hopeless(self, bucket: Bucket, amount: int, now_s: float) -> bool:
        """Whether a call for which a bucket has no room need not wait for a larger share: the limit is used up here
        alone, nobody can be asked, or everybody has been, and had nothing."""
        if self.away or bucket.used + bucket.waiting + amount > bucket.limit:
            return True
        return bucket.short_since_s is not None and now_s - bucket.short_since_s >= PATIENCE_S

    def wait(self, plan: Plan, need: Need) -> tuple[Bucket, ...]:
        """A call waits: its buckets count what it needs, until `wait_no_more`."""
        for bucket in plan.buckets:
            amount = need.of(bucket)
            bucket.waiting += amount
            if bucket.used + amount > bucket.share and not bucket.gone:
                self.book.touched[bucket] = None
        return plan.buckets

    def wait_no_more(self, buckets: Sequence[Bucket], need: Need) -> None:
        """It has got what it needs, or waits no longer."""
        for bucket in buckets:
            bucket.waiting -= need.of(bucket)

    # Statements

    def statement(self, now_s: float, *, last: bool = False) -> Statement:
        """What is to be said now. Shares that are given up have shrunk when this returns. `last`: all are given up, as
        far as they were not used."""
        self.usable(now_s)
        self._number += 1
        book, touched = self.book, self.book.touched
        if self._claim is not None or last:
            chosen = list(book.buckets.values())
        else:
            self._look_at_some()
            if self._number % _LATER == 0 or self._told_window != book.window:
                touched.update(self._later)
                self._later.clear()
            chosen = list(touched)[:ROWS_MAX]
        self._told_window = book.window
        self._sent, asks = [], []
        for bucket in chosen:
            touched.pop(bucket, None)
            if (ask := self._ask(bucket, now_s, last=last)) is not None:
                asks.append(ask)
                self._sent.append(bucket)
        self.urgent = self._claim is None and not last and len(touched) > 0  # more than fits into one statement
        return Statement(
            number=self._number,
            incarnation=self._incarnation,
            fresh=self._fresh,
            claim=self._claim,
            window=0 if self._fresh else book.window,
            sent_s=now_s,
            asks=tuple(asks),
        )

    def _look_at_some(self) -> None:
        """Buckets nobody touches would keep their shares for ever: each is looked at now and then."""
        book = self.book
        if not self._to_sweep:
            self._to_sweep = list(book.buckets.values())
        for _ in range(min(len(self._to_sweep), len(book.buckets) // _SWEPT_IN + 100)):
            bucket = self._to_sweep.pop()
            if bucket.gone or bucket.waiting:
                continue
            if bucket.share or bucket.share_there or bucket.demand_there:
                book.touched[bucket] = None
            elif self._idle(bucket):
                bucket.gone = True
                del book.buckets[bucket.key]
                book.touched.pop(bucket, None)
                self._later.pop(bucket, None)

    def _idle(self, bucket: Bucket) -> bool:
        """Not used in this window, nor in the one before."""
        unused = bucket.windowed or not bucket.used
        return unused and not bucket.waiting and self.book.window - bucket.window > 1

    def _used(self, bucket: Bucket) -> tuple[int, int]:
        """In this window, and in the one before."""
        if not bucket.windowed:
            return bucket.used, 0
        if bucket.window == self.book.window:
            return bucket.used, bucket.before
        return 0, bucket.used if bucket.window == self.book.window - 1 else 0

    def _ask(self, bucket: Bucket, now_s: float, *, last: bool) -> Ask | None:
        """What is to be said of one bucket; None: nothing new."""
        used, before = self._used(bucket)
        if last or self._idle(bucket):
            want = demand = 0
        else:
            demand = self._demand(bucket, used, now_s)
            want = self._target(bucket, demand)
            if demand <= bucket.share // 2:
                want = min(want, bucket.share)  # no more yet: it is hardly used
        self._give_up(bucket, keep=0 if last else before, want=want, demand=demand)
        held = max(bucket.share, min(used, bucket.share_there))
        short = demand > bucket.share
        told = bucket.demand_there > bucket.share_there  # that it was short
        if (
            self._claim is None
            and not short
            and want <= bucket.share_there == held
            and (demand == bucket.demand_there or (demand > 0 and not told and not bucket.recalled))
        ):
            self._set_mark(bucket, used)
            if bucket.share < bucket.share_there:
                self._later[bucket] = None
            return None
        bucket.recalled = False
        return Ask(key=bucket.key, limit=bucket.limit, held=held, want=want, demand=demand)

    def _target(self, bucket: Bucket, demand: int) -> int:
        return target(limit=bucket.limit, demand=demand, others_demand=bucket.others_demand, workers=self.workers)

    def _demand(self, bucket: Bucket, used: int, now_s: float) -> int:
        """What it needs: what is used and waited for, and of windows as much as was wanted in the last seconds."""
        wanted, bucket.refused = bucket.refused, 0
        if bucket.windowed:
            wanted += max(0, used - bucket.planned_used)
            bucket.recent = bucket.recent * 0.5 ** ((now_s - bucket.planned_s) / _HALF_LIFE_S) + wanted
            bucket.planned_s, bucket.planned_used = now_s, used
            wanted = int(bucket.recent)
        else:
            wanted += used // 4
        if bucket.recalled and self._small(bucket):
            wanted = 0
        return min(bucket.limit, used + bucket.waiting + wanted)

    def _small(self, bucket: Bucket) -> bool:
        return bucket.limit < _SMALL * self.workers

    def _give_up(self, bucket: Bucket, *, keep: int, want: int, demand: int) -> bool:
        """Shrink the share to what is right, where somebody needs the rest; else only what is much too much, and not
        what the window before has used."""
        over = bucket.share - want
        if over <= 0:
            return False
        if not bucket.recalled:
            if demand and over * 4 <= bucket.share:
                return False
            if not self._small(bucket):
                want = max(want, keep)
        bucket.share = min(want, bucket.share)
        return True

    def _set_mark(self, bucket: Bucket, used: int) -> None:
        bucket.mark = NEVER if bucket.share >= bucket.limit else max(used, (used + bucket.share) // 2)

    # Answers

    def unanswered(self, statement: Statement) -> None:
        """The statement was lost, or its answer: nobody knows which. Shares stay as they are."""
        self.away = True
        for bucket, ask in zip(self._sent, statement.asks, strict=True):
            bucket.share_there = max(bucket.share_there, ask.want)  # at most
            self.book.touched[bucket] = None

    def answered(self, statement: Statement, answer: Answer, now_s: float) -> None:
        """Bring an answer into the book."""
        self.away = False
        until_s = statement.sent_s + self._lease_s
        # An answer that comes when the lease is over does not renew it: by then the store may have counted it as over.
        late = now_s > until_s or not (statement.fresh or self.usable(now_s))
        if late or answer.outcome is not Outcome.OK or statement.incarnation != self._incarnation:
            self._not_taken(answer, now_s)
            return
        self.book.turn(answer.window)
        self.until_s, self._fresh, self._claim = until_s, False, None
        if answer.workers > self.workers:
            self.book.touched.update(dict.fromkeys(self.book.buckets.values()))
        self.workers = answer.workers
        for bucket, ask, share in zip(self._sent, statement.asks, answer.shares, strict=True):
            self._take(bucket, ask, share, now_s)
        for key, share in answer.short:
            if (recalled := self.book.buckets.get(key)) is not None:
                self._recall(recalled, share, now_s)

    def _not_taken(self, answer: Answer, now_s: float) -> None:
        if answer.outcome is Outcome.LAPSED and not self._fresh:
            self._begin_anew()
        elif answer.outcome is Outcome.CLAIM:
            self._claim, self.urgent = answer.epoch, True
        for bucket in self._sent:
            self.book.touched[bucket] = None
            if bucket.short_since_s is None:
                bucket.short_since_s = now_s

    def _take(self, bucket: Bucket, ask: Ask, share: Share, now_s: float) -> None:
        granted = bucket.share_there = share.share
        if granted <= ask.held:  # what is held for its use alone may be more than the share
            granted = min(granted, bucket.share)
        elif ask.limit > bucket.limit:  # lowered meanwhile
            granted = granted * bucket.limit // ask.limit
        bucket.demand_there = ask.demand
        bucket.others_share, bucket.others_demand = share.others_share, share.others_demand
        bucket.share = granted
        self._fit(bucket)
        self._set_mark(bucket, self._used(bucket)[0])
        if ask.demand <= granted:
            bucket.short_since_s = None
            self._later.pop(bucket, None)
            if granted < bucket.share_there:
                self._later[bucket] = None
            return
        if bucket.short_since_s is None:
            bucket.short_since_s = now_s
        if now_s - bucket.short_since_s < 2 * PATIENCE_S:
            self.book.touched[bucket] = None
        else:
            self._later[bucket] = None
        left = bucket.limit - granted - share.others_share
        if left > 0 and self._target(bucket, ask.demand) > ask.want:  # the others need less than we thought
            self.book.touched[bucket] = None
            self.urgent = True

    def _fit(self, bucket: Bucket) -> None:
        """Where the limit was lowered, shares may sum to more than it: every worker makes room."""
        most = max(0, bucket.limit - bucket.others_share)
        if bucket.share > most:
            bucket.share = most
            self.book.touched[bucket] = None

    def _recall(self, bucket: Bucket, share: Share, now_s: float) -> None:
        """Somebody else is short of this limit: give up what is over, at once."""
        bucket.share_there = share.share
        bucket.others_share, bucket.others_demand = share.others_share, share.others_demand
        bucket.recalled = True
        self._fit(bucket)
        demand = 0 if self._idle(bucket) else self._demand(bucket, self._used(bucket)[0], now_s)
        self.urgent |= self._give_up(bucket, keep=0, want=self._target(bucket, demand), demand=demand)
        self.book.touched[bucket] = None
