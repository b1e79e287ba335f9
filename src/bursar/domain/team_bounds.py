"""What a team may get: never more than its organization has, and from its own admins never more than it had. The latter
goes for organizations, and for users whom the admins of theirs change, as well.

Rows by column name. An organization's row has the limits of its budget.
"""

from collections.abc import Iterable, Mapping, Sequence

from bursar.domain.errors import Forbidden, InvalidRequest
from bursar.domain.permissions import may_use_model

Row = Mapping[str, object]

_BOUNDED = ("max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_PERIOD = ("budget_duration", "budget_reset_at")
_FIXED = ("budget_limits", "model_max_budget")
"""What stays as it is, once it says something."""
_LIMITING = ("tags", "enforced_params", "guardrails", "policies")
"""Of the metadata: what budgets and duties hang on."""
_BY_NAME = ("model_rpm_limit", "model_tpm_limit", "tag_rpm_limit", "tag_tpm_limit")
"""Of the metadata: numbers, by the name of a model or a tag."""
_ALL_MODELS = frozenset({"*", "all-proxy-models", "all-team-models"})


def check_within_organization(team: Row, organization: Row) -> None:
    """Raises InvalidRequest: the team would have more money, rate or models than its organization.

    A limit the team does not have is no complaint: the organization's applies to its calls all the same.
    """
    of = f"Organization={organization['organization_id']}"
    for name in _BOUNDED:
        wanted, bound = _number(team.get(name)), _number(organization.get(name))
        if wanted is not None and bound is not None and wanted > bound:
            raise InvalidRequest(
                f"Team's {name} ({wanted}) cannot exceed that of its organization ({bound}). {of}", param=name
            )
    if outside := _outside(_strings(team.get("models")), _strings(organization.get("models"))):
        raise InvalidRequest(
            f"Models that the team's organization does not have: {', '.join(outside[:10])}. {of}", param="models"
        )


def check_not_raised(before: Row, after: Row, *, bound: Row | None = None) -> None:
    """What its own admins change must not give it more, but where `bound`, which it is part of, holds it anyway.

    Raises Forbidden.
    """
    for name in (*_BOUNDED, "tpd_limit"):
        old, new = _number(before.get(name)), _number(after.get(name))
        held = bound is not None and _number(bound.get(name)) is not None
        if old is not None and _is_more(new, old) and not held:
            raise Forbidden(f"Only a proxy admin can raise or clear {name} (now {old:g}) here.", param=name)
    for name in _PERIOD:
        if before.get(name) != after.get(name) and _number(before.get("max_budget")) is not None:
            raise Forbidden(f"Only a proxy admin can change {name} here.", param=name)
    for name in _FIXED:
        if before.get(name) and after.get(name) != before.get(name):
            raise Forbidden(f"Only a proxy admin can change {name} here.", param=name)
    metadata, meant = _object(before.get("metadata")), _object(after.get("metadata"))
    for name in _LIMITING:
        if any(one not in _strings(meant.get(name)) for one in _strings(metadata.get(name))):
            raise Forbidden(f"Only a proxy admin can take {name} away here.", param=name)
    for name in _BY_NAME:
        numbers = _object(meant.get(name))
        if any(_is_more(numbers.get(one), count) for one, count in _object(metadata.get(name)).items()):
            raise Forbidden(f"Only a proxy admin can raise or clear {name} here.", param=name)
    models, wanted = _strings(before.get("models")), _strings(after.get("models"))
    held_models = [] if bound is None else _strings(bound.get("models"))
    if models and (_outside(wanted, [*models, *held_models]) or (not wanted and not held_models)):
        raise Forbidden("Only a proxy admin can add models here.", param="models")


def _is_more(new: object, old: object) -> bool:
    before, after = _number(old), _number(new)
    return before is not None and (after is None or after > before)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _outside(wanted: Sequence[str], held: Sequence[str]) -> list[str]:
    """Those of `wanted` that `held` does not cover; an empty one covers all."""
    if not held or not _ALL_MODELS.isdisjoint(held):
        return []
    return [model for model in wanted if model in _ALL_MODELS or not may_use_model(held, [model])]


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, Iterable) else []
