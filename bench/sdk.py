"""What the SDK's callback costs an app: `python -m bench.sdk`, and a part of `python -m bench`.

First its work alone, on records as LiteLLM 1.110 makes them. Measured is, on the thread of the app, one event (read,
written, on disk): one after the other, then at a pace, then with the poster beside it in the same process; how many a
second reach an embedded PostgreSQL with all projections, of a burst and for long, and what that does to memory.

Then apps with LiteLLM itself (`bench.sdk_app`), in an environment that is made for it: how many calls they make with
the callback, beside how many they make without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import msgspec

from bench.cores import apart
from bench.cpu import resident_bytes
from bench.gates import Gate
from bench.litellm_environment import litellm_environment
from bench.machine import Others
from bench.memory import MEGABYTE
from bench.programs import ROOT, BenchError, Program
from bench.report import line_of
from bench.rounds import Say
from bench.spread import Spread, spread_of
from bench.upstream import Upstream
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
"""Of the calls that an app makes without the callback: in the same time, of a provider that takes time to answer. For
apps that do nothing but call it is an aim."""
_PACE_S = 0.002
_BEHIND_MAX = 5000
"""An app that is further ahead of its database waits, in the sustained run: what is measured is the pace of both."""
_STEPS = 5
_APP_S = 600.0
_WAIT_MS = 200
"""How long a provider takes that is quick."""


class SdkSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    burst: int
    paced: int
    sustained: int
    app_rounds: int
    app_blocks: int
    """Of calls, in each round, each way."""
    app_calls: int
    """In each block."""


FULL = SdkSizes(burst=20_000, paced=2_000, sustained=60_000, app_rounds=9, app_blocks=12, app_calls=25)
QUICK = SdkSizes(burst=5_000, paced=500, sustained=10_000, app_rounds=3, app_blocks=3, app_calls=20)


class AppCost(msgspec.Struct, frozen=True, kw_only=True):
    """What calls cost an app, in microseconds of its CPU."""

    call_us: Spread
    """Without a callback."""
    added_us: Spread
    """By the callback, on the app's own threads."""
    idle_us: Spread
    """Of that: what LiteLLM takes to tell a callback that does nothing."""
    posting_us: float
    """By our thread."""
    share: Spread
    """How many calls it makes with the callback, posting included, of those without, in the same CPU time. Its threads
    share one lock, so that is its pace if it does nothing but call."""


class _Told(msgspec.Struct):
    """As `bench.sdk_app` prints it."""

    without_us: list[float]
    with_us: list[float]
    idle_us: list[float]
    posting_us: float
    without_s: list[float]
    with_s: list[float]
    failed: str

    def cost(self) -> AppCost:
        """Its figures, round by round."""
        rounds = list(zip(self.without_us, self.with_us, self.idle_us, strict=True))
        return AppCost(
            call_us=spread_of(self.without_us),
            added_us=spread_of([told - alone for alone, told, _ in rounds]),
            idle_us=spread_of([idle - alone for alone, _, idle in rounds]),
            posting_us=self.posting_us,
            share=spread_of([alone / (told + self.posting_us) for alone, told, _ in rounds]),
        )


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
    provider: AppCost
    """Of an app that calls a provider over HTTP, which answers at once, 20 at once."""
    mocked: AppCost
    """Of an app whose calls LiteLLM answers by itself, 20 at once."""
    one_by_one: AppCost
    """The same, synchronously."""
    waiting_share: Spread
    """How many calls an app makes in the same time, of a provider that takes a fifth of a second, 20 at once."""

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
            Gate("an app's time for its calls", 1 / self.waiting_share.median, 1 / SHARE_MIN, "× alone"),
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
            app = _Books(server.url("postgres"), directory)
            say("the SDK, posting")
            paced_us = app.pace(sizes.paced)
            burst_per_s = app.burst(sizes.burst)
            sustained_per_s, resident = app.sustain(sizes.sustained)
            app.close()
            apps = _measure_apps(sizes, server.url("postgres"), directory, say)
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
        provider=apps["provider"].cost(),
        mocked=apps["mocked"].cost(),
        one_by_one=apps["one by one"].cost(),
        waiting_share=_share_of_time(apps["waiting"]),
    )


