"""What the SDK's callback costs an app: `python -m bench.sdk`, and a part of `python -m bench`.

LiteLLM itself is not needed: the callback's work is done on records as LiteLLM 1.110 makes them. Measured is, on the
thread of the app, one event (read, encoded, on disk): one after the other, then at a pace, then with the poster beside
it in the same process; how many a second reach an embedded PostgreSQL with all projections, of a burst and for long,
and what that does to memory; and how many calls an app makes with the callback, beside how many it makes without.
"""

import argparse
import os
import queue
import sched
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import msgspec

from bench.cpu import resident_bytes
from bench.gates import Gate
from bench.machine import Others
from bench.memory import MEGABYTE
from bench.programs import BenchError
from bench.report import line_of
from bench.rounds import Say
from bench.spread import Spread, spread_of
from bursar.domain.secrets import Secret
from bursar.sdk.gateways import Gateways
from bursar.sdk.litellm_event import spend_of
from bursar.sdk.prices import BookPrices
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from bursar.store.embedded import EmbeddedPostgres
from bursar.telemetry.logs import configure_logs

CALLER_MAX_US = 40.0
POSTED_MIN_PER_S = 3000.0
"""Of a burst, and for long."""
GROWTH_MAX_MB = 24.0
"""From the first fifth of the sustained run to its end. The ids of the last 50,000 calls are kept: half of it."""
SHARE_MIN = 0.98
"""Of the calls that an app makes without the callback."""
_PACE_S = 0.002
_BEHIND_MAX = 5000
"""An app that is further ahead of its database waits, in the sustained run: what is measured is the pace of both."""
_STEPS = 5
_LEAD_S = 0.3
"""Until the poster works as steadily as it will."""
_MODULES = [Path(str(module.__file__)).read_text() for module in (queue, sched, textwrap)]


class SdkSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    burst: int
    paced: int
    sustained: int
    app_calls: int
    """In each round, with the callback and without."""
    app_rounds: int


FULL = SdkSizes(burst=20_000, paced=2_000, sustained=60_000, app_calls=600, app_rounds=9)
QUICK = SdkSizes(burst=5_000, paced=500, sustained=10_000, app_calls=200, app_rounds=3)


class SdkReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    sizes: SdkSizes
    others_share: float
    """Of the machine's CPU that others took meanwhile."""
    alone_us: float
    """An event, one after the other; medians."""
    cold_us: float
    """At a pace."""
    paced_us: float
    """At that pace, with the poster."""
    burst_per_s: float
    sustained_per_s: float
    resident: list[int]
    """Bytes, at the beginning of the sustained run and after each fifth of it."""
    call_us: Spread
    """Of CPU, a call of the app without the callback."""
    app_share: Spread
    """What the app does with the callback, of what it does without in the same CPU time. Its threads share one lock, so
    that is its pace if it does nothing but call."""

    @property
    def growth(self) -> int:
        """Bytes, from the first fifth to the end."""
        return self.resident[-1] - self.resident[1]

    @property
    def gates(self) -> list[Gate]:
        """The bounds."""
        return [
            Gate("an event on the caller's thread", self.alone_us, CALLER_MAX_US, "µs"),
            Gate("an event of a burst, posted", 1e6 / self.burst_per_s, 1e6 / POSTED_MIN_PER_S, "µs"),
            Gate("an event for long, posted", 1e6 / self.sustained_per_s, 1e6 / POSTED_MIN_PER_S, "µs"),
            Gate("memory, growth", self.growth / MEGABYTE, GROWTH_MAX_MB, "MB"),
            Gate("an app's time with the callback", 1 / self.app_share.median, 1 / SHARE_MIN, "× alone"),
        ]

    @property
    def passed(self) -> bool:
        """All gates hold."""
        return all(gate.passed for gate in self.gates)


