"""LiteLLM's SDK, the oldest that is supported and the newest, and programs that use it."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bench.litellm_environment import litellm_environment
from tests.sdk.running import App


@pytest.fixture(scope="session", params=["oldest", "newest"])
def litellm_python(request: pytest.FixtureRequest) -> Path:
    """Of both, one after the other."""
    return litellm_environment(request.param)


@pytest.fixture(scope="session", params=[pytest.param("oldest", marks=pytest.mark.long), "newest"])
def newest_first_python(request: pytest.FixtureRequest) -> Path:
    """Of the newest; of the oldest in `make long`."""
    return litellm_environment(request.param)


@pytest.fixture(scope="session")
def newest_litellm() -> Path:
    """Of the newest."""
    return litellm_environment("newest")


@pytest.fixture
def app(litellm_python: Path, database_url: str, tmp_path: Path) -> App:
    """Programs on either."""
    return App(litellm_python, {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})


@pytest.fixture
def newest_first_app(newest_first_python: Path, database_url: str, tmp_path: Path) -> App:
    """Programs on the newest; on the oldest in `make long`."""
    return App(newest_first_python, {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})


@pytest.fixture
def newest_app(newest_litellm: Path, database_url: str, tmp_path: Path) -> App:
    """Programs on the newest."""
    return App(newest_litellm, {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})


@pytest.fixture
async def connection(database_url: str) -> Any:
    """To look into the books."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
