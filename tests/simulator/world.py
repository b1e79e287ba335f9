"""The simulated world: workers, clients, a provider with its own bill, a network that loses and repeats, and a clock.

Everything random comes from one seed. What is under test is the domain's: `purse`, `windows`, `attempts`, `prices`. The
workers here do with it what `quotas.budgets`, `gateway.books`, `ledger.poster` and `ledger.adoption` do.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from bursar.domain import purse
from bursar.domain.attempts import AttemptEntry, EntryKind, Settled, Voided
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.money import UNITS_PER_RATE, Rate
from bursar.domain.prices import Price, Rates, cost_of
from bursar.domain.purse import Share
from bursar.domain.usage import Usage
from bursar.domain.windows import Answer, Ask, WindowId, window_id
from tests.simulator.store import Bugs, Instance, InstanceKey, Record, Store, Taken

PERIOD_S = 60.0
TEAMS = 3
PRICE = Price(version="sim", rates=Rates(**{name: Rate(262_500_001) for name in Rates.__struct_fields__}))
"""A rate at which a token is no whole number of nano-dollars."""


NO_BUGS = Bugs()
_NOBODY = Instance()


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass
class Call:
    """One attempt of one call: the gateway's view, and the provider's."""

    attempt: int
    worker: "Worker"
    shares: tuple[Share, ...]
    hold: int
    team: int
    tokens: int
    fate: str
    """What comes of it: `answered`, `void`, `silent` (billed, and nobody hears) or `free` (silent, and not billed)."""
    ended: bool = False

    @property
    def record(self) -> Record:
        """What all of its records share."""
        pins = tuple(share.window for share in self.shares)
        opened = AttemptEntry(kind=EntryKind.OPEN, amount=self.hold)
        return Record(self.attempt, opened, pins, self.worker.key, self.hold, self.team)

    @property
    def cost(self) -> int:
        return cost_of(Usage(answer_tokens=self.tokens), PRICE)


@dataclass
class Worker:
    """One life of a gateway process."""

    key: InstanceKey
    shares: dict[WindowId, Share] = field(default_factory=dict)
    journal: list[Record] = field(default_factory=list)
    """On disk: it survives the process."""
    calls: dict[int, Call] = field(default_factory=dict)
    unresolved: dict[int, Record] = field(default_factory=dict)
    """Attempts of dead processes that it answers for."""
    waiting: dict[WindowId, list["Waiter"]] = field(default_factory=lambda: defaultdict(list))
    alive: bool = True
    frozen_until_s: float = 0.0
    ahead_s: float = 0.0
    """How far its clock is ahead of the world's."""
    epoch: int = 0
    position: int = -1
    """As far as it knows; -1: it must ask."""
    acknowledged: int = 0
    """The furthest position that the database has confirmed."""
    posting: bool = False
    ending: bool = False
    closed: bool = False


@dataclass
class Waiter:
    """A call that waits for its turn."""

    shares: tuple[Share, ...]
    hold: int
    team: int
    until_s: float
    done: bool = False


