"""Opens the management API on the books themselves, where no gateway need run.

Every rule is the API's own; changes reach running gateways by the same notifications.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bursar.access.keys import LitellmKeyForms
from bursar.administration.api import Administration
from bursar.book_keeping import open_database
from bursar.config.load import LoadedConfig, load_config
from bursar.config.options import Flags, resolve_options
from bursar.domain.errors import ConfigError, SecretUnreadable
from bursar.domain.principals import Principal
from bursar.domain.secrets import Secret
from bursar.gateway.authenticate import MASTER
from bursar.live_models import ModelKeeper, with_stored_settings
from bursar.main import known_vault, running_books
from bursar.management.api import ManagementApi
from bursar.management_setup import management_api, management_rooms, model_rooms, owner_rooms
from bursar.ports.models import StoredSetup
from bursar.prices import load_book
from bursar.store.database import Database
from bursar.store.keys import PostgresKeys
from bursar.store.models import PostgresModels
from bursar.vault.vault import Vault
from bursar.wire.http import Request
from bursar.worker_settings import calendar_of

_NOWHERE = "http://127.0.0.1:1/v1"
"""In place of the built-in demo's upstream, whose address only its gateway knows."""


@dataclass(slots=True, frozen=True)
class Place:
    """Which books, under which configuration: as `bursar serve` finds them."""

    data_dir: Path
    config_path: Path | None = None


@contextmanager
def administration(place: Place, *, name: str, with_models: bool = False) -> Iterator[Administration]:
    """The API on the books of `place`. `with_models`: also the routes of models, which take longer to make.

    Raises BursarError: the configuration or the database cannot be used.
    """
    loaded = load_config(place.config_path, os.environ)
    books = running_books(os.environ, place.data_dir, place.config_path)
    options = resolve_options(Flags(data_dir=place.data_dir), loaded.environ, loaded.config)
    vault = known_vault(options) or _Keyless(place.data_dir)
    opening = open_database(books)
    with asyncio.Runner() as runner:
        database = runner.run(opening.__aenter__())
        try:
            api = runner.run(_api(database, loaded, vault, options.master_key, with_models=with_models))
            yield Administration(runner, api, name=name, stores_models=loaded.config.general.store_model_in_db)
        finally:
            runner.run(opening.__aexit__(None, None, None))


async def _api(
    database: Database, loaded: LoadedConfig, vault: Vault, master_key: Secret | None, *, with_models: bool
) -> ManagementApi:
    models = PostgresModels(database)
    enabled = loaded.config.general.store_model_in_db
    stored = await models.setup() if enabled else StoredSetup(fingerprint="")
    config = with_stored_settings(loaded.config, stored, vault)
    calendar = calendar_of(config)
    others = owner_rooms(database, calendar)
    if with_models:
        keeper = ModelKeeper(
            loaded.config, config, load_book(), loaded.environ, demo_base=_NOWHERE, store=models, vault=vault
        )
        keeper.put(stored)
        others += model_rooms(database, keeper, vault)
    keys = PostgresKeys(database)
    rooms = management_rooms(database, keys, LitellmKeyForms(), config, calendar, others, master_key=master_key)
    return management_api(database, _Administrator(), rooms)


class _Administrator:
    """Implements `ports.users.Authenticator`: whoever can open the books needs no key."""

    def recognise(self, request: Request) -> Principal:  # noqa: ARG002  # as the port has it
        """See `ports.users.Authenticator.recognise`."""
        return MASTER

    async def authenticate(self, request: Request) -> Principal:  # noqa: ARG002
        """See `ports.users.Authenticator.authenticate`."""
        return MASTER


class _Keyless(Vault):
    """Where no salt key is known. One made here would seal what no gateway can open."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(Secret(secrets.token_urlsafe()))
        self._why = (
            f"secrets cannot be sealed or opened here: LITELLM_SALT_KEY is not set, and {data_dir} holds no key. Set "
            "it as the gateways have it, or name their data directory with --data-dir."
        )

    def seal(self, text: str, place: str) -> str:  # noqa: ARG002
        """Raises ConfigError."""
        raise ConfigError(self._why)

    def open(self, text: str, place: str) -> str:
        """See `ports.models.SecretVault.open`."""
        try:
            return super().open(text, place)
        except SecretUnreadable as error:
            raise SecretUnreadable(self._why) from error
