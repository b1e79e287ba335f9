"""The auditor finds nothing where nothing is wrong, and every amount that somebody has changed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bursar.store.audit import Audit, audit
from bursar.store.auditor import Auditor, books_state
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.patience import PATIENCE_S

NAMES = "x-litellm-tags", "a,b"


@pytest.fixture
async def look(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


async def some_calls(gateway: Gateway, books: Books) -> None:
    """Of keys with and without budgets, teams, owners, end users and tags; answered, failed, streamed, refused."""
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, max_budget, updated_at) VALUES ('t', 10, now())")
    plain = await gateway.new_key(user_id="u")
    limited = await gateway.new_key(max_budget=1.0, team_id="t", user_id="u", budget_duration="1d")
    for key in (plain, limited):
        await asyncio.gather(
            gateway.chat("at/tokens=7", key=key, user="customer", max_tokens=20),
            gateway.chat("at/tokens=9", key=key, headers={"x-litellm-tags": "a,b"}, max_tokens=20),
            gateway.chat("at/tokens=3", key=key, stream=True, max_tokens=20),
            gateway.chat("at/fault=status:500", key=key, max_tokens=20),
            gateway.chat("at/fault=close", key=key, max_tokens=20),
        )
    await gateway.new_key(max_budget=0.0)
    await books.posted()


async def test_the_books_close(start_gateway: StartGateway, books: Books, look: Database) -> None:
    gateway = await start_gateway()
    await some_calls(gateway, books)
    steps: list[tuple[int, int, str]] = []
    found = await audit(look, lambda *step: steps.append(step))
    assert found.differences == []
    assert (found.closes, found.drift_nano_usd, found.calls) == (True, 0, 10)
    assert found.spend_nano_usd == await books.cost_nano_usd() > 0
    assert [done for done, _, _ in steps] == list(range(steps[0][1] + 1))
    assert found.as_text().splitlines()[-1].startswith("The books close: ")
    assert any("estimated" in note for note in found.notes)


CHANGES = {
    "log rows": 'UPDATE "LiteLLM_SpendLogs" SET spend = spend + 1e-9 WHERE spend > 0',
    "keys": 'UPDATE "LiteLLM_VerificationToken" SET total_spend = total_spend + 2e-9 WHERE total_spend > 0',
    "days of users": 'UPDATE "LiteLLM_DailyUserSpend" SET spend = spend + 2e-9 WHERE spend > 0',
    "days of teams": 'DELETE FROM "LiteLLM_DailyTeamSpend"',
    "days of end users": 'UPDATE "LiteLLM_DailyEndUserSpend" SET spend = 0',
    "days of tags": 'UPDATE "LiteLLM_DailyTagSpend" SET spend = spend * 2',
    "budget windows": "UPDATE bursar.windows SET leased_nano_usd = leased_nano_usd + 1",
    "grants": "UPDATE bursar.grants SET spent_nano_usd = spent_nano_usd - 1 WHERE spent_nano_usd > 0",
    "attempts without a call": "DELETE FROM bursar.entries WHERE kind = 'call'",
    "quarantine": "INSERT INTO bursar.quarantine (reason, content) VALUES ('because', '')",
}


async def test_every_change_is_found(start_gateway: StartGateway, books: Books, look: Database) -> None:
    gateway = await start_gateway()
    await some_calls(gateway, books)
    for check, change in CHANGES.items():
        found = await changed(look, change)
        assert check in {difference.check for difference in found.differences}, check
        assert found.drift_nano_usd > 0
        assert "The books do not close" in found.as_text()
    assert (await audit(look)).closes


async def changed(look: Database, change: str) -> Audit:
    """What the auditor says after `change`, which is taken back."""
    async with look.connection() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute(change)

        class Inside(Database):
            """The auditor on this very connection."""

            def transaction(self):  # type: ignore[no-untyped-def]
                return _Nested(connection)

        try:
            return await audit(Inside(DatabaseOptions({})))
        finally:
            await undone.rollback()


class _Nested:
    """A transaction that is one already: its isolation cannot be chosen any more."""

    def __init__(self, connection: object) -> None:
        self._connection = connection

    async def __aenter__(self) -> "_Nested":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.execute("DROP TABLE IF EXISTS audit_calls")  # type: ignore[attr-defined]

    async def execute(self, query: str, **more: object) -> None:
        if "ISOLATION LEVEL" not in query:
            await self._connection.execute(query, **more)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


async def test_a_key_that_was_deleted_and_made_anew(start_gateway: StartGateway, books: Books, look: Database) -> None:
    gateway = await start_gateway()
    for _ in range(2):
        key = await gateway.new_key(key="sk-the-same-again-and-again")
        assert (await gateway.chat("at/tokens=7", key=key)).status == 200
        await books.posted()
        await gateway.request("POST", "/key/delete", {"keys": [key]})
    await gateway.new_key(key="sk-the-same-again-and-again")
    assert (await audit(look)).differences == []


async def scraped(gateway: Gateway) -> dict[str, float]:
    answer = await gateway.request("GET", "/metrics", key="")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def test_the_auditor_keeps_looking(start_gateway: StartGateway, books: Books, look: Database) -> None:
    gateway = await start_gateway()
    before = await scraped(gateway)
    assert before["bursar_database_up"] == 1
    assert "bursar_ledger_drift_nano_usd" not in before, "nobody has looked yet, and 0 would say that somebody had"
    await some_calls(gateway, books)
    eager, patient = Auditor(look, interval_s=0.0, rest=0), Auditor(look, interval_s=60.0)
    assert await eager.look()
    assert not await patient.look(), "it was looked at less than a minute ago"
    after = await scraped(gateway)
    assert (after["bursar_ledger_drift_nano_usd"], after["bursar_ledger_audit_differences"]) == (0, 0)
    assert after["bursar_ledger_audit_entries"] > 20
    await books.fetch(CHANGES["grants"])
    assert await eager.look()
    assert (await scraped(gateway))["bursar_ledger_drift_nano_usd"] > 0
    state = await books_state(look)
    assert state.audit is not None
    assert state.audit.differences > 0


async def test_one_auditor_at_a_time(start_gateway: StartGateway, look: Database) -> None:
    await start_gateway()
    auditors = [Auditor(look, interval_s=60.0) for _ in range(4)]
    async with asyncio.timeout(PATIENCE_S):
        assert sum(await asyncio.gather(*(auditor.look() for auditor in auditors))) == 1
    assert await look_count(look) == 1


async def look_count(look: Database) -> int:
    async with look.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM bursar.audits"))
