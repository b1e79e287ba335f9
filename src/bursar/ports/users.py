"""Users, their logins, and what they belong to."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from bursar.domain.audit import Actor
from bursar.domain.ids import KeyHash
from bursar.domain.principals import Memberships, Principal
from bursar.domain.team_roster import TeamPlace
from bursar.ports.keys import KeyPlace, KeyRow, NewKey
from bursar.wire.http import Request

UserRow = dict[str, object]
"""A row of `LiteLLM_UserTable` by column name, without the password."""


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which users, in which order; None: any."""

    organizations: tuple[str, ...] | None = None
    """Of which one must be a member."""
    role: str | None = None
    user_ids: tuple[str, ...] | None = None
    user_email: str | None = None
    """Part of it."""
    user_alias: str | None = None
    """Part of it."""
    sso_user_ids: tuple[str, ...] | None = None
    team: str | None = None
    sort_by: str = "created_at"
    downwards: bool = True


class UserPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the users."""

    total: int
    """Of all that fit."""
    users: list[UserRow]
    """Each with the number of his keys, `key_count`."""


class UserAdministration(Protocol):
    """What the management API does with users: PostgreSQL (`store.users`).

    All raise StoreUnavailable; those that change something StoreRefused, and Conflict: id or address are another's. The
    workers hear at once of changes that concern keys.
    """

    async def insert(
        self,
        user: UserRow,
        *,
        teams: Sequence[TeamPlace],
        organizations: Sequence[str],
        key: NewKey | None,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> tuple[UserRow, KeyRow | None]:
        """Store a new user (`password`: already hashed) and, if there is one, his key. Raises NotFound: an unknown team
        or organization; InvalidRequest: limits in a team that cannot be.

        `check` sees the place of the key, of a user `asker` who asks for it, and raises to prevent all of it; without a
        key, of the user.
        """

    async def bounds_of_new(self, organizations: Sequence[str], maker: str | None) -> list[UserRow]:
        """What bounds users whom the user `maker` makes in these organizations: the limits of those, and his own, as
        `domain.user_bounds.narrowest` takes them."""

    async def find(self, user_id: str) -> UserRow | None:
        """The user's row."""

    async def find_by_email(self, email: str) -> UserRow | None:
        """The row of the user with this address, in whatever case."""

    async def all_ids(self, limit: int) -> list[str]:
        """All users."""

    async def count(self) -> int:
        """How many there are."""

    async def belongings(self, user_id: str) -> tuple[list[KeyRow], list[UserRow]]:
        """The user's keys, and the rows of the teams he is in."""

    async def page(self, wanted: UserFilter, *, limit: int, offset: int) -> UserPage:
        """Users, some at a time."""

    async def change(
        self,
        user_id: str,
        edit: Callable[[UserRow], Mapping[str, object]],
        *,
        teams: Sequence[TeamPlace] = (),
        actor: Actor,
        expected: datetime | None = None,
        spend: bool = False,
    ) -> UserRow | None:
        """Change a user; his row afterwards, None when there is none. `edit` gives the columns that change, and may
        raise Refusal. `spend`: it is one of them. `teams`: that he joins, where he is not in them.
        Raises NotFound: there is no such team; InvalidRequest: limits in it that cannot be.

        `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is another by now.
        """

    async def delete(self, user_ids: Sequence[str], *, actor: Actor) -> list[UserRow]:
        """Delete users, their keys and memberships. Raises NotFound: there is no such user, and all stay."""


class LoginUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user who may have a password."""

    user_id: str
    email: str | None
    role: str | None
    password: str | None
    """As the table has it (`access.passwords`)."""

    def __repr__(self) -> str:
        """Without the password."""
        return f"LoginUser(user_id={self.user_id!r})"


class LoginStore(Protocol):
    """Users and their sessions (`store.logins`). Raises StoreUnavailable."""

    async def find(self, name: str) -> LoginUser | None:
        """The user of this e-mail or id; None: none, or several."""

    async def open_session(
        self,
        user_id: str,
        *,
        token: KeyHash,
        key_name: str,
        expires: datetime,
        max_budget: float | None,
        password: str | None,
    ) -> bool:
        """Store the key of a session. `password`: as the table had it when it was checked; where the user has another
        one by now, or is gone, there is no session, and False. None: whoever knows the console's password, and is an
        administrator from now on."""


class TokenSigner(Protocol):
    """Session tokens (`access.session_tokens`)."""

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token that says `claims`."""


class MembershipLookup(Protocol):
    """Where users belong: PostgreSQL (`store.memberships`)."""

    async def find(self, user_id: str) -> Memberships:
        """The memberships of a user. Raises StoreUnavailable."""


class Authenticator(Protocol):
    """Who calls."""

    def recognise(self, request: Request) -> Principal | None:
        """The caller, if memory knows: costs no I/O. Raises Refusal: bad or missing credentials."""

    async def authenticate(self, request: Request) -> Principal:
        """The caller. Raises Refusal (Unavailable when the database is needed and away)."""
