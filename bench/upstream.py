"""The provider behind all subjects: the oracle, in processes of its own, with its bill."""

from pathlib import Path
from urllib.parse import urlsplit

from bench.cpu import tree_cpu_s
from bench.programs import BURSAR, Program, free_port
from bursar.oracle.bill import BillLine, fingerprint, read_bill

ANSWER_MODEL = "oracle?tokens=50"
"""An answer of 50 tokens, at once: about 500 bytes of JSON."""
STREAM_CHUNKS = 100
STREAM_MODEL = f"oracle?tokens={STREAM_CHUNKS}&delay_ms=15"
"""A chunk of one token each 15 ms: a quick model's pace."""
STREAM_EVENTS = STREAM_CHUNKS + 2
"""What a client sees of a stream: the chunk that names the role, the content, the chunk that ends it. `[DONE]` not
counted, nor the chunk with the usage, which only a gateway asks for."""


class Upstream:
    """A running `bursar upstream`."""

    def __init__(self, place: Path, *, workers: int) -> None:
        self._bill = place / "bill.jsonl"
        self.port = free_port()
        self.workers = workers
        self._program = Program(
            "the oracle",
            [*BURSAR, "upstream", "--port", str(self.port), "--bill", self._bill, "--workers", str(workers)],
            log=place / "oracle.log",
        )
        said = self._program.wait_for("Oracle upstream:")
        assert urlsplit(said.split()[-1]).port == self.port

    @property
    def base_url(self) -> str:
        """As gateways are told it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        return tree_cpu_s(self._program.pid)

    def bill_of(self, key: str) -> list[BillLine]:
        """What it has billed to an API key so far."""
        billed_to = fingerprint(key.encode())
        return [line for line in read_bill(self._bill) if line.key == billed_to]

    def stop(self) -> None:
        """End it. Safe to repeat."""
        self._program.stop()
