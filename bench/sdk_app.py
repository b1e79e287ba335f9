"""An app that calls a provider through LiteLLM's SDK, with the callback and without: `python -m bench.sdk_app`.

Run by `bench.sdk` in an environment with LiteLLM. Both ways are taken in one process and in turns, a few calls each, so
that what else happens on the machine happens to both; `Told` is printed as JSON at the end.
"""

import argparse
import asyncio
import gc
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, TypedDict

import litellm
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

import bursar.sdk

_AT_ONCE = 20
_WARM_UP_BLOCKS = 6
_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
"""Where LiteLLM keeps a callback that was registered."""
_QUESTION = [{"role": "user", "content": "How many beans make five? " * 8}]
_ANSWER = "Two in each hand and one in the mouth. " * 3


class Told(TypedDict):
    """What the app found, in microseconds a call: of each round, a median."""

    without_us: list[float]
    """CPU of the process."""
    with_us: list[float]
    """The same with the callback, but for our thread."""
    idle_us: list[float]
    """The same with a callback of LiteLLM's that does nothing."""
    posting_us: float
    """CPU of our thread, while the app does nothing but make calls that are booked."""
    without_s: list[float]
    """By the clock, the calls of a round, in seconds."""
    with_s: list[float]
    failed: str
    """Why the books did not get everything."""


class _App:
    """One of them, with what it does at random left out."""

    def __init__(self, base_url: str, header: str) -> None:
        self._base_url = base_url
        self._header = header
        self._numbers = itertools.count()
        self._ours = bursar.sdk.install()
        self._idle = litellm.integrations.custom_logger.CustomLogger()

    def without(self) -> None:
        """Nobody is told of calls from now on."""
        for name in _LISTS:
            setattr(litellm, name, [])

    def idle(self) -> None:
        """A callback that does nothing is told of them."""
        self.without()
        litellm.callbacks = [self._idle]

    def booking(self) -> None:
        """They are booked: as the documentation begins."""
        self.without()
        litellm.callbacks = [self._ours]
        litellm.success_callback = ["bursar"]
        litellm.failure_callback = ["bursar"]

    async def call(self, calls: int) -> None:
        """Make so many, some at once, until all have been told of."""
        left = iter(range(calls))
        await asyncio.gather(*[self._call_all(left) for _ in range(min(_AT_ONCE, calls))])
        await GLOBAL_LOGGING_WORKER.flush()

    async def _call_all(self, left: Iterator[int]) -> None:
        for _ in left:
            await litellm.acompletion(**self._arguments())

    def call_one_by_one(self, calls: int) -> None:
        """Make so many, synchronously."""
        for _ in range(calls):
            litellm.completion(**self._arguments())

    def _arguments(self) -> dict[str, Any]:
        told = {
            "messages": _QUESTION,
            "user": f"user-{next(self._numbers) % 100}",
            "metadata": {"team_id": "blue", "tags": ["a", "b"], "feature": "chat"},
        }
        if not self._base_url:
            return {"model": "gpt-4o", "mock_response": _ANSWER, **told}
        return {
            "model": "openai/gpt-4o",
            "api_base": self._base_url,
            "api_key": "sk-of-the-app-0123456789",
            "max_retries": 0,
            "extra_headers": {"x-oracle": self._header},
            **told,
        }


async def _measure(app: _App, *, rounds: int, blocks: int, steady: int, calls: int, one_by_one: bool) -> Told:
    async def block(prepare: Callable[[], None]) -> tuple[float, float]:
        prepare()
        posting_s = _posting_s()
        begun, begun_cpu = time.perf_counter(), time.process_time()
        if one_by_one:
            app.call_one_by_one(calls)
        else:
            await app.call(calls)
        took_s = time.perf_counter() - begun
        return time.process_time() - begun_cpu - (_posting_s() - posting_s), took_s

    ways = (app.without, app.booking, app.idle)
    told = Told(without_us=[], with_us=[], idle_us=[], posting_us=0.0, without_s=[], with_s=[], failed="")
    for _ in range(_WARM_UP_BLOCKS):
        for way in ways:
            await block(way)
    _flushed()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        found: dict[Callable[[], None], list[tuple[float, float]]] = {way: [] for way in ways}
        for number in range(blocks):
            for way in ways if number % 2 == 0 else reversed(ways):
                found[way].append(await block(way))
        cpu_us = [median(cpu for cpu, _ in found[way]) / calls * 1e6 for way in ways]
        for kept, value in zip((told["without_us"], told["with_us"], told["idle_us"]), cpu_us, strict=True):
            kept.append(value)
        told["without_s"].append(sum(took for _, took in found[app.without]))
        told["with_s"].append(sum(took for _, took in found[app.booking]))
    _flushed()
    posting_s = _posting_s()
    for _ in range(steady):
        await block(app.booking)
    told["failed"] = _flushed()
    told["posting_us"] = (_posting_s() - posting_s) / (steady * calls) * 1e6
    return told


def _flushed() -> str:
    return "" if bursar.sdk.flush(60) else str(bursar.sdk.health())


def _posting_s() -> float:
    """CPU seconds of the thread that posts, so far."""
    for thread in threading.enumerate():
        if thread.name == "bursar-sdk" and thread.ident is not None:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.sdk_app")
    parser.add_argument("--base-url", default="", help="of the provider; without one, LiteLLM answers by itself")
    parser.add_argument("--oracle", default="tokens=50", help="how the provider answers")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--blocks", type=int, required=True, help="each way, in a round")
    parser.add_argument("--steady", type=int, required=True, help="blocks of nothing but booked calls, at the end")
    parser.add_argument("--calls", type=int, required=True, help="in a block")
    parser.add_argument("--one-by-one", action="store_true")
    given = parser.parse_args()
    litellm.suppress_debug_info = True
    app = _App(given.base_url, given.oracle)
    sizes = {name: getattr(given, name) for name in ("rounds", "blocks", "steady", "calls", "one_by_one")}
    measured = asyncio.run(_measure(app, **sizes))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
