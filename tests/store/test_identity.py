"""As whom the embedded server runs. What root may choose from is seen where the tests run as root."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bursar.domain.errors import StoreError
from bursar.store.identity import Identity, choose_identity

PROGRAMS = Path("/bin")
ROOT = os.geteuid() == 0
NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that everybody may pass through."""
    directory = Path(tempfile.mkdtemp(prefix="bursar-identity-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def unprivileged() -> set[int]:
    """Users that root may take."""
    users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return {users[name] for name in ("postgres", "nobody", "daemon") if name in users}


def check_namespace(data: Path, programs: Path = PROGRAMS) -> None:
    """It stays root's, in a namespace, or is refused where there are none."""
    if NAMESPACES.exists() and NAMESPACES.read_text().strip() != "0":
        identity = choose_identity(data=data, programs=programs)
        assert identity.launch.split(":")[0] == "namespace"
        assert identity.owner is None
    else:
        with pytest.raises(StoreError, match="PostgreSQL does not run as root"):
            choose_identity(data=data, programs=programs)


def test_root_takes_one_who_can_reach_it_and_others_themselves(home: Path) -> None:
    identity = choose_identity(data=home / "data" / "pg", programs=PROGRAMS)
    if ROOT:
        assert identity.owner is not None
        assert identity.owner[0] in unprivileged()
        assert identity.launch == f"user:{identity.owner[0]}:{identity.owner[1]}"
    else:
        assert identity == Identity("self")


@pytest.mark.parametrize("closed", ["data", "programs"])
def test_what_only_root_can_reach_stays_root_s(closed: str, home: Path) -> None:
    (home / "private" / "bin").mkdir(parents=True)
    (home / "private").chmod(0o700)
    data = (home / "private" if closed == "data" else home) / "data" / "pg"
    programs = home / "private" / "bin" if closed == "programs" else PROGRAMS
    if ROOT:
        check_namespace(data, programs)
    else:
        assert choose_identity(data=data, programs=programs) == Identity("self")


def test_data_that_exists_is_served_as_who_owns_it(home: Path) -> None:
    data = home / "data" / "pg"
    data.mkdir(parents=True)
    if not ROOT:
        assert choose_identity(data=data, programs=PROGRAMS) == Identity("self")
        return
    check_namespace(data)
    for uid in unprivileged():
        os.chown(data, uid, -1)
        owner = choose_identity(data=data, programs=PROGRAMS).owner
        assert owner is not None
        assert owner[0] == uid
    os.chown(data, 4_000_000, -1)
    with pytest.raises(StoreError, match="Start bursar as another user"):
        choose_identity(data=data, programs=PROGRAMS)
