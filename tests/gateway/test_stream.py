"""One stream on its way through. (Events and chunks by themselves: tests/wire.)"""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.accounting import Evidence
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage
from bursar.gateway.call import Charge
from bursar.gateway.stream import StreamRelay
from bursar.wire.openai_assembly import StreamAssembly
from bursar.wire.openai_usage import UsageReading
from bursar.wire.sse import DEFAULT_EVENT_MAX_BYTES
from tests.gateway.parts import a_call, a_deployment, an_attempt

CALL, ATTEMPT = a_call({"model": "public", "messages": [{"role": "user", "content": "x"}]}), an_attempt(a_deployment())
CHARGE = Charge(NanoUsd(1500), Usage(uncached_prompt_tokens=3, answer_tokens=2), Evidence.ESTIMATED)


def event(**members: object) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "model": "gpt-x"} | members, separators=(",", ":")).encode() + b"\n\n"


def content(text: str, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


USAGE = event(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
DONE = b"data: [DONE]\n\n"
STREAM = content("one ") + b": ping\n\n" + content("zwei ☃") + content("", "stop") + USAGE + DONE


def relay(*, usage: bool = False, assembly: StreamAssembly | None = None, cost: float | None = None) -> StreamRelay:
    def cost_of(_: UsageReading) -> float | None:
        return cost

    return StreamRelay(CALL, ATTEMPT, cost_of, usage_wanted=usage, assembly=assembly)


def run(made: StreamRelay, stream: bytes, cuts: list[int]) -> bytes:
    """All that the client gets, as the gateway's loop would send it."""
    out = b""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        out += made.feed(stream[start:end])
        if made.done or made.error is not None:
            break
    else:
        out += made.finish()
    return out


@given(cuts=st.lists(st.integers(0, 1000), max_size=20), usage=st.booleans(), kept=st.booleans())
def test_where_the_network_cuts_changes_nothing(cuts: list[int], usage: bool, kept: bool) -> None:
    assembly = StreamAssembly() if kept else None
    made = relay(usage=usage, assembly=assembly, cost=0.5)
    out = run(made, STREAM, cuts) + made.ending(CHARGE, created_s=1)
    expected = STREAM.replace(b'"gpt-x"', b'"public"')
    expected = (
        expected.replace(b'"total_tokens":7}', b'"total_tokens":7,"cost":0.5}')
        if usage
        else expected.replace(USAGE.replace(b'"gpt-x"', b'"public"'), b"")
    )
    assert out == expected
    assert (made.done, made.complete, made.error) == (True, True, None)
    assert made.output_bytes == len("one zwei ☃".encode())
    assert made.usage.usage == Usage(uncached_prompt_tokens=5, answer_tokens=2)
    assert made.provider_id == "c1"
    if kept:
        assert made.assembled is not None
        assert made.assembled["choices"] == [
            {"index": 0, "message": {"content": "one zwei ☃"}, "finish_reason": "stop"}
        ]
        assert ("usage" in made.assembled) == usage
    else:
        assert made.assembled is None


def test_the_end_is_kept_back() -> None:
    """The caller closes the books before the client sees it; what comes behind it is nobody's business."""
    made = relay()
    assert made.feed(content("x", "stop") + DONE + content("late")) == content("x", "stop").replace(b"gpt-x", b"public")
    assert made.done
    assert made.ending(CHARGE, created_s=1) == DONE


def test_an_end_without_its_empty_line() -> None:
    made = relay()
    assert made.feed(content("x", "stop") + b"data: [DONE]") != b""
    assert not made.done
    assert made.finish() == b""
    assert made.done


@pytest.mark.parametrize(
    ("stream", "complete", "output"),
    [
        (b"", False, False),
        (b": only comments\n\n", False, False),
        (content("x"), False, True),
        (content("", "stop"), True, True),
        (content("x", "stop"), True, True),
        (DONE, True, False),
        (event(choices=[{"index": 0, "delta": {"role": "assistant"}}]), False, False),
    ],
)
def test_what_is_whole(stream: bytes, complete: bool, output: bool) -> None:
    made = relay()
    run(made, stream, [])
    assert (made.complete, made.produced_output) == (complete, output)


def test_an_error_stops_the_stream_where_it_stands() -> None:
    made = relay()
    out = run(made, content("x") + b'data: {"error":{"message":"broken","code":"c"}}\n\n' + content("y") + DONE, [])
    assert out == content("x").replace(b"gpt-x", b"public")
    assert made.error is not None
    assert (made.error.message, made.error.code, made.done) == ("broken", "c", False)


def test_an_event_without_end() -> None:
    made = relay()
    out = made.feed(content("x") + b"data: ")
    for _ in range(DEFAULT_EVENT_MAX_BYTES // (1 << 20) + 1):
        out += made.feed(b"x" * (1 << 20))
        if made.error is not None:
            break
    assert made.error is not None
    assert made.error.code == "malformed_event"
    assert out == content("x").replace(b"gpt-x", b"public")


def test_usage_that_never_came_is_made_up_for() -> None:
    made = relay(usage=True)
    run(made, content("x", "stop") + DONE, [])
    chunk, end, nothing = made.ending(CHARGE, created_s=77).split(b"\n\n")
    assert json.loads(chunk.removeprefix(b"data: ")) == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 77,
        "model": "public",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 1.5e-06},
    }
    assert (end, nothing) == (b"data: [DONE]", b"")


def test_usage_nobody_asked_for_is_not() -> None:
    made = relay(usage=False)
    run(made, content("x", "stop") + DONE, [])
    assert made.ending(CHARGE, created_s=77) == DONE


def test_an_unpriced_estimate_has_no_cost() -> None:
    made = relay(usage=True)
    run(made, content("x", "stop"), [])
    unpriced = Charge(NanoUsd(0), CHARGE.usage, Evidence.UNPRICED, priced=False)
    assert b'"cost"' not in made.ending(unpriced, created_s=1)
