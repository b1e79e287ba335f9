"""What is said about a key in a body, and the columns it comes to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.durations import after
from bursar.domain.errors import InvalidRequest
from bursar.domain.limit_terms import check_amount, terms_after
from bursar.domain.limits import raise_of
from bursar.domain.masking import unmasked, unmasked_members
from bursar.domain.periods import Calendar

T = TypeVar("T")
Given: TypeAlias = T | UnsetType | None
"""Not there: it stays as it is. Null: it is cleared."""
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
SmallCount = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""As the column takes it."""
JsonObject = dict[str, object]
Row = Mapping[str, object]

_ROUTES_OF_KIND = {"llm_api": ["llm_api_routes"], "management": ["management_routes"], "read_only": ["info_routes"]}
_FOR_EVER = (None, "", "-1")


class BudgetLimit(msgspec.Struct, kw_only=True):
    """One of several budgets of a key, each for periods of its own length."""

    budget_duration: str
    max_budget: Annotated[float, Meta(ge=0)]


class KeyFields(msgspec.Struct, kw_only=True):
    """What can be said about a key. Fields of LiteLLM's that have no meaning here yet are passed over."""

    key_alias: Given[Annotated[str, Meta(description="Unique.", examples=["ci-bot"])]] = UNSET
    duration: Given[Annotated[str, Meta(description="Until it expires; none: never.", examples=["30d", "24h"])]] = UNSET
    models: Given[
        Annotated[list[str], Meta(description="What it may call; none: all.", examples=[["gpt-4o", "openai/*"]])]
    ] = UNSET
    aliases: Given[Annotated[JsonObject, Meta(description="Names that mean a model of another name.")]] = UNSET
    config: Given[JsonObject] = UNSET
    spend: Given[Annotated[float, Meta(description="US dollars, in the current period.")]] = UNSET
    user_id: Given[str] = UNSET
    team_id: Given[str] = UNSET
    organization_id: Given[str] = UNSET
    project_id: Given[str] = UNSET
    agent_id: Given[str] = UNSET
    max_budget: Given[Annotated[float, Meta(description="US dollars.", examples=[10.0])]] = UNSET
    soft_budget: Given[Annotated[float, Meta(description="US dollars; told about, never refused.")]] = UNSET
    budget_duration: Given[Annotated[str, Meta(description="After which it starts anew.", examples=["30d"])]] = UNSET
    budget_limits: Given[
        Annotated[list[BudgetLimit], Meta(description="Beside `max_budget`: budgets for other periods.")]
    ] = UNSET
    budget_id: Given[Annotated[str, Meta(description="A budget whose limits apply where the key has none.")]] = UNSET
    tpm_limit: Given[Count] = UNSET
    rpm_limit: Given[Count] = UNSET
    tpd_limit: Given[Annotated[int, Meta(ge=0, le=2**63 - 1, description="Kept, and not enforced yet.")]] = UNSET
    max_parallel_requests: Given[SmallCount] = UNSET
    model_max_budget: Given[
        Annotated[JsonObject, Meta(examples=[{"gpt-4o": {"budget_limit": 5.0, "time_period": "1d"}}])]
    ] = UNSET
    metadata: Given[JsonObject] = UNSET
    permissions: Given[JsonObject] = UNSET
    blocked: Given[bool] = UNSET
    allowed_routes: Given[list[str]] = UNSET
    key_type: Given[Literal["default", "llm_api", "management", "read_only"]] = UNSET
    """Stands for `allowed_routes`, where those are not given."""
    allowed_cache_controls: Given[list[str]] = UNSET
    router_settings: Given[JsonObject] = UNSET

    # Kept within the metadata
    tags: Given[list[str]] = UNSET
    guardrails: Given[list[str]] = UNSET
    policies: Given[list[str]] = UNSET
    prompts: Given[list[str]] = UNSET
    enforced_params: Given[
        Annotated[list[str], Meta(description="What every call has to say.", examples=[["user", "metadata.job"]])]
    ] = UNSET
    model_rpm_limit: Given[dict[str, Count]] = UNSET
    model_tpm_limit: Given[dict[str, Count]] = UNSET
    tag_rpm_limit: Given[
        Annotated[dict[str, Count], Meta(description="Of its calls with single tags.", examples=[{"nightly": 10}])]
    ] = UNSET
    tag_tpm_limit: Given[dict[str, Count]] = UNSET
    rpm_limit_type: Given[Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"]] = UNSET
    tpm_limit_type: Given[Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"]] = UNSET
    budget_fallbacks: Given[JsonObject] = UNSET
    end_user_budget_id: Given[str] = UNSET
    temp_budget_increase: Given[Annotated[float, Meta(description="US dollars, added to `max_budget`.")]] = UNSET
    temp_budget_expiry: Given[
        Annotated[str, Meta(description="Until when; UTC unless it says otherwise.", examples=["2026-12-24T00:00:00Z"])]
    ] = UNSET


IN_METADATA = (
    *("tags", "guardrails", "policies", "prompts", "enforced_params", "model_rpm_limit", "model_tpm_limit"),
    *("tag_rpm_limit", "tag_tpm_limit", "rpm_limit_type", "tpm_limit_type", "budget_fallbacks", "end_user_budget_id"),
    *("temp_budget_increase", "temp_budget_expiry"),
)
_CLEARED: dict[str, object] = {
    **{name: [] for name in ("models", "allowed_routes", "allowed_cache_controls")},
    **{name: {} for name in ("aliases", "config", "permissions", "model_max_budget", "router_settings", "metadata")},
    "spend": 0.0,
}
"""What null comes to where the column takes none."""
_MASKED = frozenset({"config", "permissions", "router_settings"})
"""What answers show with its secrets masked, beside the metadata."""
_NOT_COLUMNS = frozenset({"duration", "metadata", *IN_METADATA})
_COLUMNS = tuple(name for name in KeyFields.__struct_fields__ if name not in _NOT_COLUMNS)


def columns_of(said: KeyFields, before: Row, *, now: datetime, calendar: Calendar) -> dict[str, object]:
    """The columns that change, of a key that was `before` (empty: a new one), and `soft_budget`.

    Raises InvalidRequest: an amount below zero, a period that is none.
    """
    said = _whole_raise(said)
    given = {name: value for name in _COLUMNS if (value := getattr(said, name)) is not UNSET}
    found = {name: _CLEARED.get(name) if value is None else value for name, value in given.items()}
    found |= {name: unmasked(found[name], before.get(name)) for name in _MASKED & found.keys()}
    if isinstance(found.get("budget_limits"), list):
        found["budget_limits"] = msgspec.to_builtins(found["budget_limits"])
    if found.get("key_type") in _ROUTES_OF_KIND and not given.get("allowed_routes"):
        found["allowed_routes"] = _ROUTES_OF_KIND[str(found["key_type"])]
    if said.duration is not UNSET:
        found["expires"] = None if said.duration in _FOR_EVER else after(now, str(said.duration))
    check_amount(found.get("spend"), "spend")
    if (said.temp_budget_increase is UNSET) != (said.temp_budget_expiry is UNSET):
        raise InvalidRequest("temp_budget_increase and temp_budget_expiry go together.", param="temp_budget_increase")
    if isinstance(said.temp_budget_increase, float):
        _check_raise(said)
    metadata = before.get("metadata")
    if (merged := metadata_of(said, metadata if isinstance(metadata, Mapping) else {})) is not None:
        found["metadata"] = merged
    return terms_after(before, found, now=now, calendar=calendar)


def _whole_raise(said: KeyFields) -> KeyFields:
    """Null for one of the two fields of a raise takes away both."""
    by, until = said.temp_budget_increase, said.temp_budget_expiry
    if (by is None and until is UNSET) or (by is UNSET and until is None):
        return msgspec.structs.replace(said, temp_budget_increase=None, temp_budget_expiry=None)
    return said


def _check_raise(said: KeyFields) -> None:
    stated = {"temp_budget_increase": said.temp_budget_increase, "temp_budget_expiry": said.temp_budget_expiry}
    if raise_of(stated) is None:
        raise InvalidRequest(
            "temp_budget_increase is an amount above 0, and temp_budget_expiry a moment such as 2026-12-24T00:00:00Z.",
            param="temp_budget_increase",
        )


def metadata_of(said: KeyFields, before: Mapping[str, object]) -> dict[str, object] | None:
    """The metadata as it is to be; None: as it was. Another object leaves what has fields of its own."""
    fields = {name: value for name in IN_METADATA if (value := getattr(said, name)) is not UNSET}
    if said.metadata is UNSET and not fields:
        return None
    if said.metadata is UNSET:
        merged = dict(before)
    else:
        kept = {name: value for name, value in before.items() if name in IN_METADATA}
        merged = kept | unmasked_members(said.metadata or {}, before)
    merged |= fields
    return {name: value for name, value in merged.items() if value is not None or name not in fields}
