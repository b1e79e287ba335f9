"""Who may make, change and delete which users.

Administrators of the gateway may do everything. Who administers organizations does so with users who are in those alone
and administer nothing he does not; a user changes little of himself, none of it a limit.
"""

from collections.abc import Mapping, Sequence

from bursar.domain.authority import Standing
from bursar.domain.errors import Forbidden
from bursar.domain.key_bounds import bounding, bounds_of, limited_alone
from bursar.domain.principals import RESERVED_USERS, Memberships
from bursar.domain.team_bounds import check_not_raised
from bursar.management.objects import require
from bursar.ports.users import MembershipLookup, UserRow

Columns = Mapping[str, object]

_ADMINS = frozenset({"proxy_admin", "proxy_admin_viewer"})
_OF_HIMSELF = frozenset({"user_alias", "password", "metadata"})
_ADMINS_ONLY = frozenset({"password", "user_email", "sso_user_id", "spend"})
"""What makes somebody else of a user, and what was spent."""


class UserRules:
    """Decides about users, for one caller at a time."""

    def __init__(self, memberships: MembershipLookup) -> None:
        self._memberships = memberships

    def check_new(
        self,
        standing: Standing,
        given: Columns,
        *,
        named_id: str | None,
        teams: Sequence[str],
        organizations: Sequence[str] | None,
    ) -> Sequence[str]:
        """The organizations the new user is to be in. `named_id`: his id, where the caller chose it. Raises
        Forbidden."""
        _check_login(standing, given)
        if standing.all:
            return organizations or ()
        if given.get("user_role") in _ADMINS:
            raise Forbidden("Only a proxy admin can create users with the role of an admin.", param="user_role")
        organizations = self.organizations_of_new(standing, organizations)
        _check_teams(standing, teams)
        if given.get("spend"):
            raise Forbidden("Only a proxy admin may set spend.", param="spend")
        if named_id is not None:
            # There may be keys, rosters and logins of this name already, of somebody who has no row.
            if named_id in RESERVED_USERS:
                raise Forbidden("This user id is the gateway's own.", param="user_id")
            if given.get("password") is not None:
                raise Forbidden(
                    "Only a proxy admin chooses both the id and the password of a user. Leave one out.",
                    param="password",
                )
        return organizations

    def organizations_of_new(self, standing: Standing, named: Sequence[str] | None) -> Sequence[str]:
        """The organizations a new user of who administers some is to be in. Raises Forbidden."""
        administered = standing.memberships.administered_organizations
        found = tuple(administered) if named is None and len(administered) == 1 else named
        if not found or not administered.issuperset(found):
            raise Forbidden("Name organizations that you administer.", param="organizations")
        return found

    async def check_change(
        self,
        standing: Standing,
        user_id: str,
        row: UserRow | None,
        given: Columns,
        *,
        named: str,
        teams: Sequence[str],
    ) -> None:
        """`named`: as the caller names him, by id or address. `teams`: that he is to join.

        Raises Forbidden: who may not change a user does not learn whether he exists.
        """
        if standing.all:
            _check_login(standing, given)
            return
        if user_id == standing.caller.user_id:
            if beyond := sorted(given.keys() - _OF_HIMSELF | ({"teams"} if teams else set())):
                raise Forbidden(f"A user cannot change his own {beyond[0]}.", param=beyond[0])
            _check_login(standing, given)
            return
        await self._check_theirs(standing, [user_id], [row], named=[named])
        _check_teams(standing, teams)
        if beyond := sorted(given.keys() & _ADMINS_ONLY):
            raise Forbidden(f"Only a proxy admin can change a user's {beyond[0]}.", param=beyond[0])
        if given.get("user_role") in _ADMINS:
            raise Forbidden("Only a proxy admin can make somebody an admin.", param="user_role")

    def check_not_raised(self, standing: Standing, before: UserRow, changes: Columns) -> None:
        """Raises Forbidden: somebody else than an administrator gives the user more than he had."""
        if not standing.all and before["user_id"] != standing.caller.user_id:
            check_not_raised(before, {**before, **changes})

    async def check_delete(self, standing: Standing, user_ids: Sequence[str], rows: Sequence[UserRow | None]) -> None:
        """Raises Forbidden: one of them is out of reach."""
        if not standing.all:
            await self._check_theirs(standing, user_ids, rows, named=user_ids)

    async def _check_theirs(
        self, standing: Standing, user_ids: Sequence[str], rows: Sequence[UserRow | None], *, named: Sequence[str]
    ) -> None:
        for user_id, row, name in zip(user_ids, rows, named, strict=True):
            theirs = Memberships() if row is None else await self._memberships.find(user_id)
            require(
                row is not None and row["user_role"] not in _ADMINS and _within(standing.memberships, theirs),
                f"You are not allowed to change the user {name}.",
            )


def _within(mine: Memberships, theirs: Memberships) -> bool:
    administered = mine.administered_organizations
    led = mine.administered_teams | mine.teams_of_organizations
    return bool(theirs.organizations) and theirs.organizations <= administered and theirs.administered_teams <= led


def _check_teams(standing: Standing, teams: Sequence[str]) -> None:
    """Raises Forbidden: one of them is out of reach of who administers organizations."""
    if not standing.memberships.teams_of_organizations.issuperset(teams):
        raise Forbidden("Name teams of organizations that you administer.", param="teams")


def _check_login(standing: Standing, given: Columns) -> None:
    """A key that may not do everything its user may must not open the door to it. Raises Forbidden."""
    opens = given.get("password") is not None or given.get("user_role") in _ADMINS
    bound = bounds_of(standing.caller)
    if opens and (
        bound.get("allowed_routes")
        if standing.all
        else bounding(bound) or limited_alone(standing.caller) or standing.caller.tags
    ):
        raise Forbidden("A key with limits of its own can set no password, and make nobody an admin.", param="password")
