"""Workers that share rate limits, and everything that can happen to them: a seeded simulator without sockets or tasks.

Statements and answers are delayed, lost, and overtake each other; workers crash, freeze and come again; the store goes
away, loses its unlogged tables, and its clock is set; limits change. After every event: no window of any limit was used
beyond it, no more calls run at a time than may.
"""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bursar.domain.ids import JournalId
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.rate_limits import WINDOW_S, Bucket, Hold, LimitKind, Need, Plan, RateBook, RateKey
from bursar.domain.rate_shares import Answer, Statement, WorkerShares
from bursar.quotas.store_clock import StoreClock
from tests.domain.rate_store_model import RateStoreModel

LEASE_S = 20.0
START_S = 1_800_000_000.0
_LIMITS = {"busy": 300, "small": 3, "other": 40}
"""Requests a minute, and calls at a time, by scope; tokens fifty times that."""
_BUSIEST = {"busy": 15.0, "small": 0.2, "other": 3.0}
"""Calls a second at one worker."""
KINDS = (LimitKind.REQUESTS, LimitKind.TOKENS, LimitKind.PARALLEL)


class OverTheLimit(AssertionError):
    """More was used than the limit allows."""


@dataclass
class SimWorker:
    """A gateway process."""

    id: JournalId
    drift: float
    book: RateBook
    shares: WorkerShares
    clock: StoreClock
    sent: Statement | None = None
    sent_at_s: float = 0.0
    alive: bool = True
    frozen_until_s: float = 0.0
    waiting: int = 0
    load: dict[str, float] = field(default_factory=dict)
    """Calls a second, by scope."""


