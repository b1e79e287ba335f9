"""Where the SDK's books are. Read when the first call is told, not at import: apps set their environment late."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bursar.config.database_url import DatabaseTarget, database_url_from_parts, parse_database_url
from bursar.config.options import data_directory
from bursar.data_directory import SDK_JOURNALS
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret


@dataclass(frozen=True)
class Settings:
    """What an app said; None: the environment says it."""

    database_url: Secret | None = None
    data_dir: Path | None = None
    redis_url: Secret | None = None
    uses_redis: Callable[[], bool] = lambda: False
    """Whether what is posted goes through Redis."""

    def journals(self) -> Path:
        """Where journals are kept until the database has what is in them, and for a while after that."""
        return data_directory(self.data_dir, os.environ) / SDK_JOURNALS

    def redis(self) -> Secret | None:
        """The Redis that is used; None: none is. Raises ConfigError: one is to be used, and nobody named it."""
        if not self.uses_redis():
            return None
        if self.redis_url is not None:
            return self.redis_url
        if said := os.environ.get("REDIS_URL"):
            return Secret(said)
        raise ConfigError("is not set, and redis_url neither: batches go to the database straight", path="REDIS_URL")

    def database(self) -> DatabaseTarget | None:
        """The database; None: nobody named one. Raises ConfigError: what is named cannot be understood."""
        url = self.database_url
        if url is not None:
            return parse_database_url(url, source="database_url")
        if said := os.environ.get("DATABASE_URL"):
            return parse_database_url(Secret(said))
        parts = database_url_from_parts(os.environ)
        return None if parts is None else parse_database_url(parts, source="DATABASE_HOST and its companions")
