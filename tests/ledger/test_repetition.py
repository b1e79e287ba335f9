"""An entry that comes again changes nothing; another one under its key is set aside, and changes nothing either."""

from typing import Any

import msgspec
import pytest

from bursar.domain.accounting import EndBody, Entry, Evidence, unknown, voided
from bursar.domain.limits import ScopeKind
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage
from bursar.domain.windows import WindowId
from bursar.ledger.journal import Journal
from tests.ledger.entries import AT_US, call_entry, ids, open_entry, settle_entry
from tests.ledger.test_periods import FUTURE, ONE_TAG, adjustment, grant, ledger, pinned, window
from tests.ledger.test_totals import Ledger, failed, totals

__all__ = ["ledger"]


def history(held_of: WindowId) -> dict[str, Entry]:
    """An entry of each kind, by its name, in the order they are posted."""
    call, attempt = ids(1)
    mark = unknown(attempt_id=attempt, call_id=call, at_us=AT_US, body=EndBody(reason="Timeout"))
    void, no_answer = failed(2, **ONE_TAG)
    entries = {
        "open": open_entry(1, **ONE_TAG),
        "unknown": mark,
        "settle": settle_entry(1, 100),
        "call": call_entry(1, **ONE_TAG),
        "void": void,
        "call that failed": no_answer,
        "adjust": adjustment(1, 11),
    }
    return {name: pinned([entry], held_of, hold=0 if name == "adjust" else 100)[0] for name, entry in entries.items()}


async def everything(ledger: Ledger) -> dict[str, object]:
    """All that could have changed but for the quarantine and the journals' positions."""
    found = await totals(ledger)
    for table in ("entries", "windows", "grants"):
        found[table] = await ledger.rows(f"SELECT * FROM bursar.{table} ORDER BY 1, 2")
    found["errors"] = await ledger.rows('SELECT * FROM "LiteLLM_ErrorLogs"')
    return found


@pytest.fixture
async def held_of(ledger: Ledger) -> WindowId:
    return await window(ledger, ScopeKind.KEY, FUTURE)


async def _post(ledger: Ledger, journal: Journal, entries: dict[str, Entry], *more: Entry) -> None:
    """Each in a record of its own; the first before the others, since no `open` is posted beside its end."""
    first, *others = entries.values()
    await ledger.post([first], journal=journal)
    await ledger.post(*[[entry] for entry in (*others, *more)], journal=journal)


NAMES = ("open", "unknown", "settle", "call", "void", "call that failed", "adjust")


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_again(ledger: Ledger, held_of: WindowId, name: str) -> None:
    """In the same batch, in a later one, from another journal."""
    journal, entries = ledger.journal(), history(held_of)
    await grant(ledger, journal, held_of)
    again = msgspec.structs.replace(entries[name], owner=None if name.startswith("call") else journal.id)
    await _post(ledger, journal, entries, again)
    before = await everything(ledger)
    assert before["TeamTable"] == {"t": 111}
    await ledger.post([again])
    await ledger.post([again], [entries["settle"]], journal=journal)
    assert await everything(ledger) == before
    assert await ledger.rows("SELECT FROM bursar.quarantine") == []


def _other_body(entry: Entry) -> Any:
    body: Any = entry.body
    changes: dict[str, dict[str, object]] = {
        "settle": {"usage": Usage(uncached_prompt_tokens=1)},
        "call": {"end_user": "somebody else"},
        "open": {"model": "another"},
    }
    return msgspec.structs.replace(body, **changes.get(entry.kind, {"reason": "because"}))


CHANGES: dict[str, Any] = {
    "body": lambda entry: {"body": _other_body(entry)},
    "time": lambda entry: {"at_us": entry.at_us + 1},
    "hold": lambda _: {"hold_nano_usd": NanoUsd(5)},
    "windows": lambda _: {"windows": ()},
    "cost": lambda entry: {"cost_nano_usd": NanoUsd(entry.cost_nano_usd + 1)},
    "evidence": lambda _: {"evidence": Evidence.ESTIMATED},
}


def changes_of(name: str) -> list[str]:
    """Which there can be of an entry."""
    without = set() if name in ("settle", "adjust") else {"cost", "evidence"}
    if name.startswith("call"):
        without |= {"hold", "windows"}
    return [change for change in CHANGES if change not in without]


@pytest.mark.parametrize("name", NAMES)
async def test_another_under_the_same_key(ledger: Ledger, held_of: WindowId, name: str) -> None:
    journal, entries = ledger.journal(), history(held_of)
    await grant(ledger, journal, held_of)
    await _post(ledger, journal, entries)
    before = await everything(ledger)
    entry, changes = entries[name], changes_of(name)
    for change in changes:
        await ledger.post([msgspec.structs.replace(entry, **CHANGES[change](entry))])
        assert await everything(ledger) == before, change
    aside = await ledger.rows("SELECT reason, content FROM bursar.quarantine")
    assert len(aside) == len(changes)
    assert {row["reason"] for row in aside} == {f"contradicts the {entry.kind} entry of attempt {entry.attempt_id}"}
    assert all(msgspec.json.decode(row["content"])["attempt_id"] == entry.attempt_id for row in aside)


async def test_an_attempt_ends_once(ledger: Ledger, held_of: WindowId) -> None:
    """Settle and void are under the same key."""
    journal, entries = ledger.journal(), history(held_of)
    await grant(ledger, journal, held_of)
    await _post(ledger, journal, entries)
    before = await everything(ledger)
    (one, settled_attempt), (two, _) = ids(1), ids(2)
    body = EndBody(reason="never sent")
    ends = [
        voided(attempt_id=settled_attempt, call_id=one, at_us=AT_US, body=body),
        msgspec.structs.replace(settle_entry(2, 7), call_id=two),
    ]
    await ledger.post(ends)
    assert await everything(ledger) == before
    reasons = [row["reason"] for row in await ledger.rows("SELECT reason FROM bursar.quarantine ORDER BY id")]
    assert [reason.split(" of ")[0] for reason in reasons] == [
        "contradicts the settle entry",
        "contradicts the void entry",
    ]
