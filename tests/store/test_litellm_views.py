"""LiteLLM's views on a database of ours: its columns, the books' totals, whatever the session's zone."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from bursar.store.migrate import known_migrations, migrate

COLUMNS = {
    "MonthlyGlobalSpend": "date date, spend double precision",
    "MonthlyGlobalSpendPerKey": "date date, spend double precision, api_key text",
    "MonthlyGlobalSpendPerUserPerKey": "date date, spend double precision, api_key text, user text",
    "Last30dKeysBySpend": "api_key text, key_alias text, key_name text, total_spend double precision",
    "Last30dModelsBySpend": "model text, total_spend double precision",
    "Last30dTopEndUsersSpend": "end_user text, total_events bigint, total_spend double precision",
    "DailyTagSpend": ("individual_request_tag text, spend_date date, log_count bigint, total_spend double precision"),
}
TEAM_COLUMNS = {
    "team_spend": 3.0,
    "team_max_budget": 10.0,
    "team_model_max_budget": '{"m": 1}',
    "team_tpm_limit": 100,
    "team_rpm_limit": 10,
    "team_tpd_limit": 1000,
    "project_alias": "Apollo",
}
_ROWS = """
INSERT INTO "LiteLLM_TeamTable" (team_id, spend, max_budget, model_max_budget, tpm_limit, rpm_limit, tpd_limit)
VALUES ('red', 3, 10, '{"m": 1}', 100, 10, 1000);
INSERT INTO "LiteLLM_ProjectTable" (project_id, project_alias, created_by, updated_by) VALUES ('p', 'Apollo', '', '');
INSERT INTO "LiteLLM_VerificationToken" (token, key_alias, key_name, team_id, project_id)
VALUES ('k1', 'one', 'sk-...0001', 'red', 'p'), ('k2', 'two', 'sk-...0002', NULL, NULL);
INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, spend, api_key, "user", end_user, model, request_tags, "startTime", "endTime"
)
SELECT id, 'acompletion', spend, key, owner, customer, model, tags::jsonb, at, at
FROM (
    VALUES
        ('today', 1, 'k1', 'ann', 'customer', 'm', '["a", "b"]', interval '0'),
        ('twice', 2, 'k1', 'ann', 'ann', 'm', '["a", "a"]', interval '0'),
        ('no list', 4, 'k2', '', current_user::text, 'n', '{"a": 1}', interval '0'),
        ('no tags', 8, 'gone', NULL, NULL, '', NULL, interval '30 days'),
        ('too old', 16, 'k1', 'ann', 'customer', 'm', '["old"]', interval '30 days 1 millisecond')
) AS r (id, spend, key, owner, customer, model, tags, age)
CROSS JOIN LATERAL (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') - age) AS t (at)
"""


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
async def connection(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A session in some zone, with a log in whose rows each amount is another bit."""
    connected = await asyncpg.connect(database_url, server_settings={"timezone": request.param})
    await connected.execute(_ROWS)
    yield connected
    await connected.close()


async def found(connection: Any, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.fetch(query)]


async def test_sums_are_those_of_the_log(connection: Any) -> None:
    for name, expected in {
        'date - current_utc, spend FROM "MonthlyGlobalSpend"': [(-30, 8), (0, 7)],
        'date - current_utc, api_key, spend FROM "MonthlyGlobalSpendPerKey"': [
            (-30, "gone", 8),
            (0, "k1", 3),
            (0, "k2", 4),
        ],
        'date - current_utc, "user", api_key, spend FROM "MonthlyGlobalSpendPerUserPerKey"': [
            (-30, None, "gone", 8),
            (0, "", "k2", 4),
            (0, "ann", "k1", 3),
        ],
        'spend_date - current_utc, individual_request_tag, log_count, total_spend FROM "DailyTagSpend"': [
            (-31, "old", 1, 16),
            (0, "a", 2, 3),
            (0, "b", 1, 1),
        ],
    }.items():
        days_ago = name.replace("current_utc", "(now() AT TIME ZONE 'UTC')::date")
        assert await found(connection, f"SELECT {days_ago} ORDER BY 1, 2") == expected, name


async def test_the_largest_come_first(connection: Any) -> None:
    assert await found(connection, 'SELECT * FROM "Last30dKeysBySpend"') == [
        ("gone", None, None, 8),
        ("k2", "two", "sk-...0002", 4),
        ("k1", "one", "sk-...0001", 3),
    ]
    assert await found(connection, 'SELECT * FROM "Last30dModelsBySpend"') == [("n", 4), ("m", 3)]
    login = await connection.fetchval("SELECT current_user::text")
    assert await found(connection, 'SELECT * FROM "Last30dTopEndUsersSpend"') == [
        (login, 1, 4),
        ("ann", 1, 2),
        ("customer", 1, 1),
    ]


async def test_keys_with_their_teams(connection: Any) -> None:
    one, two = await connection.fetch('SELECT * FROM "LiteLLM_VerificationTokenView" ORDER BY token')
    assert {name: one[name] for name in TEAM_COLUMNS} == TEAM_COLUMNS
    assert {two[name] for name in TEAM_COLUMNS} == {None}
    assert list(one.keys())[: -len(TEAM_COLUMNS)] == await connection.fetchval("""
        SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = '"LiteLLM_VerificationToken"'::regclass AND attnum > 0
    """)


async def test_columns_have_litellm_s_names_and_types(connection: Any) -> None:
    described = await connection.fetch(
        """
        SELECT c.relname::text AS name,
            string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) AS columns
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid WHERE c.relkind = 'v' AND c.relname = ANY ($1)
        GROUP BY c.relname
        """,
        list(COLUMNS),
    )
    assert {row["name"]: row["columns"] for row in described} == COLUMNS


async def test_whoever_made_a_view_before_keeps_it(empty_database: str) -> None:
    """LiteLLM, or somebody who missed it."""
    connection = await asyncpg.connect(empty_database)
    known = known_migrations()
    await migrate(connection, lambda _: None, known=[migration for migration in known if migration.number < 19])
    await connection.execute("""CREATE VIEW "MonthlyGlobalSpend" AS SELECT 'mine' AS month""")
    await migrate(connection, lambda _: None)
    assert await connection.fetchval('SELECT month FROM "MonthlyGlobalSpend"') == "mine"
    assert await found(connection, 'SELECT * FROM "MonthlyGlobalSpendPerKey"') == []
    await connection.close()