class World:
    """Runs until told; raises Violation."""

    def __init__(self, seed: int, *, workers: int = 3, bugs: Bugs = NO_BUGS, restores: bool = False) -> None:
        """`restores`: the database is restored to an earlier state now and then."""
        self.random = Random(seed)
        self.restores = restores
        self.backups: list[Store] = []
        self.forgotten: dict[WindowId, int] = defaultdict(int)
        """By how much a window may be overspent, since the database has forgotten that it had granted so much."""
        self.overspent = 0
        self.store = Store(bugs)
        self.bugs = bugs
        self.now_s = 0.0
        self.clocks = Random(f"clocks {seed}")
        self.database_ahead_s = 0.0
        self.jumps = 0
        self.steps = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._keys = itertools.count(1)
        self._attempts = itertools.count(1)
        self.workers: list[Worker] = []
        self.everyone: list[Worker] = []
        self.dead: dict[InstanceKey, Worker] = {}
        self.adopting: set[InstanceKey] = set()
        self.bill: dict[int, int] = {}
        """The provider's own: what it charges for each attempt."""
        self.guesses: set[int] = set()
        self.billed: dict[WindowId, int] = defaultdict(int)
        self.edited: set[WindowId] = set()
        """Windows whose limit was lowered: they may hold more than it."""
        self.served = 0
        self.refused = 0
        self.draining = False
        for _ in range(workers):
            self.start_worker()
        self.at(0.0, self.arrive)
        self.at(0.0, self.disturb)
        self.at(0.0, self.jump)

    # Time

    def clock_s(self, worker: Worker) -> float:
        """What time it is, as `worker` sees it."""
        return self.now_s + worker.ahead_s

    @property
    def database_s(self) -> float:
        """What time it is, as the database sees it."""
        return self.now_s + self.database_ahead_s

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), action))

    def run(self, steps: int) -> None:
        """So many events, then until all is quiet; checked all along."""
        for _ in range(steps):
            self.step()
        self.settle_down()

    def step(self) -> None:
        self.now_s, _, action = heapq.heappop(self._events)
        action()
        self.steps += 1
        if self.steps % 64 == 0:
            self.check()

    def settle_down(self) -> None:
        """No new calls, no new trouble: everything that began comes to its end, and all is compared."""
        self.draining = True
        for worker in self.workers:
            worker.frozen_until_s = 0.0
        self.step_until(self.quiet)
        for worker in list(self.workers):
            worker.ending = True
        self.step_until(lambda: all(w.closed for w in (*self.workers, *self.dead.values())))
        self.check()
        self.compare()

    def step_until(self, done: Callable[[], bool]) -> None:
        limit_s = self.now_s + 300.0
        while self._events and not done():
            if self.now_s > limit_s:
                raise Violation("it does not come to an end")
            self.step()

    def quiet(self) -> bool:
        return not any(w.calls or w.posting or w.position < len(w.journal) for w in self.workers) and not self.dead

    # The network between workers and the database

    def transact(self, worker: Worker, action: Callable[[], Callable[[], None]], failed: Callable[[], None]) -> None:
        """Have the database do `action` once, twice or never, and its answer reach the worker, or not.

        `action` returns what the worker does with the answer; `failed` is called when none comes.
        """
        draw = self.random.random
        lost, lost_answer, repeated = (0.0, 0.0, 0.0) if self.draining else (0.03, 0.03, 0.05)
        there_s, back_s = draw() ** 3 * 0.3, draw() ** 3 * 0.3
        if draw() < 0.01:
            there_s += draw() * 8.0  # on its way for longer than it takes to declare its sender dead
        if draw() < lost:
            self.at(1.0, lambda: self.for_worker(worker, failed))
            return

        server = self.store

        def commit() -> None:
            try:
                if self.store is not server:
                    raise Taken  # the connection has ended with it
                answer = action()
            except Taken:
                self.at(back_s, lambda: self.for_worker(worker, failed))
                return
            if draw() < lost_answer:
                self.at(1.0, lambda: self.for_worker(worker, failed))
            else:
                self.at(back_s, lambda: self.for_worker(worker, answer if self.store is server else failed))

        def again() -> None:
            try:
                if self.store is server:
                    action()
            except Taken:
                pass

        self.at(there_s, commit)
        if draw() < repeated:
            self.at(there_s + draw() * 2.0, again)

    def for_worker(self, worker: Worker, action: Callable[[], None]) -> None:
        """What happens in a process that may be frozen, or gone, by then."""
        if not worker.alive:
            return
        if worker.frozen_until_s > self.now_s:
            later_s = worker.frozen_until_s - self.now_s + self.random.random() * 0.01
            self.at(later_s, lambda: self.for_worker(worker, action))
        else:
            action()

    # Workers

    def start_worker(self) -> None:
        worker = Worker(next(self._keys))
        self.everyone.append(worker)
        self.workers.append(worker)
        self.at(0.0, lambda: self.poster(worker))

    def poster(self, worker: Worker) -> None:
        if not worker.alive or worker.closed:
            return
        self.at(0.1 + self.random.random() * 0.3, lambda: self.for_worker(worker, lambda: self.poster(worker)))
        if worker.posting:
            return
        worker.posting = True

        def failed() -> None:
            worker.posting = False
            worker.position = -1

        if worker.position < 0:

            def register() -> Callable[[], None]:
                epoch, position = self.store.register(worker.key, self.database_s)

                def registered() -> None:
                    worker.epoch, worker.position, worker.posting = epoch, position, False
                    if position < worker.acknowledged:
                        worker.acknowledged = position
                        self.remind(worker)

                return registered

            self.transact(worker, register, failed)
            return
        if worker.position == len(worker.journal):
            worker.posting = False
            if worker.ending and not worker.calls and not any(map(self.waits, worker.waiting.values())):
                if worker.unresolved:
                    for record in list(worker.unresolved.values()):
                        self.resolve(worker, record)
                else:
                    self.end(worker)
            return
        batch = worker.journal[worker.position : worker.position + self.random.randrange(1, 40)]
        self.post(worker, worker.key, worker.epoch, worker.position, batch, failed)

    def post(
        self,
        worker: Worker,
        journal: InstanceKey,
        epoch: int,
        after: int,
        batch: list[Record],
        failed: Callable[[], None],
        then: Callable[[int], None] | None = None,
    ) -> None:
        claimed = self.claimed(journal, epoch)

        def commit() -> Callable[[], None]:
            position = self.store.post(journal, epoch, after, batch, self.database_s, claimed=claimed)

            def posted() -> None:
                if then is not None:
                    then(position)
                else:
                    worker.position, worker.posting = position, False
                    worker.acknowledged = max(worker.acknowledged, position)

            return posted

        self.transact(worker, commit, failed)

    def waits(self, queue: list[Waiter]) -> bool:
        return any(not waiter.done for waiter in queue)

    def claimed(self, instance: InstanceKey, epoch: int) -> bool:
        """The planted mistake: the epoch is looked at when a transaction begins, and not again."""
        try:
            self.store.claim(instance, epoch)
        except (Taken, KeyError):
            return False
        return self.bugs.epoch_not_locked

    def end(self, worker: Worker) -> None:
        """An orderly end: everything is posted, and what was granted goes back."""
        worker.posting = True

        def close() -> Callable[[], None]:
            self.store.close(worker.key, worker.epoch, len(worker.journal), [])

            def closed() -> None:
                worker.closed = True

            return closed

        def failed() -> None:
            worker.posting, worker.position = False, -1

        self.transact(worker, close, failed)

    def crash(self, worker: Worker) -> None:
        worker.alive = False
        self.workers.remove(worker)
        self.dead[worker.key] = worker
        for call in worker.calls.values():
            call.ended = True
        self.at(self.random.random() * 5.0, lambda: self.adopt(worker))
        self.start_worker()

    # Adoption

    def adopt(self, dead: Worker) -> None:
        """Some live worker finds the dead one's journal, unless it is found already."""
        if dead.key not in self.dead or dead.key in self.adopting:
            return
        heirs = [w for w in self.workers if w.position >= 0 and not w.ending]
        self.at(8.0 + self.random.random() * 5.0, lambda: self.look_again(dead))
        if not heirs:
            return
        heir = self.random.choice(heirs)
        self.adopting.add(dead.key)

        def failed() -> None:
            self.adopting.discard(dead.key)

        def take() -> Callable[[], None]:
            epoch, position = self.store.register(dead.key, self.database_s)
            if self.store.instances[dead.key].closed:
                return lambda: self.put_by(dead)
            epoch = self.store.take_over(dead.key, epoch)
            return lambda: self.post_rest(heir, dead, epoch, position)

        self.transact(heir, take, failed)

    def look_again(self, dead: Worker) -> None:
        self.adopting.discard(dead.key)
        self.adopt(dead)

    def post_rest(self, heir: Worker, dead: Worker, epoch: int, position: int) -> None:
        if position < len(dead.journal):
            batch = dead.journal[position : position + 25]
            self.post(
                heir,
                dead.key,
                epoch,
                position,
                batch,
                lambda: None,
                lambda upto: self.post_rest(heir, dead, epoch, upto),
            )
            return
        if heir.ending:
            return  # it records nothing any more: another one will look again
        dangling = self.dangling(dead)
        for record in dangling:
            heir.journal.append(record.saying(EntryKind.UNKNOWN, record.hold))
            heir.unresolved[record.attempt] = record
            self.at(self.random.random() * 20.0, partial(self.for_worker, heir, partial(self.resolve, heir, record)))

        def close() -> Callable[[], None]:
            self.store.close(dead.key, epoch, len(dead.journal), dangling)
            return lambda: self.put_by(dead)

        self.transact(heir, close, lambda: None)

    def put_by(self, dead: Worker) -> None:
        dead.closed = True
        self.dead.pop(dead.key, None)

    def dangling(self, dead: Worker) -> list[Record]:
        """Attempts that a journal opened, or took over as unknown, and did not end."""
        found: dict[int, Record] = {}
        for record in dead.journal:
            if record.entry.kind in (EntryKind.OPEN, EntryKind.UNKNOWN):
                found[record.attempt] = record
            else:
                found.pop(record.attempt, None)
        return list(found.values())

    def resolve(self, worker: Worker, record: Record) -> None:
        """The deadline of an unknown attempt of a dead process: settled at its hold, if nobody has said better."""
        if worker.unresolved.pop(record.attempt, None) is None:
            return
        self.guesses.add(record.attempt)
        worker.journal.append(record.saying(EntryKind.SETTLE, record.hold, guess=True))

    # Calls

    def pins(self, worker: Worker, team: int) -> tuple[WindowId, ...]:
        """A lifetime budget, one with periods, and the whole gateway's. `worker` says which period it is."""
        ends_s = (self.clock_s(worker) // PERIOD_S + 1) * PERIOD_S
        scopes = [
            (Scope(ScopeKind.TEAM, str(team)), None, 300_000_000),
            (Scope(ScopeKind.KEY, str(team)), ends_s, 50_000_000),
            (Scope(ScopeKind.GATEWAY, ""), ends_s, 120_000_000),
        ]
        found = []
        for scope, ends, limit in scopes:
            window = window_id(scope, ends)
            self.store.limits.setdefault(window, limit)
            found.append(window)
        return tuple(found)

    def arrive(self) -> None:
        if not self.draining:
            self.at(self.random.expovariate(40.0), self.arrive)
            worker = self.random.choice(self.workers)
            if worker.frozen_until_s <= self.now_s:
                self.call(worker, self.random.randrange(TEAMS))

    def call(self, worker: Worker, team: int) -> None:
        shares = []
        for window in self.pins(worker, team):
            share = worker.shares.get(window)
            if share is None:
                share = worker.shares[window] = Share(window, Scope(ScopeKind.TEAM, str(team)), None)
            shares.append(share)
        tokens = self.random.randrange(1, 1200)
        hold = -(-tokens * PRICE.rates.completion // UNITS_PER_RATE)
        waiter = Waiter(tuple(shares), hold, team, self.now_s + 2.0)
        self.try_call(worker, waiter)
        if not waiter.done:
            self.at(2.0, lambda: self.for_worker(worker, lambda: self.give_up(worker, waiter)))

    def try_call(self, worker: Worker, waiter: Waiter) -> None:
        short = purse.try_hold(waiter.shares, waiter.hold)
        if short is None:
            waiter.done = True
            self.send(worker, waiter)
            return
        worker.waiting[short.window].append(waiter)
        self.ask(worker, short, waiter.hold - short.free)

    def give_up(self, worker: Worker, waiter: Waiter) -> None:
        if not waiter.done:
            waiter.done = True
            self.refused += 1

    def ask(self, worker: Worker, share: Share, need: int, give_back: int = 0) -> None:
        if share.asked is not None or worker.epoch == 0:
            return
        ask = share.ask(need=need, now_s=self.clock_s(worker), give_back=give_back)
        self.send_ask(worker, share, ask)

    def remind(self, worker: Worker) -> None:
        """The database went back: say what it had granted."""
        for share in worker.shares.values():
            if share.operation and share.asked is None:
                self.send_ask(worker, share, share.ask(need=0, now_s=self.clock_s(worker)))

    def send_ask(self, worker: Worker, share: Share, ask: Ask) -> None:
        claimed = self.claimed(worker.key, worker.epoch)

        def commit() -> Callable[[], None]:
            (answer,) = self.store.exchange(worker.key, worker.epoch, [ask], self.database_s, claimed=claimed)
            return lambda: self.answered(worker, share, answer)

        def failed() -> None:
            if share.asked is ask:
                self.send_ask(worker, share, ask)

        self.transact(worker, commit, failed)

    def answered(self, worker: Worker, share: Share, answer: Answer) -> None:
        share.answered(answer)
        self.turn(worker, share)
        if worker.waiting[share.window] and share.asked is None:
            if answer.elsewhere:
                for other in self.workers:
                    if other is not worker:
                        recall = partial(self.recall, other, share.window)
                        self.at(self.random.random() * 0.3, partial(self.for_worker, other, recall))
            self.at(0.1, lambda: self.for_worker(worker, lambda: self.turn(worker, share)))
        elif share.recalled:
            self.give_back(worker, share)

    def turn(self, worker: Worker, share: Share) -> None:
        """Those who wait for this window, in order."""
        queue = worker.waiting[share.window]
        while queue:
            waiter = queue[0]
            if not waiter.done:
                if share.free < waiter.hold:
                    self.ask(worker, share, waiter.hold - share.free)
                    return
                queue.pop(0)
                self.try_call(worker, waiter)
            else:
                queue.pop(0)

    def recall(self, worker: Worker, window: WindowId) -> None:
        share = worker.shares.get(window)
        if share is not None:
            self.give_back(worker, share)

    def give_back(self, worker: Worker, share: Share) -> None:
        if share.free > 0 and share.asked is None:
            self.ask(worker, share, 0, give_back=share.free)

    def send(self, worker: Worker, waiter: Waiter) -> None:
        attempt = next(self._attempts)
        most = waiter.hold * UNITS_PER_RATE // PRICE.rates.completion
        draw = self.random.random()
        fate = "answered" if draw < 0.85 else "void" if draw < 0.9 else "silent" if draw < 0.97 else "free"
        tokens = most if self.random.random() < 0.7 else self.random.randrange(0, most + 1)
        if self.random.random() < 0.002:
            tokens = most * 2  # the provider charges more than can be
        call = Call(attempt, worker, waiter.shares, waiter.hold, waiter.team, tokens, fate)
        worker.calls[attempt] = call
        pins = tuple(share.window for share in waiter.shares)
        worker.journal.append(call.record.saying(EntryKind.OPEN, waiter.hold))
        self.served += 1
        self.at(self.random.random() ** 2 * 4.0, lambda: self.provide(call, pins))

    def provide(self, call: Call, pins: tuple[WindowId, ...]) -> None:
        """The provider works, charges, and answers, whether or not the gateway still lives."""
        if call.fate in ("answered", "silent"):
            self.bill[call.attempt] = call.cost
            for window in pins:
                self.billed[window] += min(call.cost, call.hold)
                limit = self.store.limits[window]
                self.overspent += self.billed[window] > limit
                if window not in self.edited and self.billed[window] > limit + self.forgotten[window]:
                    raise Violation(f"window {window} was overspent: {self.billed[window]} of {limit}")
        self.for_worker(call.worker, lambda: self.come_back(call))

    def come_back(self, call: Call) -> None:
        worker = call.worker
        if call.ended:
            return
        call.ended = True
        cost, guess = call.cost, False
        if call.fate == "void":
            cost = 0
            worker.journal.append(call.record.saying(EntryKind.VOID))
        else:
            if call.fate != "answered":
                cost, guess = call.hold, True
                self.guesses.add(call.attempt)
                worker.journal.append(call.record.saying(EntryKind.UNKNOWN, call.hold))
            elif self.bugs.round_down:
                cost = call.tokens * PRICE.rates.completion // UNITS_PER_RATE
            worker.journal.append(call.record.saying(EntryKind.SETTLE, cost, guess=guess))
        purse.settle(call.shares, hold=call.hold, cost=cost, now_s=self.clock_s(worker))
        del worker.calls[call.attempt]
        for share in call.shares:
            self.turn(worker, share)
            if share.recalled and not worker.waiting[share.window]:
                self.give_back(worker, share)

    # Trouble

    def disturb(self) -> None:
        if self.draining:
            return
        self.at(self.random.expovariate(0.5), self.disturb)
        worker = self.random.choice(self.workers)
        if self.restores:
            self.backups = [*self.backups[-5:], self.store.backup()]
        match self.random.randrange(7 if self.restores else 6):
            case 0:
                self.crash(worker)
            case 1:
                worker.frozen_until_s = self.now_s + self.random.random() * 15.0
            case 2:
                self.replay()
            case 3:
                self.edit_limit()
            case 4 if len(self.workers) > 1 and worker.position >= 0:
                worker.ending = True  # a rolling restart: it finishes what it has, another one takes its place
                self.workers.remove(worker)
                self.dead[worker.key] = worker
                self.watch_end(worker)
                self.start_worker()
            case 6 if self.now_s > 30:
                self.restore(self.random.choice(self.backups))
            case _:
                pass

    def jump(self) -> None:
        """A clock is set: a worker's, until its next heartbeat tells it the database's time, or the database's own.
        Periods begin early, late, or once more; nothing else may come of it."""
        if self.draining:
            return
        self.at(self.clocks.expovariate(0.2), self.jump)
        self.jumps += 1
        far_s = self.clocks.choice((-1.0, 1.0)) * self.clocks.choice((0.05, 2.0, 70.0, 3600.0)) * self.clocks.random()
        if self.clocks.random() < 0.2:
            self.database_ahead_s = far_s
            return
        worker = self.clocks.choice(self.workers)
        worker.ahead_s = far_s

        def told() -> None:
            worker.ahead_s = self.database_ahead_s

        self.at(self.clocks.random() * 10.0, lambda: self.for_worker(worker, told))

    def restore(self, backup: Store) -> None:
        """The database is as it was. Whoever starts next finds what was put by, and takes up what is missing."""
        for window, amount in self.store.forgotten_since(backup).items():
            self.forgotten[window] += amount
        limits = self.store.limits
        self.store = backup.backup()
        self.store.limits = limits
        self.backups = [backup]
        for worker in self.everyone:
            if worker.closed or not worker.alive:
                worker.closed = False
                worker.alive = False
                self.dead[worker.key] = worker
                self.adopting.discard(worker.key)
                self.at(self.random.random() * 5.0, partial(self.adopt, worker))

    def watch_end(self, worker: Worker) -> None:
        if worker.closed:
            self.dead.pop(worker.key, None)
        else:
            self.at(1.0, lambda: self.watch_end(worker))

    def replay(self) -> None:
        """Somebody posts a whole journal again (`bursar ledger replay`)."""
        worker = self.random.choice(self.workers)
        for record in worker.journal[: self.store.instances.get(worker.key, _NOBODY).position]:
            self.store.apply(record)  # a transaction of its own, without a position

    def edit_limit(self) -> None:
        window = self.random.choice(list(self.store.limits)) if self.store.limits else None
        if window is not None:
            before = self.store.limits[window]
            after = int(before * self.random.choice((0.9, 1.1, 1.3, 2.0)))
            if after < before:
                self.edited.add(window)
            self.store.limits[window] = after

    # What must hold

    def check(self) -> None:
        try:
            self.store.check()
        except AssertionError as error:
            raise Violation(str(error)) from error
        for worker in self.workers:
            if worker.ending and not worker.calls:
                continue  # it may have been closed, and not know it yet
            if self.store.instances.get(worker.key, _NOBODY).position < worker.acknowledged:
                continue  # the database has forgotten charges, which may have raised its grants
            for share in worker.shares.values():
                if share.held < 0:
                    raise Violation(f"{share.held} held")
                grant = self.store.grants.get((share.window, worker.key))
                if self.restores and (grant is None or grant.operation < share.operation):
                    continue  # the database has forgotten, and is reminded by the next exchange
                if share.leased > (0 if grant is None else grant.leased):
                    raise Violation(f"worker {worker.key} spends of {share.leased}, and was granted {grant}")

    def compare(self) -> None:
        """At the end: the ledger beside the provider's bill."""
        for attempt, charged in self.bill.items():
            state = self.store.attempts.get(attempt)
            booked = state.cost if isinstance(state, Settled) else None
            if attempt in self.guesses:
                if booked is None:
                    raise Violation(f"attempt {attempt} is lost: {state}")
            elif booked != charged:
                raise Violation(f"attempt {attempt}: booked {booked}, charged {charged}")
        for attempt, state in self.store.attempts.items():
            if isinstance(state, Settled) and attempt not in self.guesses and attempt not in self.bill:
                raise Violation(f"attempt {attempt} was booked, and never charged")
            if not isinstance(state, Settled | Voided):
                raise Violation(f"attempt {attempt} has not ended: {state}")
        for window, row in self.store.windows.items():
            if row.leased != row.spent:
                raise Violation(f"window {window}: {row.leased - row.spent} is stranded")
