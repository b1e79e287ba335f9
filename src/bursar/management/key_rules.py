"""Who may make and change which keys: what the configuration says about new ones, and what rights their makers have.

Administrators of the gateway may do everything. Everybody else gives no key more than the key that asks has, makes keys
for himself, and for others only in teams and organizations he administers; those call models and do nothing else in
the name of their user, because their maker has seen the secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from bursar.domain.authority import Standing
from bursar.domain.authority import standing as standing_on
from bursar.domain.durations import after
from bursar.domain.errors import Forbidden, InvalidRequest
from bursar.domain.key_bounds import (
    BOUNDED,
    PLACES,
    bounds_of,
    check_within,
    filled,
    for_calls_only,
    limited_alone,
    tagged,
)
from bursar.domain.periods import Calendar, length_s
from bursar.domain.permissions import LLM_ROUTES
from bursar.domain.principals import DASHBOARD_TEAM, Principal
from bursar.management.key_fields import KeyFields
from bursar.management.objects import (
    administers_key,
    changes_key,
    changes_organization,
    changes_team,
    is_permitted,
    require,
)
from bursar.ports.keys import KeyPlace

Row = Mapping[str, object]

_ADMINS_ONLY = ("budget_id", "project_id", "agent_id")
_NOT_ONES_OWN = ("user_id", "team_id", "organization_id", "spend", "blocked", "soft_budget")
_LIMITING = (
    *(
        "tags",
        "model_rpm_limit",
        "model_tpm_limit",
        "tag_rpm_limit",
        "tag_tpm_limit",
        "rpm_limit_type",
        "tpm_limit_type",
        "enforced_params",
    ),
    *("guardrails", "policies", "end_user_budget_id", "budget_fallbacks"),
)
"""Of the metadata: what somebody else may have meant as a limit."""
_FIXED = ("model_max_budget", "budget_limits")
"""What the user of a key leaves as it is, once it says something."""
_OF_A_RAISE = ("temp_budget_increase", "temp_budget_expiry")
_COUNTS = ("max_budget", "max_parallel_requests", "tpm_limit", "rpm_limit")


class UpperBounds(msgspec.Struct, frozen=True, kw_only=True):
    """`litellm_settings.upperbound_key_generate_params`: the most a key may get."""

    max_budget: float | None = None
    budget_duration: str | None = None
    duration: str | None = None
    max_parallel_requests: int | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None


class TeamKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes keys in teams, and what they have to say."""

    allowed_team_member_roles: tuple[str, ...] | None = None
    required_params: tuple[str, ...] = ()


class PersonalKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes keys outside of teams, and what they have to say."""

    allowed_user_roles: tuple[str, ...] | None = None
    required_params: tuple[str, ...] = ()


class GenerationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`litellm_settings.key_generation_settings`."""

    team_key_generation: TeamKeys = TeamKeys()
    personal_key_generation: PersonalKeys = PersonalKeys()


@dataclass(slots=True, frozen=True)
class KeySettings:
    """What the configuration says about keys."""

    defaults: KeyFields = field(default_factory=KeyFields)
    """What new ones get that say nothing of it."""
    upper: UpperBounds = field(default_factory=UpperBounds)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    calendar: Calendar = field(default_factory=Calendar)
    """Where budget periods end."""


