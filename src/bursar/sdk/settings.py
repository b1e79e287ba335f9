"""Where the SDK's books are. Read when the first call is told, not at import: apps set their environment late."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bursar.config.database_url import DatabaseTarget, database_url_from_parts, parse_database_url
from bursar.config.options import data_directory
from bursar.data_directory import SDK_JOURNALS
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret

_READABLE_MAX = 64


@dataclass(frozen=True)
class Settings:
    """What an app said; None: the environment says it."""

    database_url: Secret | None = None
    target: DatabaseTarget | None = None
    """The same, read already."""
    data_dir: Path | None = None
    redis_url: Secret | None = None
    uses_redis: Callable[[], bool] = lambda: False
    """Whether what is posted goes through Redis."""
    carries_unassigned: bool = False
    """Journals that are for no database in particular are posted as well."""

    def journals(self, target: DatabaseTarget | None) -> Path:
        """Where journals for `target` are kept until the database has what is in them, and for a while after that.

        Raises ConfigError: there is no place for them.
        """
        return journals_for(self._place(), target)

    def others(self, target: DatabaseTarget) -> list[Path]:
        """Where journals are that are posted beside those for `target`."""
        unassigned = self.journals(None)
        return [unassigned] if self.carries_unassigned and unassigned != self.journals(target) else []

    def _place(self) -> Path:
        try:
            return data_directory(self.data_dir, os.environ)
        except ConfigError:  # a user without a home
            return private_directory()

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
        if self.target is not None:
            return self.target
        url = self.database_url
        if url is not None:
            if not isinstance(said := url.reveal(), str):  # some libraries have types of their own for URLs
                raise ConfigError(f"expected text, got a {type(said).__name__}", path="database_url")
            return parse_database_url(url, source="database_url")
        if named := os.environ.get("DATABASE_URL"):
            return parse_database_url(Secret(named))
        parts = database_url_from_parts(os.environ)
        return None if parts is None else parse_database_url(parts, source="DATABASE_HOST and its companions")


def journals_for(data_dir: Path, target: DatabaseTarget | None) -> Path:
    """Where apps keep journals for `target`, as their URL names it: a directory for each host, port, database and
    schema, so that no database gets what was meant for another. None: those that know of no database."""
    place = data_dir / SDK_JOURNALS
    if target is None:
        return place
    named = f"{target.host.lower()}_{target.port}_{target.database}"
    exactly = "\0".join((target.host.lower(), str(target.port), target.database, target.schema or "public"))
    digest = hashlib.sha256(exactly.encode()).hexdigest()
    return place / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', named)[:_READABLE_MAX].strip('._')}-{digest[:12]}"


def private_directory() -> Path:
    """The data directory of apps whose user has no home: a private one of that user's, beside temporary files.

    Raises ConfigError: somebody else has made it, or it cannot be made.
    """
    path = Path(tempfile.gettempdir()) / f"bursar-{os.geteuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError(f"there is no home directory, and {path} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"there is no home directory, and {path} is not private. Set BURSAR_DATA_DIR.")
    return path
