"""`/credentials`: what providers issued to us, kept sealed and named by models. Values are never shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bursar.domain.errors import InvalidRequest, NotFound, SecretUnreadable
from bursar.domain.ids import check_new_id
from bursar.domain.masking import unmasked_members
from bursar.domain.stored_secrets import (
    change_credential,
    check_no_secrets,
    hidden_parameters,
    hidden_values,
    open_parameters,
)
from bursar.management.models import Told
from bursar.management.route import Asked, Route
from bursar.ports.models import (
    CredentialRow,
    CredentialStore,
    ModelCatalogue,
    ModelRow,
    ModelStore,
    NewCredential,
    SecretVault,
)

JsonObject = dict[str, object]
Name = Annotated[str, Meta(min_length=1, max_length=500, examples=["azure-eu"])]


class GivenCredential(msgspec.Struct, kw_only=True):
    """The body of `POST /credentials`."""

    credential_name: Name
    credential_values: Annotated[
        JsonObject,
        Meta(
            description="`api_key`, `api_base` and whatever else `litellm_params` may hold.",
            examples=[{"api_key": "…", "api_base": "https://example.openai.azure.com"}],
        ),
    ]
    credential_info: Annotated[JsonObject, Meta(description="Of your own; it is shown.")] | None = None


class ChangedCredential(msgspec.Struct, kw_only=True):
    """The body of `PATCH /credentials/{credential_name}`: what is left out stays, null takes away."""

    credential_values: JsonObject | None = None
    credential_info: JsonObject | None = None
    updated_at: datetime | None = None
    """Of the row that this is based on; another one is refused."""


class CredentialDescription(msgspec.Struct, kw_only=True):
    """A credential; of its values only their names can be seen."""

    credential_name: str
    credential_values: JsonObject
    credential_info: JsonObject
    updated_at: datetime | UnsetType = UNSET
    """Of those of the database."""


class Credentials(msgspec.Struct, kw_only=True):
    """The answer of `GET /credentials`."""

    success: bool
    credentials: list[CredentialDescription]


class CredentialChanged(Told, kw_only=True):
    """What was done."""

    success: bool = True


class CredentialEndpoints:
    """Storing, changing, deleting and listing credentials."""

    def __init__(
        self, store: CredentialStore, models: ModelStore, catalogue: ModelCatalogue, vault: SecretVault
    ) -> None:
        self._store = store
        self._models = models
        self._catalogue = catalogue
        self._vault = vault

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/credentials",
                tag="models",
                summary="Store a credential",
                endpoint=self.new,
                body=GivenCredential,
                answer=CredentialChanged,
            ),
            Route(
                method="GET",
                path="/credentials",
                tag="models",
                summary="List credentials",
                endpoint=self.all,
                answer=Credentials,
            ),
            Route(
                method="GET",
                path="/credentials/{credential_name}",
                tag="models",
                summary="Look at a credential",
                endpoint=self.one,
                answer=CredentialDescription,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/credentials/by_name/{credential_name}",
                tag="models",
                summary="Look at a credential",
                endpoint=self.one,
                answer=CredentialDescription,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/credentials/by_model/{model_id}",
                tag="models",
                summary="Look at the credential of a model",
                endpoint=self.of_model,
                answer=CredentialDescription,
                errors=(404,),
            ),
            Route(
                method="PATCH",
                path="/credentials/{credential_name}",
                tag="models",
                summary="Change a credential",
                endpoint=self.update,
                body=ChangedCredential,
                answer=CredentialChanged,
                errors=(404, 409),
            ),
            Route(
                method="DELETE",
                path="/credentials/{credential_name}",
                tag="models",
                summary="Delete a credential",
                endpoint=self.delete,
                answer=CredentialChanged,
                errors=(404,),
            ),
        )

    async def new(self, asked: Asked[GivenCredential, None]) -> object:
        """Models may name it at once."""
        body = asked.body
        check_new_id(body.credential_name, param="credential_name")
        self._catalogue.check_credential(body.credential_name, body.credential_values)
        given_info = body.credential_info or {}
        check_no_secrets(given_info, "credential_info", instead="credential_values")
        new = self._sealed(body.credential_name, body.credential_values, given_info)
        if not await self._store.insert(new, actor=asked.actor):
            raise InvalidRequest(
                f"A credential called {body.credential_name!r} exists already.", param="credential_name"
            )
        await self._catalogue.refresh()
        return CredentialChanged(message="Credential created successfully")

    async def all(self, asked: Asked[None, None]) -> object:  # noqa: ARG002
        """Those of the database, then those of the file."""
        stored = [_described(row) for row in await self._store.all()]
        names = {credential.credential_name for credential in stored}
        of_file = [_elsewhere(name) for name in self._catalogue.file_credentials() if name not in names]
        return Credentials(success=True, credentials=[*stored, *of_file])

    async def one(self, asked: Asked[None, None]) -> object:
        """One of the database."""
        row = await self._store.find(asked.path["credential_name"])
        if row is None:
            raise _not_found(asked.path["credential_name"])
        return _described(row)

    async def of_model(self, asked: Asked[None, None]) -> object:
        """The one that it names, or its own: what it holds that is secret, and the address it is for. Of models of the
        file nothing but that there they are."""
        model_id = asked.path["model_id"]
        row = await self._models.find(model_id)
        if row is None:
            of_file = next((one for one in self._catalogue.entries() if one.id == model_id and not one.stored), None)
            if of_file is None:
                raise NotFound(f"Model not found. Got model ID: {model_id}")
            return _elsewhere(f"{of_file.model_name}-credential-{model_id}")
        parameters = row["litellm_params"]
        assert isinstance(parameters, dict)
        try:
            parameters = open_parameters(parameters, model_id, self._vault.open)
        except SecretUnreadable as error:
            raise InvalidRequest(f"What is stored of the model cannot be read: {error}", param="model_id") from error
        if (name := parameters.get("litellm_credential_name")) is not None:
            named = await self._store.find(str(name))
            return _elsewhere(str(name)) if named is None else _described(named)
        shown = hidden_parameters(parameters)
        return CredentialDescription(
            credential_name=f"{row['model_name']}-credential-{model_id}",
            credential_values={
                key: value for key, value in shown.items() if key in _ADDRESSES or value != parameters[key]
            },
            credential_info={},
        )

    async def update(self, asked: Asked[ChangedCredential, None]) -> object:
        """Models that name it follow at once."""
        name, body = asked.path["credential_name"], asked.body
        given_info = body.credential_info or {}
        check_no_secrets(given_info, "credential_info", instead="credential_values")

        def change(row: CredentialRow) -> NewCredential:
            values = _without_nulls(
                self._kept(row, name, body.credential_values or {}) | (body.credential_values or {})
            )
            self._catalogue.check_credential(name, values)
            info = row["credential_info"]
            assert isinstance(info, dict | None)
            return self._sealed(name, values, _without_nulls((info or {}) | unmasked_members(given_info, info or {})))

        if not await self._store.update(name, change, actor=asked.actor, expected=body.updated_at):
            raise _not_found(name)
        await self._catalogue.refresh()
        return CredentialChanged(message="Credential updated successfully")

    async def delete(self, asked: Asked[None, None]) -> object:
        """One that a model of the database names is refused; those of the file name credentials of the file alone."""
        name = asked.path["credential_name"]

        def check(models: Sequence[ModelRow]) -> None:
            named = [f"{one['model_name']} ({one['model_id']})" for one in models if self._credential_of(one) == name]
            if named:
                shown = ", ".join([*named[:_SHOWN], "…"] if len(named) > _SHOWN else named)
                raise InvalidRequest(
                    f"Credential {name!r} is in use ({len(named)} models: {shown}): without it they cannot be called. "
                    "Give them another one first.",
                    param="credential_name",
                )

        if not await self._store.delete(name, check=check, actor=asked.actor):
            raise _not_found(name)
        await self._catalogue.refresh()
        return CredentialChanged(message="Credential deleted successfully")

    def _credential_of(self, model: ModelRow) -> object:
        """The name of the credential that a model takes its secrets from; None: none that could be read."""
        parameters = model["litellm_params"]
        assert isinstance(parameters, dict)
        named = {name: value for name, value in parameters.items() if name == "litellm_credential_name"}
        try:
            return open_parameters(named, str(model["model_id"]), self._vault.open).get("litellm_credential_name")
        except SecretUnreadable:
            return None

    def _kept(self, row: CredentialRow, name: str, given: Mapping[str, object]) -> JsonObject:
        """The stored values that stay. Raises InvalidRequest: they would go to another address, or cannot be read."""
        stored = row["credential_values"]
        assert isinstance(stored, dict)
        try:
            values = change_credential(stored, name, self._vault.open)
        except SecretUnreadable as error:
            if missing := [key for key in stored if key not in given]:
                raise InvalidRequest(
                    f"What is stored of {', '.join(missing)} cannot be read: {error}", param="credential_values"
                ) from error
            return {}
        kept = {key: value for key, value in values.items() if key not in given}
        moved = [key for key in _ADDRESSES if key in given and given[key] != values.get(key)]
        if moved and any(key not in _ADDRESSES for key in kept):
            raise InvalidRequest(
                f"This sends the credential's secrets to another address. Give them again ({', '.join(sorted(kept))}), "
                "or null to go without.",
                param=f"credential_values.{moved[0]}",
            )
        return kept

    def _sealed(self, name: str, values: Mapping[str, object], info: Mapping[str, object]) -> NewCredential:
        sealed = change_credential(_without_nulls(values), name, self._vault.seal)
        return NewCredential(name=name, values=sealed, info=dict(info))


_SHOWN = 10
"""Models that a refusal names."""
_ADDRESSES = ("api_base", "base_url", "aws_sts_endpoint", "aws_bedrock_runtime_endpoint")


def _elsewhere(name: str) -> CredentialDescription:
    return CredentialDescription(
        credential_name=name, credential_values={}, credential_info={"source": "the configuration file"}
    )


def _described(row: CredentialRow) -> CredentialDescription:
    values, info, updated_at = row["credential_values"], row["credential_info"], row["updated_at"]
    assert isinstance(values, dict)
    assert isinstance(info, dict | None)
    assert isinstance(updated_at, datetime)
    return CredentialDescription(
        credential_name=str(row["credential_name"]),
        credential_values=hidden_values(values),
        credential_info=info or {},
        updated_at=updated_at,
    )


def _without_nulls(mapping: Mapping[str, object]) -> JsonObject:
    return {name: value for name, value in mapping.items() if value is not None}


def _not_found(name: str) -> NotFound:
    return NotFound(f"Credential not found. Got credential name: {name}")
