"""A launcher, run as a script of its own: become the right user, tie our life to the parent's, then run a program.

    python -I -S launch.py PARENT_PID AS PROGRAM [ARGUMENT ...]

AS is `self`, `user:UID:GID`, or `namespace:UID:GID`: a user namespace in which our own user appears as UID. The last is
for root where no other user can reach the files: PostgreSQL refuses to run as user 0, and inside the namespace it is
not (docs/decisions/0004-embedded-postgresql.md).

It is a process of its own because what happens here may not happen between fork and exec of a process with threads.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _become(identity: str) -> None:
    kind, _, ids = identity.partition(":")
    if kind == "self":
        return
    uid, gid = (int(part) for part in ids.split(":"))
    if kind == "user":
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    else:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "user namespaces are not available here")
        outer_uid, outer_gid = 0, 0
        Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def _die_with(parent: int) -> None:
    """Have the kernel send us SIGINT (PostgreSQL: a fast, clean shutdown) when the parent ends, however it ends.

    After the change of user, which clears the setting. Elsewhere than on Linux the next start finds us instead.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            sys.exit("the parent ended first")


def main(arguments: list[str]) -> None:
    """Run as described above; ends by becoming the program."""
    parent, identity, program, *rest = arguments
    os.setsid()  # Ctrl-C in the terminal is for the supervisor, which stops us last
    try:
        _become(identity)
    except OSError as error:
        sys.exit(f"cannot become {identity}: {error.strerror}")
    _die_with(int(parent))
    try:
        os.execv(program, [program, *rest])  # noqa: S606  # no shell; the program is named by the supervisor
    except OSError as error:
        sys.exit(f"cannot run {program}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
