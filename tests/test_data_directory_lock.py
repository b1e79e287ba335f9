"""The data directory's lock is its owner's, from its beginning to its death."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bursar.data_directory import DataDirectory
from bursar.domain.errors import ConfigError


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
