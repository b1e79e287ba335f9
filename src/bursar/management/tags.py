"""`/tag/*`: tags with limits. Requests can carry any tag; one that is made here can have a budget."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.edits import BudgetedEdit
from bursar.domain.errors import InvalidRequest, NotFound
from bursar.management.fields import BudgetFields, JsonObject, Name, budget_terms, given
from bursar.management.route import Asked, Route
from bursar.management.stores import Row, Tags

_COLUMNS = ("description", "models", "model_info")

TAG: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_TagTable`, with its budget.",
    "properties": {
        "name": {"type": "string"},
        "description": {"type": ["string", "null"]},
        "models": {"type": ["array", "null"], "items": {"type": "string"}},
        "spend": {"type": ["number", "null"]},
        "budget_id": {"type": ["string", "null"]},
        "litellm_budget_table": {"type": ["object", "null"]},
    },
    "required": ["name", "description", "models"],
}


class TagFields(BudgetFields, kw_only=True):
    """What can be said of a tag. Money in US dollars."""

    name: Name
    description: str | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET
    """Deployments by id. Kept, and not enforced."""
    model_info: Annotated[JsonObject, Meta(examples=[{"gpt-4o-eu": "gpt-4o"}])] | UnsetType | None = UNSET
    budget_id: Name | UnsetType | None = UNSET
    """A budget that others may share; limits that are stated as well are put on a copy of it."""


class UpdateTag(TagFields, kw_only=True):
    """The body of `/tag/update`: absent fields stay as they are, null clears."""

    updated_at: datetime | None = None
    """Of the row that the update is based on; another one is refused."""


class TagNames(msgspec.Struct, kw_only=True):
    """The body of `/tag/info`."""

    names: list[str]


class OneTag(msgspec.Struct, kw_only=True):
    """The body of `/tag/delete`."""

    name: Name


class ChangedTag(msgspec.Struct, kw_only=True):
    """The answer of `/tag/new` and `/tag/update`."""

    message: str
    tag: JsonObject


class Told(msgspec.Struct, kw_only=True):
    """What was done."""

    message: str


class TagEndpoints:
    """Tags."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/tag/new",
                tag="tags",
                summary="Make a tag",
                endpoint=self.new,
                body=TagFields,
                answer=ChangedTag,
            ),
            Route(
                method="POST",
                path="/tag/update",
                tag="tags",
                summary="Change a tag",
                endpoint=self.update,
                body=UpdateTag,
                answer=ChangedTag,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/tag/info",
                tag="tags",
                summary="Look at tags",
                endpoint=self.info,
                body=TagNames,
                answer={"type": "object", "additionalProperties": TAG},
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/tag/list",
                tag="tags",
                summary="List tags",
                endpoint=self.list_all,
                answer={"type": "array", "items": TAG},
            ),
            Route(
                method="POST",
                path="/tag/delete",
                tag="tags",
                summary="Delete a tag",
                endpoint=self.delete,
                body=OneTag,
                answer=Told,
                errors=(404,),
            ),
        )

    async def new(self, asked: Asked[TagFields, None]) -> object:
        """A tag that requests have carried before keeps what it has spent."""
        name = asked.body.name
        made = await self._tags.create(name, _edit(asked.body), actor=asked.actor)
        if made is None:
            raise InvalidRequest(f"Tag {name} already exists", param="name")
        return ChangedTag(message=f"Tag {name} created successfully", tag=_shown(made))

    async def update(self, asked: Asked[UpdateTag, None]) -> object:
        """Limits of a budget that others share are not changed for one of them: it gets a copy."""
        body = asked.body
        changed = await self._tags.update(body.name, _edit(body), expected=body.updated_at, actor=asked.actor)
        if changed is None:
            raise _not_found(body.name)
        return ChangedTag(message=f"Tag {body.name} updated successfully", tag=_shown(changed))

    async def info(self, asked: Asked[TagNames, None]) -> object:
        """By name, those of the names that are tags. Raises NotFound: none of them is."""
        names = list(dict.fromkeys(asked.body.names))
        found = {str(row["tag_name"]): _shown(row) for row in await self._tags.find(names)}
        if names and not found:
            raise _not_found(names[0])
        return found

    async def list_all(self, _: Asked[None, None]) -> object:
        """Also those that requests carried and nobody made."""
        named = [_shown(row) for row in await self._tags.all()]
        spent: list[Row] = [
            {"name": name, "description": "Seen in requests; nobody has made it.", "models": None}
            for name in await self._tags.only_spent()
        ]
        return named + spent

    async def delete(self, asked: Asked[OneTag, None]) -> object:
        """What it spent stays on the books, and requests can go on carrying it, without a limit."""
        if await self._tags.delete(asked.body.name, actor=asked.actor) is None:
            raise _not_found(asked.body.name)
        return Told(message=f"Tag {asked.body.name} deleted successfully")


def _edit(body: TagFields) -> BudgetedEdit:
    return BudgetedEdit(changes=given(body, _COLUMNS), budget_id=body.budget_id, terms=budget_terms(body))


def _shown(row: Row) -> Row:
    return {"name": row["tag_name"], **{name: value for name, value in row.items() if name != "tag_name"}}


def _not_found(name: str) -> NotFound:
    return NotFound(f"Tag {name} not found", param="name")
