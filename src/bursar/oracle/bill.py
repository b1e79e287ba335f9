"""The bill: one line of JSON for each call that a provider would invoice, written before the answer's last byte.

A line is one `write` to a file opened with O_APPEND, so several processes can share a bill, and whatever happens to
them or to the gateway, each line is whole or not there. It is not synced to the disk: it survives the death of
processes, not of the machine.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from bursar.domain.usage import Usage
from bursar.oracle.tariff import Tariffs

_FINGERPRINTS_MAX = 10_000


class Ending(StrEnum):
    """How a call ended, as the provider saw it."""

    COMPLETE = "complete"
    """The whole answer was handed to the network."""
    CUT = "cut"
    """We broke it off: cut, reset, ended without its end, or shut down."""
    ERROR = "error"
    """We answered with an error, at once or in the middle of a stream."""
    CLIENT_GONE = "client_gone"
    """The client left before it was complete."""


_BEGIN = b'{"worker":'
"""Of every line; in a text its quotes would be escaped."""


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One invoiced call."""

    worker: int
    """Process id of the worker that served it."""
    seq: int
    """Counts the lines of the worker from 1: `(worker, seq)` is unique, and a gap is a lost line."""
    at_s: float
    """Unix time of the writing."""
    dialect: str
    id: str | None
    """The answer's id, as the provider told it; None where it told none. Not unique under `id=same`."""
    provider_request_id: str
    """The `x-request-id` we answered with; always unique."""
    attempt: str | None
    """The gateway's own mark of the attempt: what it sent as `x-bursar-attempt-id`, or else `x-client-request-id`."""
    x_request_id: str | None
    """What it sent as `x-request-id`."""
    key: str | None
    """The first 16 hex digits of the SHA-256 of the API key; never the key."""
    model: str
    """As requested, scenario included."""
    prompt_tokens: int
    """All of the input: the three classes below are parts of it."""
    cached_tokens: int
    cache_write_tokens: int
    audio_prompt_tokens: int
    completion_tokens: int
    """All of the output: the two classes below are parts of it."""
    reasoning_tokens: int
    audio_completion_tokens: int
    cost_nano_usd: int
    streamed: bool
    client_there: bool
    """The client was still connected when the line was written."""
    ending: Ending


@dataclass(slots=True)
class Invoice:
    """What is known of a call before it ends; becomes a line at most once."""

    dialect: str
    id: str | None
    provider_request_id: str
    attempt: str | None
    x_request_id: str | None
    key: str | None
    model: str
    billed_model: str
    streamed: bool
    closed: bool = False


class Biller:
    """Writes one process's lines. Made after any fork.

    `path` None keeps no bill. Raises OSError when the file cannot be opened; one that cannot be written to later is
    an error of that call, since a call without its line would make the bill a lie.
    """

    def __init__(self, path: Path | None, tariffs: Tariffs) -> None:
        self._tariffs = tariffs
        self._worker = os.getpid()
        self._seq = 0
        self._encode = msgspec.json.Encoder().encode
        self._file = (
            None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )

    def close(self, invoice: Invoice, usage: Usage | None, *, ending: Ending, client_there: bool) -> None:
        """Write the line of a call that ends, or none if `usage` is None. Only the first time for each invoice."""
        if invoice.closed:
            return
        invoice.closed = True
        if usage is None or self._file is None:
            return
        self._seq += 1
        line = BillLine(
            worker=self._worker,
            seq=self._seq,
            at_s=time.time(),
            dialect=invoice.dialect,
            id=invoice.id,
            provider_request_id=invoice.provider_request_id,
            attempt=invoice.attempt,
            x_request_id=invoice.x_request_id,
            key=invoice.key,
            model=invoice.model,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_prompt_tokens,
            cache_write_tokens=usage.cache_write_5m_tokens,
            audio_prompt_tokens=usage.audio_prompt_tokens,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            audio_completion_tokens=usage.audio_completion_tokens,
            cost_nano_usd=self._tariffs.charge(invoice.billed_model, usage),
            streamed=invoice.streamed,
            client_there=client_there,
            ending=ending,
        )
        text = self._encode(line) + b"\n"
        written = os.write(self._file, text)
        if written != len(text):
            raise OSError(f"only {written} of {len(text)} bytes of a bill line could be written: is the disk full?")

    def shut(self) -> None:
        """Close the file; calls that end later are not billed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Fingerprints:
    """Names for API keys that say nothing about them."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def of(self, authorization: bytes | None) -> str | None:
        """The fingerprint of the bearer key in an Authorization header."""
        if authorization is None:
            return None
        known = self._known.get(authorization)
        if known is None:
            if len(self._known) >= _FINGERPRINTS_MAX:
                self._known.clear()
            known = fingerprint(authorization.partition(b" ")[2].strip() or authorization)
            self._known[authorization] = known
        return known


def fingerprint(key: bytes) -> str:
    """How a bill names an API key: 16 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def read_bill(path: Path) -> list[BillLine]:
    """All lines of a bill, in the order they were written; none if there is no file.

    A last line without its end is being written at this moment (or its disk was full) and is left out. So is the piece
    of a line that stands before a whole one: its writer was killed where the line reaches into another page of the
    file, and the next one went on from there. Raises msgspec.DecodeError for anything else that is no line.
    """
    if not path.exists():
        return []
    *whole, _unfinished = path.read_bytes().split(b"\n")
    decode = msgspec.json.Decoder(BillLine).decode
    return [decode(line[max(line.rfind(_BEGIN), 0) :]) for line in whole]
