"""A call that is booked as answered is answered, whatever happens while its record is on the way to the disk."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from bursar.domain.ids import JournalId, uuid7
from bursar.gateway.attribution import AttributionRules
from bursar.gateway.books import Books
from bursar.gateway.chat import ChatCompletions, ChatSettings
from bursar.gateway.deadlines import Deadlines
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.reader import JournalReader

ID = JournalId(uuid7(1_790_000_000_000, 9))


@pytest.mark.parametrize("end", ["deadline", "shutdown"])
async def test_ended_while_its_record_is_written(tmp_path: Path, end: str) -> None:
    journal = Journal(tmp_path, ID)
    commit = GroupCommit(journal, appended=lambda: None)
    for _ in range(20):
        commit.report(b"[]")  # so that records wait for the end of their turn
    await commit.written()
    nothing = cast(Any, None)
    deadlines = Deadlines()
    chat = ChatCompletions(
        authenticator=nothing,
        models=nothing,
        admission=nothing,
        transport=nothing,
        books=Books(commit),
        headers=nothing,
        key_spend=nothing,
        deadlines=deadlines,
        settings=ChatSettings(AttributionRules()),
    )
    answered = []

    async def answer() -> None:
        with deadlines.limit(60) as limit:
            commit.end(b'["settled"]')
            if end == "deadline":
                limit.expire()
            await chat._on_disk()
            answered.append(list(read(journal)))

    task = asyncio.create_task(answer())
    await asyncio.sleep(0)
    if end == "shutdown":
        task.cancel()
    await task
    deadlines.close()
    journal.release()
    [on_disk] = answered
    assert on_disk[-1] == b'["settled"]'


def read(journal: Journal) -> list[bytes]:
    reader = JournalReader(journal.directory, ID)
    reader.seek(1)
    found = [payload.tobytes() for payload in reader.read()]
    reader.close()
    return found
