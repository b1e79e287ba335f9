"""What the journal asks of the file system beneath it: to be local, to be there, and to keep room for it."""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bursar.domain.errors import ConfigError

_KEEP_SIZE = 1
_GET_FLAGS, _SET_FLAGS, _NO_COPY_ON_WRITE = 0x80086601, 0x40086602, 0x0080_0000
_SPARE_BYTES = 1024 * 1024
"""Where room cannot be set aside: how much more than asked for has to be free."""

_NETWORK = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "gfs2", "ocfs2"}
    | {"gpfs", "beegfs", "pvfs2", "orangefs", "glusterfs", "moosefs", "mfs", "seaweedfs", "juicefs", "cephfs", "sshfs"}
    | {"s3fs", "s3ql", "goofys", "geesefs", "gcsfuse", "mountpoint-s3", "blobfuse", "blobfuse2", "rclone", "davfs"}
    | {"davfs2", "smbnetfs", "curlftpfs", "hdfs", "alluxio"}
)
"""By the names that Linux lists them under, without the `fuse.` of those that are programs. Not among them: 9p and
virtiofs, by which a guest sees its own host's disk."""


def _find_fallocate() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError):  # not Linux
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function


_fallocate = _find_fallocate() if struct.calcsize("P") == 8 else None


def set_aside(fd: int, offset: int, size: int) -> bool:
    """Have the file system keep room for `size` bytes of the file from `offset` on, without making the file longer.

    The file's size stays what is written, so that readers see no difference. False: this file system cannot, or this
    system has no way to ask it; then there is merely room at this moment. Raises OSError: there is not.
    """
    if _fallocate is not None:
        while True:
            if _fallocate(fd, _KEEP_SIZE, offset, size) == 0:
                return True
            number = ctypes.get_errno()
            if number in (errno.EOPNOTSUPP, errno.ENOSYS):
                break
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
    found = os.fstatvfs(fd)
    if found.f_bavail * found.f_frsize < size + _SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return False


def give_back(fd: int) -> None:
    """Let go of what was set aside beyond the file's end."""
    with suppress(OSError):
        os.ftruncate(fd, os.fstat(fd).st_size)


def write_in_place(fd: int) -> None:
    """Have btrfs overwrite the blocks of a new, empty file: else room that was set aside is of no use for a block that
    is written a second time. Other file systems know nothing of this."""
    with suppress(OSError):
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("l", 0)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags | _NO_COPY_ON_WRITE))


def mount_point(path: Path) -> Path:
    """Where the file system is mounted on which `path` is, or will be."""
    path = path.resolve()
    while not path.is_mount():  # `/` is one
        path = path.parent
    return path


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """Raise ConfigError if `path` is on another machine's disk: there, locks and crash safety are not what they seem.

    `mounts`: a table of mounts as Linux prints it, in place of this machine's.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:  # not Linux
            return
    place = str(path.resolve())
    kind = where = ""
    for line in mounts.splitlines():
        _, escaped, found, *_ = line.split(" ")
        target = escaped.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")
        inside = place == target or place.startswith(target.rstrip("/") + "/")
        if inside and len(target) >= len(where):  # of several at one place the last one is seen
            kind, where = found, target
    if kind.removeprefix("fuse.") in _NETWORK:
        raise ConfigError(
            f"{path} is on a network file system ({kind} at {where}), where the journal's locks and its safety in a "
            "crash depend on another machine. Choose a directory on a local disk (--data-dir, BURSAR_DATA_DIR); where "
            "there is none to keep, a local one that is lost with the container will do, with "
            "bursar_settings.durability: database and DATABASE_URL."
        )
