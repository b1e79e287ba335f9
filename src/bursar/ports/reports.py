"""What the books are asked: log rows, totals, activity."""

from collections.abc import Sequence
from typing import Protocol

from bursar.domain.reports import (
    ActiveTag,
    ActivityFilter,
    ActivityRow,
    Days,
    KeyNames,
    LogFilter,
    LogOrder,
    LogPage,
    Sight,
    SpendOnDay,
)


class ReportNames(Protocol):
    """Whose keys are whose, and what they are called: PostgreSQL (`store.reports`).

    This and the other stores of reports raise StoreBusy (others are being made), StoreTooSlow, StoreRefused (a value
    that no row can have) and StoreUnavailable.
    """

    async def keys_of(self, user_id: str) -> list[str]:
        """Hashes of a user's keys, deleted ones too."""

    async def key_names(self, tokens: Sequence[str]) -> dict[str, KeyNames]:
        """How keys are called: those that are known."""

    async def team_aliases(self, teams: Sequence[str]) -> dict[str, str | None]:
        """How teams are called: those that are known."""


class SpendLogStore(Protocol):
    """The log of calls, for reports: PostgreSQL (`store.spend_logs`)."""

    async def page(self, sight: Sight, asked: LogFilter, order: LogOrder) -> LogPage:
        """Some of the rows that are asked for and seen."""

    async def summary(
        self, sight: Sight, days: Days, *, api_keys: tuple[str, ...] | None, user_id: str | None
    ) -> list[SpendOnDay]:
        """What was spent on each day on which anything was, in the order of days."""


Rows = list[dict[str, object]]


class TagUsageStore(Protocol):
    """How much tags are used: PostgreSQL (`store.spend_totals`). At most a thousand tags of a period, those with most
    users. `tags`: only these; None: all."""

    async def summary(self, days: Days, *, tags: Sequence[str] | None) -> Rows:
        """`tag`, `unique_users`, `total_calls`, `successful_requests`, `failed_requests`, `total_tokens`,
        `total_spend`."""

    async def active_users(self, periods: Sequence[Days], *, tags: Sequence[str] | None) -> list[ActiveTag]:
        """How many users' keys used each tag, period by period."""


class SpendTotalStore(Protocol):
    """Sums of what was spent: PostgreSQL (`store.spend_totals`).

    Rows are by the names of the answers' fields, in the order of what was spent, or of days. `api_keys`, `team_id` and
    so on: only theirs; None: everybody's.
    """

    async def total(self, days: Days) -> float: ...

    async def by_day(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_day_and_model(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_key(self, days: Days, *, limit: int) -> Rows: ...

    async def by_model(self, days: Days, *, limit: int) -> Rows: ...

    async def by_provider(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_team(self, days: Days) -> Rows: ...

    async def by_end_user(self, days: Days, *, api_keys: Sequence[str] | None, limit: int) -> Rows: ...

    async def by_tag(self, days: Days, *, tags: Sequence[str] | None = None) -> Rows: ...

    async def keys(self, sight: Sight, *, limit: int) -> Rows: ...

    async def users(self, *, user_id: str | None, limit: int) -> Rows: ...

    async def report_by_team(self, days: Days, *, team_id: str | None) -> bytes: ...

    async def report_by_customer(self, days: Days, *, customer_id: str | None, others: str) -> bytes: ...

    async def report_by_key(self, days: Days, *, api_keys: Sequence[str] | None, user_id: str | None) -> bytes: ...


class ActivityStore(Protocol):
    """Days of users, teams and others: PostgreSQL (`store.activity`)."""

    async def page(self, asked: ActivityFilter, *, limit: int, offset: int) -> tuple[list[ActivityRow], int]:
        """Some of the rows, the last day's first, and how many there are in all."""

    async def all(self, asked: ActivityFilter, *, others: str) -> list[ActivityRow]:
        """All of them, added up; beside the keys and entities that spent most, the rest are one, called `others`."""
