"""A LiteLLM proxy's database, to be taken over."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.adopting.litellm import make_litellm_database


@pytest.fixture
async def litellm_url(empty_database: str) -> str:
    """URL of a LiteLLM proxy's database."""
    connection = await asyncpg.connect(empty_database)
    await make_litellm_database(connection)
    await connection.close()
    return empty_database


@pytest.fixture
async def connection(litellm_url: str) -> AsyncIterator[Any]:
    """A connection to it."""
    connected = await asyncpg.connect(litellm_url)
    yield connected
    await connected.close()
