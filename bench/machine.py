"""The machine and the versions that a run's figures belong to: without them they are noise."""

import os
import platform
import sysconfig
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.cpu import tree_cpu_s
from bench.nginx import version_of


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a run took place."""

    at: str
    """ISO 8601, UTC."""
    cpu: str
    cores: int
    """That this process may use."""
    memory_mb: int
    kernel: str
    python: str
    """The interpreter that serves, and how it was built."""
    nginx: str
    packages: dict[str, str]


class Others:
    """How much of the machine was not ours: other programs, and other machines on the same cores."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._busy_s = _busy_s()
        self._ours_s = tree_cpu_s(os.getpid())

    def share(self) -> float:
        """Of all cores, since the beginning: 0 to 1."""
        ours_s = tree_cpu_s(os.getpid()) - self._ours_s
        others_s = _busy_s() - self._busy_s - ours_s
        return max(others_s / ((time.monotonic() - self._started_s) * (os.cpu_count() or 1)), 0.0)


def _busy_s() -> float:
    """CPU seconds of the whole machine that were not idle, those that its host took away included."""
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


def this_machine(nginx: Path) -> Machine:
    """As it is now."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    compiler = platform.python_compiler()
    return Machine(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=pages * page_bytes // 10**6,
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()} ({compiler}{_optimised()})",
        nginx=version_of(nginx),
        packages={name: version(name) for name in ("bursar", "uvloop", "httptools", "msgspec", "asyncpg")},
    )


def _optimised() -> str:
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    found = [name for flag, name in (("--enable-optimizations", "PGO"), ("--with-lto", "LTO")) if flag in arguments]
    return "".join(f", {name}" for name in found)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
