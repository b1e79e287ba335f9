"""Fixtures for all tests: a real PostgreSQL server, a database of one's own in it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
import uvloop

from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.migrate import migrate
from tests.database_server import temporary_server

hypothesis.settings.register_profile("bursar", deadline=None)  # a busy machine takes its time over any example
hypothesis.settings.load_profile("bursar")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Asynchronous tests run on the event loop that production runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One embedded server for the test process; tests get databases in it."""
    with temporary_server() as server:
        yield server


@pytest.fixture
async def empty_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of an empty database, dropped afterwards."""
    name = f"t{uuid4().hex}"
    admin = await asyncpg.connect(postgres_server.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """Name of a migrated database to copy, which takes a twentieth of migrating."""
    import asyncio

    async def make() -> str:
        admin = await asyncpg.connect(postgres_server.url("postgres"))
        await admin.execute("CREATE DATABASE migrated")
        connection = await asyncpg.connect(postgres_server.url("migrated"))
        await migrate(connection, lambda _: None)
        await connection.close()
        await admin.close()
        return "migrated"

    return asyncio.run(make())


@asynccontextmanager
async def copied(server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """URL of a copy, as if it had been migrated by itself."""
    name = f"t{uuid4().hex}"
    admin = await asyncpg.connect(server.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    own = await asyncpg.connect(server.url(name))
    await own.execute("UPDATE bursar.books SET id = gen_random_uuid()")
    await own.close()
    yield server.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def database_url(postgres_server: EmbeddedPostgres, template_database: str) -> AsyncIterator[str]:
    """URL of a migrated database of one's own."""
    async with copied(postgres_server, template_database) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on `database_url`."""
    pool = Database(DatabaseOptions({"dsn": database_url}))
    yield pool
    await pool.close()


@pytest.fixture
async def other_database(postgres_server: EmbeddedPostgres, template_database: str) -> AsyncIterator[Database]:
    """A pool on another one."""
    async with copied(postgres_server, template_database) as url:
        pool = Database(DatabaseOptions({"dsn": url}))
        yield pool
        await pool.close()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's environment says must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("LITELLM_", "BURSAR_", "DATABASE_", "OPENAI_", "ANTHROPIC_", "PG")):
            monkeypatch.delenv(name)
