"""A client that shows what really came over the wire: how the body was framed, and how it ended."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tests.patience import PATIENCE_S

MESSAGES = [{"role": "user", "content": "How are the books?"}]
PROMPT_TOKENS = 8
"""Of `MESSAGES`: 18 bytes are 5 tokens, and 3 for the message."""


@dataclass
class Answer:
    """What was received before the connection ended or the answer was complete."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False
    """The body ended as its framing promised."""
    reset: bool = False
    raw: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The data of each event, by the rules of server-sent events."""
        text = self.body.decode().replace("\r\n", "\n")
        return ["\n".join(_data(block)) for block in text.split("\n\n") if _data(block)]

    @property
    def chunk_objects(self) -> list[Any]:
        """All events but `[DONE]`, decoded."""
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    def text(self, index: int = 0) -> str:
        """The content of one choice of a stream, put together."""
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.chunk_objects
            for choice in chunk.get("choices", ())
            if choice["index"] == index
        )


def _data(block: str) -> list[str]:
    return [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]


class Connection:
    """One connection; `ask` and then `answer`, as often as it lasts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def ask(self, model: str, *, headers: dict[str, str] | None = None, **members: object) -> None:
        body = json.dumps({"model": model, "messages": MESSAGES} | members).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: oracle", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def answer(self) -> Answer:
        found = Answer()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._read(found)
        except asyncio.IncompleteReadError as error:
            found.raw += error.partial
        except ConnectionResetError:
            found.reset = True
        return found

    async def until(self, mark: bytes) -> bytes:
        """Read on until `mark` has come."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(mark)

    async def close(self) -> None:
        self.writer.close()

    async def _read(self, found: Answer) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        found.raw = head
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        found.status = int(status_line.split()[1])
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in found.headers, f"{name} twice"
            found.headers[name] = value
        if found.headers.get("transfer-encoding") == "chunked":
            await self._read_chunks(found)
        else:
            try:
                found.body = await self.reader.readexactly(int(found.headers["content-length"]))
            except asyncio.IncompleteReadError as error:
                found.body = error.partial
                raise
        found.complete = True

    async def _read_chunks(self, found: Answer) -> None:
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            if size == 0:
                assert await self.reader.readuntil(b"\r\n") == b"\r\n"
                return
            try:
                piece = (await self.reader.readexactly(size + 2))[:-2]
            except asyncio.IncompleteReadError as error:
                found.body += error.partial
                raise
            found.chunks.append(piece)
            found.body += piece


async def ask(port: int, model: str, *, headers: dict[str, str] | None = None, **members: object) -> Answer:
    """One question on a connection of its own."""
    connection = await Connection.to(port)
    connection.ask(model, headers=headers, **members)
    answer = await connection.answer()
    await connection.close()
    return answer


async def ask_stream(port: int, model: str, *, usage: bool = False, **members: object) -> Answer:
    """The same, streamed."""
    if usage:
        members["stream_options"] = {"include_usage": True}
    return await ask(port, model, headers=None, stream=True, **members)