class KeyRules:
    """Decides about keys, for one caller at a time."""

    def __init__(self, settings: KeySettings) -> None:
        self._upper = settings.upper
        self._generation = settings.generation

    def new(self, standing: Standing, wanted: Row, *, service: bool = False) -> dict[str, object]:
        """The columns of a new key that the caller may make, where `check_new` has nothing against it. `service`: it
        belongs to a team and to no user.

        Raises Forbidden; InvalidRequest: it goes beyond what is configured.
        """
        found = self._within_upper({name: value for name, value in wanted.items() if value is not None}, new=True)
        _check_team(found)
        caller = standing.caller
        if standing.all:
            return _within_routes(caller, found)
        for name in (*_ADMINS_ONLY, "spend"):
            if found.get(name):
                raise Forbidden(f"Only a proxy admin may set {name}.", param=name)
        if not service:
            found.setdefault("user_id", caller.user_id)
        _check_passes_on(caller)
        bound = bounds_of(caller)
        found = filled(found, bound)
        if caller.tags:
            found["metadata"] = tagged(found.get("metadata"), caller)
        check_within(found, bound, whose="the key that makes it")
        self._check_raise({}, found, bound)
        if found.get("user_id") not in (None, caller.user_id):
            found["allowed_routes"] = for_calls_only(found.get("allowed_routes"))
        return found

    def check_new(self, standing: Standing, wanted: Row, place: KeyPlace) -> None:
        """Whether the caller may have a key with these columns for its user, in its team. Raises Forbidden;
        InvalidRequest: it does not say what keys there have to say."""
        if not standing.all:
            service = wanted.get("user_id") is None  # else it would be the caller's, where nobody else is named
            self._check_place(moved(standing, place), wanted, place, service=service)

    def check_move(self, standing: Standing, row: Row, changes: Row, place: KeyPlace) -> None:
        """Whether the key may get another owner, team or organization. Raises Forbidden."""
        moves = [
            name for name in ("user_id", "team_id", "organization_id") if changes.get(name, row[name]) != row[name]
        ]
        if standing.all or not moves or not administers_key(standing, row):
            return  # what one may do with one's own, `changed` decides
        after_it = {**row, **changes}
        require(administers_key(standing, after_it), "A key cannot be moved to where you do not administer it.")
        self._check_place(standing, after_it, place)

    def changed(
        self, standing: Standing, row: Row, changes: Row, *, new_secret: bool = False, by_route: bool = False
    ) -> dict[str, object]:
        """The columns that the caller may change so. `new_secret`: he gets to know the key. `by_route`: this is what
        the route does, and a permission to use it is one to do this.

        Raises Forbidden; InvalidRequest: it goes beyond what is configured.
        """
        found = self._within_upper(changes, new=False)
        _check_team(found)
        if standing.all:
            asks = new_secret or "allowed_routes" in found
            whole = {"allowed_routes": row["allowed_routes"], **found}
            return _within_routes(standing.caller, whole) if asks else found
        require(changes_key(standing, row), "You are not allowed to change this key.")
        for name in _ADMINS_ONLY:
            if name in found and found[name] != row[name]:
                raise Forbidden(f"Only a proxy admin may change {name}.", param=name)
        caller = standing.caller
        learns = new_secret and row["token"] != caller.api_key
        if learns:
            _check_passes_on(caller)
        known = {name: row[name] for name in (*BOUNDED, *PLACES)} if learns else {}
        bound = bounds_of(caller)
        check_within({**known, **found}, bound, whose="the key that changes it")
        self._check_raise(row, found, bound)
        if not (administers_key(standing, row) or (by_route and is_permitted(standing, row))):
            _check_own(row, found)
        user = found.get("user_id", row["user_id"])
        if user not in (None, caller.user_id) and (new_secret or {"user_id", "allowed_routes"} & found.keys()):
            found["allowed_routes"] = for_calls_only(found.get("allowed_routes", row["allowed_routes"]))
        if learns and caller.tags:
            found["metadata"] = tagged(found.get("metadata", row["metadata"]), caller)
        return found

    def _check_raise(self, row: Row, changes: Row, bound: Row) -> None:
        """A budget that is raised for a while must not pass what bounds it. Raises Forbidden."""
        if (self._upper.max_budget is not None or bound.get("max_budget") is not None) and _raises(row, changes):
            raise Forbidden("Only a proxy admin raises a bounded budget for a while.", param="temp_budget_increase")

    def _check_place(self, standing: Standing, wanted: Row, place: KeyPlace, *, service: bool = False) -> None:
        """Whether the caller may have a key for this user, in this team and organization. Raises Forbidden."""
        caller, user, team_id = standing.caller, wanted.get("user_id"), wanted.get("team_id")
        others = user not in (None, caller.user_id)
        if team_id is not None:
            team = place.team
            roles = {} if team is None else _roles(team)
            if team is None or not (changes_team(standing, team) or caller.user_id in roles):
                raise Forbidden(f"User={caller.user_id} is not a member of team={team_id}.", param="team_id")
            administers = changes_team(standing, team)
            self._check_team_key(standing, wanted, team, service=service, role="admin" if administers else "user")
            if user is None and not (administers or service):
                raise Forbidden("Only an admin of the team makes keys that are nobody's.", param="user_id")
            if others and not (administers and user in roles):
                raise Forbidden(f"User={user} is not a member of team={team_id}.", param="user_id")
            if wanted.get("organization_id") not in (None, team["organization_id"]):
                raise Forbidden("The team is not in this organization.", param="organization_id")
            return
        organization = wanted.get("organization_id")
        if organization is not None:
            require(
                changes_organization(standing, str(organization)),
                f"You are not an admin of organization={organization}.",
            )
        if others:
            if not any(changes_organization(standing, one) for one in place.owner.organizations):
                raise Forbidden("A key for another user is made by who administers his organization.", param="user_id")
        elif user is None and organization is None:
            raise Forbidden("Only a proxy admin makes keys that are nobody's.", param="user_id")
        self._check_personal_key(standing, wanted)

    def _check_team_key(self, standing: Standing, wanted: Row, team: Row, *, service: bool, role: str) -> None:
        """The configuration says who makes keys in teams; where it does not, each team does. Service accounts are for
        each team to permit, because they outlive who makes them."""
        rules = self._generation.team_key_generation
        allowed = rules.allowed_team_member_roles
        if allowed is not None and role not in allowed:
            raise Forbidden(f"Team member role {role} not in allowed_team_member_roles={', '.join(allowed)}")
        if role != "admin" and (allowed is None or service) and not is_permitted(standing, team):
            path = "/key/service-account/generate" if service else "/key/generate"
            raise Forbidden(
                f"Team member does not have permissions for endpoint: {path}. User={standing.caller.user_id}, "
                f"Team={team['team_id']}",
                kind="team_member_permission_error",
            )
        _check_required(wanted, rules.required_params)

    def _check_personal_key(self, standing: Standing, wanted: Row) -> None:
        rules = self._generation.personal_key_generation
        role = standing.caller.role.value
        if rules.allowed_user_roles is not None and role not in rules.allowed_user_roles:
            raise Forbidden(
                "Personal key creation has been restricted by admin. "
                f"Allowed roles={', '.join(rules.allowed_user_roles)}. Your role={role}"
            )
        _check_required(wanted, rules.required_params)

    def _within_upper(self, wanted: Row, *, new: bool) -> dict[str, object]:
        """Raises InvalidRequest. What is not said, or without end, gets the most there is."""
        found, upper = dict(wanted), self._upper
        for name in _COUNTS:
            bound = getattr(upper, name)
            if bound is None or (name not in found and not new):
                continue
            value = found.get(name)
            found[name] = value if value is not None else bound
            if isinstance(value, int | float) and value > bound:
                raise _over(name, value, bound)
        if upper.budget_duration is not None and (new or "budget_duration" in found):
            period = found.get("budget_duration")
            found["budget_duration"] = period or upper.budget_duration
            if isinstance(period, str) and length_s(period) > length_s(upper.budget_duration):
                raise _over("budget_duration", period, upper.budget_duration)
        if upper.duration is not None and (new or "expires" in found):
            last = after(datetime.now(UTC), upper.duration)
            expires = found.get("expires")
            found["expires"] = expires or last
            if isinstance(expires, datetime) and expires > last:
                raise _over("duration", "longer", upper.duration)
        return found


