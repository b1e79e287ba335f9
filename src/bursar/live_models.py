"""The models in force: those of the file, and those of the database as they come and go. Part of the composition.

Told of a change (or, should nobody tell, within ten seconds) a worker reads what the database has, builds what is new
and puts one whole new table in place of the old. What cannot be built is reported, and nothing else suffers from it.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bursar.config.deployments import NamedCredential
from bursar.config.describe import described_settings
from bursar.config.schema import Config, DeploymentConfig
from bursar.config.stored import (
    check_spelling,
    file_credentials,
    stored_credential,
    stored_deployment,
    with_settings,
)
from bursar.domain.errors import ConfigError, InvalidRequest, SecretUnreadable, StoreError
from bursar.domain.masking import masked_members
from bursar.domain.price_book import PriceBook
from bursar.domain.prices import Price
from bursar.domain.stored_secrets import change_credential, open_parameters, open_setting
from bursar.gateway.models import LiveModels
from bursar.model_setup import Built, ModelBuilder
from bursar.ports.models import (
    CredentialRow,
    ModelEntry,
    ModelRow,
    ModelStore,
    NewModel,
    SecretVault,
    SettingField,
    StoredSetup,
)

log = logging.getLogger(__name__)

_LIVE_SETTINGS = ("drop_params", "request_timeout_s", "model_alias_map")
"""Of `litellm_settings`, those that models are built and found by; of `router_settings` all are."""
POLL_S = 5.0
"""How long a change that nobody told of stays unseen; with the time it takes, less than ten seconds."""


class ModelKeeper:
    """Implements `ports.models.ModelCatalogue`. Its `live` is what calls look into."""

    def __init__(
        self,
        file: Config,
        started_with: Config,
        book: PriceBook,
        environ: Mapping[str, str],
        *,
        demo_base: str | None,
        store: ModelStore,
        vault: SecretVault,
    ) -> None:
        """`file`: what the file says; `started_with`: that, under the settings the database had at start."""
        self._config = file
        self._started_with = started_with
        self._in_force = file
        self._book = book
        self._environ = environ
        self._demo_base = demo_base
        self._store = store
        self._vault = vault
        self._builder = self._builder_for(file)
        self._of_file = self._builder.of_file()
        self._setup = StoredSetup(fingerprint="")
        self._credentials: dict[str, NamedCredential] = file_credentials(file)
        self._stored: dict[str, _Stored] = {}
        self._told = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self.live = LiveModels(self._builder.table(self._of_file))

    @property
    def stores_models(self) -> bool:
        """See `ports.models.ModelCatalogue.stores_models`."""
        return self._config.general.store_model_in_db

    def told(self, _payload: str) -> None:
        """Something has changed in the database, or may have."""
        self._told.set()

    async def run(self) -> None:
        """Until cancelled."""
        while self.stores_models:
            try:
                await self.refresh()
            except StoreError as error:
                log.warning("models.not_refreshed reason=%s", error)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._told.wait()
            except TimeoutError:
                pass
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """See `ports.models.ModelCatalogue.refresh`."""
        if not self.stores_models:
            return
        async with self._refreshing:
            self._told.clear()
            if await self._store.fingerprint() != self._setup.fingerprint:
                self.put(await self._store.setup())

    def put(self, setup: StoredSetup) -> None:
        """Put `setup` in force."""
        if setup.settings != self._setup.settings:
            self._apply_settings(setup)
        credentials = self._opened_credentials(setup.credentials)
        if credentials != self._credentials:
            self._credentials, self._stored = credentials, {}
        file_ids = {one.config.id for one in self._of_file}
        self._stored = {str(row["model_id"]): self._stored_of(row, file_ids) for row in setup.models}
        self._setup = setup
        built = [stored.built for stored in self._stored.values() if stored.built is not None]
        self.live.table = self._builder.table([*self._of_file, *built])

    def listed_price(self, model: str, unix_s: float) -> Price | None:
        """See `ModelBuilder.listed_price`."""
        return self._builder.listed_price(model, unix_s)

    def entries(self) -> Sequence[ModelEntry]:
        """See `ports.models.ModelCatalogue.entries`."""
        return [
            *(self._entry(one) for one in self._of_file),
            *(
                self._entry(stored.built, stored.row) if stored.built is not None else _broken(stored)
                for stored in self._stored.values()
            ),
        ]

    async def check(self, model: NewModel) -> None:
        """See `ports.models.ModelCatalogue.check`."""
        await self.refresh()  # what it names may be new
        try:
            check_spelling(model.litellm_params)
            self._build(model.model_id, _as_entry(model.model_name, model.litellm_params, model.model_info))
        except ConfigError as error:
            raise InvalidRequest(f"The model cannot be used: {error}", param="litellm_params") from error

    def check_credential(self, name: str, values: Mapping[str, object]) -> None:
        """See `ports.models.ModelCatalogue.check_credential`."""
        if name in self.file_credentials():
            raise InvalidRequest(f"The credential {name!r} stands in the configuration file.", param="credential_name")
        try:
            stored_credential(name, values, self._environ)
        except ConfigError as error:
            raise InvalidRequest(f"The credential cannot be used: {error}", param="credential_values") from error

    def file_credentials(self) -> Sequence[str]:
        """See `ports.models.ModelCatalogue.file_credentials`."""
        return [credential.name for credential in self._config.credentials]

    def settings(self, section: str) -> Sequence[SettingField]:
        """See `ports.models.ModelCatalogue.settings`."""
        live = {name: getattr(self._in_force.litellm, name) for name in _LIVE_SETTINGS}
        litellm = msgspec.structs.replace(self._started_with.litellm, **live)
        holding = msgspec.structs.replace(self._started_with, litellm=litellm, router=self._in_force.router)
        return described_settings(holding, section)

    def check_settings(self, section: str, settings: Mapping[str, object]) -> Sequence[str]:
        """See `ports.models.ModelCatalogue.check_settings`."""
        try:
            _, findings = with_settings(self._config, section, settings)
        except ConfigError as error:
            raise InvalidRequest(f"The settings cannot be used: {error}", param=section) from error
        return [f"{finding.path}: {finding.text}" for finding in findings]

    def _builder_for(self, config: Config) -> ModelBuilder:
        return ModelBuilder(config, self._book, self._environ, demo_base=self._demo_base)

    def _apply_settings(self, setup: StoredSetup) -> None:
        """Settings that models are built by hold at once; all others from the next start."""
        config = with_stored_settings(self._config, setup, self._vault)
        try:
            builder = self._builder_for(config)
            of_file = builder.of_file()
        except ConfigError as error:
            log.error("settings.not_applied reason=%s", error)
            return
        self._in_force, self._builder, self._of_file, self._stored = config, builder, of_file, {}

    def _opened_credentials(self, rows: Iterable[CredentialRow]) -> dict[str, NamedCredential]:
        credentials = file_credentials(self._config)
        for row in rows:
            name = str(row["credential_name"])
            if name in credentials:
                continue
            try:
                values = row["credential_values"]
                assert isinstance(values, dict)
                credentials[name] = stored_credential(
                    name, change_credential(values, name, self._vault.open), self._environ
                )
            except (ConfigError, SecretUnreadable) as error:
                log.error("credential.unusable name=%r reason=%s", name, error)
            except Exception as error:  # noqa: BLE001  # as with a model
                log.error("credential.unusable name=%r reason=%s", name, type(error).__name__)
        return credentials

    def _stored_of(self, row: ModelRow, file_ids: Iterable[str]) -> "_Stored":
        model_id = str(row["model_id"])
        if (known := self._stored.get(model_id)) is not None and known.row == row:
            return known
        if model_id in file_ids:
            return _reported(row, "the configuration file has a model with this id")
        parameters, info = row["litellm_params"], row["model_info"]
        assert isinstance(parameters, dict)
        assert isinstance(info, dict | None)
        if (info or {}).get("team_id") not in (None, ""):  # other teams must not have it
            return _reported(row, "it is for one team alone, which this release cannot see to (model_info.team_id)")
        try:
            opened = open_parameters(parameters, model_id, self._vault.open)
            entry = _as_entry(str(row["model_name"]), opened, info or {}, blocked=bool(row.get("blocked")))
            return _Stored(row, self._build(model_id, entry), None)
        except (ConfigError, SecretUnreadable) as error:
            return _reported(row, str(error))
        except Exception as error:  # noqa: BLE001  # whatever one row does to us, the others go on; its words may be secret
            return _reported(row, f"it cannot be read ({type(error).__name__})")

    def _build(self, model_id: str, entry: dict[str, object]) -> Built:
        info = entry["model_info"]
        assert isinstance(info, dict)
        deployment = stored_deployment(
            entry | {"model_info": info | {"id": model_id}}, model_id, self._credentials, self._environ
        )
        return self._builder.build(deployment)

    def _entry(self, built: Built, row: ModelRow | None = None) -> ModelEntry:
        config, deployment = built.config, built.deployment
        provider = None if deployment is None else deployment.provider
        own = config.model_info
        upstream = None if deployment is None else deployment.upstream
        known = {} if deployment is None else self._builder.known(config, deployment)
        return ModelEntry(
            id=config.id,
            model_name=config.model_name,
            access_groups=own.access_groups,
            provider=provider,
            stored=config.stored,
            parameters=_public(config),
            api_base=None if upstream is None else upstream.api_base,
            info={
                **known,
                **_said(own.verbatim),
                "id": config.id,
                "db_model": config.stored,
                **({} if row is None else _dates(row)),
            },
        )


class _Stored(msgspec.Struct, frozen=True):
    row: ModelRow
    built: Built | None
    error: str | None


def with_stored_settings(config: Config, stored: StoredSetup, vault: SecretVault) -> Config:
    """`config` with the database's settings over it; without those of a section that cannot be used."""
    for section, sealed in stored.settings.items():
        try:
            opened = open_setting(sealed, section, vault.open)
            assert isinstance(opened, dict)
            config, _ = with_settings(config, section, opened)
        except (ConfigError, SecretUnreadable) as error:
            log.error("settings.not_applied section=%s reason=%s", section, error)
    return config


