"""`/budget/*`: limits that keys, customers, tags, members and organizations can share by naming them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from bursar.domain.errors import InvalidRequest, NotFound
from bursar.management.fields import BudgetFields, JsonObject, Name, budget_terms
from bursar.management.route import Asked, Route
from bursar.management.stores import BudgetRows

BUDGET: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_BudgetTable`.",
    "properties": {
        "budget_id": {"type": "string"},
        "max_budget": {"type": ["number", "null"]},
        "soft_budget": {"type": ["number", "null"]},
        "budget_duration": {"type": ["string", "null"]},
        "budget_reset_at": {"type": ["string", "null"], "format": "date-time"},
        "tpm_limit": {"type": ["integer", "null"]},
        "rpm_limit": {"type": ["integer", "null"]},
        "updated_at": {"type": "string", "format": "date-time"},
    },
    "required": ["budget_id", "max_budget", "budget_duration", "budget_reset_at", "updated_at"],
}

_SETTINGS = (
    ("max_budget", "Float", "What may be spent in a period, in US dollars."),
    ("soft_budget", "Float", "What is told about when it is spent, and refuses nothing."),
    ("budget_duration", "String", "How long a period is: 30s, 15m, 24h, 7d, 1mo."),
    ("tpm_limit", "Integer", "Tokens a minute."),
    ("rpm_limit", "Integer", "Requests a minute."),
    ("max_parallel_requests", "Integer", "Calls at a time."),
    ("model_max_budget", "Object", "The same for single models."),
)


class NewBudget(BudgetFields, kw_only=True):
    """The body of `/budget/new`."""

    budget_id: Name | None = None
    """None: one is made."""
    allowed_models: list[str] | UnsetType | None = UNSET
    """Of members of teams who have this budget."""


class UpdateBudget(BudgetFields, kw_only=True):
    """The body of `/budget/update`: absent fields stay as they are, null clears."""

    budget_id: Name
    allowed_models: list[str] | UnsetType | None = UNSET
    updated_at: datetime | None = None
    """Of the row that the update is based on; another one is refused."""


class BudgetIds(msgspec.Struct, kw_only=True):
    """The body of `/budget/info`."""

    budgets: list[str]


class DeleteBudget(msgspec.Struct, kw_only=True):
    """The body of `/budget/delete`."""

    id: Name


class BudgetQuery(msgspec.Struct, kw_only=True):
    """The budget that is meant."""

    budget_id: Name


class BudgetSetting(msgspec.Struct, kw_only=True):
    """A field of a budget, for a form."""

    field_name: str
    field_type: str
    field_description: str
    field_value: object
    stored_in_db: bool
    field_default_value: object


class BudgetEndpoints:
    """Budgets."""

    def __init__(self, budgets: BudgetRows) -> None:
        self._budgets = budgets

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/budget/new",
                tag="budgets",
                summary="Make a budget",
                endpoint=self.new,
                body=NewBudget,
                answer=BUDGET,
            ),
            Route(
                method="POST",
                path="/budget/update",
                tag="budgets",
                summary="Change a budget",
                endpoint=self.update,
                body=UpdateBudget,
                answer=BUDGET,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/budget/info",
                tag="budgets",
                summary="Look at budgets",
                endpoint=self.info,
                body=BudgetIds,
                answer={"type": "array", "items": BUDGET},
            ),
            Route(
                method="GET",
                path="/budget/list",
                tag="budgets",
                summary="List budgets",
                endpoint=self.list_all,
                answer={"type": "array", "items": BUDGET},
            ),
            Route(
                method="POST",
                path="/budget/delete",
                tag="budgets",
                summary="Delete a budget",
                endpoint=self.delete,
                body=DeleteBudget,
                answer=BUDGET,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/budget/settings",
                tag="budgets",
                summary="A budget's fields, for a form",
                endpoint=self.settings,
                query=BudgetQuery,
                answer={"type": "array", "items": {"type": "object"}},
                errors=(404,),
            ),
        )

    async def new(self, asked: Asked[NewBudget, None]) -> object:
        """The first period ends where the calendar says, as those of keys do."""
        budget_id = asked.body.budget_id or str(uuid4())
        made = await self._budgets.insert(budget_id, budget_terms(asked.body), actor=asked.actor)
        if made is None:
            raise InvalidRequest(f"Budget {budget_id!r} already exists. Use another budget_id.", param="budget_id")
        return made

    async def update(self, asked: Asked[UpdateBudget, None]) -> object:
        """It reaches at once whoever has this budget. What is spent in the current period stays."""
        body = asked.body
        changed = await self._budgets.update(
            body.budget_id, budget_terms(body), expected=body.updated_at, actor=asked.actor
        )
        if changed is None:
            raise _not_found(body.budget_id, "budget_id")
        return changed

    async def info(self, asked: Asked[BudgetIds, None]) -> object:
        """Those of them that exist."""
        if not asked.body.budgets:
            raise InvalidRequest("Specify list of budget id's to query. Passed in=[]", param="budgets")
        return await self._budgets.find(asked.body.budgets)

    async def list_all(self, _: Asked[None, None]) -> object:
        """The oldest first."""
        return await self._budgets.all()

    async def delete(self, asked: Asked[DeleteBudget, None]) -> object:
        """One that somebody has is refused: they would have no limit any more."""
        gone = await self._budgets.delete(asked.body.id, actor=asked.actor)
        if gone is None:
            raise _not_found(asked.body.id, "id")
        return gone

    async def settings(self, asked: Asked[None, BudgetQuery]) -> object:
        """With their present values."""
        found = await self._budgets.find([asked.query.budget_id])
        if not found:
            raise _not_found(asked.query.budget_id, "budget_id")
        [budget] = found
        return [
            BudgetSetting(
                field_name=name,
                field_type=kind,
                field_description=words,
                field_value=budget[name],
                stored_in_db=budget[name] is not None,
                field_default_value=None,
            )
            for name, kind, words in _SETTINGS
        ]


def _not_found(budget_id: str, param: str) -> NotFound:
    return NotFound(f"Budget not found, passed {param}={budget_id}", param=param)
