"""What a key may get: never more than the key it is made with, and from its own user never more than it had.

Keys by column name of `LiteLLM_VerificationToken`; a *bound* is one as well. Empty lists and None bound nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bursar.domain.errors import Forbidden
from bursar.domain.limits import ScopeKind
from bursar.domain.permissions import LLM_ROUTES, may_use_model, may_use_route
from bursar.domain.principals import DASHBOARD_TEAM, Principal

Row = Mapping[str, object]

_COUNTS = ("max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_LISTS = ("models", "allowed_routes")
PLACES = ("team_id", "organization_id")
"""Columns that say where a key belongs."""
BOUNDED = (*_COUNTS, *_LISTS, "expires", "budget_duration")
"""Columns that a bound is about, beside where the key belongs."""


def bounds_of(caller: Principal) -> dict[str, object]:
    """What bounds keys made with the key of `caller`. A login stands for the user, and bounds nothing."""
    if caller.team_id == DASHBOARD_TEAM:
        return {}
    own = next((limits for limits in caller.limits if limits.scope.kind is ScopeKind.KEY), None)
    expires = caller.expires_at_s
    return {
        "models": list(caller.models),
        "allowed_routes": list(caller.allowed_routes),
        "max_budget": caller.max_budget,
        "budget_duration": None if own is None or own.budget is None else own.budget.duration,
        "tpm_limit": caller.tpm_limit,
        "rpm_limit": caller.rpm_limit,
        "max_parallel_requests": None if own is None else own.parallel_calls,
        "expires": None if expires is None else datetime.fromtimestamp(expires, UTC),
        "team_id": caller.team_id,
        "organization_id": caller.organization_id,
    }


def bounding(bound: Row) -> bool:
    """Whether it bounds anything."""
    return any(_binds(bound, name) for name in (*BOUNDED, *PLACES))


def limited_alone(caller: Principal) -> bool:
    """Whether the key of `caller` has limits that none made with it would have: of single models and tags, of several
    periods, parameters that calls have to name."""
    return bool(caller.enforced_params or caller.tag_limits) or any(
        limits.scope.kind is ScopeKind.KEY_PERIOD or (limits.scope.kind is ScopeKind.KEY and limits.models)
        for limits in caller.limits
    )


def filled(wanted: Row, bound: Row) -> dict[str, object]:
    """A new key with what it does not state taken from its bound."""
    given = {name for name, value in wanted.items() if value is not None}
    return {
        **wanted,
        **{name: bound[name] for name in (*BOUNDED, *PLACES) if _binds(bound, name) and name not in given},
    }


def tagged(metadata: object, caller: Principal) -> dict[str, object]:
    """Metadata of a key that `caller` gets to know: its calls have the tags that those of his key have, and count
    against their budgets."""
    found = dict(_object(metadata))
    return found | {"tags": list(dict.fromkeys((*_strings(found.get("tags")), *caller.tags)))}


def check_within(wanted: Row, bound: Row, *, whose: str, what: str = "A key") -> None:
    """Raises Forbidden: one of the columns in `wanted`, which are those of `what`, gives more than `bound`, which is
    that of `whose`."""
    for name in PLACES:
        if name in wanted and bound.get(name) is not None and wanted[name] != bound[name]:
            raise _beyond(name, what, whose)
    for name in _COUNTS:
        if name in wanted and _above(wanted[name], bound.get(name)):
            raise _beyond(name, what, whose)
    expires, until = wanted.get("expires"), bound.get("expires")
    if "expires" in wanted and isinstance(until, datetime) and not (isinstance(expires, datetime) and expires <= until):
        raise _beyond("expires", what, whose)
    if "budget_duration" in wanted and bound.get("max_budget") is not None:
        period = wanted["budget_duration"]
        if period is not None and period != bound.get("budget_duration"):
            raise _beyond("budget_duration", what, whose)
    if "models" in wanted and not _covers_models(_strings(bound.get("models")), _strings(wanted["models"])):
        raise _beyond("models", what, whose)
    by_model, bounded = _object(wanted.get("model_max_budget")), _object(bound.get("model_max_budget"))
    if any(by_model.get(model, terms) != terms for model, terms in bounded.items()):
        raise _beyond("model_max_budget", what, whose)
    routes = _strings(bound.get("allowed_routes"))
    if "allowed_routes" in wanted and not _covers_routes(routes, _strings(wanted["allowed_routes"])):
        raise _beyond("allowed_routes", what, whose)


def for_calls_only(routes: object) -> list[str]:
    """Routes of a key whose secret somebody else than its user knows: models, and nothing in the user's name."""
    named = _strings(routes)
    return named if named and LLM_ROUTES.issuperset(named) else ["llm_api_routes"]


def _binds(bound: Row, name: str) -> bool:
    value = bound.get(name)
    return value is not None if name in _COUNTS else bool(value)  # a limit of 0 is one


def _beyond(name: str, what: str, whose: str) -> Forbidden:
    return Forbidden(f"{what} cannot get more than {whose} has: {name} goes beyond it.", param=name)


def _above(wanted: object, bound: object) -> bool:
    if not isinstance(bound, int | float):
        return False
    return not isinstance(wanted, int | float) or not wanted <= bound  # which is so of what is no number, too


def _covers_models(held: Sequence[str], wanted: Sequence[str]) -> bool:
    if not held:
        return True
    return bool(wanted) and all(may_use_model(held, [model]) for model in wanted)


def _covers_routes(held: Sequence[str], wanted: Sequence[str]) -> bool:
    if not held:
        return True
    groups = frozenset({"info_routes"}) if "management_routes" in held else frozenset()
    return bool(wanted) and all(may_use_route(held, route, frozenset()) or route in groups for route in wanted)


def _object(value: object) -> Row:
    return value if isinstance(value, Mapping) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
