"""`/model/new`, `/model/update`, `/model/delete`: the models that live in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from uuid import uuid4

import msgspec
from msgspec import Meta

from bursar.domain.errors import InvalidRequest, NotFound, SecretUnreadable, StoreConflict
from bursar.domain.ids import check_new_id
from bursar.domain.masking import unmasked_members
from bursar.domain.preconditions import check_unchanged
from bursar.domain.stored_secrets import (
    change_parameters,
    check_no_secrets,
    destination,
    hidden_parameters,
    is_public,
    open_parameters,
)
from bursar.management.route import Asked, Route
from bursar.ports.models import ModelCatalogue, ModelRow, ModelStore, NewModel, SecretVault

JsonObject = dict[str, object]
_NAME_MAX = 500
Name = Annotated[str, Meta(min_length=1, max_length=_NAME_MAX)]

_NOT_ENABLED = (
    "Set `'STORE_MODEL_IN_DB='True'` in your env to enable this feature. "
    "Or store_model_in_db: true in general_settings of the configuration file."
)
_NOT_FOUND = "Model id = {id} not found on litellm proxy"


class NewStoredModel(msgspec.Struct, kw_only=True):
    """The body of `/model/new`."""

    model_name: Annotated[Name, Meta(description="The public name; shared by all that serve it.", examples=["gpt-4o"])]
    litellm_params: Annotated[
        JsonObject,
        Meta(
            description="As in the configuration file: the model, its address, its key.",
            examples=[{"model": "openai/gpt-4o", "api_key": "sk-…"}],
        ),
    ]
    model_info: JsonObject | None = None
    blocked: bool = False


class ChangedModel(msgspec.Struct, kw_only=True):
    """The body of `/model/update` and `/model/{model_id}/update`: what is left out stays, null takes away."""

    model_name: Name | None = None
    litellm_params: JsonObject | None = None
    model_info: Annotated[JsonObject, Meta(description="For `/model/update`, `id` says which model.")] | None = None
    blocked: bool | None = None
    updated_at: datetime | None = None
    """Of the row as you know it: refused with 409 when it has changed since."""


class DeletedModel(msgspec.Struct, kw_only=True):
    """The body of `/model/delete`."""

    id: Name


class Told(msgspec.Struct, kw_only=True):
    """What was done."""

    message: str


class StoredModelRow(msgspec.Struct, kw_only=True):
    """A row of `LiteLLM_ProxyModelTable`, secrets masked."""

    model_id: str
    model_name: str
    litellm_params: JsonObject
    model_info: JsonObject | None
    blocked: bool
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class ModelEndpoints:
    """Storing, changing and deleting models of the database."""

    def __init__(self, store: ModelStore, catalogue: ModelCatalogue, vault: SecretVault) -> None:
        self._store = store
        self._catalogue = catalogue
        self._vault = vault

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/model/new",
                tag="models",
                summary="Add a model",
                endpoint=self.new,
                body=NewStoredModel,
                answer=StoredModelRow,
            ),
            Route(
                method="POST",
                path="/model/update",
                tag="models",
                summary="Change a model of the database",
                endpoint=self.update,
                body=ChangedModel,
                answer=StoredModelRow,
                errors=(409,),
            ),
            Route(
                method="PATCH",
                path="/model/{model_id}/update",
                tag="models",
                summary="Change a model of the database",
                endpoint=self.patch,
                body=ChangedModel,
                answer=StoredModelRow,
                errors=(404, 409),
            ),
            Route(
                method="POST",
                path="/model/delete",
                tag="models",
                summary="Delete a model of the database",
                endpoint=self.delete,
                body=DeletedModel,
                answer=Told,
            ),
        )

    async def new(self, asked: Asked[NewStoredModel, None]) -> object:
        """It takes calls at once: here before this is answered, elsewhere within a second."""
        self._check_enabled()
        body = asked.body
        info = dict(body.model_info or {})
        model_id = _checked_id(info.pop("id", None) or str(uuid4()))
        if any(entry.id == model_id for entry in self._catalogue.entries()):
            raise InvalidRequest(f"A model with the id {model_id!r} exists already.", param="model_info.id")
        model = NewModel(
            model_id=model_id,
            model_name=body.model_name,
            litellm_params=_without_nulls(body.litellm_params),
            model_info=_without_nulls(_checked_info(info)) | {"id": model_id},
            blocked=body.blocked,
        )
        _check_texts(model.litellm_params)
        await self._catalogue.check(model)
        row = await self._store.insert(self._sealed(model), actor=asked.actor)
        if row is None:
            raise InvalidRequest(f"A model with the id {model_id!r} exists already.", param="model_info.id")
        await self._catalogue.refresh()
        return _shown(row)

    async def update(self, asked: Asked[ChangedModel, None]) -> object:
        """Named by `model_info.id`."""
        self._check_enabled()
        model_id = _checked_id((asked.body.model_info or {}).get("id"))
        row = await self._change(asked, model_id)
        if row is None:
            raise InvalidRequest(self._why_not(model_id), param="model_info.id")
        return _shown(row)

    async def patch(self, asked: Asked[ChangedModel, None]) -> object:
        """Named by the path."""
        self._check_enabled()
        model_id = asked.path["model_id"]
        row = await self._change(asked, model_id)
        if row is None:
            raise NotFound(self._why_not(model_id))
        return _shown(row)

    async def delete(self, asked: Asked[DeletedModel, None]) -> object:
        """Calls that are under way end as they began."""
        self._check_enabled()
        model_id = asked.body.id
        if not await self._store.delete(model_id, actor=asked.actor):
            raise InvalidRequest(self._why_not(model_id), param="id")
        await self._catalogue.refresh()
        return Told(message=f"Model: {model_id} deleted successfully")

    async def _change(self, asked: Asked[ChangedModel, None], model_id: str) -> ModelRow | None:
        """Whoever does not say which row he knows changes the one that is there: the last one wins."""
        while True:
            try:
                return await self._change_known(asked, model_id)
            except StoreConflict:
                if asked.body.updated_at is not None:
                    raise

    async def _change_known(self, asked: Asked[ChangedModel, None], model_id: str) -> ModelRow | None:
        """Checked before it is stored, on the row as it then is. Raises StoreConflict: it has changed meanwhile."""
        known = await self._store.find(model_id)
        if known is None:
            return None
        check_unchanged(asked.body.updated_at, _moment(known))
        changed = self._changed(known, asked.body)
        await self._catalogue.check(changed)

        def change(row: ModelRow) -> NewModel:
            check_unchanged(_moment(known), _moment(row))
            if row != known:  # within the same millisecond
                raise StoreConflict("This was changed by somebody else in the meantime. Look at it again.")
            return self._sealed(changed)

        row = await self._store.update(model_id, change, actor=asked.actor)
        await self._catalogue.refresh()
        return row

    def _changed(self, row: ModelRow, body: ChangedModel) -> NewModel:
        """The row with the changes, secrets in clear."""
        model_id = str(row["model_id"])
        given = body.litellm_params or {}
        _check_texts(given)
        sealed, info = row["litellm_params"], row["model_info"]
        assert isinstance(sealed, dict)
        assert isinstance(info, dict | None)
        kept = {name: value for name, value in sealed.items() if name not in given}
        try:
            before = open_parameters(sealed, model_id, self._vault.open)
        except SecretUnreadable:
            before = _readable(sealed, model_id, self._vault)
        after = _without_nulls({name: before[name] for name in kept if name in before} | given)
        if destination(before) != destination(after):
            _refuse_to_take_along(kept)
        if missing := [name for name in kept if name not in before]:
            raise InvalidRequest(
                f"What is stored of {', '.join(missing)} cannot be read any more. Give it again.",
                param=f"litellm_params.{missing[0]}",
            )
        given_info = {name: value for name, value in (body.model_info or {}).items() if name != "id"}
        return NewModel(
            model_id=model_id,
            model_name=body.model_name or str(row["model_name"]),
            litellm_params=after,
            model_info=_without_nulls((info or {}) | unmasked_members(_checked_info(given_info), info or {}))
            | {"id": model_id},
            blocked=bool(row.get("blocked")) if body.blocked is None else body.blocked,
        )

    def _sealed(self, model: NewModel) -> NewModel:
        sealed = change_parameters(model.litellm_params, model.model_id, self._vault.seal)
        return msgspec.structs.replace(model, litellm_params=sealed)

    def _check_enabled(self) -> None:
        if not self._catalogue.stores_models:
            raise InvalidRequest(_NOT_ENABLED)

    def _why_not(self, model_id: str) -> str:
        if any(entry.id == model_id and not entry.stored for entry in self._catalogue.entries()):
            return f"Model id = {model_id} stands in the configuration file: change it there."
        return _NOT_FOUND.format(id=model_id)


def _readable(sealed: Mapping[str, object], model_id: str, vault: SecretVault) -> dict[str, object]:
    """Of a row with unreadable secrets, what can be read."""
    readable: dict[str, object] = {}
    for name, value in sealed.items():
        try:
            readable[name] = open_parameters({**readable, name: value}, model_id, vault.open)[name]
        except SecretUnreadable:
            continue
    return readable


def _refuse_to_take_along(kept: Mapping[str, object]) -> None:
    """Secrets do not go along to another address: who changes it need not be who may see them."""
    secrets = sorted(name for name, value in kept.items() if not is_public(name, value) and not _is_plain(value))
    if secrets:
        raise InvalidRequest(
            f"This sends the model's secrets to another provider or address. Give them again ({', '.join(secrets)}), "
            "or null to go without.",
            param=f"litellm_params.{secrets[0]}",
        )


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _checked_id(given: object) -> str:
    if not isinstance(given, str) or not given or len(given) > _NAME_MAX or not given.isprintable():
        raise InvalidRequest("model_info.id names the model: a printable text.", param="model_info.id")
    check_new_id(given, param="model_info.id")
    return given


def _checked_info(info: Mapping[str, object]) -> dict[str, object]:
    """Raises InvalidRequest for what this release does not do, and for secrets: it is shown to all who may call it."""
    if info.get("team_id") not in (None, ""):
        raise InvalidRequest(
            "Models of a single team are not in this release: leave out model_info.team_id, and let the team's list of "
            "models name an access group (model_info.access_groups).",
            param="model_info.team_id",
        )
    check_no_secrets(info, "model_info", instead="litellm_params")
    checked = {name: value for name, value in info.items() if name not in ("id", "db_model")}
    return checked | {"team_id": None} if "team_id" in checked else checked


def _check_texts(parameters: Mapping[str, object]) -> None:
    """A ciphertext in place of a value can only be one that was copied from somewhere."""
    if any(isinstance(value, str) and value.startswith("bursar:v1:") for value in parameters.values()):
        raise InvalidRequest("Give secrets as the provider gave them to you.", param="litellm_params")


def _without_nulls(mapping: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in mapping.items() if value is not None}


def _moment(row: ModelRow) -> datetime | None:
    moment = row.get("updated_at")
    return moment if isinstance(moment, datetime) else None


def _shown(row: ModelRow) -> ModelRow:
    parameters = row["litellm_params"]
    assert isinstance(parameters, dict)
    return row | {"litellm_params": hidden_parameters(parameters)}
