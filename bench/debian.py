"""Programs that measurements and tests need beside ours: found, or installed where that can be done without asking."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


class ProgramMissing(Exception):
    """The program is not there and could not be installed; the message says what to do."""


def find_program(name: str, *packages: str, say: Callable[[str], None] = lambda _: None) -> Path:
    """`name` of PATH or of the usual places; else, for root on Debian, from the first of `packages` that brings it.

    Raises ProgramMissing.
    """
    if (found := _on_path(name)) is not None:
        return found
    cure = f"Install it (Debian: apt-get install {packages[0]})"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ProgramMissing(f"{name} is not on PATH. {cure}")
    complaint = ""
    for attempt in range(2):  # a fresh machine has no lists of packages yet
        for package in packages:
            say(f"{name} is not on PATH: apt-get install {package} …")
            complaint = _apt_get("install", "--yes", "--no-install-recommends", package)
            if not complaint and (found := _on_path(name)) is not None:
                return found
        if attempt == 0:
            _apt_get("update")
    raise ProgramMissing(f"{name} could not be installed: {complaint}\n{cure}")


def _apt_get(*arguments: str) -> str:
    """What it complains of; nothing: it is done."""
    done = subprocess.run(["apt-get", *arguments], env=os.environ | _QUIET, capture_output=True, check=False)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace")[-500:].strip() or "it failed"


def _on_path(name: str) -> Path | None:
    found = shutil.which(name) or shutil.which(name, path=_PLACES)
    return None if found is None else Path(found)
