"""How much a run measures."""

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and rounds of one run. Each measurement of a round takes one to three seconds."""

    rounds: int
    calls_alone: int
    """With one connection."""
    calls: int
    """With `CONCURRENCY` connections."""
    streams: int
    latency_s: float
    """How long arrivals come, at the subject and at the upstream directly."""
    soak_calls: int
    """Of the memory measurement."""
    starts: int
    """Of a gateway whose database exists."""
    gated: bool


CONCURRENCY = 64
STREAMS = 200
LATENCY_CONNECTIONS = 128
"""More than are ever busy at half of a subject's capacity, so that no call waits for one."""
LOAD_SHARE = 0.5
"""Of a subject's capacity, at which latency is measured."""
STREAM_RAMP_S = 1.0
"""Streams begin spread over so long, so that their chunks do not all come at the same moment."""
WARM_UP_CALLS = 1000

FULL = Sizes(
    rounds=5, calls_alone=2500, calls=6000, streams=400, latency_s=3.0, soak_calls=100_000, starts=5, gated=True
)
QUICK = Sizes(
    rounds=1, calls_alone=1000, calls=3000, streams=200, latency_s=1.5, soak_calls=10_000, starts=1, gated=False
)
