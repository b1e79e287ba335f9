"""HTTP messages as plain records, shared by the server, the gateway and the upstream transports."""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import msgspec

from bursar.domain.egress import Egress

RawHeaders = list[tuple[bytes, bytes]]
"""Header fields in the order they came; names in lower case, values as sent."""


FieldLines = bytes
"""Header fields encoded for the wire, each `name: value` and its line end: how answers are handed to the server."""


def field_lines(headers: RawHeaders) -> FieldLines:
    """`headers` as they stand in a message."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


JSON: FieldLines = b"content-type: application/json\r\n"


def header(headers: RawHeaders, name: bytes) -> bytes | None:
    """The first field called `name` (lower case), or None."""
    for field, value in headers:
        if field == name:
            return value
    return None


class Request(msgspec.Struct, kw_only=True):
    """One complete client request: the body has been read, within the server's limits."""

    method: str
    path: str
    """Percent-decoded once and normalised; what routing and permissions look at, and nothing else."""
    query: str
    headers: RawHeaders
    fields: dict[bytes, bytes]
    """The headers by name; of repeated ones the first counts."""
    body: bytes
    client_host: str
    """Address of the peer; of the client itself where a trusted proxy says so."""
    received_s: float
    """`time.perf_counter()` at the request's first byte."""
    raw_path: bytes = b""
    """The path before it was decoded. Empty: it was never encoded."""

    def header(self, name: bytes) -> bytes | None:
        """The first field called `name` (lower case), or None."""
        return self.fields.get(name)

    def segments(self) -> list[str]:
        """The path's segments, each decoded by itself: a slash that was sent as `%2F` does not divide."""
        if not self.raw_path:
            return self.path.split("/")[1:]
        return [unquote_to_bytes(segment).decode("utf-8", "replace") for segment in self.raw_path.split(b"/")[1:]]


@dataclass(slots=True, frozen=True)
class Origin:
    """Where an upstream lives: scheme, host and port, never chosen by a caller."""

    scheme: str
    host: str
    port: int
    egress: Egress = Egress.ANY
    """To which of the host's addresses; connections are shared among those that may the same."""

    @property
    def authority(self) -> str:
        """The Host header's value: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"
