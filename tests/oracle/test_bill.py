"""The bill's file."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bursar.domain.usage import Usage
from bursar.oracle.bill import Biller, Ending, Fingerprints, Invoice, fingerprint, read_bill
from bursar.oracle.tariff import Tariffs

USAGE = Usage(uncached_prompt_tokens=5, cached_prompt_tokens=2, answer_tokens=3, reasoning_tokens=4)

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from bursar.domain.usage import Usage
from bursar.oracle.bill import Biller, Ending, Invoice
from bursar.oracle.tariff import Tariffs
biller = Biller(Path(sys.argv[1]), Tariffs())
while True:
    call = Invoice("openai", None, "req", None, None, None, "oracle", "oracle", False)
    biller.close(call, Usage(answer_tokens=1), ending=Ending.COMPLETE, client_there=True)
"""


def invoice(number: int = 1) -> Invoice:
    return Invoice(
        dialect="openai",
        id=f"chatcmpl-{number}",
        provider_request_id=f"req_{number}",
        attempt=None,
        x_request_id="x",
        key="k",
        model="oracle?tokens=3",
        billed_model="oracle",
        streamed=False,
    )


def test_a_line_says_what_was_consumed(tmp_path: Path) -> None:
    path = tmp_path / "bill"
    biller = Biller(path, Tariffs())
    biller.close(invoice(), USAGE, ending=Ending.COMPLETE, client_there=True)
    [line] = read_bill(path)
    assert (line.prompt_tokens, line.cached_tokens, line.completion_tokens, line.reasoning_tokens) == (7, 2, 7, 4)
    assert line.cost_nano_usd == 5 * 1000 + 2 * 250 + 7 * 4000
    assert (line.worker, line.seq, line.model) == (os.getpid(), 1, "oracle?tokens=3")
    assert abs(line.at_s - time.time()) < 60
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    biller.shut()


def test_an_invoice_is_closed_once(tmp_path: Path) -> None:
    biller = Biller(tmp_path / "bill", Tariffs())
    one = invoice()
    biller.close(one, USAGE, ending=Ending.COMPLETE, client_there=True)
    biller.close(one, USAGE, ending=Ending.CUT, client_there=True)
    unbilled = invoice(2)
    biller.close(unbilled, None, ending=Ending.ERROR, client_there=True)
    biller.close(unbilled, USAGE, ending=Ending.COMPLETE, client_there=True)
    assert [line.id for line in read_bill(tmp_path / "bill")] == ["chatcmpl-1"]
    biller.shut()


def test_an_unfinished_line_is_left_out_and_nonsense_is_not(tmp_path: Path) -> None:
    path = tmp_path / "bill"
    assert read_bill(path) == []
    biller = Biller(path, Tariffs())
    biller.close(invoice(), USAGE, ending=Ending.COMPLETE, client_there=True)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert len(read_bill(path)) == 1
    path.write_bytes(whole[:20] + b"\n" + whole)
    with pytest.raises(msgspec.DecodeError):
        read_bill(path)
    biller.shut()


def test_a_full_disk_is_an_error() -> None:
    biller = Biller(Path("/dev/full"), Tariffs())
    with pytest.raises(OSError, match="No space left"):
        biller.close(invoice(), USAGE, ending=Ending.COMPLETE, client_there=True)
    biller.shut()


def test_processes_share_a_bill_and_a_killed_one_harms_no_line_of_others(tmp_path: Path) -> None:
    path = tmp_path / "bill"
    children = [subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)]) for _ in range(3)]
    deadline = time.monotonic() + 30
    while len({line.worker for line in read_bill(path)}) < 3:
        assert time.monotonic() < deadline
    for child in children:
        child.kill()
        child.wait()
    lines = read_bill(path)
    for child in children:
        sequences = [line.seq for line in lines if line.worker == child.pid]
        assert sequences == list(range(1, len(sequences) + 1))


def test_a_line_that_a_killed_process_left_half_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "bill"
    children = [subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)])]
    while len(read_bill(path)) < 2:
        time.sleep(0.01)
    children[0].kill()
    children[0].wait()
    first, second, *_ = path.read_bytes().split(b"\n")
    for end in range(1, len(first)):
        path.write_bytes(first[:end] + second + b"\n")
        assert [line.seq for line in read_bill(path)] == [2]
    path.write_bytes(b"no line\n")
    with pytest.raises(msgspec.DecodeError):
        read_bill(path)


def test_keys_are_named_by_their_hash() -> None:
    fingerprints = Fingerprints()
    assert fingerprints.of(None) is None
    assert fingerprints.of(b"Bearer sk-1") == fingerprints.of(b"bearer  sk-1") == fingerprint(b"sk-1")
    assert fingerprints.of(b"Bearer sk-2") != fingerprint(b"sk-1")
    assert len(fingerprint(b"sk-1")) == 16
