"""The database of the simulated world: the decisions are the domain's, the rows are dictionaries.

`Bugs` plants mistakes that the simulator must find; without one it does what `store.ledger` and `store.budgets` do.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import msgspec

from bursar.domain import windows
from bursar.domain.attempts import AttemptEntry, AttemptState, EntryKind, Held, Settled, Unresolved, advance
from bursar.domain.windows import Answer, Ask, Grant, Window, WindowId

AttemptKey = int
InstanceKey = int


class Taken(Exception):
    """The instance's epoch is not the one it was told: somebody has taken its journal over."""


@dataclass(frozen=True)
class Bugs:
    """Mistakes to plant."""

    no_conflict_clause: bool = False
    """The poster inserts an end that is there already, and counts it."""
    grants_expire: bool = False
    """Grants end by time, when their instance has not been heard of."""
    epoch_not_locked: bool = False
    """The epoch is looked at when a transaction begins, and may have changed when it commits."""
    round_down: bool = False
    """Parts of a nano-dollar are forgotten."""
    repeated_exchanges: bool = False
    """An exchange that arrives again is made again."""
    forgets_for_good: bool = False
    """After it was restored to an earlier state, it does not let itself be reminded of what it granted."""


@dataclass(frozen=True)
class Record:
    """An entry in a journal."""

    attempt: AttemptKey
    entry: AttemptEntry
    pins: tuple[WindowId, ...]
    owner: InstanceKey
    """Whose grants the attempt's hold came from."""
    hold: int = 0
    team: int = 0

    def saying(self, kind: EntryKind, amount: int = 0, *, guess: bool = False) -> "Record":
        """Another entry of the same attempt."""
        return replace(self, entry=AttemptEntry(kind=kind, amount=amount, guess=guess))


@dataclass
class Instance:
    """One life of one process."""

    epoch: int = 1
    position: int = 0
    closed: bool = False
    heard_s: float = 0.0


