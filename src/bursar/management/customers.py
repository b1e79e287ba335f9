"""`/customer/*`, which `/end_user/*` is as well: customers' customers, whom requests name as `user`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from bursar.domain.edits import BudgetedEdit
from bursar.domain.errors import InvalidRequest, NotFound
from bursar.management.body import unprocessable
from bursar.management.fields import BudgetFields, JsonObject, Name, budget_terms, given
from bursar.management.route import Asked, Route
from bursar.management.stores import Customers, Row

_COLUMNS = ("alias", "allowed_model_region", "default_model", "blocked", "models")

CUSTOMER: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_EndUserTable`, with its budget.",
    "properties": {
        "user_id": {"type": "string"},
        "alias": {"type": ["string", "null"]},
        "spend": {"type": "number"},
        "allowed_model_region": {"type": ["string", "null"]},
        "default_model": {"type": ["string", "null"]},
        "blocked": {"type": "boolean"},
        "budget_id": {"type": ["string", "null"]},
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
        "litellm_budget_table": {"type": ["object", "null"]},
    },
    "required": ["user_id", "spend", "blocked", "budget_id", "litellm_budget_table"],
}


class CustomerFields(BudgetFields, kw_only=True):
    """What can be said of a customer. Money in US dollars."""

    user_id: Name
    alias: str | UnsetType | None = UNSET
    blocked: bool | UnsetType | None = UNSET
    budget_id: Name | UnsetType | None = UNSET
    """A budget that others may share; not together with `max_budget`."""
    allowed_model_region: Literal["eu", "us"] | UnsetType | None = UNSET
    """Kept, and not enforced; so are `default_model`, which has to come with it, and `models`."""
    default_model: str | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET


class UpdateCustomer(CustomerFields, kw_only=True):
    """The body of `/customer/update`: absent fields stay as they are, null clears."""

    updated_at: datetime | None = None
    """Of the row that the update is based on; another one is refused."""


class CustomerQuery(msgspec.Struct, kw_only=True):
    """The customer who is meant."""

    end_user_id: Name


class CustomerIds(msgspec.Struct, kw_only=True):
    """Several of them."""

    user_ids: list[Name]


class SwitchCustomers(CustomerIds, kw_only=True):
    """The body of `/customer/block` and `/customer/unblock`."""

    updated_at: datetime | None = None
    """Of the row that this is based on, where one customer is named; another one is refused."""


class BlockedCustomers(msgspec.Struct, kw_only=True):
    """The answer of `/customer/block`."""

    blocked_users: list[JsonObject]


class DeletedCustomers(msgspec.Struct, kw_only=True):
    """The answer of `/customer/delete`."""

    deleted_customers: int
    message: str


class CustomerEndpoints:
    """Customers."""

    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/customer/new",
                aliases=("/end_user/new",),
                tag="customers",
                summary="Make a customer known",
                endpoint=self.new,
                body=CustomerFields,
                answer=CUSTOMER,
            ),
            Route(
                method="GET",
                path="/customer/info",
                aliases=("/end_user/info",),
                tag="customers",
                summary="Look at a customer",
                endpoint=self.info,
                query=CustomerQuery,
                answer=CUSTOMER,
                errors=(404,),
            ),
            Route(
                method="POST",
                path="/customer/update",
                aliases=("/end_user/update",),
                tag="customers",
                summary="Change a customer",
                endpoint=self.update,
                body=UpdateCustomer,
                answer=CUSTOMER,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/customer/delete",
                aliases=("/end_user/delete",),
                tag="customers",
                summary="Delete customers",
                endpoint=self.delete,
                body=CustomerIds,
                answer=DeletedCustomers,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/customer/list",
                aliases=("/end_user/list",),
                tag="customers",
                summary="List customers",
                endpoint=self.list_all,
                answer={"type": "array", "items": CUSTOMER},
            ),
            Route(
                method="POST",
                path="/customer/block",
                aliases=("/end_user/block",),
                tag="customers",
                summary="Refuse customers' calls",
                endpoint=self.block,
                body=SwitchCustomers,
                answer=BlockedCustomers,
                errors=(409,),
            ),
            Route(
                method="POST",
                path="/customer/unblock",
                aliases=("/end_user/unblock",),
                tag="customers",
                summary="Refuse them no more",
                endpoint=self.unblock,
                body=SwitchCustomers,
                answer=BlockedCustomers,
                errors=(409,),
            ),
        )

    async def new(self, asked: Asked[CustomerFields, None]) -> object:
        """Customers whom nobody made known have no limits of their own, and get a row with their first call."""
        body = asked.body
        made = await self._customers.create(body.user_id, _edit(body, None), actor=asked.actor)
        if made is None:
            raise InvalidRequest(
                f"Customer already exists, passed user_id={body.user_id}. Please pass a new user_id.",
                kind="bad_request",
                param="user_id",
            )
        return made

    async def info(self, asked: Asked[None, CustomerQuery]) -> object:
        """By the id that requests name."""
        found = await self._customers.find(asked.query.end_user_id)
        if found is None:
            raise _not_found(asked.query.end_user_id, "end_user_id")
        return found

    async def update(self, asked: Asked[UpdateCustomer, None]) -> object:
        """Limits of a budget that others share are not changed for one of them: he gets a copy."""
        body = asked.body
        changed = await self._customers.update(
            body.user_id, lambda row: _edit(body, row), expected=body.updated_at, actor=asked.actor
        )
        if changed is None:
            raise _not_found(body.user_id, "user_id")
        return changed

    async def delete(self, asked: Asked[CustomerIds, None]) -> object:
        """What they spent stays on the books. All of them or, if one does not exist, none."""
        ids = list(dict.fromkeys(asked.body.user_ids))
        if not ids:
            raise InvalidRequest("Name the customers to delete in `user_ids`.", param="user_ids")

        def check(missing: set[str]) -> None:
            if missing:
                raise _not_found(", ".join(sorted(missing)[:10]), "user_ids")

        number = await self._customers.delete(ids, check=check, actor=asked.actor)
        named = msgspec.json.encode(ids).decode()
        return DeletedCustomers(deleted_customers=number, message=f"Successfully deleted customers with ids: {named}")

    async def list_all(self, _: Asked[None, None]) -> object:
        """All there are, also those whom only spending has made known."""
        return await self._customers.all()

    async def block(self, asked: Asked[SwitchCustomers, None]) -> object:
        """At once, on every worker; also those nobody has heard of yet."""
        ids, expected = _to_switch(asked.body)
        return BlockedCustomers(blocked_users=await self._customers.block(ids, expected=expected, actor=asked.actor))

    async def unblock(self, asked: Asked[SwitchCustomers, None]) -> object:
        """At once, on every worker."""
        ids, expected = _to_switch(asked.body)
        return BlockedCustomers(blocked_users=await self._customers.unblock(ids, expected=expected, actor=asked.actor))


def _to_switch(body: SwitchCustomers) -> tuple[list[str], datetime | None]:
    """Whom, and as of when. Raises InvalidRequest."""
    ids = list(dict.fromkeys(body.user_ids))
    if body.updated_at is not None and len(ids) != 1:
        raise InvalidRequest("updated_at is that of one customer: name one with it.", param="updated_at")
    return ids, body.updated_at


def _edit(body: CustomerFields, before: Row | None) -> BudgetedEdit:
    """What a body says of a customer who was `before`. Raises Unprocessable: fields that exclude each other."""
    terms = budget_terms(body)
    if isinstance(body.budget_id, str) and terms.get("max_budget") is not None:
        raise unprocessable("Set either 'max_budget' or 'budget_id', not both.", ["body", "budget_id"])
    changes = given(body, _COLUMNS)
    after = {**(before or {}), **changes}
    if after.get("allowed_model_region") is not None and after.get("default_model") is None:
        raise unprocessable("A region needs a default_model to fall back to.", ["body", "default_model"])
    return BudgetedEdit(changes=changes, budget_id=body.budget_id, terms=terms)


def _not_found(user_id: str, param: str) -> NotFound:
    return NotFound(f"End User Id={user_id} does not exist in db", param=param)
