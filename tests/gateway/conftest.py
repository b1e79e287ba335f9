"""The gateway as its clients meet it, in front of an oracle and a database of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from bursar.oracle.serving import RunningOracle, running_oracle
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.migrate import migrate
from tests.gateway.running import Books, Gateway, config_text, running_gateway

StartGateway = Callable[..., Awaitable[Gateway]]

_EMPTY_ALL = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT schemaname, tablename FROM pg_tables
        WHERE schemaname IN ('public', 'bursar') AND tablename <> 'migrations'
    LOOP
        EXECUTE format('DELETE FROM %I.%I', found.schemaname, found.tablename);
    END LOOP;
END $$
"""


@pytest.fixture(scope="session")
def gateway_database(postgres_server: EmbeddedPostgres) -> str:
    """URL of the database all gateways of a test process use, one after another: a new one for each takes longer than
    most of the tests."""
    name = f"gateways{uuid4().hex}"
    url = postgres_server.url(name)

    async def make() -> None:
        admin = await asyncpg.connect(postgres_server.url("postgres"))
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        connection = await asyncpg.connect(url)
        await migrate(connection, lambda _: None)
        await connection.close()

    asyncio.run(make())
    return url


@pytest.fixture
async def database_url(gateway_database: str) -> AsyncIterator[str]:
    """URL of a database that is empty before the test."""
    yield gateway_database
    connection = await asyncpg.connect(gateway_database)
    await connection.execute("SET session_replication_role = replica")  # foreign keys ask for an order
    await connection.execute(_EMPTY_ALL)
    await connection.close()


@pytest.fixture
async def oracle() -> AsyncIterator[RunningOracle]:
    async with running_oracle() as running:
        yield running


@pytest.fixture
async def start_gateway(oracle: RunningOracle, database_url: str, tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Starts the test's gateway with more `models` and `settings` than all have, or a `config` of its own."""
    async with AsyncExitStack() as stack:

        async def start(*, models: str = "", settings: str = "", config: str | None = None, **options: str) -> Gateway:
            text = config_text(oracle.base_url, models=models, settings=settings) if config is None else config
            gateway = running_gateway(text, database_url=database_url, directory=tmp_path, **options)  # type: ignore[arg-type]
            return await stack.enter_async_context(gateway)

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """The gateway with the models every test has."""
    return await start_gateway()


@pytest.fixture
async def books(database_url: str, tmp_path: Path) -> AsyncIterator[Books]:
    """The books of the test's gateway."""
    looking = Books(database_url, tmp_path / "journal")
    yield looking
    await looking.close()
