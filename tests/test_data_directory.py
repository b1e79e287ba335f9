"""The data directory: one owner at a time, readable by nobody else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bursar.data_directory import DataDirectory
from bursar.domain.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_and_closed_to_others(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "a" / "b")
    assert mode(directory.path) == mode(directory.journals) == mode(directory.path / "keys") == 0o700
    assert DataDirectory(directory.path).journals == directory.journals, "and found again"


def test_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="--data-dir"):
        DataDirectory(tmp_path / "file" / "data")


def test_a_second_owner_is_told_about_the_first(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.lock()
    with pytest.raises(ConfigError, match=f"in use by another bursar .pid {os.getpid()}.*kill {os.getpid()}"):
        second.lock()
    first.unlock()
    second.lock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    second.unlock()
    second.unlock()


def test_a_lock_dies_with_its_owner(tmp_path: Path) -> None:
    """However it dies; what it wrote there is no lock."""
    program = (
        "import os, sys; from pathlib import Path; from bursar.data_directory import DataDirectory\n"
        "directory = DataDirectory(Path(sys.argv[1])); directory.lock(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "lock").read_text() != ""
    directory = DataDirectory(tmp_path)
    directory.lock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    directory.unlock()


def test_a_forked_child_that_lets_go_does_not_free_it(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.lock()
    child = os.fork()
    if child == 0:
        directory.unlock()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(ConfigError):
        DataDirectory(tmp_path).lock()
    directory.unlock()


def test_secrets(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    assert directory.secret("master") is None
    made = directory.generate_secret("master", "sk-")
    assert made.startswith("sk-")
    assert len(made) == 46
    assert DataDirectory(tmp_path).secret("master") == made
    assert mode(tmp_path / "keys" / "master") == 0o600
    assert directory.generate_secret("salt") != made
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["master", "salt"]


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    (tmp_path / "keys" / "master").write_text("\n")
    assert directory.secret("master") is None
