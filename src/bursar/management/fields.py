"""Fields that bodies of several endpoints have: absent ones leave things as they are, null clears.

Convenience fields, such as `tags`, are kept inside the row's metadata.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.limit_terms import BUDGET_COLUMNS
from bursar.domain.masking import unmasked_members

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
SmallCount = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""As the column takes it."""
Name = Annotated[str, Meta(min_length=1)]
JsonObject = dict[str, object]

METADATA_FIELDS = (
    "tags",
    "guardrails",
    "model_rpm_limit",
    "model_tpm_limit",
    "enforced_params",
    "tag_rpm_limit",
    "prompts",
    "rpm_limit_type",
    "tpm_limit_type",
    "team_member_key_duration",
)


class BudgetFields(msgspec.Struct, kw_only=True):
    """Limits that are kept in a row of `LiteLLM_BudgetTable`. Money in US dollars."""

    max_budget: float | UnsetType | None = UNSET
    soft_budget: float | UnsetType | None = UNSET
    """Told about, never refused; below `max_budget`."""
    max_parallel_requests: SmallCount | UnsetType | None = UNSET
    tpm_limit: Count | UnsetType | None = UNSET
    rpm_limit: Count | UnsetType | None = UNSET
    tpd_limit: Count | UnsetType | None = UNSET
    """Kept, and not enforced."""
    budget_duration: str | UnsetType | None = UNSET
    """`30d`, `1mo` …"""
    model_max_budget: JsonObject | UnsetType | None = UNSET
    budget_reset_at: datetime | UnsetType | None = UNSET


class MetadataFields(msgspec.Struct, kw_only=True):
    """`metadata`, and fields that are kept inside it."""

    metadata: JsonObject | UnsetType | None = UNSET
    tags: list[str] | UnsetType | None = UNSET
    guardrails: list[str] | UnsetType | None = UNSET
    model_rpm_limit: dict[str, Count] | UnsetType | None = UNSET
    model_tpm_limit: dict[str, Count] | UnsetType | None = UNSET
    enforced_params: list[str] | UnsetType | None = UNSET
    tag_rpm_limit: dict[str, Count] | UnsetType | None = UNSET
    """Kept, and not enforced."""
    prompts: list[str] | UnsetType | None = UNSET
    rpm_limit_type: str | UnsetType | None = UNSET
    tpm_limit_type: str | UnsetType | None = UNSET


def given(body: msgspec.Struct, names: Iterable[str]) -> JsonObject:
    """Those of the fields `names` that the request has."""
    values = ((name, getattr(body, name, UNSET)) for name in names)
    return {name: value for name, value in values if value is not UNSET}


def budget_terms(body: msgspec.Struct) -> JsonObject:
    """What a body says about columns of a budget."""
    return given(body, BUDGET_COLUMNS)


def metadata_after(before: object, body: msgspec.Struct) -> JsonObject | None:
    """Metadata with what a body says; None: it says nothing. Replacing it keeps the convenience fields in it."""
    said = given(body, METADATA_FIELDS)
    old = dict(before) if isinstance(before, Mapping) else {}
    if "metadata" in (stated := given(body, ("metadata",))):
        kept = {name: old[name] for name in METADATA_FIELDS if name in old}
        new = stated["metadata"]
        metadata = kept | (unmasked_members(new, old) if isinstance(new, dict) else {})
    elif said:
        metadata = old
    else:
        return None
    metadata |= said
    return {name: value for name, value in metadata.items() if value is not None or name not in METADATA_FIELDS}
