"""What is measured: anything that takes a chat completion and brings the oracle's answer. nginx and the floor are here;
Bursar itself has a module of its own."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.cpu import tree_cpu_s, tree_of
from bench.load import Closed, Open, Plan
from bench.nginx import configuration
from bench.programs import Program, free_port
from bench.upstream import ANSWER_MODEL, STREAM_EVENTS, STREAM_MODEL, Upstream

_QUESTION = " ".join(["How are the books of the third quarter, and who signs them?"] * 17)
_CALLERS_KEY = "sk-caller-without-a-gateway"


@dataclass(frozen=True, slots=True)
class Target:
    """Where calls go, and what they say there."""

    port: int
    model: str
    key: str = _CALLERS_KEY


class CpuSeconds(msgspec.Struct, frozen=True):
    """CPU seconds of a subject's processes so far."""

    gateway: float = 0.0
    """What serves calls."""
    supervisor: float = 0.0
    database: float = 0.0

    def since(self, before: "CpuSeconds") -> "CpuSeconds":
        """The difference."""
        return CpuSeconds(
            self.gateway - before.gateway, self.supervisor - before.supervisor, self.database - before.database
        )


def _nothing_to_settle(calls: int) -> None:  # noqa: ARG001  # as Subject.settle
    return


@dataclass(frozen=True, slots=True)
class Subject:
    """One of them, running."""

    name: str
    answers: Target
    streams: Target
    cpu: Callable[[], CpuSeconds]
    serving: Callable[[], list[int]] = field(default=list)
    """The processes that are measured."""
    settle: Callable[[int], None] = field(default=_nothing_to_settle)
    """Given how many calls were answered since it was asked last, wait until their work is done."""


def plan_for(subject: Subject, pace: Closed | Open, *, streamed: bool = False) -> Plan:
    """The same call to every subject: a question of 1 kB, with a key."""
    target = subject.streams if streamed else subject.answers
    body: dict[str, object] = {
        "model": target.model,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _QUESTION}],
    }
    if streamed:
        body["stream"] = True
    return Plan(
        port=target.port,
        body=msgspec.json.encode(body).decode(),
        headers=[("authorization", f"Bearer {target.key}")],
        pace=pace,
        streamed=streamed,
        events=STREAM_EVENTS if streamed else 0,
    )


def direct(upstream: Upstream) -> Subject:
    """No subject in between: the oracle itself, for the latency that is not the subject's."""
    return Subject(
        "direct",
        Target(upstream.port, ANSWER_MODEL),
        Target(upstream.port, STREAM_MODEL),
        lambda: CpuSeconds(upstream.cpu_s()),
    )


def start_nginx(nginx: Path, place: Path, upstream: Upstream, stack: ExitStack) -> Subject:
    """nginx with its files in `place`; ended with `stack`. Raises BenchError: it does not start."""
    answers_port, streams_port = free_port(), free_port()
    file = place / "nginx.conf"
    file.write_text(
        configuration(
            directory=place, upstream_port=upstream.port, answers_port=answers_port, streams_port=streams_port
        )
    )
    program = Program("nginx", [nginx, "-p", place, "-c", file, "-e", "stderr"], log=place / "nginx.log")
    stack.callback(program.stop)
    program.wait_for_port(answers_port)
    program.wait_for_port(streams_port)
    return Subject(
        "nginx",
        Target(answers_port, ANSWER_MODEL),
        Target(streams_port, STREAM_MODEL),
        lambda: CpuSeconds(tree_cpu_s(program.pid)),
        lambda: tree_of(program.pid),
    )


def start_floor(place: Path, upstream: Upstream, stack: ExitStack) -> Subject:
    """Bursar's HTTP without Bursar; ended with `stack`. Raises BenchError: it does not start."""
    port = free_port()
    program = Program(
        "the floor",
        [sys.executable, "-m", "bench.floor", "--port", str(port), "--upstream", str(upstream.port)],
        log=place / "floor.log",
    )
    stack.callback(program.stop)
    program.wait_for("ready")
    return Subject(
        "floor",
        Target(port, ANSWER_MODEL),
        Target(port, STREAM_MODEL),
        lambda: CpuSeconds(tree_cpu_s(program.pid)),
        lambda: tree_of(program.pid),
    )
