"""What clients ask for, and what the books must say of it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


class Leave(Enum):
    """When the client hangs up."""

    NEVER = auto()
    BEFORE_THE_ANSWER = auto()
    """As soon as the request is sent."""
    IN_THE_MIDDLE = auto()
    """When the first content has come."""


class Booked(Enum):
    """How a call must stand in the books."""

    EXACTLY = auto()
    """With the cost on the provider's bill, to the nano-dollar."""
    FREE = auto()
    """With no cost; and it is not on the bill."""
    ESTIMATED = auto()
    """Marked as unknown, with an estimate: nobody told what it cost."""


@dataclass(frozen=True)
class Kind:
    """One kind of call. `model` holds the oracle's scenario."""

    name: str
    model: str
    booked: Booked = Booked.EXACTLY
    stream: bool = False
    leave: Leave = Leave.NEVER
    members: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def body(self) -> dict[str, object]:
        """The request."""
        text = f"How are the books of {self.name}?"
        body: dict[str, object] = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        if self.stream:
            body["stream"] = True
        return body | dict(self.members)


_USAGE: Mapping[str, object] = {"stream_options": {"include_usage": True}}
_TOOLS: Mapping[str, object] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "look_up",
                "parameters": {
                    "type": "object",
                    "properties": {"account": {"type": "string"}},
                    "required": ["account"],
                },
            },
        }
    ],
    "tool_choice": "required",
}

PLAIN = Kind("plain", "oracle?tokens=7")
STREAM = Kind("stream", "oracle?tokens=12&burst=1", stream=True)
PACED = Kind("paced", "oracle?tokens=8&delay_ms=3", stream=True, members=_USAGE)


def _both(
    name: str, words: str, booked: Booked = Booked.EXACTLY, members: Mapping[str, object] | None = None
) -> list[Kind]:
    """Unstreamed and streamed."""
    model = f"oracle?{words}"
    return [
        Kind(name, model, booked, members=members or {}),
        Kind(f"{name}-streamed", model, booked, stream=True, members=members or {}),
    ]


_WORDS = {
    "plain": "tokens=9",
    "cached": "tokens=5&prompt=40&cached=33",
    "reasoning": "tokens=5&reasoning=21&thoughts",
    "audio": "tokens=5&audio_in=3&audio_out=4",
    "refusal": "refusal",
    "filtered": "tokens=4&finish=content_filter",
    "unicode": "tokens=9&text=unicode",
    "events-in-text": "tokens=9&text=escapes",
    "gzip": "tokens=9&gzip",
    "chunked": "tokens=9&chunked",
    "split": "tokens=9&split=7",
    "crlf": "tokens=9&eol=crlf&space=0&comments",
    "bursts": "tokens=9&burst=2&per_chunk=3",
    "no-done": "tokens=9&done=0",
    "extra": "tokens=9&extra",
    "same-id": "tokens=3&id=same",
    "no-id": "tokens=3&id=none",
    "usage-each": "tokens=9&usage=each",
    "usage-running": "tokens=9&usage=running",
    "usage-contradictory": "tokens=9&usage=contradictory",
    "usage-wrong-total": "tokens=9&usage=wrong_total",
    "usage-strings": "tokens=9&usage=strings&reasoning=2",
    "usage-deepseek": "tokens=9&usage=deepseek&cached=2",
    "usage-xai": "tokens=9&usage=xai&reasoning=4",
    "usage-cost": "tokens=9&usage=cost",
    "unasked": "tokens=9&unasked",
    "called-html": "tokens=9&fault=content_type:text/html",
    "late": "tokens=3&head_ms=20",
}
_REFUSED = {
    "busy": "fault=status:429&retry_after=1",
    "broken": "fault=status:500",
    "overloaded": "fault=status:503&body=text",
    "bad": "fault=status:400",
    "too-long": "fault=error:context_length_exceeded",
    "no-credit": "fault=status:401",
    "moved": "fault=redirect:307",
}
_UNTOLD = {
    "closed": "fault=close",
    "cut-head": "fault=cut_head:12",
    "cut": "tokens=9&fault=cut:3c",
    "reset": "tokens=9&fault=reset:3c",
    "error-event": "tokens=9&fault=error_event:3",
    "half-a-body": "tokens=9&fault=wrong_json",
    "no-chunk": "tokens=9&fault=wrong_shape",
    "bad-gateway": "fault=status:502&body=html",
    "usage-none": "tokens=9&usage=none",
    "usage-null": "tokens=9&usage=null",
}

EXACT: list[Kind] = [
    *(kind for name, words in _WORDS.items() for kind in _both(name, words)),
    *_both("choices", "tokens=6", members={"n": 3}),
    Kind("asked", "oracle?tokens=6", stream=True, members=_USAGE),
    *_both("tools", "calls=2", members=_TOOLS),
    Kind("truncated", "oracle?tokens=9&fault=truncate:3"),
    PACED,
    STREAM,
]
"""Answers, however odd, whose cost the provider told."""
HANG_UPS: list[Kind] = [
    Kind("left-early", "oracle?tokens=9&head_ms=30", leave=Leave.BEFORE_THE_ANSWER),
    Kind("left-early-streamed", "oracle?tokens=9&head_ms=30", stream=True, leave=Leave.BEFORE_THE_ANSWER),
    Kind("left", "oracle?tokens=20&delay_ms=2&burst=1", stream=True, leave=Leave.IN_THE_MIDDLE),
    Kind("left-at-once", "oracle?tokens=9", stream=True, leave=Leave.BEFORE_THE_ANSWER),
]
"""Clients that do not wait for the end: the gateway reads on, and the cost is known."""
REFUSED: list[Kind] = [
    *(kind for name, words in _REFUSED.items() for kind in _both(name, words, Booked.FREE)),
    Kind("unreachable", "dead", Booked.FREE),
]
"""The provider did not do the work, and says so, or could not be reached."""
UNTOLD: list[Kind] = [kind for name, words in _UNTOLD.items() for kind in _both(name, words, Booked.ESTIMATED)]
"""Nobody says what it cost."""
