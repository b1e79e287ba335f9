"""`bursar upstream` as a process: starts, says where it is, ends in order, and its bill outlives it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from bursar.cli import main
from bursar.oracle.bill import Ending, read_bill
from tests.oracle.raw_client import Connection, ask, ask_stream
from tests.patience import PATIENCE_S


@contextmanager
def upstream(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, with its port."""
    command = [sys.executable, "-c", "from bursar.cli import main; main()", "upstream", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        found = re.fullmatch(r"Oracle upstream: http://127\.0\.0\.1:(\d+)/v1\n", first)
        assert found is not None, first
        yield process, int(found.group(1))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_serves_until_told_to_end(tmp_path: Path, number: signal.Signals, workers: str) -> None:
    bill = tmp_path / "bill.jsonl"
    with upstream("--bill", str(bill), "--workers", workers, "--price", "*=prompt:2,completion:3") as (process, port):
        answer = await ask(port, "oracle?tokens=5")
        assert answer.complete
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 10) == 0
    [line] = read_bill(bill)
    assert line.cost_nano_usd == 8 * 2000 + 5 * 3000
    assert line.id == answer.json["id"]
    with pytest.raises(ConnectionRefusedError):
        await Connection.to(port)


async def test_streams_get_their_time_to_end(tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    with upstream("--bill", str(bill), "--grace", "0.5") as (process, port):
        quick, slow = await Connection.to(port), await Connection.to(port)
        quick.ask("oracle?tokens=20&delay_ms=10", stream=True)
        slow.ask("oracle?tokens=20&delay_ms=1000", stream=True)
        await quick.until(b'"let "')
        await slow.until(b'"let "')
        process.terminate()
        assert (await quick.reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert not (await slow.reader.read()).endswith(b"0\r\n\r\n")
        assert await asyncio.to_thread(process.wait, 10) == 0
        await quick.close()
        await slow.close()
    lines = {line.model: line for line in read_bill(bill)}
    assert lines["oracle?tokens=20&delay_ms=10"].ending is Ending.COMPLETE
    cut = lines["oracle?tokens=20&delay_ms=1000"]
    assert (cut.ending, cut.completion_tokens) == (Ending.CUT, 1)


async def test_what_was_served_is_on_the_bill_when_it_is_killed(tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    with upstream("--bill", str(bill)) as (process, port):
        ids: list[str] = []

        async def work() -> None:
            try:
                while (answer := await ask(port, "oracle")).complete:
                    ids.append(answer.json["id"])
            except ConnectionError:
                pass  # it was killed

        async def kill() -> None:
            while len(ids) < 200:
                await asyncio.sleep(0.001)
            process.kill()

        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for _ in range(8):
                group.create_task(work())
    billed = [line.id for line in read_bill(bill)]
    assert set(ids) <= set(billed)
    assert len(billed) == len(set(billed))


async def test_workers_share_one_bill(tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    models = [
        "oracle?tokens=3",
        "oracle?tokens=4&usage=none",
        "oracle?fault=cut:2c",
        "oracle?fault=status:500",
        "oracle?delay_ms=1&burst=1",
    ]
    with upstream("--bill", str(bill), "--workers", "2") as (process, port):

        async def work(number: int) -> list[str]:
            served = []
            for turn in range(20):
                answer = await ask_stream(port, models[(number + turn) % len(models)])
                if answer.status == 200:
                    served.append(answer.chunk_objects[0]["id"])
            return served

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number)) for number in range(16)]
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0
    served = [call for task in tasks for call in task.result()]
    lines = read_bill(bill)
    assert sorted(served) == sorted(line.id or "" for line in lines)
    assert len(served) == 16 * 16
    for worker in {line.worker for line in lines}:
        sequence = [line.seq for line in lines if line.worker == worker]
        assert sequence == list(range(1, len(sequence) + 1))


async def test_a_lost_worker_is_replaced(tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    with upstream("--bill", str(bill), "--workers", "2") as (_, port):
        await ask(port, "oracle")
        os.kill(read_bill(bill)[0].worker, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while len({line.worker for line in read_bill(bill)}) < 3:
                # several at once, so that no single worker can take them all
                answers = await asyncio.gather(*(ask(port, "oracle") for _ in range(8)), return_exceptions=True)
                assert all(not isinstance(answer, Exception) or isinstance(answer, OSError) for answer in answers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--price", "gpt-4o=2.5"], "no price is called '2.5'; there are prompt, completion"),
        (["--bill", "/nowhere/at/all/bill"], "/nowhere/at/all/bill cannot be written: No such file"),
        (["--port", "70000"], "0<=x<=65535"),
        (["--host", "203.0.113.1", "--port", "1"], "cannot listen on 203.0.113.1 port 1: "),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["upstream", *arguments])
    assert result.exit_code != 0
    assert message in result.output


def test_help_teaches() -> None:
    help_text = CliRunner().invoke(main, ["upstream", "--help"]).output
    assert "oracle?fault=status:429&retry_after=1&times=2" in help_text
    assert "curl http://127.0.0.1:4010/v1/chat/completions" in help_text
