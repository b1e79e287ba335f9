"""What a caller may do with one team, beyond whether it is his to change (`management.objects`)."""

from collections.abc import Callable, Mapping

from bursar.domain.authority import Standing
from bursar.domain.errors import Forbidden, NotFound
from bursar.domain.team_bounds import check_not_raised, check_within_organization
from bursar.management.objects import changes_organization, changes_team, require, sees_user
from bursar.management.stores import SeesUser

Row = Mapping[str, object]

_FORBIDDEN = "You are not allowed to change this team."
_BOUNDED = frozenset({"max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests", "models", "organization_id"})


def changing(standing: Standing, team_id: str) -> Callable[[Row | None], None]:
    """Raises for a team that is not his to change; who may not change it does not learn whether it exists."""

    def check(team: Row | None) -> None:
        _check_there(standing, team_id, team)
        require(team is not None and changes_team(standing, team), _FORBIDDEN)

    return check


def ruling(standing: Standing, team_id: str) -> Callable[[Row | None], None]:
    """The same for what its own admins may not do: its organization's may."""

    def check(team: Row | None) -> None:
        _check_there(standing, team_id, team)
        require(team is not None and rules(standing, team), _FORBIDDEN)

    return check


def seeing(standing: Standing) -> SeesUser | None:
    """Of whom more may be told than the caller said himself; None: of everybody. To have somebody in one's team is no
    right to see him."""
    if standing.all:
        return None
    return lambda user_id, organizations: sees_user(standing, user_id, organizations=organizations)


def rules(standing: Standing, team: Row) -> bool:
    """Whether he has rights on the team that do not come from being its admin."""
    organization = team.get("organization_id")
    return standing.all or (organization is not None and changes_organization(standing, str(organization)))


def check_place(standing: Standing, organization_id: object) -> None:
    """Raises Forbidden: he cannot put a team into this organization, or into none. Whether it exists is not told."""
    if not rules(standing, {"organization_id": organization_id}):
        raise Forbidden(
            "Only a proxy admin, or an admin of the organization, can put a team there.", param="organization_id"
        )


def check_terms(standing: Standing, before: Row | None, after: Row, organization: Row | None) -> None:
    """What a team is to get: within its organization, and by its own admin no more than before. `before`: None for a
    new one.

    Raises Forbidden, InvalidRequest.
    """
    old = {} if before is None else before
    if organization is not None and any(old.get(name) != after.get(name) for name in _BOUNDED):
        check_within_organization(after, organization)
    if before is not None and not rules(standing, before):
        check_not_raised(before, after, bound=organization)


def _check_there(standing: Standing, team_id: str, team: Row | None) -> None:
    if team is None:
        require(standing.all, _FORBIDDEN)
        raise NotFound(f"Team not found, passed team_id={team_id}", param="team_id")
