"""LiteLLM before the same provider, where the caller has one: its executable, in an environment of its own.

It runs without a database, since the client that it uses for one fetches programs from the network when it is set up.
So it has a master key and no virtual ones, and keeps no books: it does less than Bursar does here.
"""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.cpu import tree_cpu_s, tree_of
from bench.gateway_config import ANSWERS, STREAMS, gateway_config
from bench.programs import BenchError, Program, clean_environment, free_port
from bench.subjects import CpuSeconds, Subject, Target
from bench.upstream import Upstream

NAME = "litellm"
_MASTER_KEY = "sk-master-of-the-benchmark"
_PROVIDER_KEY = "sk-provider-key-of-litellm"
_START_S = 120.0
_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": _MASTER_KEY}
_NO_ACCESS_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"uvicorn.access": {"level": "WARNING", "propagate": False}},
}


def litellm_version(program: Path) -> str:
    """Such as `1.80.0`. Raises BenchError: it is no LiteLLM that runs."""
    try:
        done = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, env=clean_environment() | _OFFLINE, check=False
        )
    except OSError as error:
        raise BenchError(f"{program} cannot be run: {error.strerror}. Name LiteLLM's executable") from error
    words = done.stdout.split()
    if done.returncode != 0 or not words:
        raise BenchError(f"{program} --version failed:\n{done.stderr[-1000:]}")
    return words[-1]


def start_litellm(program: Path, place: Path, upstream: Upstream, stack: ExitStack) -> Subject:
    """One worker, with its files in `place`; ended with `stack`. Raises BenchError: it does not start."""
    config, log_config, port = place / "litellm.yaml", place / "litellm-logs.json", free_port()
    config.write_text(gateway_config(upstream, provider_key=_PROVIDER_KEY))
    log_config.write_bytes(msgspec.json.encode(_NO_ACCESS_LOG))
    running = Program(
        "LiteLLM",
        [
            *(program, "--config", config, "--host", "127.0.0.1", "--port", str(port)),
            *("--num_workers", "1", "--log_config", log_config, "--telemetry", "False"),
        ],
        log=place / "litellm.log",
        environ=_OFFLINE,
        says_nothing=True,
    )
    stack.callback(running.stop)
    running.wait_for_port(port, timeout_s=_START_S)
    return Subject(
        NAME,
        Target(port, ANSWERS, _MASTER_KEY),
        Target(port, STREAMS, _MASTER_KEY),
        lambda: CpuSeconds(tree_cpu_s(running.pid)),
        lambda: tree_of(running.pid),
    )
