"""What a new user gets from somebody who is no administrator of the gateway: never more than his organizations have,
nor than whoever makes him.

Rows by column name of `LiteLLM_UserTable`; of an organization also its metadata, for the rates of single models. Empty
lists and None bound nothing.
"""

from collections.abc import Mapping, Sequence

from bursar.domain.limit_terms import terms_by_name
from bursar.domain.permissions import may_use_model

Row = Mapping[str, object]

RATES = ("tpm_limit", "rpm_limit", "max_parallel_requests")
LIMITS = ("max_budget", "budget_duration", *RATES, "models")
_NO_MODELS = ("no-default-models",)
"""LiteLLM's name of a model that there is not: an empty list would be all of them."""


def narrowest(bounds: Sequence[Row]) -> dict[str, object]:
    """The limits that lie within all of `bounds`; those that none of them has are left out."""
    found: dict[str, object] = {}
    by_model: dict[str, dict[str, object]] = {}
    for bound in bounds:
        metadata = bound.get("metadata")
        terms_of = terms_by_name(
            bound.get("model_max_budget"), metadata if isinstance(metadata, Mapping) else {}, "model"
        )
        for model, terms in terms_of.items():
            by_model[model] = _tighter(by_model.get(model, {}), terms)
        if _is_below(bound.get("max_budget"), found.get("max_budget")):
            found |= {name: bound.get(name) for name in ("max_budget", "budget_duration")}
        for name in RATES:
            if _is_below(bound.get(name), found.get(name)):
                found[name] = bound[name]
        if models := _strings(bound.get("models")):
            found["models"] = _common(_strings(found.get("models")), models)
    if limiting := {model: terms for model, terms in by_model.items() if terms}:
        found["model_max_budget"] = limiting
    return found


def _tighter(held: Row, terms: Row) -> dict[str, object]:
    """Of two entries of `model_max_budget` for a model the lower budget, and the lower of each rate."""
    found = dict(held)
    amount = terms.get("budget_limit", terms.get("max_budget"))
    if _is_below(amount, held.get("budget_limit")):
        found |= {"budget_limit": amount, "time_period": terms.get("time_period", terms.get("budget_duration"))}
    return found | {name: terms[name] for name in RATES if _is_below(terms.get(name), held.get(name))}


def _is_below(value: object, other: object) -> bool:
    return isinstance(value, int | float) and not (isinstance(other, int | float) and other <= value)


def _common(held: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Of two lists of models what both cover."""
    if not held:
        return list(wanted)
    both = [model for model in wanted if may_use_model(held, [model])]
    both += [model for model in held if may_use_model(wanted, [model])]
    return list(dict.fromkeys(both or _NO_MODELS))


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
