"""What a call may spend: the keeper of budgets and its store."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bursar.domain.audit import Actor
from bursar.domain.holds import HoldPlan
from bursar.domain.ids import JournalId
from bursar.domain.limits import Budget, Limits, Scope
from bursar.domain.windows import Answer, Ask, WindowId


class BudgetAsk(msgspec.Struct, frozen=True):
    """An exchange, and of which budget."""

    ask: Ask
    scope: Scope
    budget: Budget
    """As the asker knows it; the tables' word counts, where they have one."""
    ends_at_s: float | None
    """When the window's period ends, in seconds since 1970."""


class BudgetHold(Protocol):
    """What one call holds of its budgets. Closed exactly once: later closings change nothing."""

    @property
    def amount(self) -> int:
        """Nano-dollars, of each window."""

    @property
    def bound(self) -> int | None:
        """The bound on the output of each answer that has to be set; None: none."""

    @property
    def windows(self) -> tuple[WindowId, ...]:
        """Of which the hold is a part."""

    def settle(self, cost: int) -> None:
        """The call cost so much. What was held beyond it is free again."""

    def void(self) -> None:
        """It cost nothing."""


class BudgetAccount(Protocol):
    """The budgets that apply to calls of one kind, each in the period of the moment."""

    def hold_now(self, plan: HoldPlan) -> BudgetHold | None:
        """Hold what the call may cost at most, if that is at hand and nobody waits for it."""

    async def hold(self, plan: HoldPlan) -> BudgetHold:
        """Hold what the call may cost, waiting for it if it must.

        Raises BudgetExceeded: it does not fit, or did not become free in time; Unavailable: the database is needed.
        """


class BudgetKeeper(Protocol):
    """Holds money for calls (`quotas.budgets`)."""

    def account(self, limits: Sequence[Limits]) -> BudgetAccount | None:
        """The budgets among `limits`, for all calls of their kind; None: there are none."""


class BudgetStore(Protocol):
    """Where budgets are shared out: PostgreSQL (`store.budgets`). All raise StoreUnavailable."""

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        """`instance` lives: for some seconds it counts among those that share. Returns the store's Unix time.

        Raises JournalTaken: it was declared dead.
        """

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        """Make exchanges, in one transaction.

        Raises JournalTaken: the instance was declared dead, and its grants with it.
        """

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        """The instance has ended, and its journal is posted to its end, `posted`: what it did not spend goes back, but
        for the holds of attempts that nobody has ended yet. Repeating it changes nothing.

        Raises JournalTaken: it was taken over by somebody else, or the database has forgotten some of its journal.
        """


class SpendReset(Protocol):
    """Setting back what was spent: PostgreSQL (`store.spend_reset`)."""

    async def reset(self, actor: Actor) -> None:
        """All keys and teams have spent nothing in their current periods. Raises StoreUnavailable."""
