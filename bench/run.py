"""A whole run, from an empty directory to the report. Whatever it starts, it ends."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench import admission
from bench.books import Agreement, BooksReader, compare
from bench.cores import Cores, apart
from bench.figures import Figures
from bench.gates import Gate, gates_of
from bench.gateway import PROVIDER_KEY, Gateway
from bench.litellm import NAME, litellm_version, start_litellm
from bench.machine import Machine, Others, this_machine
from bench.measure import Meter
from bench.memory import Memory, soak
from bench.rounds import Say, measure_once, run_rounds
from bench.sizes import Sizes, once
from bench.spread import Spread, spread_of
from bench.subjects import direct, start_floor, start_nginx
from bench.upstream import Upstream


class Starts(msgspec.Struct, frozen=True):
    """Seconds from exec to the first answer."""

    first_s: float
    """The database is made."""
    second_s: Spread
    """The database is there, and empty."""
    full_s: float
    """With all the calls of the run in it."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found."""

    machine: Machine
    others_share: float
    """Of the machine's CPU, what others took during the run."""
    sizes: Sizes
    upstream_workers: int
    cores: Cores
    figures: dict[str, dict[str, Spread]]
    """By subject and `load.metric`."""
    ratios: dict[str, Spread]
    """CPU of Bursar over nginx's, by load, round by round."""
    memory: Memory
    starts: Starts
    admission: admission.Cost
    books: Agreement
    gates: list[Gate]

    @property
    def passed(self) -> bool:
        """The books agree and, in a run with gates, all of them hold."""
        return self.books.complete and (not self.sizes.gated or all(gate.passed for gate in self.gates))


def run(sizes: Sizes, *, nginx: Path, litellm: Path | None, say: Say) -> tuple[Report, Figures]:
    """Measure everything. Raises BenchError: something does not start, or calls failed."""
    machine, others = this_machine(nginx), Others()
    if litellm is not None:
        machine.packages[NAME] = litellm_version(litellm)
    say("admission")  # three times, minutes apart: a machine has its phases, and nothing beside it to compare it with
    admitting = admission.measure()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bursar-bench-")))
        place.chmod(0o711)  # started by root, nginx's worker and the database run as other users
        upstream = Upstream(place, workers=max(1, machine.cores // 2))
        stack.callback(upstream.stop)
        base, proxy = direct(upstream), start_nginx(nginx, place, upstream, stack)
        floor = start_floor(place, upstream, stack)
        (place / "bursar").mkdir()
        gateway = Gateway(place / "bursar", upstream)
        stack.callback(gateway.stop)
        first_s, second_s = _starts(gateway, sizes.starts, say)

        idle = gateway.resident_bytes()
        meter = Meter(upstream, sizes)
        bursar = gateway.subject()
        with apart([pid for subject in (proxy, floor, bursar) for pid in subject.serving()]) as cores:
            figures = run_rounds(sizes.rounds, meter, [proxy, floor, bursar], base, say)
            memory = soak(gateway, bursar, meter, idle=idle, calls=sizes.soak_calls, say=say)

        say("admission, again")
        admitting = admitting.with_(admission.measure())
        say("starting once more, with full books")
        gateway.stop()
        full_s = gateway.start()
        books = _compare(gateway.books, upstream, meter.answered[bursar.name], say)
        gateway.stop()
        if litellm is not None:
            other = start_litellm(litellm, place, upstream, stack)
            with apart(other.serving()):
                measure_once(figures, Meter(upstream, once(sizes)), other, base, say)
    say("admission, again")
    admitting = admitting.with_(admission.measure())
    starts = Starts(first_s, second_s, full_s)
    return (
        Report(
            machine=machine,
            others_share=others.share(),
            sizes=sizes,
            upstream_workers=upstream.workers,
            cores=cores,
            figures=figures.all(),
            ratios=figures.ratios("bursar", "nginx"),
            memory=memory,
            starts=starts,
            admission=admitting,
            books=books,
            gates=gates_of(figures, memory, second_s, admitting),
        ),
        figures,
    )


def _starts(gateway: Gateway, count: int, say: Say) -> tuple[float, Spread]:
    """The first start, and the spread of `count` second ones. It runs afterwards."""
    first_s = gateway.start()
    say(f"first start, database made: {first_s:.2f} s")
    second: list[float] = []
    for _ in range(count):
        gateway.stop()
        second.append(gateway.start())
        say(f"second start: {second[-1]:.2f} s")
    return first_s, spread_of(second)


def _compare(books: BooksReader, upstream: Upstream, answered: int, say: Say) -> Agreement:
    say(f"comparing the ledger with the bill of {answered} calls")
    return compare(upstream.bill_of(PROVIDER_KEY), books.read(), answered=answered)
