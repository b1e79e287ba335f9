"""The life of an attempt, as its entries tell it: repetition, delay and any order leave it in the same state.

    (nothing) --open--> Held --unknown--> Unresolved --settle/void--> Settled/Voided --adjust--> Settled
                          └──────────────settle/void──────────────────────┘

Entries may arrive twice (the same changes nothing), out of order (an `open` after its end changes nothing any more), or
contradict what is there (refused, and set aside for people). One contradiction is foreseen: a guess (an estimate at a
deadline, or what was booked for an instance that was taken for lost) gives way to the truth, and never replaces it.
"""

from enum import StrEnum
from typing import assert_never

import msgspec


class Held(msgspec.Struct, frozen=True):
    """Sent, or about to be: its hold stands."""

    hold: int


class Unresolved(msgspec.Struct, frozen=True):
    """Sent, and its outcome is not known: its hold stands until it is."""

    hold: int


class Settled(msgspec.Struct, frozen=True):
    """It cost this much, so far: adjustments are in it."""

    cost: int
    terminal_cost: int
    """What the terminal entry said, to know it again."""
    guess: bool = False


class Voided(msgspec.Struct, frozen=True):
    """It is certain that it cost nothing."""


AttemptState = Held | Unresolved | Settled | Voided


class EntryKind(StrEnum):
    """Entries of attempts."""

    OPEN = "open"
    UNKNOWN = "unknown"
    SETTLE = "settle"
    VOID = "void"
    ADJUST = "adjust"


class AttemptEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry, as far as the state depends on it."""

    kind: EntryKind
    amount: int = 0
    """Of `open` and `unknown` the hold, of `settle` the cost, of `adjust` the difference."""
    guess: bool = False


class Step(msgspec.Struct, frozen=True):
    """What an entry does."""

    state: AttemptState
    cost: int = 0
    """By how much it changes what the attempt has cost."""
    contradicts: bool = False
    """It says something else than what is there, and changes nothing."""


def advance(state: AttemptState | None, entry: AttemptEntry) -> Step:
    """The state after `entry`. Adjustments, which differ only in their number, are not offered twice."""
    match entry.kind:
        case EntryKind.OPEN:
            return Step(Held(entry.amount) if state is None else state)
        case EntryKind.UNKNOWN:
            return Step(Unresolved(entry.amount) if state is None or isinstance(state, Held) else state)
        case EntryKind.SETTLE:
            return _settled(state, entry)
        case EntryKind.VOID:
            return _voided(state)
        case EntryKind.ADJUST:
            if not isinstance(state, Settled):
                return Step(state or Voided(), contradicts=True)
            return Step(msgspec.structs.replace(state, cost=state.cost + entry.amount), entry.amount)
        case _:
            assert_never(entry.kind)


def _settled(state: AttemptState | None, entry: AttemptEntry) -> Step:
    new = Settled(entry.amount, entry.amount, entry.guess)
    if isinstance(state, Voided):
        return Step(state, contradicts=not entry.guess)
    if not isinstance(state, Settled):
        return Step(new, entry.amount)
    if entry.guess or state.terminal_cost == entry.amount:
        return Step(state)  # the same again, or a guess that comes after the truth
    if state.guess:
        return Step(new, entry.amount - state.cost)
    return Step(state, contradicts=True)


def _voided(state: AttemptState | None) -> Step:
    if isinstance(state, Settled):
        return Step(Voided(), -state.cost) if state.guess else Step(state, contradicts=True)
    return Step(Voided())
