"""LiteLLM's SDK, the oldest that is supported and the newest, each in an environment of its own: it is large, and pins
what others need in other versions."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from bench.programs import ROOT, BenchError

_UV = Path(sys.executable).parent / "uv"


def litellm_environment(which: str) -> Path:
    """The Python of an environment with LiteLLM, made if it is not there, or is not what the requirements say. `which`:
    `oldest` or `newest`.

    Raises BenchError: it cannot be made, for want of a network, say.
    """
    requirements = ROOT / "requirements" / f"litellm-{which}.txt"
    directory = ROOT / f".venv-litellm-{which}-{sys.version_info.major}.{sys.version_info.minor}"
    python, made = directory / "bin" / "python", directory / ".made"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    with (ROOT / f".venv-litellm-{which}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != wanted:
            _run("venv", "--quiet", "--clear", "--python", sys.executable, str(directory))
            _run("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements))
            made.write_text(wanted)
    return python


def _run(*arguments: str) -> None:
    done = subprocess.run([_UV, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"no environment with LiteLLM: uv {arguments[0]} failed:\n{done.stderr[-1000:]}")
