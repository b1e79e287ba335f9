"""The launcher: it becomes what it is told, and ends with its parent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bursar

LAUNCHER = Path(bursar.__file__).parent / "store" / "launch.py"


def launch(identity: str, *command: str, parent: int | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-I", "-S", str(LAUNCHER), str(parent or os.getpid()), identity, *command]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)


def test_the_program_has_its_arguments_and_a_session_of_its_own() -> None:
    done = launch(
        "self", "/bin/sh", "-c", 'echo "$1|$$"; ps -o sid= -p $$ 2>/dev/null || cut -d" " -f6 /proc/$$/stat', *"_x"
    )
    words, session = done.stdout.split("\n")[:2]
    text, pid = words.split("|")
    assert (text, session.strip()) == ("x", pid)


def test_without_its_parent_it_does_not_begin() -> None:
    if sys.platform == "linux":
        done = launch("self", "/bin/echo", "begun", parent=1)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "the parent ended first\n")


def test_a_program_that_is_not_there_is_named() -> None:
    done = launch("self", "/no/such/program")
    assert (done.returncode, done.stderr) == (1, "cannot run /no/such/program: No such file or directory\n")


@pytest.mark.parametrize("kind", ["user", "namespace"])
def test_root_becomes_somebody_else_and_nobody_else_does(kind: str) -> None:
    done = launch(f"{kind}:12345:12346", "/bin/sh", "-c", "id -u; id -g")
    if os.geteuid() == 0 and "user namespaces are not available here" not in done.stderr:
        assert done.stdout.split() == ["12345", "12346"], done.stderr
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"cannot become {kind}:12345:12346: ")