def event(number: int) -> dict[str, Any]:
    """LiteLLM's record of a call."""
    call = str(uuid4())
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30, "prompt_tokens_details": None}
    return {
        "litellm_call_id": call,
        "response_cost": 0.000225,
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "user": f"user-{number % 100}",
        "messages": [{"role": "user", "content": "Hello"}],
        "litellm_params": {"metadata": {"team_id": "blue", "tags": ["a", "b"], "session_id": "s", "feature": "chat"}},
        "standard_logging_object": {
            "id": f"chatcmpl-{call}",
            "litellm_call_id": call,
            "call_type": "acompletion",
            "model": "gpt-4o",
            "model_group": "",
            "custom_llm_provider": "openai",
            "api_base": "https://api.openai.com",
            "startTime": time.time() - 1.0,
            "endTime": time.time(),
            "completionStartTime": time.time() - 0.5,
            "request_tags": ["a", "b"],
            "metadata": {"usage_object": usage, "team_id": "blue"},
        },
    }


class Caller:
    """An app's thread."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._gateways = Gateways()
        self._prices = BookPrices()

    def tell(self, details: dict[str, Any]) -> None:
        """Do what the callback does with an event."""
        if not self._gateways.serve(details):
            spend = spend_of(details, None, failed=False, price_of=self._prices.find, version="1.110.2")
            self._recorder.book(spend)

    def tell_all(self, events: Sequence[dict[str, Any]], pace_s: float = 0.0) -> float:
        """The median of the time that each takes, in microseconds."""
        took = []
        for details in events:
            begun = time.perf_counter()
            self.tell(details)
            took.append(time.perf_counter() - begun)
            if pace_s:
                time.sleep(pace_s)
        return median(took) * 1e6


def measure_here(sizes: SdkSizes, say: Say) -> SdkReport:
    """Measure everything in this process."""
    others = Others()
    with tempfile.TemporaryDirectory(prefix="bench-sdk-") as place:
        directory = Path(place)
        directory.chmod(0o711)  # started by root, the database runs as another user
        say("the SDK, alone")
        alone = Recorder(Settings(data_dir=directory / "alone"))
        caller = Caller(alone)
        alone_us = caller.tell_all(events(sizes.burst))
        cold_us = caller.tell_all(events(sizes.paced), _PACE_S)
        alone.close()
        server = EmbeddedPostgres(directory)
        server.start(lambda _: None)
        try:
            app = _App(server.url("postgres"), directory)
            say("the SDK, posting")
            paced_us = app.pace(sizes.paced)
            burst_per_s = app.burst(sizes.burst)
            sustained_per_s, resident = app.sustain(sizes.sustained)
            say("the SDK, in an app")
            shares = [app.share(sizes.app_calls, first=number % 2 == 0) for number in range(sizes.app_rounds)]
            app.close()
        finally:
            server.stop()
    return SdkReport(
        sizes=sizes,
        others_share=others.share(),
        alone_us=alone_us,
        cold_us=cold_us,
        paced_us=paced_us,
        burst_per_s=burst_per_s,
        sustained_per_s=sustained_per_s,
        resident=resident,
        call_us=spread_of([without_us for _, without_us in shares]),
        app_share=spread_of([without_us / with_us for with_us, without_us in shares]),
    )


class _App:
    """An app with its database."""

    def __init__(self, url: str, directory: Path) -> None:
        self._recorder = Recorder(Settings(database_url=Secret(url), data_dir=directory / "posted"))
        self._caller = Caller(self._recorder)
        self._caller.tell(event(0))
        self._flush()

    def pace(self, count: int) -> float:
        """Microseconds an event at a pace, with the poster beside it."""
        paced_us = self._caller.tell_all(events(count), _PACE_S)
        self._flush()
        return paced_us

    def burst(self, count: int) -> float:
        """Events a second, told as fast as possible, until the database has them."""
        burst = events(count)
        begun = time.perf_counter()
        self._caller.tell_all(burst)
        self._flush()
        return count / (time.perf_counter() - begun)

    def sustain(self, count: int) -> tuple[float, list[int]]:
        """Events a second, as fast as the database takes them, and the resident memory meanwhile."""
        resident = [resident_bytes(os.getpid())]
        begun = time.perf_counter()
        for number in range(1, count + 1):
            self._caller.tell(event(number))
            if number % 100 == 0:
                while self._recorder.health().queued > _BEHIND_MAX:
                    time.sleep(0.01)
            if number % (count // _STEPS) == 0:
                resident.append(resident_bytes(os.getpid()))
        self._flush()
        return count / (time.perf_counter() - begun), resident

    def share(self, calls: int, *, first: bool) -> tuple[float, float]:
        """Microseconds of CPU a call: with the callback, posting included, and without; `first`: the former first."""
        if first:
            return self._with(calls), _without(calls)
        without_us = _without(calls)
        return self._with(calls), without_us

    def close(self) -> None:
        """Let go."""
        self._recorder.close()

    def _with(self, calls: int) -> float:
        until_s = time.perf_counter() + _LEAD_S
        while time.perf_counter() < until_s:
            self._call()
        self._flush()
        begun = time.process_time()
        for _ in range(calls):
            self._call()
        self._flush()
        return (time.process_time() - begun) / calls * 1e6

    def _call(self) -> None:
        call()
        self._caller.tell(event(0))

    def _flush(self) -> None:
        if not self._recorder.flush(120):
            raise BenchError(f"the database does not get the calls: {self._recorder.health()}")


def call() -> None:
    """Cost what a mocked `acompletion` of LiteLLM 1.110 does: 1.8 ms of CPU where that does. Caches are cold then."""
    for text in _MODULES:
        compile(text, "a call", "exec")


def _without(calls: int) -> float:
    begun = time.process_time()
    for _ in range(calls):
        call()
        event(0)
    return (time.process_time() - begun) / calls * 1e6


def events(count: int) -> list[dict[str, Any]]:
    """So many records."""
    return [event(number) for number in range(count)]


def measure_sdk(sizes: SdkSizes, say: Say) -> SdkReport:
    """The same in a process of its own, as an app is. Raises BenchError: it could not be measured."""
    say("the SDK")
    with tempfile.NamedTemporaryFile(suffix=".json") as kept:
        command = [sys.executable, "-m", "bench.sdk", "--json", kept.name, *(["--quick"] if sizes is QUICK else [])]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        try:
            return msgspec.json.decode(Path(kept.name).read_bytes(), type=SdkReport)
        except msgspec.DecodeError as error:
            raise BenchError(f"the SDK could not be measured: {done.stderr.strip()}") from error


def render_sdk(report: SdkReport, *, gated: bool = True) -> str:
    """The report as a person reads it."""
    resident = ", ".join(f"{size / MEGABYTE:.1f}" for size in report.resident)
    share, pace = report.app_share, 1e6 / report.call_us.median
    spread = f"({share.least:.1%}–{share.most:.1%})"
    lines = [
        f"The SDK's callback. Others took {report.others_share:.1%} of the machine's CPU meanwhile.",
        f"  an event on the caller's thread, µs         {report.alone_us:8.1f}",
        f"  the same every {_PACE_S * 1e3:g} ms, with cold caches       {report.cold_us:8.1f}",
        f"  the same, and the poster beside it          {report.paced_us:8.1f}",
        f"  a burst of {report.sizes.burst:,}, in the database        {report.burst_per_s:8.0f} a second",
        f"  {report.sizes.sustained:,} more, at the pace of both         {report.sustained_per_s:8.0f} a second",
        f"    memory at the start and after each fifth, MB: {resident}",
        f"  of {pace:.0f} calls a second of an app are left     {share.median:8.1%}  {spread}",
    ]
    return "\n".join([*lines, "", "Gates", *map(line_of, report.gates)] if gated else lines)


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.sdk", description="What the SDK's callback costs an app.")
    parser.add_argument("--quick", action="store_true", help="a quarter of a minute, without gates")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures there")
    arguments = parser.parse_args()
    configure_logs(level="ERROR")
    report = measure_here(QUICK if arguments.quick else FULL, lambda what: print(what, file=sys.stderr))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.encode(report))
    print(render_sdk(report, gated=not arguments.quick))
    return 0 if arguments.quick or report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
