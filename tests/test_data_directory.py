"""The data directory: one owner, private, and clear about what is wrong with it."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from bursar.data_directory import DataDirectory
from bursar.domain.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_made_for_its_owner_alone(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "deep" / "data")
    data.lock()
    secret = data.generate_secret("master_key", prefix="sk-")
    assert secret.startswith("sk-")
    assert len(secret) == 3 + 43
    assert data.secret("master_key") == secret
    assert [mode(data.path / name) for name in (".", "keys", "journal")] == [0o700] * 3
    assert [mode(data.path / name) for name in ("lock", "keys/master_key")] == [0o600] * 2
    data.unlock()


def test_secrets_differ_and_stay(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    assert data.secret("salt_key") is None
    assert data.generate_secret("salt_key") != data.generate_secret("master_key")
    assert DataDirectory(tmp_path).secret("salt_key") == data.secret("salt_key")


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.lock()
    with pytest.raises(ConfigError, match=rf"in use by another bursar \(pid {os.getpid()}\)\. Stop that one"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()
    second.unlock()  # harmless


def test_an_owner_that_has_not_said_who_it_is(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match=r"\(pid unknown\)"):
        data.lock()
    os.close(descriptor)


@pytest.mark.parametrize("name", ["", "keys", "journal"])
def test_a_file_stands_in_the_way(name: str, tmp_path: Path) -> None:
    place = tmp_path / "data"
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).touch()
    with pytest.raises(ConfigError, match=r"data directory .* cannot be used: .*--data-dir"):
        DataDirectory(place)


def test_a_lock_or_a_key_that_is_none(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    (tmp_path / "lock").mkdir()
    (tmp_path / "keys" / "master_key").mkdir()
    with pytest.raises(ConfigError, match="lock: Is a directory"):
        data.lock()
    with pytest.raises(ConfigError, match="master_key: Is a directory"):
        data.secret("master_key")
    with pytest.raises(ConfigError, match="master_key"):
        data.generate_secret("master_key")
