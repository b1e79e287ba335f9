"""What the endpoints for teams, organizations, customers, budgets and tags ask of the database (`store`).

Rows are those of LiteLLM's tables by column name, with `litellm_budget_table` where they name a budget. All raise
StoreUnavailable, and StoreRefused for values that cannot be stored. Whatever looks at a row and judges (`check`,
`decide`) sees it locked, as it will be changed, and raises a Refusal to leave everything as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from bursar.domain.audit import Action, Actor
from bursar.domain.edits import BudgetedEdit, TeamEdit
from bursar.domain.team_roster import Member

Row = dict[str, object]
Terms = Mapping[str, object]
"""Limits by column name."""
CheckRow = Callable[[Row | None], None]
"""Takes the row, or None: there is none, and raises."""
SeesUser = Callable[[str, Sequence[str]], bool]
"""Whether the caller may see a user, who belongs to these organizations."""


class BudgetRows(Protocol):
    """Budgets that rows can share."""

    async def insert(self, budget_id: str, values: Terms, *, actor: Actor) -> Row | None:
        """Store a new one; None: the id is taken. Raises InvalidRequest."""

    async def update(self, budget_id: str, changes: Terms, *, expected: datetime | None, actor: Actor) -> Row | None:
        """Change one; None: there is none. Raises InvalidRequest, StoreConflict."""

    async def find(self, budget_ids: Sequence[str]) -> list[Row]:
        """Those of them that there are."""

    async def all(self) -> list[Row]:
        """All, the oldest first."""

    async def delete(self, budget_id: str, *, actor: Actor) -> Row | None:
        """Delete one; None: there is none. Raises InvalidRequest: it is in use."""


class Teams(Protocol):
    """Teams."""

    async def find(self, team_id: str) -> Row | None:
        """One of them."""

    async def create(
        self,
        team_id: str,
        edit: TeamEdit,
        members: Sequence[Member],
        *,
        check: Callable[[Row, Row | None], None],
        actor: Actor,
        sees: SeesUser | None = None,
    ) -> Row | None:
        """Store a new one; None: the id is taken. `check` sees it and its organization; of members whom `sees` is not
        for, it keeps what was said. Raises InvalidRequest."""

    async def update(
        self,
        team_id: str,
        decide: Callable[[Row | None], TeamEdit],
        *,
        check: Callable[[Row, Row, Row | None], None] | None = None,
        expected: datetime | None = None,
        action: Action = Action.UPDATED,
        actor: Actor,
    ) -> Row:
        """Change one as `decide` says; `check` sees it before and after, and its organization.

        Raises InvalidRequest, StoreConflict.
        """

    async def delete(
        self, team_ids: Sequence[str], *, check: Callable[[str, Row | None], None], actor: Actor
    ) -> list[Row]:
        """Delete them, their keys and memberships, or nothing."""

    async def page(
        self,
        *,
        within: tuple[Sequence[str], Sequence[str]] | None,
        user_id: str | None = None,
        organization_id: str | None = None,
        team_id: str | None = None,
        alias: str | None = None,
        sort_by: str = "created_at",
        downwards: bool = True,
        limit: int | None = None,
        offset: int = 0,
        deleted: bool = False,
    ) -> tuple[list[Row], int]:
        """Some of those that fit, and how many do. `within`: ids of teams, and of organizations all of whose teams
        count; None: all. `alias`: a part of it. `deleted`: of those that are no more."""

    async def keys(self, team_ids: Sequence[str]) -> list[Row]:
        """Their keys, with what may be shown of them."""

    async def memberships(self, team_ids: Sequence[str]) -> list[Row]:
        """Rows of `LiteLLM_TeamMembership`."""


class TeamMembers(Protocol):
    """Who is in which team. All raise InvalidRequest."""

    async def add(
        self,
        team_id: str,
        members: Sequence[Member],
        terms: Terms,
        *,
        check: CheckRow,
        expected: datetime | None = None,
        actor: Actor,
        sees: SeesUser | None = None,
    ) -> tuple[Row, list[Row], list[Row]]:
        """Add them, each with limits of his own if there are `terms`; users who are not there are made. The team, the
        users, their memberships. Of those whom `sees` is not for, it keeps and gives what was said. `expected` is
        about the team. Raises StoreConflict."""

    async def remove(
        self,
        team_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        check: CheckRow,
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """Take one out, and delete his keys of the team. The team, which `expected` is about. Raises StoreConflict."""

    async def update(
        self,
        team_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        role: str | None,
        terms: Terms,
        check: CheckRow,
        expected: datetime | None,
        actor: Actor,
    ) -> tuple[Row, Row, Row]:
        """Change his role, or limits of his own. The team, his entry in the roster, and his membership. `expected` is
        about the team. Raises StoreConflict."""

    async def reset_spend(
        self, team_id: str, user_id: str, reset_to: float, *, check: CheckRow, expected: datetime | None, actor: Actor
    ) -> Row | None:
        """Set back what he has spent in the current period. His membership; None: there is none. `expected` is about
        the team. Raises StoreConflict."""

    async def others(self, team_id: str, *, limit: int) -> list[Member]:
        """Users who are not in it, at most so many."""


class Organizations(Protocol):
    """Organizations and their members. Rows have `members` and `teams`."""

    async def create(self, organization_id: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """Store a new one; None: the id is taken. Raises InvalidRequest."""

    async def update(
        self,
        organization_id: str,
        decide: Callable[[Row | None], BudgetedEdit],
        *,
        check: Callable[[Row, Row], None],
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """Change one as `decide` says; `check` sees its limits before and after.

        Raises InvalidRequest, StoreConflict.
        """

    async def delete(
        self, organization_ids: Sequence[str], *, check: Callable[[str, Row | None], None], actor: Actor
    ) -> list[Row]:
        """Delete them and their memberships, or nothing. Raises InvalidRequest: one has teams, keys or users."""

    async def find(
        self, *, within: Sequence[str] | None, organization_id: str | None = None, alias: str | None = None
    ) -> list[Row]:
        """Those that fit, the oldest first. `within`: ids; None: all. `alias`: a part of it."""

    async def bounds_of_new(self, organization_id: str, maker: str | None) -> list[Row]:
        """What bounds users whom the user `maker` makes in it, as `domain.user_bounds.narrowest` takes it."""

    async def add_members(
        self,
        organization_id: str,
        members: Sequence[tuple[Member, str]],
        terms: Terms,
        *,
        check: CheckRow,
        may_add: Callable[[str, Sequence[str]], None] | None,
        limits: Terms,
        expected: datetime | None,
        actor: Actor,
    ) -> tuple[list[Row], list[Row]]:
        """Add members with their roles; users who are not there are made, with `limits`. `may_add` sees those who are,
        and the organizations they belong to; None: anybody may be added. The users and their memberships.

        Raises InvalidRequest; Forbidden: an id that is not to be had; StoreConflict: the organization's `updated_at` is
        not `expected`.
        """

    async def update_member(
        self,
        organization_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        role: str | None,
        terms: Terms,
        check: CheckRow,
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """Change a member's role, or limits. His membership, which `expected` is about. Raises InvalidRequest,
        StoreConflict."""

    async def remove_member(
        self,
        organization_id: str,
        *,
        user_id: str | None,
        user_email: str | None,
        check: CheckRow,
        expected: datetime | None,
        actor: Actor,
    ) -> Row:
        """Take one out. What his membership was, which `expected` is about. Raises InvalidRequest, StoreConflict."""


class Customers(Protocol):
    """Customers, whom LiteLLM's tables call end users."""

    async def create(self, user_id: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """Store a new one; None: there is one already. Raises InvalidRequest."""

    async def update(
        self, user_id: str, decide: Callable[[Row], BudgetedEdit], *, expected: datetime | None, actor: Actor
    ) -> Row | None:
        """Change one as `decide` says; None: there is none. Raises InvalidRequest, StoreConflict."""

    async def find(self, user_id: str) -> Row | None:
        """One of them."""

    async def all(self) -> list[Row]:
        """All."""

    async def delete(self, user_ids: Sequence[str], *, check: Callable[[set[str]], None], actor: Actor) -> int:
        """Delete them, or nothing; how many. `check` sees the ids that nobody has."""

    async def block(self, user_ids: Sequence[str], *, expected: datetime | None, actor: Actor) -> list[Row]:
        """Refuse their calls, also of those nobody has heard of yet. Their rows. `expected` is about each of them.
        Raises StoreConflict."""

    async def unblock(self, user_ids: Sequence[str], *, expected: datetime | None, actor: Actor) -> list[Row]:
        """Refuse them no more. The rows of those there are. Raises StoreConflict."""


class Tags(Protocol):
    """Tags."""

    async def create(self, name: str, edit: BudgetedEdit, *, actor: Actor) -> Row | None:
        """Store a new one; None: there is one already, that not only spending has made. Raises InvalidRequest."""

    async def update(self, name: str, edit: BudgetedEdit, *, expected: datetime | None, actor: Actor) -> Row | None:
        """Change one; None: there is none. Raises InvalidRequest, StoreConflict."""

    async def find(self, names: Sequence[str]) -> list[Row]:
        """Those of them that there are."""

    async def all(self) -> list[Row]:
        """All that have a row, the oldest first."""

    async def only_spent(self) -> list[str]:
        """Names that stand in the totals of spending, and nowhere else."""

    async def delete(self, name: str, *, actor: Actor) -> Row | None:
        """Delete one; None: there is none."""
