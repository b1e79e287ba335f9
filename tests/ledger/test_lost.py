"""Processes that are declared lost: what they had under way is booked at what it held, until the truth comes."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bursar.domain.accounting import EndBody, Entry, Evidence, encode_entries, voided
from bursar.domain.errors import JournalTaken, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.limits import ScopeKind
from bursar.domain.windows import Window
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.store.audit import audit
from bursar.store.database import Database
from bursar.store.instances import Instances
from bursar.store.ledger import PostgresLedger
from tests.ledger.entries import AT_US, call_entry, ids, open_entry, settle_entry
from tests.ledger.test_periods import FUTURE, figures, grant, pinned, spend, window
from tests.ledger.test_totals import WHO, Ledger, everybody

LIMIT = 10_000_000_000
ONE_TAG = WHO | {"request_tags": ["a"]}


@pytest.fixture
async def ledger(database: Database, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, tmp_path)
    await everybody(ledger)
    await ledger.do('UPDATE "LiteLLM_VerificationToken" SET total_spend = 0')
    yield ledger
    ledger.close()


def truth(kind: str) -> list[Entry]:
    """How the attempt ended, by its own process."""
    call, attempt = ids(1)
    if kind == "void":
        end = voided(attempt_id=attempt, call_id=call, at_us=AT_US + 1, body=EndBody(reason="RateLimitError"))
    else:
        end = settle_entry(1, 250)
    return [end, call_entry(1, **ONE_TAG)]


@pytest.mark.parametrize(("kind", "cost"), [("settle", 250), ("void", 0), (None, 900)])
async def test_what_was_lost_and_what_comes_back(ledger: Ledger, kind: str | None, cost: int) -> None:
    journal = ledger.journal()
    key = await window(ledger, ScopeKind.KEY, FUTURE)
    await grant(ledger, journal, key, leased=5000)
    reader = JournalReader(journal.directory, journal.id)
    poster = Poster(PostgresLedger(ledger.database), reader, journal_id=journal.id, host="t")
    journal.append(encode_entries(pinned([open_entry(1, **ONE_TAG)], key, hold=900)))
    journal.append(encode_entries([open_entry(2, estimate_nano_usd=40, api_key="x" * 64)]))
    assert await poster.run(follow=False)
    instances = Instances(ledger.database)
    [before] = await instances.unsettled(JournalId(journal.id))
    assert (before.open_attempts, before.unspent_nano_usd, before.lost_at) == (2, 5000, None)

    loss = await instances.declare_lost(before)
    assert (loss.attempts, loss.cost_nano_usd, loss.stranded_nano_usd) == (2, 940, 4100)
    assert await figures(ledger, key) == Window(limit=LIMIT, leased=5000, spent=900)
    found = await ledger.rows("SELECT evidence, cost_nano_usd FROM bursar.entries WHERE kind = 'settle' ORDER BY 2")
    assert [(row["evidence"], row["cost_nano_usd"]) for row in found] == [("lost", 40), ("lost", 900)]
    assert (await audit(ledger.database)).differences == []

    journal.append(encode_entries(truth("settle")))
    with pytest.raises(JournalTaken):  # it lives after all, and is told
        await poster.run(follow=False)
    [after] = await instances.unsettled(JournalId(journal.id))
    assert after.lost_at is not None
    if kind is None:
        return
    for _ in range(2):  # whoever reads its journal, and again after that
        await ledger.post(
            [msgspec.structs.replace(entry, owner=journal.id) for entry in truth(kind)], journal=ledger.journal()
        )
        assert await spend(ledger, ScopeKind.KEY) == cost
        assert await figures(ledger, key) == Window(limit=LIMIT, leased=5000, spent=cost)
        assert await ledger.rows("SELECT reason FROM bursar.quarantine") == []
        assert (await audit(ledger.database)).differences == []
    call, _ = ids(1)
    [row] = await ledger.rows(
        "SELECT spend FROM \"LiteLLM_SpendLogs\" WHERE metadata #>> '{bursar,call_id}' = $1", str(call)
    )
    assert row["spend"] == cost / 1e9
    evidence = await ledger.rows("SELECT evidence FROM bursar.entries WHERE kind = 'adjust'")
    assert [row["evidence"] for row in evidence] == [Evidence.PROVIDER]


async def test_declaring_may_be_repeated(ledger: Ledger) -> None:
    """It was cut off between taking over and the mark."""
    journal = ledger.journal()
    await ledger.post([open_entry(1, estimate_nano_usd=40)], journal=journal)
    instances = Instances(ledger.database)
    [stale] = await instances.unsettled(JournalId(journal.id))
    assert (await instances.declare_lost(stale)).attempts == 1
    with pytest.raises((JournalTaken, StoreUnavailable)):
        await instances.declare_lost(stale)  # by what was known before
    [now] = await instances.unsettled(JournalId(journal.id))
    assert now.epoch == stale.epoch + 1
    assert (await audit(ledger.database)).differences == []