def asker_of(standing: Standing) -> str | None:
    """Whose memberships say what he may."""
    return None if standing.all else standing.caller.user_id


def moved(standing: Standing, place: KeyPlace) -> Standing:
    """The caller as he stands by the time the key is stored: he may belong elsewhere by then."""
    assert standing.row is not None, "keys are made and changed by routes of the table"
    return standing_on(standing.row, standing.caller, place.asker)


def _within_routes(caller: Principal, wanted: dict[str, object]) -> dict[str, object]:
    """Of an administrator whose key is for some routes: he makes keys for those, and for calls. Raises Forbidden."""
    if not (held := caller.allowed_routes):
        return wanted
    found = {**wanted, "allowed_routes": wanted.get("allowed_routes") or sorted(LLM_ROUTES)}
    check_within(
        {"allowed_routes": found["allowed_routes"]},
        {"allowed_routes": [*held, *LLM_ROUTES]},
        whose="the key that makes it",
    )
    return found


def _over(name: str, value: object, bound: object) -> InvalidRequest:
    return InvalidRequest(f"{name} is over max limit set in config - user_value={value}; max_value={bound}", param=name)


def _check_team(wanted: Row) -> None:
    if wanted.get("team_id") == DASHBOARD_TEAM:
        raise InvalidRequest(f"The team {DASHBOARD_TEAM} is that of logins.", param="team_id")


