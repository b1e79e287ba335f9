"""What the journal wants to know of the file system it is on."""

import os
from pathlib import Path

import pytest

from bursar.domain.errors import ConfigError
from bursar.ledger.file_system import mount_point, refuse_network, set_aside
from bursar.ledger.journal import Journal
from tests.ledger.journals import ID, mounted

MOUNTS = r"""/dev/vda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /run tmpfs rw 0 0
nas:/export /srv/nas nfs4 rw,vers=4.2,addr=10.0.0.1 0 0
/dev/sdb1 /srv/nas/local xfs rw 0 0
//server/share /srv/a\040share cifs rw 0 0
user@host:/ /srv/ssh fuse.sshfs rw 0 0
s3fs /srv/bucket fuse.s3fs rw 0 0
overlay /srv/overlay overlay rw 0 0
fuse-overlayfs /srv/podman fuse.fuse-overlayfs rw 0 0
/dev/sdc1 /srv/ntfs fuseblk rw 0 0
share /srv/guest 9p rw 0 0
/dev/sdd1 /srv/over ext4 rw 0 0
nas:/over /srv/over nfs rw 0 0
nas:/under /srv/under nfs rw 0 0
/dev/sde1 /srv/under btrfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/nas", "nfs4"),
        ("/srv/nas/bursar/journal", "nfs4"),
        ("/srv/a share/bursar", "cifs"),
        ("/srv/ssh/x", "fuse.sshfs"),
        ("/srv/bucket", "fuse.s3fs"),
        ("/srv/over/bursar", "nfs"),
    ],
)
def test_network_file_systems_are_refused(path: str, kind: str) -> None:
    with pytest.raises(ConfigError, match="network file system") as refused:
        refuse_network(Path(path), MOUNTS)
    assert f"({kind} at /srv/" in str(refused.value)
    assert "--data-dir" in str(refused.value)
    assert "durability: database" in str(refused.value)


@pytest.mark.parametrize("path", ["/", "/home/x", "/srv/nasty", "/srv/nas/local/x", "/srv/overlay/x"])
def test_local_ones_are_not(path: str) -> None:
    refuse_network(Path(path), MOUNTS)


@pytest.mark.parametrize(
    "path", ["/srv/podman", "/srv/ntfs", "/srv/guest", "/srv/under/bursar", "/run/x", "/srv/new/yet"]
)
def test_nor_those_that_only_look_like_one(path: str) -> None:
    refuse_network(Path(path), MOUNTS)


def test_this_machines_mounts_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own table, with a network's name for what is mounted here."""
    place = tmp_path / "with a space"
    with mounted(place, "-o", "size=1m"):
        refuse_network(place)
        monkeypatch.setattr("bursar.ledger.file_system._NETWORK", frozenset({"tmpfs"}))
        with pytest.raises(ConfigError, match=r"tmpfs at .*with a space\)"):
            refuse_network(place / "journal")
        with pytest.raises(ConfigError, match="network file system"):
            Journal(place / "journal", ID)
        assert list(place.iterdir()) == []


def test_the_mount_point_of_what_is_not_there_yet(tmp_path: Path) -> None:
    assert mount_point(Path("/")) == Path("/")
    with mounted(tmp_path / "disk", "-o", "size=1m") as disk:
        (tmp_path / "link").symlink_to(disk)
        assert mount_point(disk / "a" / "b") == disk
        assert mount_point(tmp_path / "link" / "a") == disk
    assert mount_point(disk) != disk


def test_room_is_set_aside_without_making_the_file_longer(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-o", "size=1m") as disk, (disk / "file").open("wb", buffering=0) as file:
        assert set_aside(file.fileno(), 0, 500_000)
        assert os.fstat(file.fileno()).st_size == 0
        found = os.statvfs(disk)
        assert found.f_bavail * found.f_frsize < 1_048_576 - 500_000
        with pytest.raises(OSError, match="No space left"):
            set_aside(file.fileno(), 0, 2_000_000)
