"""LiteLLM's spend columns over the end of a period."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bursar.domain.limits import Scope, ScopeKind, member_scope, parts_of
from bursar.domain.periods import Calendar, next_reset
from bursar.store.database import Database
from bursar.store.resets import PeriodSweeper

PAST = datetime(2020, 1, 1)  # noqa: DTZ001  # as the columns are


async def execute(database: Database, *statements: str) -> None:
    async with database.connection() as connection:
        for statement in statements:
            await connection.execute(statement)


async def rows(database: Database, query: str) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch(query)]


async def test_what_is_due_begins_anew(database: Database) -> None:
    await execute(
        database,
        """INSERT INTO "LiteLLM_VerificationToken" (token, spend, max_budget, budget_duration, budget_reset_at) VALUES
            ('due', 5, 9, '1d', '2020-01-01'), ('fresh', 5, 9, '1d', '2100-01-01'), ('new', 5, 9, '1d', NULL),
            ('lifetime', 5, 9, NULL, NULL), ('odd', 5, 9, 'fortnight', '2020-01-01')""",
        """INSERT INTO "LiteLLM_UserTable" (user_id, spend, budget_duration, budget_reset_at)
            VALUES ('u', 5, '7d', '2020-01-01')""",
        """INSERT INTO "LiteLLM_TeamTable" (team_id, spend, budget_duration, budget_reset_at, updated_at)
            VALUES ('t', 5, '1mo', '2020-01-01', now())""",
    )
    sweeper = PeriodSweeper(database, Calendar())
    assert await sweeper.sweep() == 4
    keys = await rows(database, 'SELECT token, spend, budget_reset_at FROM "LiteLLM_VerificationToken"')
    now = datetime.now(UTC)
    tomorrow = next_reset("1d", now).replace(tzinfo=None)
    assert {row["token"]: (row["spend"], row["budget_reset_at"]) for row in keys} == {
        "due": (0.0, tomorrow),
        "fresh": (5.0, datetime(2100, 1, 1)),  # noqa: DTZ001
        "new": (5.0, tomorrow),
        "lifetime": (5.0, None),
        "odd": (5.0, PAST),
    }
    [user] = await rows(database, 'SELECT spend, budget_reset_at FROM "LiteLLM_UserTable"')
    assert (user["spend"], user["budget_reset_at"].weekday()) == (0.0, 0)
    [team] = await rows(database, 'SELECT spend, budget_reset_at FROM "LiteLLM_TeamTable"')
    assert (team["spend"], team["budget_reset_at"].day) == (0.0, 1)
    assert await sweeper.sweep() == 0


async def test_what_the_new_period_has_spent_already_stays(database: Database) -> None:
    ends = next_reset("1d", datetime.now(UTC))
    await execute(
        database,
        """INSERT INTO "LiteLLM_VerificationToken" (token, spend, max_budget, budget_duration, budget_reset_at)
            VALUES ('k', 5, 9, '1d', '2020-01-01')""",
        f"""INSERT INTO bursar.windows (window_id, scope_kind, scope_id, ends_at, limit_nano_usd, leased_nano_usd,
            spent_nano_usd) VALUES (gen_random_uuid(), 'key', 'k', '{ends.isoformat()}', 9, 2000000000, 1500000000)""",
    )
    await PeriodSweeper(database, Calendar()).sweep()
    [key] = await rows(database, 'SELECT spend FROM "LiteLLM_VerificationToken"')
    assert key["spend"] == 1.5


async def test_all_who_share_a_budget_begin_anew(database: Database) -> None:
    ends = next_reset("1d", datetime.now(UTC))
    scope = member_scope("a/b%", "u/v")
    await execute(
        database,
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, budget_duration, budget_reset_at, created_by, updated_by)
            VALUES ('b', '1d', '2020-01-01', 'x', 'x')""",
        """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id)
            VALUES ('u/v', 'a/b%', 5, 'b'), ('other', 't', 5, NULL)""",
        """INSERT INTO "LiteLLM_EndUserTable" (user_id, spend, budget_id) VALUES ('e', 5, 'b')""",
        """INSERT INTO "LiteLLM_TagTable" (tag_name, spend, budget_id, updated_at) VALUES ('g', 5, 'b', now())""",
        """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, spend, created_by,
            updated_by) VALUES ('o', 'o', 'b', 5, 'x', 'x')""",
        """INSERT INTO "LiteLLM_VerificationToken" (token, spend, budget_id) VALUES ('k', 5, 'b')""",
        f"""INSERT INTO bursar.windows (window_id, scope_kind, scope_id, ends_at, limit_nano_usd, leased_nano_usd,
            spent_nano_usd) VALUES (gen_random_uuid(), 'team_member', '{scope.id}', '{ends.isoformat()}', 9, 2000000000,
            1500000000)""",
    )
    await PeriodSweeper(database, Calendar()).sweep()
    members = await rows(database, 'SELECT user_id, spend FROM "LiteLLM_TeamMembership"')
    assert {row["user_id"]: row["spend"] for row in members} == {"u/v": 1.5, "other": 5.0}
    for table in ("EndUserTable", "TagTable", "OrganizationTable", "VerificationToken"):
        assert [row["spend"] for row in await rows(database, f'SELECT spend FROM "LiteLLM_{table}"')] == [0.0], table
    [budget] = await rows(database, 'SELECT budget_reset_at FROM "LiteLLM_BudgetTable"')
    assert budget["budget_reset_at"] == ends.replace(tzinfo=None)


@pytest.mark.parametrize(("team", "user"), [("t", "u"), ("a/b", "c/d"), ("100%", "u"), ("%2F", "/"), ("", "")])
async def test_a_members_scope_is_named_alike_everywhere(database: Database, team: str, user: str) -> None:
    scope = member_scope(team, user)
    assert parts_of(scope) == (team, user)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT bursar.member_scope($1, $2)", team, user) == scope.id


def test_other_scopes_have_one_part() -> None:
    assert parts_of(Scope(ScopeKind.TEAM, "a/b")) == ("a/b", "")
