"""The gateway under measurement, as the bench starts and reads it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.books import compare
from bench.gateway import PROVIDER_KEY, Gateway
from bench.measure import Meter
from bench.sizes import QUICK
from bench.upstream import Upstream

pytestmark = pytest.mark.long  # it starts a database server of its own, twice


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bench-test-"))
    directory.chmod(0o711)
    (directory / "bursar").mkdir()
    yield directory
    shutil.rmtree(directory)


def test_calls_are_measured_with_their_posting_and_agree_with_the_bill(place: Path) -> None:
    with ExitStack() as stack:
        upstream = Upstream(place, workers=1)
        stack.callback(upstream.stop)
        gateway = Gateway(place / "bursar", upstream)
        stack.callback(gateway.stop)
        assert 0 < gateway.start() < 60
        idle = gateway.resident_bytes()
        subject = gateway.subject()
        meter = Meter(upstream, QUICK)
        for _ in range(2):
            measured = meter.together(subject, 400)
            assert measured.result.calls == 400
            assert 0.01 < measured.cpu.gateway < 5
            assert 0.01 < measured.cpu.database < 5
            assert 0 <= measured.cpu.supervisor < 0.5
        assert 10e6 < idle <= gateway.resident_bytes() < 1e9
        gateway.stop()
        gateway.start()
        bill = upstream.bill_of(PROVIDER_KEY)
        assert compare(bill, gateway.books.read(), answered=800).complete
        found = compare(bill[1:], gateway.books.read(), answered=800)
        assert (found.unbilled, found.complete) == (1, False)