def _measure_apps(sizes: SdkSizes, url: str, directory: Path, say: Say) -> dict[str, _Told]:
    python = litellm_environment("newest")
    blocks, calls = sizes.app_blocks, sizes.app_calls
    busy = ["--rounds", sizes.app_rounds, "--blocks", blocks, "--calls", calls, "--steady", sizes.app_rounds * blocks]
    waits = ["--rounds", max(sizes.app_rounds // 2, 1), "--blocks", "1", "--calls", blocks * calls, "--steady", "1"]
    upstream = Upstream(directory, workers=1)
    try:
        of_provider = ["--base-url", upstream.base_url, "--oracle"]
        ways: dict[str, list[object]] = {
            "provider": [*busy, *of_provider, "tokens=50"],
            "mocked": busy,
            "one by one": [*busy, "--one-by-one"],
            "waiting": [*waits, *of_provider, f"tokens=50&head_ms={_WAIT_MS}"],
        }
        told = {}
        for name, arguments in ways.items():
            say(f"the SDK, in an app: {name}")
            told[name] = _run_app(python, arguments, url=url, directory=directory / name.replace(" ", "-"))
        return told
    finally:
        upstream.stop()


def _run_app(python: Path, arguments: Sequence[object], *, url: str, directory: Path) -> _Told:
    directory.mkdir()
    environ = {
        "DATABASE_URL": url,
        "BURSAR_DATA_DIR": str(directory),
        "BURSAR_SDK_GUARD_LISTS": "off",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    command: list[str | Path] = [python, "-m", "bench.sdk_app", *map(str, arguments)]
    program = Program("an app with LiteLLM", command, log=directory / "app.log", environ=environ)
    try:
        with apart([program.pid]):
            told = msgspec.json.decode(program.wait_for('"without_us"', timeout_s=_APP_S), type=_Told)
    finally:
        program.stop()
    if told.failed:
        raise BenchError(f"the database does not get the calls of an app: {told.failed}")
    return told


def _share_of_time(told: _Told) -> Spread:
    pairs = zip(told.without_s, told.with_s, strict=True)
    return spread_of([alone_s / told_s for alone_s, told_s in pairs])


class _Books:
    """An app's books, with a database."""

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

    def close(self) -> None:
        """Let go."""
        self._recorder.close()

    def _flush(self) -> None:
        if not self._recorder.flush(120):
            raise BenchError(f"the database does not get the calls: {self._recorder.health()}")


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
    lines = [
        f"The SDK's callback. Others took {report.others_share:.1%} of the machine's CPU meanwhile.",
        f"  an event on the caller's thread, µs         {report.alone_us:8.1f}",
        f"  the same every {_PACE_S * 1e3:g} ms, with cold caches       {report.cold_us:8.1f}",
        f"  the same, and the poster beside it          {report.paced_us:8.1f}",
        f"  a burst of {report.sizes.burst:,}, in the database        {report.burst_per_s:8.0f} a second",
        f"  {report.sizes.sustained:,} more, at the pace of both         {report.sustained_per_s:8.0f} a second",
        f"    memory at the start and after each fifth, MB: {resident}",
        "  Apps with LiteLLM, CPU µs a call:       alone  callback  LiteLLM's    posting        calls left",
        _app_line("a provider that answers at once", report.provider),
        _app_line("mocked", report.mocked),
        _app_line("mocked, one by one", report.one_by_one),
        _share_line(f"    a provider that takes {_WAIT_MS} ms, in the same time", report.waiting_share),
    ]
    left = report.provider.share.median
    reached = "met" if left >= SHARE_MIN else "missed"
    aim = f"  Aim: {SHARE_MIN:.0%} of the calls also where the provider answers at once: {reached}."
    return "\n".join([*lines, aim, "", "Gates", *map(line_of, report.gates)] if gated else lines)


def _app_line(name: str, cost: AppCost) -> str:
    figures = (
        f"{cost.call_us.median:9.0f}{cost.added_us.median:10.0f}{cost.idle_us.median:12.0f}{cost.posting_us:11.0f}"
    )
    return _share_line(f"    {name:34}{figures}", cost.share)


def _share_line(name: str, share: Spread) -> str:
    return f"{name:80}{share.median:9.1%}  ({share.least:.1%}–{share.most:.1%})"


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.sdk", description="What the SDK's callback costs an app.")
    parser.add_argument("--quick", action="store_true", help="a minute, without gates")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures there")
    arguments = parser.parse_args()
    configure_logs(level="ERROR")
    try:
        report = measure_here(QUICK if arguments.quick else FULL, lambda what: print(what, file=sys.stderr))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.encode(report))
    print(render_sdk(report, gated=not arguments.quick))
    return 0 if arguments.quick or report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
