"""Carrying what apps have left into the books."""

import asyncio
from pathlib import Path

from bursar.book_keeping import replay_journals
from bursar.config.database_url import parse_database_url
from bursar.database_setup import database_options
from bursar.domain.secrets import Secret
from bursar.main import Books
from bursar.sdk.settings import journals_for


async def replay(database_url: str, journals: Path) -> int:
    """`bursar ledger replay`; how many journals were carried."""
    target = parse_database_url(Secret(database_url))
    books = Books(database_options(target), database_url, target)
    replayed = await asyncio.to_thread(replay_journals, books, [journals], lambda _done, _of: None)
    assert replayed.carried == replayed.found
    return replayed.carried


def for_database(data_dir: Path, url: str) -> Path:
    """Where apps leave journals for a database."""
    return journals_for(data_dir, parse_database_url(Secret(url)))
