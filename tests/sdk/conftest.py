"""LiteLLM's SDK, the oldest that is supported and the newest, each in an environment of its own: it is large, and pins
what others need in other versions."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.sdk.running import ROOT, App

_UV = Path(sys.executable).parent / "uv"


def litellm_environment(which: str) -> Path:
    """The Python of an environment with LiteLLM, made if it is not there, or is not what the requirements say."""
    requirements = ROOT / "requirements" / f"litellm-{which}.txt"
    directory = ROOT / f".venv-litellm-{which}-{sys.version_info.major}.{sys.version_info.minor}"
    python, made = directory / "bin" / "python", directory / ".made"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    with (ROOT / f".venv-litellm-{which}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != wanted:
            run("venv", "--quiet", "--clear", "--python", sys.executable, str(directory))
            run("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements))
            made.write_text(wanted)
    return python


def run(*arguments: str) -> None:
    done = subprocess.run([_UV, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session", params=["oldest", "newest"])
def litellm_python(request: pytest.FixtureRequest) -> Path:
    """Of both, one after the other."""
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
def newest_app(newest_litellm: Path, database_url: str, tmp_path: Path) -> App:
    """Programs on the newest."""
    return App(newest_litellm, {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})


@pytest.fixture
async def connection(database_url: str) -> Any:
    """To look into the books."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