@dataclass
class Store:
    """Tables, and the transactions on them: each method is one, all of it or, with an exception, nothing."""

    bugs: Bugs = Bugs()
    limits: dict[WindowId, int] = field(default_factory=dict)
    instances: dict[InstanceKey, Instance] = field(default_factory=dict)
    windows: dict[WindowId, Window] = field(default_factory=dict)
    grants: dict[tuple[WindowId, InstanceKey], Grant] = field(default_factory=dict)
    attempts: dict[AttemptKey, AttemptState] = field(default_factory=dict)
    pins: dict[AttemptKey, Record] = field(default_factory=dict)
    team_spend: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0
    quarantine: list[Record] = field(default_factory=list)
    overage: dict[WindowId, int] = field(default_factory=lambda: defaultdict(int))

    def register(self, instance: InstanceKey, now_s: float) -> tuple[int, int]:
        row = self.instances.setdefault(instance, Instance(heard_s=now_s))
        return row.epoch, row.position

    def known(self, instance: InstanceKey) -> Instance:
        """Raises Taken: it is not registered, or not any more."""
        if (row := self.instances.get(instance)) is None:
            raise Taken
        return row

    def take_over(self, instance: InstanceKey, epoch: int) -> int:
        """Compare and swap: the new epoch. Raises Taken."""
        row = self.known(instance)
        if row.epoch != epoch:
            raise Taken
        row.epoch += 1
        return row.epoch

    def claim(self, instance: InstanceKey, epoch: int) -> None:
        """Raises Taken. In the database this locks the row until commit; see `Bugs.epoch_not_locked`."""
        row = self.known(instance)
        if row.epoch != epoch or row.closed:
            raise Taken

    def post(
        self, instance: InstanceKey, epoch: int, after: int, batch: list[Record], now_s: float, *, claimed: bool = False
    ) -> int:
        """Post records `after` + 1 …; the new position. Raises Taken, also when the position is another."""
        if not claimed:
            self.claim(instance, epoch)
        row = self.instances[instance]
        if row.position != after:
            raise Taken
        row.position = after + len(batch)
        row.heard_s = now_s
        for record in batch:
            self.apply(record)
        return row.position

    def apply(self, record: Record) -> None:
        before = self.attempts.get(record.attempt)
        step = advance(before, record.entry)
        if self.bugs.no_conflict_clause and isinstance(before, Settled) and record.entry.kind is EntryKind.SETTLE:
            self.total += record.entry.amount
            self.team_spend[record.team] += record.entry.amount
            return
        if step.contradicts:
            self.quarantine.append(record)
            return
        ended = isinstance(before, Settled) or (before is not None and not isinstance(before, Held | Unresolved))
        self.attempts[record.attempt] = step.state
        self.pins.setdefault(record.attempt, record)
        self.total += step.cost
        self.team_spend[record.team] += step.cost
        if isinstance(step.state, Held | Unresolved):
            return
        for window in record.pins:
            self._book(window, record, step.cost, first=not ended)

    def _book(self, window: WindowId, record: Record, cost: int, *, first: bool) -> None:
        key = (window, record.owner)
        grant = self.grants.get(key, Grant())
        row = self.windows.get(window, Window(limit=self.limits[window], leased=0, spent=0))
        before = row.leased
        owner = self.instances.get(record.owner)
        if first and owner is not None and owner.closed:
            new, grant = windows.book_closed(row, grant, hold=record.hold, cost=cost)
        else:
            new, grant = windows.book(row, grant, cost)
        self.overage[window] += max(0, new.leased - before)
        self.windows[window], self.grants[key] = new, grant

    def exchange(
        self, instance: InstanceKey, epoch: int, asks: list[Ask], now_s: float, *, claimed: bool = False
    ) -> list[Answer]:
        """Raises Taken."""
        if not claimed:
            self.claim(instance, epoch)
        self.instances[instance].heard_s = now_s
        if self.bugs.grants_expire:
            self._expire(now_s)
        alive = sum(not row.closed for row in self.instances.values())
        answers = []
        for ask in sorted(asks, key=lambda ask: ask.window):
            key = (ask.window, instance)
            limit = self.limits[ask.window]
            row = self.windows.get(ask.window, Window(limit=limit, leased=0, spent=0))
            row = msgspec.structs.replace(row, limit=limit)
            grant = self.grants.get(key, Grant())
            if self.bugs.repeated_exchanges:
                ask = msgspec.structs.replace(ask, operation=grant.operation + 1)
            forgotten = ask.operation > grant.operation + 1
            if forgotten and self.bugs.forgets_for_good:
                grant = msgspec.structs.replace(grant, operation=ask.operation - 1)
            after, grant, answer = windows.exchange(row, grant, ask, instances=alive)
            assert forgotten or after.leased <= max(row.leased, limit), "an exchange raised leased above the limit"
            self.windows[ask.window], self.grants[key] = after, grant
            answers.append(answer)
        return answers

    def _expire(self, now_s: float) -> None:
        for (window, instance), grant in list(self.grants.items()):
            if now_s - self.instances[instance].heard_s > 5.0 and grant.leased > grant.spent:
                row, grant = windows.close(self.windows[window], grant, held=0)
                self.windows[window], self.grants[window, instance] = row, grant

    def backup(self) -> "Store":
        """As it is now."""
        return replace(
            self,
            instances={key: replace(row) for key, row in self.instances.items()},
            windows=dict(self.windows),
            grants=dict(self.grants),
            attempts=dict(self.attempts),
            pins=dict(self.pins),
            team_spend=defaultdict(int, self.team_spend),
            quarantine=list(self.quarantine),
            overage=defaultdict(int, self.overage),
        )

    def forgotten_since(self, backup: "Store") -> dict[WindowId, int]:
        """What has been granted since, and will not be known any more."""
        found: dict[WindowId, int] = defaultdict(int)
        for key, grant in self.grants.items():
            found[key[0]] += max(0, grant.leased - backup.grants.get(key, Grant()).leased)
        return found

    def close(self, instance: InstanceKey, epoch: int, posted: int, dangling: list[Record]) -> None:
        """Its journal is posted to its end, `posted`; of the attempts it left open, those that nobody has ended since
        keep their holds. Raises Taken: also when it is not posted so far, any more."""
        row = self.known(instance)
        if row.closed:
            return
        self.claim(instance, epoch)
        if row.position < posted:
            raise Taken
        row.closed = True
        held: dict[WindowId, int] = defaultdict(int)
        for record in dangling:
            if record.owner == instance and isinstance(self.attempts[record.attempt], Held | Unresolved):
                for window in record.pins:
                    held[window] += record.hold
        for (window, owner), grant in list(self.grants.items()):
            if owner == instance:
                self.windows[window], self.grants[window, owner] = windows.close(
                    self.windows[window], grant, held=held.get(window, 0)
                )

    def check(self) -> None:
        """What holds after every transaction: raises AssertionError."""
        by_window: dict[WindowId, int] = defaultdict(int)
        spent: dict[WindowId, int] = defaultdict(int)
        for (window, _), grant in self.grants.items():
            assert 0 <= grant.spent <= grant.leased, f"{grant}"
            by_window[window] += grant.leased
            spent[window] += grant.spent
        for window, row in self.windows.items():
            assert row.leased == by_window[window], "leased is not the sum of the grants"
            assert row.spent == spent[window]
        settled = sum(state.cost for state in self.attempts.values() if isinstance(state, Settled))
        assert settled == self.total == sum(self.team_spend.values()), "totals are not the fold of entries"
        assert not self.quarantine, f"contradictions: {self.quarantine}"