@dataclass
class Simulation:
    """One run. `seed` decides everything."""

    seed: int
    store_of: Callable[[Callable[[], float]], RateStoreModel] = RateStoreModel
    workers_max: int = 4
    faults: bool = True
    kinds: Sequence[LimitKind] = KINDS

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.now = 0.0
        self.store_offset_s = START_S + self.random.uniform(0, 60)
        self.store = self.store_of(self.store_time)
        self.store_away = False
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.steps = 0
        self.made = 0
        self.used: dict[RateKey, Counter[int]] = defaultdict(Counter)
        """What was admitted, by window."""
        self.charged: dict[RateKey, Counter[int]] = defaultdict(Counter)
        """The same, with tokens that were used beyond what was expected."""
        self.limits: dict[RateKey, int] = {}
        self.highest: dict[RateKey, dict[int, int]] = defaultdict(dict)
        """By window, the highest limit that was in force during it."""
        self.running: dict[RateKey, Counter[tuple[JournalId, int]]] = defaultdict(Counter)
        self.loosened_s: dict[RateKey, float] = {}
        """When a limit of calls at a time was last lowered: those running go on."""
        for name, limit in _LIMITS.items():
            for kind in self.kinds:
                self.limits[self.key(name, kind)] = limit * (50 if kind is LimitKind.TOKENS else 1)
        self.workers: list[SimWorker] = []
        for _ in range(self.workers_max):
            self.start_worker()
        self.change_load()
        if self.faults:
            self.after(self.random.expovariate(1 / 15), self.fault)

    @staticmethod
    def key(name: str, kind: LimitKind) -> RateKey:
        return RateKey(Scope(ScopeKind.KEY, name), kind)

    def store_time(self) -> float:
        return self.now + self.store_offset_s

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now + delay_s, self.count, event))

    def run(self, seconds: float) -> None:
        """Go on for so long. Raises OverTheLimit."""
        end = self.now + seconds
        while self.events and self.events[0][0] <= end:
            at, _, event = heapq.heappop(self.events)
            self.now = max(self.now, at)
            self.steps += 1
            event()
        self.now = end

    # Workers

    def start_worker(self) -> SimWorker:
        self.made += 1
        drift, born = self.random.uniform(-1e-4, 1e-4), self.random.uniform(0, 1e6)
        book = RateBook()
        worker = SimWorker(
            id=JournalId(f"w{self.made}"),
            drift=drift,
            book=book,
            shares=WorkerShares(book, lease_s=LEASE_S),
            clock=StoreClock(
                lambda: born + self.now * (1 + drift), lambda: self.store_time() + self.random.uniform(-2, 2)
            ),
        )
        worker.load = dict.fromkeys(_LIMITS, 0.0)
        self.workers.append(worker)
        self.after(self.random.uniform(0, 1), lambda: self.tick(worker))
        for name in worker.load:
            self.after(self.random.uniform(0, 1), lambda name=name: self.next_call(worker, name))  # type: ignore[misc]
        return worker

    def steady(self, worker: SimWorker) -> float:
        return worker.clock._steady()

    def runs(self, worker: SimWorker, again: Callable[[], None]) -> bool:
        """Whether it does anything now; a frozen one does it when it wakes, in whatever order."""
        if worker.alive and worker.frozen_until_s > self.now:
            self.after(worker.frozen_until_s - self.now + self.random.uniform(0, 0.01), again)
            return False
        return worker.alive

    def turn(self, worker: SimWorker) -> None:
        worker.book.turn(int(worker.clock.now_s() // WINDOW_S))

    def tick(self, worker: SimWorker) -> None:
        if not self.runs(worker, lambda: self.tick(worker)):
            return
        if worker.sent is not None and self.now - worker.sent_at_s > 5:
            worker.shares.unanswered(worker.sent)
            worker.sent = None
        if worker.sent is None:
            self.send(worker)
        self.after(0.25 if worker.waiting else 1.0, lambda: self.tick(worker))

    def send(self, worker: SimWorker) -> None:
        self.turn(worker)
        statement = worker.shares.statement(self.steady(worker))
        worker.sent, worker.sent_at_s = statement, self.now
        if not self.lost():
            self.after(self.delay(), lambda: self.arrive(worker, statement))

    def lost(self) -> bool:
        return self.faults and self.random.random() < 0.03

    def delay(self) -> float:
        if self.faults and self.random.random() < 0.02:
            return self.random.uniform(0, 1.5 * LEASE_S)
        return self.random.uniform(0.0005, 0.02)

    def arrive(self, worker: SimWorker, statement: Statement) -> None:
        if self.store_away:
            return
        answer = self.store.take(worker.id, statement, lease_s=LEASE_S)
        self.check_rows()
        if not self.lost():
            self.after(self.delay(), lambda: self.answer(worker, statement, answer))

    def answer(self, worker: SimWorker, statement: Statement, answer: Answer) -> None:
        if not self.runs(worker, lambda: self.answer(worker, statement, answer)):
            return
        if worker.sent is not statement:
            return  # given up long ago
        worker.sent = None
        steady = self.steady(worker)
        worker.clock.learn(answer.at_s, sent_s=statement.sent_s, received_s=steady)
        self.turn(worker)
        worker.shares.answered(statement, answer, steady)
        if worker.shares.urgent:
            self.send(worker)

    # Calls

    def change_load(self) -> None:
        """Uneven, and another one after a while. Without faults, there is always enough to use up every limit."""
        if not self.faults:
            share = [self.random.choice((0.0, 0.05, 1.0)) for _ in self.workers]
            share[self.random.randrange(len(share))] = 2.0
            for worker, part in zip(self.workers, share, strict=True):
                for name, limit in _LIMITS.items():
                    worker.load[name] = 2 * limit / WINDOW_S * part / sum(share)
            self.after(self.random.uniform(5, 60), self.change_load)
            return
        for worker in self.workers:
            for name, most in _BUSIEST.items():
                worker.load[name] = self.random.choice((0.0, 0.05, 0.3, 1.0)) * most
        self.after(self.random.uniform(5, 120), self.change_load)

    def next_call(self, worker: SimWorker, name: str) -> None:
        if not self.runs(worker, lambda: self.next_call(worker, name)):
            return
        highest = _BUSIEST[name]
        if self.random.random() * highest < worker.load[name]:
            self.call(worker, name)
        self.after(self.random.expovariate(highest), lambda: self.next_call(worker, name))

    def call(self, worker: SimWorker, name: str) -> None:
        stated = [(self.key(name, kind), self.limits[self.key(name, kind)]) for kind in self.kinds]
        plan = worker.book.plan(stated)
        need = Need(self.random.randint(1, 60), 20)
        self.try_call(worker, plan, need, since_s=self.now, buckets=None)

    def try_call(
        self, worker: SimWorker, plan: Plan, need: Need, *, since_s: float, buckets: tuple[Bucket, ...] | None
    ) -> None:
        """At once, or again for as long as it is worth while."""
        if not self.runs(worker, lambda: self.try_call(worker, plan, need, since_s=since_s, buckets=buckets)):
            return
        if buckets is not None:
            worker.shares.wait_no_more(buckets, need)
            worker.waiting -= 1
        self.turn(worker)
        now = self.steady(worker)
        if worker.shares.usable(now) and (hold := worker.book.admit(plan, need)) is not None:
            self.admitted(worker, plan, need, hold)
            return
        lacking = worker.book.lacking(plan, need)
        if lacking is not None and worker.shares.hopeless(lacking, need.of(lacking), now):
            lacking.refused += need.of(lacking)
        elif self.now - since_s < 1.5:
            waited = worker.shares.wait(plan, need)
            worker.waiting += 1
            self.after(0.2, lambda: self.try_call(worker, plan, need, since_s=since_s, buckets=waited))

    def admitted(self, worker: SimWorker, plan: Plan, need: Need, hold: Hold) -> None:
        window = worker.book.window
        for bucket in plan.buckets:
            if bucket.windowed:
                self.used[bucket.key][window] += need.of(bucket)
                self.charged[bucket.key][window] += need.of(bucket)
                self.check_window(bucket.key, window)
            else:
                self.running[bucket.key][worker.id, worker.shares._incarnation] += 1
                self.check_running(bucket.key)
        incarnation = worker.shares._incarnation
        self.after(self.random.expovariate(1 / 1.5), lambda: self.ended(worker, plan, need, hold, window, incarnation))

    def ended(self, worker: SimWorker, plan: Plan, need: Need, hold: Hold, window: int, incarnation: int) -> None:
        if not self.runs(worker, lambda: self.ended(worker, plan, need, hold, window, incarnation)):
            return
        self.turn(worker)
        same = worker.book.window == window
        fate = self.random.random()
        tokens = self.random.randint(0, 100) if 0.1 <= fate < 0.8 else 0
        if fate < 0.1:
            hold.withdraw()
        else:
            hold.settle(tokens)
            hold.end()
        for bucket in plan.buckets:
            if bucket.key.kind is LimitKind.PARALLEL:
                self.running[bucket.key][worker.id, incarnation] -= 1
            elif bucket.key.kind is LimitKind.TOKENS:
                more = tokens - need.of(bucket)
                self.charged[bucket.key][worker.book.window] += more if same else max(0, more)
                self.used[bucket.key][window] += min(0, more) if same else 0
            elif same and fate < 0.1:
                self.used[bucket.key][window] -= 1
                self.charged[bucket.key][window] -= 1

    # What must hold

    def limit_in(self, key: RateKey, window: int) -> int:
        """The highest that was in force in a window, or shortly before: workers hear of a change within a second."""
        seen = self.highest[key]
        seen[window] = max(seen.get(window, 0), self.limits[key], self.loosened(key))
        return seen[window]

    def loosened(self, key: RateKey) -> int:
        return self._former.get(key, (0, 0.0))[0] if self._former.get(key, (0, 0.0))[1] > self.now else 0

    _former: dict[RateKey, tuple[int, float]] = field(default_factory=dict)

    def check_window(self, key: RateKey, window: int) -> None:
        if self.used[key][window] > self.limit_in(key, window):
            raise OverTheLimit(
                f"seed {self.seed}, {self.now:.2f} s, {key}: {self.used[key][window]} of {self.limit_in(key, window)}"
                f" in window {window}"
            )

    def check_running(self, key: RateKey) -> None:
        """Calls of processes that are alive, and have not lost their lease since they began."""
        incarnations = {w.id: w.shares._incarnation for w in self.workers if self.steady(w) <= w.shares.until_s}
        running = sum(n for (worker, begun), n in self.running[key].items() if incarnations.get(worker) == begun)
        limit = max(self.limits[key], self.loosened(key))
        if running > limit:
            raise OverTheLimit(f"seed {self.seed}, {self.now:.2f} s, {key}: {running} at a time of {limit}")

    def check_rows(self) -> None:
        """Memory is never above the rows, while both count."""
        if type(self.store) is not RateStoreModel:
            return
        for worker in self.workers:
            known = self.store.workers.get(worker.id)
            if not worker.alive or known is None or known.epoch != self.store.epoch or worker.shares._fresh:
                continue
            if known.incarnation != worker.shares._incarnation or self.steady(worker) > worker.shares.until_s:
                continue
            for key, bucket in worker.book.buckets.items():
                row = self.store.rows.get(key, {}).get(worker.id)
                there = 0 if row is None else row.share
                if bucket.share > there:
                    raise OverTheLimit(
                        f"seed {self.seed}, {self.now:.2f} s: {worker.id} has {bucket.share} > {there} of {key}"
                    )

    # What can happen

    def fault(self) -> None:
        chosen = self.random.choice(
            (self.crash, self.freeze, self.away, self.lose_tables, self.set_clock, self.change_limit, self.leave)
        )
        chosen()
        self.after(self.random.expovariate(1 / 15), self.fault)

    def crash(self) -> None:
        victim = self.random.choice(self.workers)
        victim.alive = False
        self.workers.remove(victim)
        for running in self.running.values():
            for name in [name for name in running if name[0] == victim.id]:
                del running[name]
        if self.random.random() < 0.7:  # else its machine is gone with it
            self.after(self.random.uniform(0, 10), lambda: self.store.ended(victim.id))
        self.after(self.random.uniform(0, 5), self.start_another)

    def start_another(self) -> None:
        self.start_worker()

    def leave(self) -> None:
        victim = self.random.choice(self.workers)
        if victim.frozen_until_s > self.now:
            return
        victim.alive = False
        self.workers.remove(victim)
        for running in self.running.values():
            for name in [name for name in running if name[0] == victim.id]:
                del running[name]
        self.turn(victim)
        statement = victim.shares.statement(self.steady(victim), last=True)
        if not self.store_away:
            self.store.take(victim.id, statement, lease_s=LEASE_S)
            self.store.ended(victim.id)
        self.start_worker()

    def freeze(self) -> None:
        self.random.choice(self.workers).frozen_until_s = self.now + self.random.uniform(0, 6 * LEASE_S)

    def away(self) -> None:
        self.store_away = True

        def back() -> None:
            self.store_away = False

        self.after(self.random.uniform(0, 1.5 * LEASE_S), back)

    def lose_tables(self) -> None:
        self.store.crash()

    def set_clock(self) -> None:
        """Forward by anything; back by little."""
        self.store_offset_s += self.random.choice((self.random.uniform(0, 1), -self.random.uniform(0, 1)))

    def change_limit(self) -> None:
        key = self.random.choice(list(self.limits))
        former = self.limits[key]
        self.limits[key] = max(0, int(former * self.random.choice((0.5, 0.8, 1.5)))) or 3
        if self.limits[key] < former:
            # Statements under way may still be answered by the former limit.
            self._former[key] = (max(former, self.loosened(key)), self.now + 2 * LEASE_S)
        for worker in self.workers:
            worker.book.bucket(key, self.limits[key])