def _reported(row: ModelRow, reason: str) -> _Stored:
    log.error("model.unusable id=%r reason=%s", row["model_id"], reason)
    return _Stored(row, None, reason)


def _broken(stored: _Stored) -> ModelEntry:
    row = stored.row
    name = str(row["model_name"])
    return ModelEntry(
        id=str(row["model_id"]),
        model_name=name,
        access_groups=(),
        provider=None,
        stored=True,
        parameters={},
        api_base=None,
        info={"id": row["model_id"], "db_model": True, **_dates(row)},
        error=stored.error,
    )


def _as_entry(
    name: str, parameters: Mapping[str, object], info: Mapping[str, object], *, blocked: bool = False
) -> dict[str, object]:
    return {
        "model_name": name,
        "litellm_params": {key: value for key, value in parameters.items() if value is not None},
        "model_info": {key: value for key, value in info.items() if value is not None},
        "blocked": blocked,
    }


_SHOWN = (
    ("rpm", "rpm"),
    ("tpm", "tpm"),
    ("weight", "weight"),
    ("order", "order"),
    ("max_parallel_requests", "max_parallel_requests"),
    ("timeout", "timeout_s"),
    ("stream_timeout", "stream_timeout_s"),
    ("num_retries", "num_retries"),
    ("max_retries", "max_retries"),
    ("cooldown_time", "cooldown_time_s"),
    ("drop_params", "drop_params"),
    ("custom_llm_provider", "custom_llm_provider"),
    ("api_version", "api_version"),
)


def _public(config: DeploymentConfig) -> dict[str, object]:
    """The parameters that are known to hold nothing secret, by LiteLLM's names."""
    shown = {name: value for name, field in _SHOWN if (value := getattr(config, field)) is not None}
    if config.tags:
        shown["tags"] = config.tags
    return {"model": config.model, **shown, **config.prices}


_OURS_TO_SAY = ("id", "db_model")


def _said(info: Mapping[str, object]) -> dict[str, object]:
    said = {name: value for name, value in info.items() if value is not None and name not in _OURS_TO_SAY}
    return masked_members(said)


def _dates(row: ModelRow) -> dict[str, object]:
    names = ("created_at", "created_by", "updated_at", "updated_by")
    return {name: row[name] for name in names if row.get(name) is not None}
