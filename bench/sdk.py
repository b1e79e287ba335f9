"""What the SDK's callback costs: `python -m bench.sdk`.

LiteLLM itself is not needed: the callback's work is done on records as LiteLLM 1.110 makes them. Measured is, on the
thread of the app, one event (read, encoded, on disk): one after the other, then at a pace, then with the poster beside
it in the same process; and how many a second of a burst reach an embedded PostgreSQL with all projections.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from bench.gates import Gate
from bursar.domain.secrets import Secret
from bursar.sdk.gateways import Gateways
from bursar.sdk.litellm_event import spend_of
from bursar.sdk.prices import BookPrices
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from bursar.store.embedded import EmbeddedPostgres
from bursar.telemetry.logs import configure_logs

CALLER_MAX_US = 40.0
POSTED_MIN = 3000.0
_EVENTS = 20_000
_PACED = 2_000
_PACE_S = 0.002


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

    def tell(self, events: list[dict[str, Any]], pace_s: float = 0.0) -> float:
        """Do what the callback does with each; the median, in microseconds."""
        took = []
        for details in events:
            begun = time.perf_counter()
            if not self._gateways.serve(details):
                spend = spend_of(details, None, failed=False, price_of=self._prices.find, version="1.110.2")
                self._recorder.book(spend)
            took.append(time.perf_counter() - begun)
            if pace_s:
                time.sleep(pace_s)
        return median(took) * 1e6


def main() -> int:
    """Run; the exit code."""
    configure_logs(level="ERROR")
    with tempfile.TemporaryDirectory(prefix="bench-sdk-") as place:
        directory = Path(place)
        directory.chmod(0o711)
        alone = Recorder(Settings(data_dir=directory / "alone"))
        alone_us = Caller(alone).tell([event(number) for number in range(_EVENTS)])
        cold_us = Caller(alone).tell([event(number) for number in range(_PACED)], _PACE_S)
        alone.close()
        server = EmbeddedPostgres(directory)
        server.start(lambda _: None)
        try:
            paced_us, posted = _with_database(server.url("postgres"), directory)
        finally:
            server.stop()
    gates = [
        Gate("an event on the caller's thread", alone_us, CALLER_MAX_US, "µs"),
        Gate("an event in the database", 1e6 / posted, 1e6 / POSTED_MIN, "µs"),
    ]
    print(f"an event on the caller's thread     {alone_us:6.1f} µs")
    print(f"the same every {_PACE_S * 1e3:g} ms, caches cold    {cold_us:6.1f} µs")
    print(f"the same, and the poster beside     {paced_us:6.1f} µs")
    print(f"a burst of {_EVENTS:,}, in the database  {posted:6.0f} a second")
    return 0 if all(gate.passed for gate in gates) else 1


def _with_database(url: str, directory: Path) -> tuple[float, float]:
    """Microseconds an event at a pace; events of a burst a second, until the database has them."""
    recorder = Recorder(Settings(database_url=Secret(url), data_dir=directory / "posted"))
    caller = Caller(recorder)
    caller.tell([event(0)])
    assert recorder.flush(60)
    paced_us = caller.tell([event(number) for number in range(_PACED)], _PACE_S)
    assert recorder.flush(60)
    burst = [event(number) for number in range(_EVENTS)]
    begun = time.perf_counter()
    caller.tell(burst)
    assert recorder.flush(120)
    posted = _EVENTS / (time.perf_counter() - begun)
    recorder.close()
    return paced_us, posted


if __name__ == "__main__":
    sys.exit(main())
