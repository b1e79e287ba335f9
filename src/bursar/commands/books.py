"""The books that a command is about: those of DATABASE_URL, else of the data directory."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bursar.main import Books


def books_of(data_dir: Path | None) -> "Books":
    """Where they are, whether or not the database runs. Raises ConfigError."""
    from bursar.config.options import data_directory
    from bursar.main import find_books

    return find_books(os.environ, data_directory(data_dir, os.environ))


def running_books_of(data_dir: Path | None) -> "Books":
    """The same of a database that runs. Raises ConfigError, StoreError: it does not."""
    from bursar.config.options import data_directory
    from bursar.main import running_books

    return running_books(os.environ, data_directory(data_dir, os.environ))
