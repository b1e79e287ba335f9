"""`/config/*`: the settings that hold, and `litellm_settings` of the database, which lie over the file's."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.errors import InvalidRequest, NotFound, SecretUnreadable
from bursar.domain.stored_secrets import open_setting, seal_setting
from bursar.management.route import Asked, Route
from bursar.ports.models import ModelCatalogue, SecretVault, SettingStore

JsonObject = dict[str, object]
SectionName = Literal["general_settings", "litellm_settings", "router_settings"]
_SECTION = "litellm_settings"
_ONLY_IN_FILE = ("environment_variables", "model_list", "general_settings", "router_settings")


class UpdateSettings(msgspec.Struct, kw_only=True):
    """The body of `/config/update`: what is left out stays, null gives a setting back to the file."""

    litellm_settings: Annotated[JsonObject, Meta(examples=[{"drop_params": True}])] | None = None
    environment_variables: JsonObject | None = None
    model_list: list[object] | None = None
    general_settings: JsonObject | None = None
    router_settings: JsonObject | None = None
    updated_at: object = None
    """Refused: settings have none."""


class SettingsUpdated(msgspec.Struct, kw_only=True):
    """The answer of `/config/update`."""

    message: str
    litellm_settings: list[str]
    """What the database has now, by name."""


class SectionQuery(msgspec.Struct, kw_only=True):
    """The query of `/config/list`."""

    config_type: SectionName = "general_settings"


class FieldQuery(msgspec.Struct, kw_only=True):
    """The query of `/config/field/info`."""

    field_name: str
    config_type: SectionName | None = None
    """None: the first section that has it."""


class FieldDescription(msgspec.Struct, kw_only=True):
    """A setting."""

    field_name: str
    field_type: str
    field_description: str
    field_value: object
    """What holds; secrets masked."""
    field_default_value: object
    stored_in_db: bool
    """It comes from the database, not from the file."""


class SettingEndpoints:
    """Looking at settings, and changing those that can be changed while the gateway runs."""

    def __init__(self, store: SettingStore, catalogue: ModelCatalogue, vault: SecretVault) -> None:
        self._store = store
        self._catalogue = catalogue
        self._vault = vault

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/config/update",
                tag="configuration",
                summary="Change litellm_settings",
                endpoint=self.update,
                body=UpdateSettings,
                answer=SettingsUpdated,
            ),
            Route(
                method="GET",
                path="/config/list",
                tag="configuration",
                summary="List settings, and where they come from",
                endpoint=self.list,
                query=SectionQuery,
                answer={"type": "array", "items": {"type": "object"}},
            ),
            Route(
                method="GET",
                path="/config/field/info",
                tag="configuration",
                summary="Look at a setting",
                endpoint=self.one,
                query=FieldQuery,
                answer=FieldDescription,
                errors=(404,),
            ),
        )

    async def update(self, asked: Asked[UpdateSettings, None]) -> object:
        """How models are called (`drop_params`, timeouts) follows at once; all else when the gateway starts anew."""
        body = asked.body
        if not self._catalogue.stores_models:
            raise InvalidRequest(
                "Set `'STORE_MODEL_IN_DB='True'` in your env to enable this feature: else the file is the only source "
                "of the configuration."
            )
        for name in _ONLY_IN_FILE:
            if getattr(body, name) is not None:
                raise InvalidRequest(f"{name} can only be changed in the configuration file.", param=name)
        if body.updated_at is not None:
            raise InvalidRequest("Settings have no updated_at: the last one to change them wins.", param="updated_at")
        given = body.litellm_settings
        if not given:
            raise InvalidRequest("There is nothing in litellm_settings.", param=_SECTION)

        def change(stored: Mapping[str, object]) -> Mapping[str, object]:
            opened = self._opened(stored)
            after = {name: value for name, value in (opened | given).items() if value is not None}
            self._catalogue.check_settings(after)
            sealed = seal_setting(after, _SECTION, self._vault.seal)
            assert isinstance(sealed, dict)
            return sealed

        after = await self._store.update(_SECTION, change, actor=asked.actor)
        await self._catalogue.refresh()
        return SettingsUpdated(
            message="Config updated successfully. What is not about how models are called holds from the next start.",
            litellm_settings=sorted(after),
        )

    async def list(self, asked: Asked[None, SectionQuery]) -> object:
        """Those this release reads."""
        return await self._fields(asked.query.config_type)

    async def one(self, asked: Asked[None, FieldQuery]) -> object:
        """By name."""
        wanted = asked.query
        sections = [wanted.config_type] if wanted.config_type else ["general_settings", _SECTION, "router_settings"]
        for section in sections:
            for found in await self._fields(section):
                if found.field_name == wanted.field_name:
                    return found
        raise NotFound(f"There is no setting called {wanted.field_name!r}.", param="field_name")

    async def _fields(self, section: str) -> Sequence[FieldDescription]:
        stored = await self._store.find(section) if section == _SECTION and self._catalogue.stores_models else {}
        return [
            FieldDescription(
                field_name=setting.name,
                field_type=setting.kind,
                field_description=setting.description,
                field_value=setting.value,
                field_default_value=setting.default,
                stored_in_db=setting.name in stored,
            )
            for setting in self._catalogue.settings(section)
        ]

    def _opened(self, stored: Mapping[str, object]) -> JsonObject:
        try:
            opened = open_setting(stored, _SECTION, self._vault.open)
        except SecretUnreadable as error:
            raise InvalidRequest(f"What is stored of litellm_settings cannot be read: {error}") from error
        assert isinstance(opened, dict)
        return opened
