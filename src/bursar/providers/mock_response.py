"""`litellm_params.mock_response`: an answer from the configuration, for trying things out. Nothing is sent anywhere.

As in LiteLLM, its usage is always 10 prompt and 20 completion tokens, and it is charged like any other answer.
"""

import time
from uuid import uuid4

import msgspec

from bursar.wire.http import RawHeaders
from bursar.wire.openai_chat import ChatRequest

_USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


class MockResponse:
    """A finished answer: implements `ports.upstream.UpstreamResponse`."""

    status = 200

    def __init__(self, text: str, chat: ChatRequest, model: str) -> None:
        kind = b"text/event-stream" if chat.stream else b"application/json"
        self.headers: RawHeaders = [(b"content-type", kind)]
        self._body = _stream(text, model) if chat.stream else _whole(text, model)

    async def read(self) -> bytes:
        """All of it at once."""
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Nothing is held."""


def _head(kind: str, model: str) -> dict[str, object]:
    return {"id": f"chatcmpl-{uuid4()}", "object": kind, "created": int(time.time()), "model": model}


def _whole(text: str, model: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return msgspec.json.encode({**_head("chat.completion", model), "choices": [choice], "usage": _USAGE})


def _stream(text: str, model: str) -> bytes:
    head = _head("chat.completion.chunk", model)
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": text}, None), ({}, "stop")]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas]
    chunks.append({**head, "choices": [], "usage": _USAGE})
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
