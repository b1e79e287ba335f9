"""Budgets over many gateway processes: what the database decides about a window, and about who may spend of it.

A *window* is one period of one scope's budget. Its `leased` says how much of it is given away: what was spent before
the window began (opening), what instances hold as grants, and what was booked without one. A *grant* is what one
instance may spend without asking again; it ends by being given back or by its instance's end, never by time. So:

    leased = opening + forced + sum over grants of their leased,    and no exchange raises `leased` above the limit.

An instance changes its grant by numbered *exchanges*, one after the other: give some back, ask for some more. One that
arrives again changes nothing, and every answer states the whole grant, so that a lost answer loses nothing. One whose
number leaves some out tells that the database has forgotten exchanges (it was restored to an earlier state): then the
grant is what the instance says.

All amounts are nano-dollars. This module decides; `store.budgets` keeps the rows, the simulator keeps them in memory.
"""

from typing import NewType
from uuid import UUID, uuid5

import msgspec

from bursar.domain.limits import Scope

WindowId = NewType("WindowId", str)
"""A UUID that scope and period determine: every instance names the same window alike, without asking."""

_NAMESPACE = UUID("6d3f3a52-1f0e-5a5b-9a57-0c2f5a7f5e10")


def window_id(scope: Scope, ends_at_s: float | None) -> WindowId:
    """The window of `scope` whose period ends at `ends_at_s` (seconds since 1970; None: never)."""
    period = "" if ends_at_s is None else str(int(ends_at_s))
    return WindowId(str(uuid5(_NAMESPACE, f"{scope.kind}\n{scope.id}\n{period}")))


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A window as the database has it."""

    limit: int
    """In force now. Below 0 counts as 0."""
    leased: int
    spent: int
    """Of `leased`, what is booked: never above it."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One instance's part of a window, as the database has it."""

    leased: int = 0
    spent: int = 0
    """Booked; moved by the instance's poster alone."""
    operation: int = 0
    """The last exchange that was made."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange: first give back, then take."""

    window: WindowId
    operation: int
    """One more than the instance's last on this window."""
    leased: int = 0
    """All of the instance's grant before this exchange, by its own account: heeded if the database has forgotten."""
    give_back: int = 0
    need: int = 0
    """What a waiting call holds: this much or nothing."""
    want: int = 0
    """What would save asking again soon."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How an exchange came out."""

    window: WindowId
    operation: int
    leased: int
    """All of the instance's grant now, spent or not."""
    limit: int
    committed: int
    """The window's `leased`."""
    spent: int
    """The window's."""
    scarce: bool
    """So little is left that nobody should keep what they do not use."""

    @property
    def elsewhere(self) -> int:
        """What others hold and have not spent, or not booked yet."""
        return max(0, self.committed - self.spent)


def exchange(window: Window, grant: Grant, ask: Ask, *, instances: int) -> tuple[Window, Grant, Answer]:
    """Make one exchange between `instances` gateway processes that are alive.

    At most half of an equal share is given in advance of need, so that a newcomer finds something; but a call that is
    waiting gets what it needs if it is there.
    """
    if ask.operation > grant.operation:
        if ask.operation > grant.operation + 1:
            window, grant = _registered_again(window, grant, ask.leased)
        given = min(max(ask.give_back, 0), grant.leased - grant.spent)
        remaining = max(0, max(window.limit, 0) - (window.leased - given))
        taken = _taken(ask, remaining, instances)
        window = msgspec.structs.replace(window, leased=window.leased - given + taken)
        grant = msgspec.structs.replace(grant, leased=grant.leased - given + taken, operation=ask.operation)
    left = max(0, max(window.limit, 0) - window.leased)
    return (
        window,
        grant,
        Answer(
            window=ask.window,
            operation=grant.operation,
            leased=grant.leased,
            limit=window.limit,
            committed=window.leased,
            spent=window.spent,
            scarce=left < instances * max(ask.need, 1),
        ),
    )


def _registered_again(window: Window, grant: Grant, leased: int) -> tuple[Window, Grant]:
    """The database has forgotten what became of the grant: it may be spent already, limit or not."""
    leased = max(leased, grant.spent)
    return (
        msgspec.structs.replace(window, leased=window.leased + leased - grant.leased),
        msgspec.structs.replace(grant, leased=leased),
    )


def _taken(ask: Ask, remaining: int, instances: int) -> int:
    if ask.need <= 0 or ask.need > remaining:
        return 0
    share = remaining // (2 * max(instances, 1))
    return max(ask.need, min(ask.want, share))


def book(window: Window, grant: Grant, cost: int) -> tuple[Window, Grant]:
    """Book `cost`, positive or (a correction) negative, against a grant. What exceeds the grant raises both `leased`:
    the provider has charged it, so it is spent, limit or not."""
    spent = grant.spent + cost
    overage = max(0, spent - grant.leased)
    return (
        msgspec.structs.replace(window, spent=window.spent + cost, leased=window.leased + overage),
        msgspec.structs.replace(grant, spent=spent, leased=grant.leased + overage),
    )


def force(window: Window, cost: int) -> Window:
    """Book `cost` that nobody held: it may pass the limit."""
    return msgspec.structs.replace(window, spent=window.spent + cost, leased=window.leased + cost)


def close(window: Window, grant: Grant, *, held: int) -> tuple[Window, Grant]:
    """The grant's instance is gone, and all it did is booked: what is neither spent nor held for attempts whose outcome
    is unknown goes back."""
    kept = min(grant.leased, grant.spent + held)
    return (
        msgspec.structs.replace(window, leased=window.leased - (grant.leased - kept)),
        msgspec.structs.replace(grant, leased=kept),
    )


def book_closed(window: Window, grant: Grant, *, hold: int, cost: int) -> tuple[Window, Grant]:
    """An unknown attempt of an instance that is gone came out: its hold is given up, its cost booked."""
    spent = grant.spent + cost
    leased = max(grant.leased - hold + cost, spent)
    return (
        msgspec.structs.replace(window, spent=window.spent + cost, leased=window.leased + leased - grant.leased),
        msgspec.structs.replace(grant, spent=spent, leased=leased),
    )
