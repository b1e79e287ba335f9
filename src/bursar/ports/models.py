"""Models, credentials and settings that the database holds, the catalogue of all, and what calls cost there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from bursar.domain.audit import Actor
from bursar.domain.money import NanoUsd


class CostQuotes(Protocol):
    """What calls would cost (`gateway.quotes`). Both raise InvalidRequest: nobody knows a price for the model."""

    def of_messages(self, model: str, encoded_bytes: int) -> NanoUsd:
        """About what the prompt costs, as so many bytes of JSON."""

    def of_usage(self, model: str, usage: bytes) -> NanoUsd:
        """What is charged for a usage report. Raises InvalidRequest also where it reports nothing."""


ModelRow = dict[str, object]
"""A row of `LiteLLM_ProxyModelTable` by column name, secrets sealed."""


CredentialRow = dict[str, object]
"""A row of `LiteLLM_CredentialsTable` by column name, values sealed."""


class NewModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model to be stored; secrets among its parameters are sealed."""

    model_id: str
    model_name: str
    litellm_params: Mapping[str, object]
    model_info: Mapping[str, object]
    blocked: bool = False


class NewCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential to be stored, its values sealed."""

    name: str
    values: Mapping[str, object]
    info: Mapping[str, object]


SETTING_SECTIONS = ("litellm_settings", "router_settings")
"""Sections of the configuration that the database may hold. A later one's word for the same thing wins."""


class StoredSetup(msgspec.Struct, frozen=True, kw_only=True):
    """All that the database adds to the configuration, as of one moment."""

    fingerprint: str
    models: tuple[ModelRow, ...] = ()
    credentials: tuple[CredentialRow, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = {}
    """By section (`SETTING_SECTIONS`), of which there are any."""


ModelChange = Callable[[ModelRow], NewModel]
"""From a row as it is to what it shall be. May refuse."""


class ModelStore(Protocol):
    """Models in the database (`store.models`). Everything raises StoreUnavailable; writing also StoreRefused."""

    async def fingerprint(self) -> str:
        """Another one whenever models, credentials or settings have changed."""

    async def setup(self) -> StoredSetup:
        """All of it."""

    async def find(self, model_id: str) -> ModelRow | None:
        """One row."""

    async def insert(self, model: NewModel, *, actor: Actor) -> ModelRow | None:
        """Store a new model, and tell all gateways; None when its id is taken."""

    async def update(self, model_id: str, change: ModelChange, *, actor: Actor) -> ModelRow | None:
        """Change a row that nobody else changes meanwhile; None: there is none. What `change` raises passes."""

    async def delete(self, model_id: str, *, actor: Actor) -> bool:
        """False: there is none."""


class CredentialStore(Protocol):
    """Credentials in the database (`store.credentials`). Raises as `ModelStore` does."""

    async def all(self) -> list[CredentialRow]:
        """By name."""

    async def find(self, name: str) -> CredentialRow | None:
        """One row."""

    async def insert(self, credential: NewCredential, *, actor: Actor) -> bool:
        """False: the name is taken."""

    async def update(
        self,
        name: str,
        change: Callable[[CredentialRow], NewCredential],
        *,
        actor: Actor,
        expected: datetime | None = None,
    ) -> bool:
        """False: there is none. `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is
        another by now."""

    async def delete(self, name: str, *, check: Callable[[Sequence[ModelRow]], None], actor: Actor) -> bool:
        """False: there is none. `check` sees all models of the database, and raises to prevent it."""


class SettingStore(Protocol):
    """Sections of the configuration in the database (`store.settings`). Raises as `ModelStore` does."""

    async def find(self, section: str) -> dict[str, object]:
        """What is stored of a section; empty: nothing."""

    async def update(
        self, section: str, change: Callable[[Mapping[str, object]], Mapping[str, object]], *, actor: Actor
    ) -> dict[str, object]:
        """Change a section that nobody else changes meanwhile; what it is now."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment on offer, or one of the database that cannot be, as `/model/info` shows it. Nothing secret."""

    id: str
    model_name: str
    access_groups: tuple[str, ...]
    provider: str | None
    stored: bool
    """In the database, not in the file."""
    parameters: Mapping[str, object]
    api_base: str | None
    """Without what may be secret in it. For administrators."""
    info: Mapping[str, object]
    """`model_info`: what the operator says, and what the price book knows."""
    error: str | None = None
    """Why it cannot be called."""


class SettingField(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, as `/config/list` shows it; secrets masked."""

    name: str
    kind: str
    description: str
    value: object
    default: object


class ModelCatalogue(Protocol):
    """The models on offer, of the file and of the database (`live_models`)."""

    @property
    def stores_models(self) -> bool:
        """The configuration allows models in the database."""

    def entries(self) -> Sequence[ModelEntry]:
        """All deployments."""

    async def check(self, model: NewModel) -> None:
        """Raises InvalidRequest: a model of the database that cannot be used; its parameters are in clear."""

    def check_credential(self, name: str, values: Mapping[str, object]) -> None:
        """Raises InvalidRequest: values in clear that cannot be used, or a name that the file has taken."""

    def file_credentials(self) -> Sequence[str]:
        """The names of those that stand in the file."""

    def settings(self, section: str) -> Sequence[SettingField]:
        """What holds at the moment in `general_settings`, `litellm_settings` or `router_settings`."""

    def check_settings(self, section: str, settings: Mapping[str, object]) -> Sequence[str]:
        """What is worth telling of them: what has no effect yet, or none at all. Raises InvalidRequest: settings that
        cannot be used."""

    async def refresh(self) -> None:
        """Put in force what the database has now. Raises StoreUnavailable."""


class SecretVault(Protocol):
    """Secrets as the database holds them (`vault`)."""

    def seal(self, text: str, place: str) -> str:
        """`text` encrypted, fit for a text column. It opens only with the same `place`: which value, of which row."""

    def open(self, text: str, place: str) -> str:
        """What was sealed, by us or by LiteLLM; any other text as it is. Raises SecretUnreadable."""

    def is_current(self, text: str) -> bool:
        """It is sealed, with the key that seals now."""

    def is_doubtful(self, text: str) -> bool:
        """It opens to itself, and may all the same be a ciphertext, of LiteLLM's and of a key we have not."""
