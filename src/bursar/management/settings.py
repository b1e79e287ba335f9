"""`/config/*`: the settings that hold, and those of the database, which lie over the file's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.errors import InvalidRequest, NotFound, SecretUnreadable
from bursar.domain.stored_secrets import open_setting, seal_setting
from bursar.management.route import Asked, Route
from bursar.ports.models import SETTING_SECTIONS, ModelCatalogue, SecretVault, SettingStore

JsonObject = dict[str, object]
SectionName = Literal["general_settings", "litellm_settings", "router_settings"]
_ONLY_IN_FILE = ("environment_variables", "model_list", "general_settings")


class UpdateSettings(msgspec.Struct, kw_only=True):
    """The body of `/config/update`: what is left out stays, null gives a setting back to the file."""

    litellm_settings: Annotated[JsonObject, Meta(examples=[{"drop_params": True}])] | None = None
    router_settings: Annotated[JsonObject, Meta(examples=[{"timeout": 30}])] | None = None
    environment_variables: JsonObject | None = None
    model_list: list[object] | None = None
    general_settings: JsonObject | None = None
    updated_at: object = None
    """Refused: settings have none."""


class SettingsUpdated(msgspec.Struct, kw_only=True):
    """The answer of `/config/update`."""

    message: str
    litellm_settings: list[str]
    """What the database has now, by name."""
    router_settings: list[str]
    warnings: list[str]
    """Of the sections that were changed, as at start: what has no effect in this release, or none at all."""


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
                summary="Change litellm_settings and router_settings",
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
        """How models are called (`drop_params`, `router_settings`) follows at once; all else when the gateway starts
        anew. What a file may say is taken, also where it has no effect yet; the answer tells of that."""
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
        given = {section: values for section in SETTING_SECTIONS if (values := getattr(body, section))}
        if not given:
            raise InvalidRequest("There is nothing in litellm_settings or router_settings.", param="litellm_settings")
        for section, values in given.items():  # before any of them is stored
            self._catalogue.check_settings(section, _without_nulls(values))
        warnings: list[str] = []
        for section, values in given.items():
            change = self._change(section, values, warnings)
            await self._store.update(section, change, actor=asked.actor)
        await self._catalogue.refresh()
        return SettingsUpdated(
            message="Config updated successfully. What is not about how models are called holds from the next start.",
            litellm_settings=sorted(await self._store.find("litellm_settings")),
            router_settings=sorted(await self._store.find("router_settings")),
            warnings=warnings,
        )

    def _change(
        self, section: str, given: JsonObject, warnings: list[str]
    ) -> Callable[[Mapping[str, object]], Mapping[str, object]]:
        """What is stored of the section with `given` over it. It fills `warnings`."""

        def change(stored: Mapping[str, object]) -> Mapping[str, object]:
            after = _without_nulls(self._opened(section, stored) | given)
            warnings.extend(self._catalogue.check_settings(section, after))
            sealed = seal_setting(after, section, self._vault.seal)
            assert isinstance(sealed, dict)
            return sealed

        return change

    async def list(self, asked: Asked[None, SectionQuery]) -> object:
        """Those this release reads."""
        return await self._fields(asked.query.config_type)

    async def one(self, asked: Asked[None, FieldQuery]) -> object:
        """By name."""
        wanted = asked.query
        sections = [wanted.config_type] if wanted.config_type else ["general_settings", *SETTING_SECTIONS]
        for section in sections:
            for found in await self._fields(section):
                if found.field_name == wanted.field_name:
                    return found
        raise NotFound(f"There is no setting called {wanted.field_name!r}.", param="field_name")

    async def _fields(self, section: str) -> Sequence[FieldDescription]:
        stored = await self._stored(section) if self._catalogue.stores_models else frozenset()
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

    async def _stored(self, section: str) -> frozenset[str]:
        """Names of those that come from the database. Routing may be set in both of its sections."""
        sections = SETTING_SECTIONS if section == "router_settings" else (section,) * (section in SETTING_SECTIONS)
        return frozenset().union(*[await self._store.find(one) for one in sections])

    def _opened(self, section: str, stored: Mapping[str, object]) -> JsonObject:
        try:
            opened = open_setting(stored, section, self._vault.open)
        except SecretUnreadable as error:
            raise InvalidRequest(f"What is stored of {section} cannot be read: {error}") from error
        assert isinstance(opened, dict)
        return opened


def _without_nulls(settings: JsonObject) -> JsonObject:
    return {name: value for name, value in settings.items() if value is not None}