def _check_required(wanted: Row, required: Sequence[str]) -> None:
    metadata = wanted.get("metadata")
    said = {**(metadata if isinstance(metadata, Mapping) else {}), **wanted}
    for name in required:
        if not said.get(name):
            raise InvalidRequest(f"Required param {name} not in data", param=name)


def _check_own(row: Row, changes: Row) -> None:
    """What the user of a key may change: to give it less than it has. Raises Forbidden."""
    for name in _NOT_ONES_OWN:
        if name in changes and changes[name] != row.get(name):
            raise Forbidden(f"The user of a key cannot change its {name}.", param=name)
    if row["budget_id"] is not None:  # whose limits those of the row would go before
        for name in (*_COUNTS, "budget_duration", "model_max_budget"):
            if changes.get(name, row[name]) != row[name]:
                raise Forbidden(f"The key has the limits of a budget: its user cannot change its {name}.", param=name)
    check_within(changes, {**row, "team_id": None, "organization_id": None}, whose="it")
    # not even for a longer one: a period of another length has nothing in it of what calls under way hold
    fixed = (*_FIXED, "budget_duration") if row["max_budget"] is not None else _FIXED
    for name in fixed:
        if row[name] and changes.get(name, row[name]) != row[name]:
            raise Forbidden(f"The user of a key cannot change its {name}.", param=name)
    _check_own_metadata(row, changes)


def _check_own_metadata(row: Row, changes: Row) -> None:
    if _raises(row, changes):
        raise Forbidden("The user of a key cannot change its temp_budget_increase.", param="temp_budget_increase")
    before, metadata = row["metadata"], changes.get("metadata")
    if isinstance(before, Mapping) and isinstance(metadata, Mapping):
        for name in _LIMITING:
            if name in before and metadata.get(name) != before[name]:
                raise Forbidden(f"The user of a key cannot change its {name}.", param=name)


def _check_passes_on(caller: Principal) -> None:
    """Limits that no other key would have: with a key that has them, nobody gets another one. Raises Forbidden."""
    if limited_alone(caller):
        raise Forbidden(
            "A key with limits of models or tags, budget_limits or enforced_params makes no keys: "
            "log in, or ask an admin."
        )


def _raises(row: Row, changes: Row) -> bool:
    """Whether the key's budget is to be raised for a while otherwise than it is."""
    before, metadata = row.get("metadata"), changes.get("metadata")
    if not isinstance(metadata, Mapping):
        return False
    known = before if isinstance(before, Mapping) else {}
    return any(metadata.get(name) != known.get(name) for name in _OF_A_RAISE)


def _roles(team: Row) -> dict[str, str]:
    """The members of a team, and what they are there."""
    members = team["members_with_roles"]
    if not isinstance(members, list):
        return {}
    return {
        str(one["user_id"]): str(one.get("role")) for one in members if isinstance(one, dict) and one.get("user_id")
    }
