"""Which objects lie within a caller's reach. Which routes he may use at all, and how far, says `domain.authority`.

Rows are those of LiteLLM's tables, by column name. *Sees* is for looking, *changes* for everything else: a member looks
at his team and does not change it, a key looks at itself.
"""

from collections.abc import Collection, Mapping

from bursar.domain.authority import Reach, Standing
from bursar.domain.errors import Forbidden
from bursar.domain.principals import DASHBOARD_TEAM

Row = Mapping[str, object]


def sees_key(standing: Standing, row: Row) -> bool:
    """A row of `LiteLLM_VerificationToken`."""
    return row.get("token") == standing.caller.api_key or changes_key(standing, row)


def changes_key(standing: Standing, row: Row) -> bool:
    """The same. One's own is the one that names one as its user; with a team's, members do what the team lets them."""
    if standing.all or (standing.reach is not Reach.NONE and _is_self(standing, row.get("user_id"))):
        return True
    if is_permitted(standing, row):
        return True
    return _administers(standing, team=row.get("team_id"), organization=row.get("organization_id"))


def is_permitted(standing: Standing, row: Row) -> bool:
    """The same: whether its team lets its members use this very route on its keys."""
    team = row.get("team_id")
    return team != DASHBOARD_TEAM and team in standing.permitting_teams


def administers_key(standing: Standing, row: Row) -> bool:
    """The same, for other reasons than that it is one's own."""
    return standing.all or _administers(standing, team=row.get("team_id"), organization=row.get("organization_id"))


def sees_team(standing: Standing, row: Row) -> bool:
    """A row of `LiteLLM_TeamTable`: one's own are those one belongs to; of a key without a user, the one it is in."""
    team = row.get("team_id")
    own = {*standing.memberships.teams, *_team_of_key(standing)}
    return changes_team(standing, row) or (standing.reach is not Reach.NONE and team in own)


def changes_team(standing: Standing, row: Row) -> bool:
    """The same. Only who administers it, or its organization."""
    return standing.all or _administers(standing, team=row.get("team_id"), organization=row.get("organization_id"))


def sees_user(
    standing: Standing, user_id: str, *, teams: Collection[str] = (), organizations: Collection[str] = ()
) -> bool:
    """A user, who is a member of `teams` and `organizations`."""
    return changes_user(standing, user_id, organizations=organizations) or any(
        _administers(standing, team=team, organization=None) for team in teams
    )


def changes_user(standing: Standing, user_id: str, *, organizations: Collection[str] = ()) -> bool:
    """The same. Admins of teams do not change users: who is in two teams would be at the mercy of both."""
    if standing.all or (standing.reach is not Reach.NONE and _is_self(standing, user_id)):
        return True
    return any(_administers(standing, team=None, organization=organization) for organization in organizations)


def sees_organization(standing: Standing, organization_id: str) -> bool:
    """An organization: one's own are those one belongs to."""
    member = organization_id in standing.memberships.organizations
    return changes_organization(standing, organization_id) or (standing.reach is not Reach.NONE and member)


def changes_organization(standing: Standing, organization_id: str) -> bool:
    """The same. Only who administers it."""
    return standing.all or _administers(standing, team=None, organization=organization_id)


def require(within_reach: bool, message: str) -> None:
    """Raises Forbidden with `message` unless the object is within reach."""
    if not within_reach:
        raise Forbidden(message)


def _is_self(standing: Standing, user_id: object) -> bool:
    return user_id is not None and user_id == standing.caller.user_id


def _team_of_key(standing: Standing) -> tuple[str, ...]:
    caller = standing.caller
    return (caller.team_id,) if caller.user_id is None and caller.team_id is not None else ()


def _administers(standing: Standing, *, team: object, organization: object) -> bool:
    memberships = standing.memberships
    if team == DASHBOARD_TEAM:  # logins are their users' alone
        return False
    if standing.reach.covers(Reach.TEAM) and team in memberships.administered_teams:
        return True
    return standing.reach.covers(Reach.ORGANIZATION) and (
        team in memberships.teams_of_organizations or organization in memberships.administered_organizations
    )
