"""How much a run measures."""

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Rounds of one run, and how long each of their measurements takes."""

    rounds: int
    alone_s: float
    """With one connection. As many calls as the subject managed while it was warmed up: fast ones get more."""
    together_s: float
    """With `CONCURRENCY` connections; likewise."""
    streams: int
    """How many in all."""
    warm_up_calls: int = 2000
    warm_up_calls_alone: int = 500
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
LATENCY_RATE_MAX_PER_S = 5000.0
"""More than this the load generator cannot send punctually beside everything else on two cores."""
STREAM_RAMP_S = 1.0
"""Streams begin spread over so long, so that their chunks do not all come at the same moment."""

FULL = Sizes(
    rounds=5, alone_s=1.5, together_s=2.0, streams=400, latency_s=3.0, soak_calls=100_000, starts=5, gated=True
)
QUICK = Sizes(
    rounds=1, alone_s=0.7, together_s=1.0, streams=200, latency_s=1.5, soak_calls=10_000, starts=1, gated=False
)


def once(sizes: Sizes) -> Sizes:
    """For what is measured once, and may be slow by two orders of magnitude."""
    return msgspec.structs.replace(
        sizes, rounds=1, streams=STREAMS, warm_up_calls=4 * CONCURRENCY, warm_up_calls_alone=50
    )
