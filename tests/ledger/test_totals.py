"""Totals: running and daily sums, moved by what was really inserted, in whatever order and company it comes."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bursar.domain.accounting import (
    AdjustBody,
    CallStatus,
    EndBody,
    Entry,
    Evidence,
    Failure,
    adjusted,
    encode_entries,
    unknown,
    voided,
)
from bursar.domain.deaths import cut_off
from bursar.domain.ids import JournalId, uuid7
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.money import NanoUsd
from bursar.ledger.journal import Journal
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.store.budgets import in_force
from bursar.store.database import Database
from bursar.store.ledger import PostgresLedger
from tests.ledger.entries import AT_US, KEY, call_entry, ids, open_body, open_entry, settle_entry

FAILURE = Failure(error_class="InternalServerError", error_code="500", error_message="It failed.")
DAY = "2026-09-21"
NAMES = ("alias", "user_id", "team_id", "team_alias", "org_id")


def key_names(**names: str) -> msgspec.Raw:
    assert set(names) <= set(NAMES)
    return msgspec.Raw(msgspec.json.encode({f"user_api_key_{name}": value for name, value in names.items()}))


class Ledger:
    """A database, and journals that are posted into it."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database = database
        self._root = root
        self._journals: list[Journal] = []

    def journal(self) -> Journal:
        """A new one."""
        journal = Journal(self._root, JournalId(uuid7(AT_US // 1000, len(self._journals) + 1)))
        self._journals.append(journal)
        return journal

    def close(self) -> None:
        """Let go of all of them."""
        for journal in self._journals:
            journal.release()

    async def post(self, *records: Sequence[Entry], journal: Journal | None = None) -> None:
        """Records of a journal, a new one unless told, posted together."""
        posted = journal or self.journal()
        for record in records:
            posted.append(encode_entries(list(record)))
        reader = JournalReader(posted.directory, posted.id)
        assert await Poster(PostgresLedger(self.database), reader, journal_id=posted.id, host="t").run(follow=False)
        reader.close()

    async def rows(self, sql: str, *arguments: object) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]

    async def do(self, *statements: str) -> None:
        async with self.database.connection() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def spend(self, table: str, key: str) -> dict[str, float]:
        """A table's `spend`, exact to the nano-dollar, by key."""
        found = await self.rows(f'SELECT {key} AS key, spend FROM "{table}"')
        return {row["key"]: round(row["spend"] * 1e9) for row in found}

    async def row(self) -> dict[str, Any]:
        """The only log row."""
        [row] = await self.rows('SELECT * FROM "LiteLLM_SpendLogs"')
        return row | {"metadata": msgspec.json.decode(row["metadata"])}

    async def daily(self, entity: str) -> list[dict[str, Any]]:
        """The daily rows of an entity (`User`, `Team` …), without what every one of them has."""
        found = await self.rows(f'SELECT * FROM "LiteLLM_Daily{entity}Spend" ORDER BY 2, date')
        ignored = {"id", "created_at", "updated_at", "request_id", "ptu_flat_cost", "mcp_namespaced_tool_name"}
        for row in found:
            assert row["mcp_namespaced_tool_name"] == ""
        return [
            {name: value for name, value in row.items() if name not in ignored and "saving" not in name}
            | {"spend": round(row["spend"] * 1e9)}
            for row in found
        ]


@pytest.fixture
def ledger(database: Database, tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(database, tmp_path)
    yield ledger
    ledger.close()


def answered(number: int, cost: int, **facts: object) -> list[Entry]:
    """The record of a call that was answered at once."""
    return [settle_entry(number, cost), call_entry(number, **facts)]


def failed(number: int, **facts: object) -> list[Entry]:
    call, attempt = ids(number)
    end = voided(attempt_id=attempt, call_id=call, at_us=AT_US, body=EndBody(reason="InternalServerError", status=500))
    return [end, call_entry(number, status=CallStatus.FAILURE, error_information=FAILURE, **facts)]


async def everybody(ledger: Ledger) -> None:
    """A key of a user in a team in an organization, all of them known."""
    await ledger.do(
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b', 'a', 'a')""",
        """INSERT INTO "LiteLLM_OrganizationTable"
            (organization_id, organization_alias, budget_id, created_by, updated_by)
            VALUES ('o', 'O', 'b', 'a', 'a')""",
        """INSERT INTO "LiteLLM_UserTable" (user_id, spend) VALUES ('u', 1)""",
        """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, spend) VALUES ('u', 'o', NULL)""",
        """INSERT INTO "LiteLLM_TeamTable" (team_id, members_with_roles)
            VALUES ('t', '[{"role": "user", "user_id": "u"}]')""",
        f"""INSERT INTO "LiteLLM_VerificationToken" (token, user_id, team_id, spend, total_spend)
            VALUES ('{KEY}', 'u', 't', 0.5, 2)""",
    )


WHO: dict[str, Any] = {
    "user": "u",
    "team_id": "t",
    "organization_id": "o",
    "end_user": "e",
    "request_tags": ["a", "b", "User-Agent: curl"],
    "key_names": key_names(user_id="u", team_id="t", org_id="o"),
}


# --- which totals there are ---


async def test_everybody_who_has_a_part_in_it(ledger: Ledger) -> None:
    await everybody(ledger)
    await ledger.post(answered(1, 1_000, **WHO), answered(2, 234, **WHO))
    [key] = await ledger.rows('SELECT spend, total_spend, last_active FROM "LiteLLM_VerificationToken"')
    assert (round(key["spend"] * 1e9), round(key["total_spend"] * 1e9)) == (500_001_234, 2_000_001_234)
    assert key["last_active"] is not None
    assert await ledger.spend("LiteLLM_UserTable", "user_id") == {"u": 1_000_001_234}
    assert await ledger.spend("LiteLLM_TeamTable", "team_id") == {"t": 1234}
    assert await ledger.spend("LiteLLM_OrganizationTable", "organization_id") == {"o": 1234}
    assert await ledger.spend("LiteLLM_OrganizationMembership", "user_id") == {"u": 1234}
    assert await ledger.spend("LiteLLM_EndUserTable", "user_id") == {"e": 1234}
    assert await ledger.spend("LiteLLM_TagTable", "tag_name") == {"a": 1234, "b": 1234}
    [member] = await ledger.rows('SELECT * FROM "LiteLLM_TeamMembership"')
    assert member["total_spend"] == member["spend"] == pytest.approx(1.234e-6)
    shared = {
        "date": DAY,
        "api_key": KEY,
        "model": "openai/gpt-4o",
        "model_group": "gpt-4o",
        "custom_llm_provider": "openai",
        "endpoint": "/chat/completions",
        "prompt_tokens": 804,
        "completion_tokens": 84,
        "spend": 1234,
        "api_requests": 2,
        "failed_requests": 0,
        "successful_requests": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "compression_saved_tokens": 0,
        "total_response_time_ms": 2500,
        "timed_requests": 2,
    }
    assert await ledger.daily("User") == [{"user_id": "u"} | shared]
    assert await ledger.daily("Team") == [{"team_id": "t"} | shared]
    assert await ledger.daily("Organization") == [{"organization_id": "o"} | shared]
    assert await ledger.daily("EndUser") == [{"end_user_id": "e"} | shared]
    assert await ledger.daily("Tag") == [{"tag": tag} | shared for tag in ("User-Agent: curl", "a", "b")]


async def test_nobody_in_particular(ledger: Ledger) -> None:
    """Without owner, team and the rest there are the daily rows under nobody's name."""
    await ledger.post(answered(1, 5, user="", request_tags=[]))
    assert [row["user_id"] for row in await ledger.daily("User")] == [""]
    assert [row["team_id"] for row in await ledger.daily("Team")] == [""]
    for table in ("DailyOrganizationSpend", "DailyEndUserSpend", "DailyTagSpend", "UserTable", "EndUserTable"):
        assert await ledger.rows(f'SELECT FROM "LiteLLM_{table}"') == [], table


async def test_who_is_not_known_yet(ledger: Ledger) -> None:
    """Users, end users and tags get rows; teams and organizations are counted by the day alone."""
    await ledger.post(answered(1, 7, **WHO))
    await ledger.post(answered(2, 3, **WHO))
    assert await ledger.spend("LiteLLM_UserTable", "user_id") == {"u": 10}
    assert await ledger.spend("LiteLLM_EndUserTable", "user_id") == {"e": 10}
    assert await ledger.spend("LiteLLM_TagTable", "tag_name") == {"a": 10, "b": 10}
    for table in ("TeamTable", "OrganizationTable", "TeamMembership", "OrganizationMembership", "VerificationToken"):
        assert await ledger.rows(f'SELECT FROM "LiteLLM_{table}"') == [], table
    assert [(row["team_id"], row["spend"]) for row in await ledger.daily("Team")] == [("t", 10)]
    assert [(row["organization_id"], row["spend"]) for row in await ledger.daily("Organization")] == [("o", 10)]


@pytest.mark.parametrize(
    ("roster", "member", "owner", "has_row"),
    [
        ("""'[{"role": "user", "user_id": "u"}]', '{}'""", False, "u", True),
        ("""'{}', '{x,u}'""", False, "u", True),
        ("""'[{"role": "user", "user_id": "x"}]', '{x}'""", False, "u", False),
        ("""'{}', NULL""", True, "u", True),
        ("""'[{"role": "user", "user_id": "u"}]', '{u}'""", False, None, False),
    ],
    ids=["in the roster", "in the old roster", "not in it", "has a row already", "the body's user owns no key"],
)
async def test_members_of_teams(ledger: Ledger, roster: str, member: bool, owner: str | None, has_row: bool) -> None:
    await ledger.do(
        f"""INSERT INTO "LiteLLM_TeamTable" (team_id, members_with_roles, members) VALUES ('t', {roster})"""
    )
    if member:
        await ledger.do("""INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend) VALUES ('u', 't', 1)""")
    names = key_names(team_id="t", **({} if owner is None else {"user_id": owner}))
    await ledger.post(answered(1, 5, team_id="t", user="u", key_names=names))
    rows = await ledger.rows('SELECT user_id, team_id, spend, total_spend FROM "LiteLLM_TeamMembership"')
    assert [(row["user_id"], row["team_id"]) for row in rows] == ([("u", "t")] if has_row else [])
    if has_row:
        assert round(rows[0]["total_spend"] * 1e9) == 5
        assert round(rows[0]["spend"] * 1e9) == 5 + 1_000_000_000 * member


async def test_users_whom_only_the_call_named(ledger: Ledger) -> None:
    """They could be anybody: they have rows and days, and what is on their budgets is known apart."""
    await ledger.do("""INSERT INTO "LiteLLM_UserTable" (user_id, spend) VALUES ('u', 1)""")
    of_the_admin = key_names(user_id="default_user_id")
    own = key_names(user_id="u")
    await ledger.post(
        answered(1, 5, user="u"),
        answered(2, 7, user="x"),
        answered(3, 9, user="u", key_names=of_the_admin),
        answered(4, 11, user="u", key_names=own),
    )
    assert await ledger.spend("LiteLLM_UserTable", "user_id") == {"u": 1_000_000_025, "x": 7}
    assert {row["user_id"]: row["spend"] for row in await ledger.daily("User")} == {"u": 25, "x": 7}
    assert {row["user_id"]: row["spent_nano_usd"] for row in await ledger.rows("SELECT * FROM bursar.named_spend")} == {
        "u": 14,
        "x": 7,
    }


async def test_tags(ledger: Ledger) -> None:
    """A tag counts once for a call. User agents have no rows but those that people made."""
    await ledger.do("""INSERT INTO "LiteLLM_TagTable" (tag_name) VALUES ('User-Agent: known')""")
    await ledger.post(answered(1, 5, request_tags=["a", "a", "User-Agent: known", "User-Agent: other"]))
    assert await ledger.spend("LiteLLM_TagTable", "tag_name") == {"a": 5, "User-Agent: known": 5}
    assert {(row["tag"], row["spend"], row["api_requests"]) for row in await ledger.daily("Tag")} == {
        ("a", 5, 1),
        ("User-Agent: known", 5, 1),
        ("User-Agent: other", 5, 1),
    }
    assert {row["request_id"] for row in await ledger.rows('SELECT request_id FROM "LiteLLM_DailyTagSpend"')} == {
        "chatcmpl-1"
    }


async def test_failures(ledger: Ledger) -> None:
    """They are counted, and in the table of errors; nobody gets a row for one."""
    await ledger.post(failed(1, user="stranger", end_user="e", request_tags=["x"], api_base="https://a.example/v1"))
    [day] = await ledger.daily("User")
    assert (day["api_requests"], day["failed_requests"], day["successful_requests"]) == (1, 1, 0)
    assert (day["total_response_time_ms"], day["timed_requests"], day["spend"]) == (0, 0, 0)
    for table in ("UserTable", "EndUserTable", "TagTable"):
        assert await ledger.rows(f'SELECT FROM "LiteLLM_{table}"') == [], table
    [error] = await ledger.rows('SELECT * FROM "LiteLLM_ErrorLogs"')
    row = await ledger.row()
    assert {name: error[name] for name in ("request_id", "startTime", "endTime", "model_group", "model_id")} == {
        name: row[name] for name in ("request_id", "startTime", "endTime", "model_group", "model_id")
    }
    assert msgspec.json.decode(error["request_kwargs"]) == {
        "call_type": "acompletion",
        "litellm_call_id": "litellm-1",
        "user_api_key": KEY,
    }
    assert (error["exception_type"], error["exception_string"], error["status_code"]) == (
        *("InternalServerError", "It failed.", "500"),
    )
    assert (error["litellm_model_name"], error["api_base"]) == ("openai/gpt-4o", "https://a.example/v1")


async def test_without_error_logs(ledger: Ledger) -> None:
    await ledger.post(failed(1, error_logged=False), failed(2, logged=False))
    assert [row["request_id"] for row in await ledger.rows('SELECT request_id FROM "LiteLLM_ErrorLogs"')] == [
        "chatcmpl-2"
    ]
    assert (await ledger.row())["request_id"] == "chatcmpl-1"
    assert [row["failed_requests"] for row in await ledger.daily("User")] == [2]


@pytest.mark.parametrize(
    ("call_type", "endpoint"),
    [
        ("acompletion", "/chat/completions"),
        ("atext_completion", "/completions"),
        ("aembedding", "/embeddings"),
        ("aimage_generation", "/image/generations"),
        ("aspeech", "/audio/speech"),
        ("atranscription", "/audio/transcriptions"),
        ("amoderation", "/moderations"),
        ("arerank", "/rerank"),
        ("aresponses", "/responses"),
        ("anthropic_messages", ""),
    ],
)
async def test_endpoints(ledger: Ledger, call_type: str, endpoint: str) -> None:
    await ledger.post(answered(1, 1, call_type=call_type))
    assert [row["endpoint"] for row in await ledger.daily("User")] == [endpoint]


async def test_days_are_those_of_the_start_in_utc(ledger: Ledger) -> None:
    midnight = 1_790_035_200_000_000
    await ledger.post(
        answered(1, 1, start_us=midnight - 1, end_us=midnight + 5), answered(2, 2, start_us=midnight, end_us=midnight)
    )
    assert [(row["date"], row["spend"]) for row in await ledger.daily("User")] == [("2026-09-21", 1), ("2026-09-22", 2)]


async def test_cached_tokens(ledger: Ledger) -> None:
    end = settle_entry(1, 9, cache_read_tokens=100, cache_creation_tokens=20)
    await ledger.post([end, call_entry(1)])
    [day] = await ledger.daily("User")
    assert (day["cache_read_input_tokens"], day["cache_creation_input_tokens"]) == (100, 20)


async def test_model_groups_share_a_row(ledger: Ledger) -> None:
    """The unique key that LiteLLM shares with us does not have them; the first name stays."""
    await ledger.post(answered(1, 1, model_group="first"))
    await ledger.post(answered(2, 1, model_group="another"))
    assert [(row["model_group"], row["spend"]) for row in await ledger.daily("User")] == [("first", 2)]


async def test_a_deleted_key_keeps_its_calls(ledger: Ledger) -> None:
    """They carry who it belonged to at the time: nothing is looked up."""
    await everybody(ledger)
    await ledger.do('DELETE FROM "LiteLLM_VerificationToken"')
    await ledger.post(answered(1, 9, **WHO))
    row = await ledger.row()
    assert (row["api_key"], row["user"], row["team_id"], row["spend"]) == (KEY, "u", "t", 9e-9)
    assert row["metadata"]["user_api_key_user_id"] == "u"
    assert [(day["api_key"], day["spend"]) for day in await ledger.daily("Team")] == [(KEY, 9)]
    assert await ledger.spend("LiteLLM_TeamTable", "team_id") == {"t": 9}


# --- what comes later ---


def adjustment(number: int, difference: int, **facts: Any) -> Entry:
    call, attempt = ids(number)
    return adjusted(
        attempt_id=attempt,
        call_id=call,
        at_us=AT_US + 9_000_000,
        number=facts.pop("seq", 0),
        difference=NanoUsd(difference),
        evidence=Evidence.PROVIDER,
        body=AdjustBody(reason="the provider's invoice", **facts),
    )


async def totals(ledger: Ledger) -> dict[str, object]:
    """Every total there is, and all of the log rows."""
    found: dict[str, object] = {
        name: await ledger.spend(f"LiteLLM_{name}", key)
        for name, key in (
            ("UserTable", "user_id"),
            ("TeamTable", "team_id"),
            ("OrganizationTable", "organization_id"),
            ("OrganizationMembership", "user_id"),
            ("TeamMembership", "user_id"),
            ("EndUserTable", "user_id"),
            ("TagTable", "tag_name"),
            ("VerificationToken", "token"),
            ("VerificationToken", "token || round((total_spend * 1e9)::numeric)"),
        )
    }
    for entity in ("User", "Team", "Organization", "EndUser", "Tag"):
        found[entity] = await ledger.daily(entity)
    rows = await ledger.rows('SELECT * FROM "LiteLLM_SpendLogs" ORDER BY request_id')
    found["rows"] = [
        {name: value for name, value in row.items() if name not in ("created_at", "updated_at")}
        | {"spend": round(row["spend"] * 1e9), "metadata": msgspec.json.decode(row["metadata"])}
        for row in rows
    ]
    return found


async def test_an_attempt_resolved_by_another_process(ledger: Ledger) -> None:
    """Its call ended without it: row, day and totals move by the difference, the number of requests does not."""
    await everybody(ledger)
    call, attempt = ids(1)
    mark = unknown(attempt_id=attempt, call_id=call, at_us=AT_US, body=EndBody(reason="Timeout"))
    await ledger.post([mark, call_entry(1, status=CallStatus.FAILURE, error_information=FAILURE, **WHO)])
    row = await ledger.row()
    assert (row["spend"], row["total_tokens"], "evidence" in row["metadata"]["bursar"]) == (0.0, 0, False)
    await ledger.post([settle_entry(1, 700, provider_usage=msgspec.Raw(b'{"prompt_tokens":402}'), flags=("late",))])
    row = await ledger.row()
    assert (row["spend"], row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (7e-7, 402, 42, 444)
    assert row["status"] == "failure"
    assert row["metadata"]["bursar"]["evidence"] == "provider"
    assert row["metadata"]["bursar"]["flags"] == ["late"]
    assert row["metadata"]["usage_object"] == {"prompt_tokens": 402}
    assert row["metadata"]["cost_breakdown"] == {"total_cost": 7e-7, "original_cost": 7e-7}
    [day] = await ledger.daily("Team")
    assert (day["spend"], day["api_requests"], day["failed_requests"], day["prompt_tokens"]) == (700, 1, 1, 402)
    assert await ledger.spend("LiteLLM_TeamTable", "team_id") == {"t": 700}
    assert await ledger.spend("LiteLLM_VerificationToken", "token") == {KEY: 500_000_700}


async def test_adjustments(ledger: Ledger) -> None:
    """To either side, and each once."""
    await everybody(ledger)
    await ledger.post(answered(1, 1000, **WHO))
    down = adjustment(1, -400, prompt_tokens=-100, cache_read_tokens=50)
    await ledger.post([down])
    row = await ledger.row()
    assert (row["spend"], row["prompt_tokens"], row["total_tokens"]) == (6e-7, 302, 344)
    assert row["metadata"]["cost_breakdown"]["total_cost"] == 6e-7
    await ledger.post([adjustment(1, 1, seq=1)], [down])
    assert (await ledger.row())["spend"] == 6.01e-7
    assert await ledger.spend("LiteLLM_TeamTable", "team_id") == {"t": 601}
    [day] = await ledger.daily("EndUser")
    assert (day["spend"], day["api_requests"], day["cache_read_input_tokens"]) == (601, 1, 50)
    assert await ledger.rows("SELECT FROM bursar.quarantine") == []


async def test_an_adjustment_of_an_earlier_day(ledger: Ledger) -> None:
    before = AT_US - 3 * 86_400_000_000
    await ledger.post(answered(1, 10, start_us=before, end_us=before + 5))
    await ledger.post(answered(2, 5), [adjustment(1, 3)])
    assert [(day["date"], day["spend"]) for day in await ledger.daily("User")] == [("2026-09-18", 13), (DAY, 5)]


async def test_several_attempts_of_a_call(ledger: Ledger) -> None:
    """A row has the sum of them, and the words of the one that answered."""
    journal = ledger.journal()
    await ledger.post([settle_entry(1, 30, 1)], journal=journal)
    assert await ledger.daily("User") == [], "the call has not ended"
    _, second = ids(1, 2)
    await ledger.post(
        [settle_entry(1, 12, 2, price_version="p2"), call_entry(1, attempt_id=second, attempts=2)], journal=journal
    )
    row = await ledger.row()
    assert (round(row["spend"] * 1e9), row["total_tokens"]) == (42, 888)
    assert row["metadata"]["bursar"]["attempt_id"] == second
    assert row["metadata"]["bursar"]["price"] == "p2"
    assert row["metadata"]["attempted_retries"] == 1
    assert [(day["spend"], day["api_requests"]) for day in await ledger.daily("User")] == [(42, 1)]


async def test_a_call_that_its_process_did_not_live_to_end(ledger: Ledger) -> None:
    """Whoever resolves its attempt ends it, from what the attempt's `open` says."""
    await everybody(ledger)
    call, attempt = ids(1)
    who = WHO | {"metadata": {"department": msgspec.Raw(b'"sales"')}, "session_id": "s", "api_base": "https://a/v1"}
    body = msgspec.json.decode(msgspec.json.encode(open_body(**who)), type=type(open_body()))
    await ledger.post([open_entry(1, **who)])
    end = cut_off(body, attempt_id=attempt, attempts=1, call_id=call, at_us=AT_US + 5_000_000, failure=FAILURE)
    await ledger.post([settle_entry(1, 50), end])
    row = await ledger.row()
    assert {name: row[name] for name in ("request_id", "user", "team_id", "end_user", "session_id", "model")} == {
        "request_id": str(call),
        "user": "u",
        "team_id": "t",
        "end_user": "e",
        "session_id": "s",
        "model": "openai/gpt-4o",
    }
    assert (row["status"], row["spend"], row["api_base"], row["model_id"]) == ("failure", 5e-8, "https://a/v1", "d")
    assert row["metadata"]["department"] == "sales"
    assert row["metadata"]["user_api_key_org_id"] == "o"
    assert await ledger.spend("LiteLLM_OrganizationMembership", "user_id") == {"u": 50}


async def test_what_was_named_before_a_period_is_not_taken_back_in_it(ledger: Ledger) -> None:
    """Neither from the row nor from his own: the row was set back, and what only named him with it."""
    await ledger.post(answered(1, 10, user="u"))
    await ledger.do('UPDATE "LiteLLM_UserTable" SET spend = 0', "DELETE FROM bursar.named_spend")
    await ledger.post(answered(2, 3, user="u", key_names=key_names(user_id="u")), answered(3, 4, user="u"))
    await ledger.post([adjustment(1, -6)])
    user = Scope(ScopeKind.USER, "u")
    async with ledger.database.connection() as connection:
        assert (await in_force(connection, [user]))[user].spent == 3
    assert await ledger.spend("LiteLLM_UserTable", "user_id") == {"u": 3}


async def test_nothing_is_adjusted_that_is_not_settled(ledger: Ledger) -> None:
    """It is set aside, and would be missing from no total once its attempt is."""
    await ledger.post([adjustment(1, 5)], failed(2), [adjustment(2, 5)])
    await ledger.post(answered(1, 10))
    assert [day["spend"] for day in await ledger.daily("User")] == [10]
    reasons = [row["reason"] for row in await ledger.rows("SELECT reason FROM bursar.quarantine ORDER BY id")]
    assert reasons == [f"adjusts attempt {ids(number)[1]}, which is not settled" for number in (1, 2)]


CALLS = 5


def history() -> list[list[Entry]]:
    """Calls of all kinds, record by record: answered at once, retried, failed, resolved late, adjusted."""
    call, attempt = ids(3)
    mark = unknown(attempt_id=attempt, call_id=call, at_us=AT_US, body=EndBody(reason="Timeout"))
    end = call_entry(3, status=CallStatus.FAILURE, error_information=FAILURE, **WHO)
    return [
        [open_entry(1)],
        answered(1, 100, **WHO),
        [open_entry(2, 1)],
        [settle_entry(2, 7, 1)],
        [open_entry(2, 2)],
        [settle_entry(2, 11, 2), call_entry(2, attempt_id=ids(2, 2)[1], attempts=2, **WHO)],
        [mark, end],
        failed(4, **WHO),
        [settle_entry(3, 1000)],
        [adjustment(1, -25, prompt_tokens=-2)],
        [adjustment(3, 13, seq=1)],
        answered(5, 17, **WHO),
    ]


def _is_adjustment(record: Sequence[Entry]) -> bool:
    return record[0].kind == "adjust"


@pytest.fixture
async def expected(ledger: Ledger) -> dict[str, object]:
    """What `history` comes to, posted whole; the tables are empty again."""
    await everybody(ledger)
    await ledger.post(*history())
    found = await totals(ledger)
    assert found["TeamTable"] == {"t": 100 + 7 + 11 + 1000 - 25 + 13 + 17}
    assert len(found["rows"]) == CALLS  # type: ignore[arg-type]
    await _empty(ledger)
    return found


async def _empty(ledger: Ledger) -> None:
    tables = await ledger.rows(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE (schemaname = 'bursar' AND tablename <> 'migrations') OR tablename LIKE 'LiteLLM%'"
    )
    await ledger.do("TRUNCATE " + ", ".join(row["name"] for row in tables))
    await everybody(ledger)


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (3, 8), (4, 6, 9), (5,)])
async def test_batches_do_not_matter(ledger: Ledger, expected: dict[str, object], cuts: tuple[int, ...]) -> None:
    records = history()
    journal = ledger.journal()
    for start, stop in zip((0, *cuts), (*cuts, len(records)), strict=True):
        await ledger.post(*records[start:stop], journal=journal)
    assert await totals(ledger) == expected


@pytest.mark.parametrize("seed", range(6))
async def test_order_and_repetition_do_not_matter(ledger: Ledger, expected: dict[str, object], seed: int) -> None:
    """Ends before calls, calls before ends, adjustments after both, some twice: from several journals."""
    draw = random.Random(seed)
    records = history() + draw.sample(history(), 4)
    draw.shuffle(records)
    records.sort(key=_is_adjustment)
    while records:
        size = draw.randint(1, 4)
        await ledger.post(*records[:size])
        records = records[size:]
    assert await totals(ledger) == expected
    assert await ledger.rows("SELECT FROM bursar.quarantine") == []


async def test_many_posters_at_once(ledger: Ledger, expected: dict[str, object]) -> None:
    """Of records that belong together, each from another journal; all of them share all rows."""
    for adjusting in (False, True):
        await asyncio.gather(*[ledger.post(record) for record in history() if _is_adjustment(record) is adjusting])
    assert await totals(ledger) == expected


async def test_posters_that_share_rows_do_not_hinder_each_other(ledger: Ledger) -> None:
    await everybody(ledger)
    tagged = [WHO | {"request_tags": tags, "end_user": f"e{n}"} for n, tags in enumerate((["a", "b"], ["b", "a"]))]

    async def carry(worker: int) -> None:
        journal = ledger.journal()
        for batch in range(10):
            calls = range(worker * 1000 + batch * 20, worker * 1000 + batch * 20 + 20)
            await ledger.post(*[answered(n, 1, **tagged[(n + worker) % 2]) for n in calls], journal=journal)

    await asyncio.gather(*[carry(worker) for worker in range(1, 5)])
    assert await ledger.spend("LiteLLM_TeamTable", "team_id") == {"t": 800}
    assert await ledger.spend("LiteLLM_TagTable", "tag_name") == {"a": 800, "b": 800}
    assert await ledger.spend("LiteLLM_EndUserTable", "user_id") == {"e0": 400, "e1": 400}
    assert sum(day["spend"] for day in await ledger.daily("User")) == 800
    [deadlocks] = await ledger.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks["deadlocks"] == 0
