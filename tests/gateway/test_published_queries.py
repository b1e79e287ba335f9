"""Queries as they are published for LiteLLM's tables: they run as they are, and their totals are the provider's bill.

The wording here is our own; tables, columns, functions and shapes are those that such queries use.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MESSAGES, Books, Row
from tests.gateway.trade import FAILED_MODEL, Sale, by, cost, trade
from tests.patience import PATIENCE_S

OWNERS = ("ann", "bob", "customer")


@dataclass(frozen=True, slots=True)
class Traded:
    """What was sold, and where it is booked."""

    sales: list[Sale]
    books: Books
    began: datetime

    async def ask(self, query: str) -> list[Row]:
        """The answer of a query that anybody types."""
        return await self.books.fetch(query)

    def of_session(self, session: str) -> list[Sale]:
        return [sale for sale in self.sales if sale.session == session]


@pytest.fixture
async def traded(start_gateway: StartGateway, oracle: RunningOracle, books: Books) -> Traded:
    began = datetime.now(UTC).replace(tzinfo=None)
    gateway = await start_gateway(settings="general_settings: {store_prompts_in_spend_logs: true}")
    return Traded(await trade(gateway, oracle, books), books, began)


def nano(spend: float) -> int:
    """A sum of the float column, to the nano-dollar."""
    return round(spend * 1e9)


def tokens(sales: Iterable[Sale]) -> int:
    return sum(sale.tokens for sale in sales)


def mean(figures: Iterable[float]) -> Any:
    found = list(figures)
    return pytest.approx(sum(found) / len(found))


# --- what was asked, and what it cost ---


async def test_the_latest_calls(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT "startTime", "endTime", model, "user", spend, total_tokens, prompt_tokens, completion_tokens
        FROM "LiteLLM_SpendLogs" ORDER BY "startTime" DESC LIMIT 4
    """)
    failed, *answered = rows
    assert (failed["user"], failed["model"], failed["spend"], failed["total_tokens"]) == ("ann", FAILED_MODEL, 0.0, 0)
    for row, sale in zip(answered, reversed(traded.sales), strict=False):
        assert (row["user"], row["model"], nano(row["spend"])) == (sale.user, sale.model, sale.line.cost_nano_usd)
        assert (row["prompt_tokens"], row["completion_tokens"]) == (
            *(sale.line.prompt_tokens, sale.line.completion_tokens),
        )
        assert row["total_tokens"] == sale.tokens
        assert traded.began - timedelta(milliseconds=1) <= row["startTime"] <= row["endTime"]


async def test_models(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT model, COUNT(*) AS calls, SUM(spend) AS usd, AVG(total_tokens) AS mean_tokens,
            SUM(prompt_tokens) AS prompt, SUM(completion_tokens) AS completion
        FROM "LiteLLM_SpendLogs" GROUP BY model ORDER BY usd DESC
    """)
    assert [row["usd"] for row in rows] == sorted((row["usd"] for row in rows), reverse=True)
    assert (rows[-1]["model"], rows[-1]["calls"], rows[-1]["usd"]) == (FAILED_MODEL, 1, 0.0)
    expected = by(traded.sales, lambda sale: sale.model)
    assert {row["model"] for row in rows[:-1]} == set(expected)
    for row in rows[:-1]:
        sales = expected[row["model"]]
        assert (row["calls"], nano(row["usd"])) == (len(sales), cost(sales))
        assert row["prompt"] == sum(sale.line.prompt_tokens for sale in sales)
        assert row["completion"] == sum(sale.line.completion_tokens for sale in sales)
        assert float(row["mean_tokens"]) == mean(sale.tokens for sale in sales)
    assert sum(nano(row["usd"]) for row in rows) == cost(traded.sales)


async def test_keys_and_their_budgets(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT user_id, key_alias, spend, max_budget, models, created_at
        FROM "LiteLLM_VerificationToken" WHERE user_id IS NOT NULL ORDER BY spend DESC
    """)
    expected = by(traded.sales, lambda sale: sale.user)
    assert {row["user_id"]: nano(row["spend"]) for row in rows} == {
        user: cost(expected[user]) for user in ("ann", "bob")
    }
    assert {row["key_alias"]: row["max_budget"] for row in rows} == {"ann's": 5.0, "bob's": None}
    assert all(row["models"] == [] and row["created_at"] >= traded.began - timedelta(seconds=1) for row in rows)


async def test_days(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT DATE("startTime") AS day, COUNT(*) AS calls, SUM(spend) AS usd, COUNT(DISTINCT "user") AS users,
            AVG(total_tokens) AS mean_tokens
        FROM "LiteLLM_SpendLogs" GROUP BY DATE("startTime") ORDER BY day DESC LIMIT 7
    """)
    assert sum(row["calls"] for row in rows) == len(traded.sales) + 1
    assert sum(nano(row["usd"]) for row in rows) == cost(traded.sales)
    assert all(isinstance(row["day"], date) and row["day"] >= traded.began.date() for row in rows)
    if len(rows) == 1:  # unless it is midnight
        assert rows[0]["users"] == len(OWNERS)
        assert float(rows[0]["mean_tokens"]) == pytest.approx(tokens(traded.sales) / (len(traded.sales) + 1))


async def test_hours(traded: Traded) -> None:
    """The column is without a zone and `NOW()` has one: the database's zone is UTC, or this would find others."""
    for window, found in (("24 hours", len(traded.sales) + 1), ("-1 minute", 0)):
        rows = await traded.ask(f"""
            SELECT EXTRACT(HOUR FROM "startTime") AS hour, COUNT(*) AS calls, SUM(spend) AS usd,
                AVG(total_tokens) AS mean_tokens
            FROM "LiteLLM_SpendLogs" WHERE "startTime" >= NOW() - INTERVAL '{window}'
            GROUP BY EXTRACT(HOUR FROM "startTime") ORDER BY hour
        """)
        assert sum(row["calls"] for row in rows) == found
    recent = await traded.ask("""
        SELECT SUM(spend) AS usd FROM "LiteLLM_SpendLogs" WHERE "startTime" >= NOW() - INTERVAL '5 minutes'
    """)
    assert nano(recent[0]["usd"]) == cost(traded.sales)


async def test_how_long_calls_take(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT model, AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) AS mean_s,
            MIN(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) AS least_s,
            MAX(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) AS most_s, COUNT(*) AS calls
        FROM "LiteLLM_SpendLogs" WHERE "endTime" IS NOT NULL AND "startTime" IS NOT NULL
        GROUP BY model ORDER BY mean_s ASC
    """)
    assert sum(row["calls"] for row in rows) == len(traded.sales) + 1
    assert all(0 <= row["least_s"] <= row["mean_s"] <= row["most_s"] < 20 for row in rows)


async def test_users(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT "user", COUNT(*) AS calls, SUM(spend) AS usd, AVG(total_tokens) AS mean_tokens,
            MIN("startTime") AS first_call, MAX("startTime") AS last_call
        FROM "LiteLLM_SpendLogs" WHERE "user" IS NOT NULL AND "user" != '' GROUP BY "user" ORDER BY calls DESC
    """)
    expected = by(traded.sales, lambda sale: sale.user)
    assert {row["user"]: nano(row["usd"]) for row in rows} == {user: cost(sales) for user, sales in expected.items()}
    assert {row["user"]: row["calls"] for row in rows} == {"ann": 5, "bob": 3, "customer": 1}
    assert all(row["first_call"] <= row["last_call"] for row in rows)


async def test_calls_that_cost_nothing(traded: Traded) -> None:
    [row] = await traded.ask("""
        SELECT model, "user", "startTime", metadata, total_tokens
        FROM "LiteLLM_SpendLogs" WHERE spend = 0 ORDER BY "startTime" DESC LIMIT 10
    """)
    assert (row["model"], row["user"], row["total_tokens"]) == (FAILED_MODEL, "ann", 0)
    assert row["metadata"]["status"] == "failure"
    assert row["metadata"]["error_information"]["error_code"] == "500"


async def test_the_ratio_of_answer_to_question(traded: Traded) -> None:
    """PostgreSQL has no `round` of a float to so many places; a database of ours does."""
    rows = await traded.ask("""
        SELECT model, SUM(prompt_tokens) AS prompt, SUM(completion_tokens) AS completion, SUM(total_tokens) AS tokens,
            ROUND(AVG(completion_tokens::float / prompt_tokens::float), 2) AS ratio
        FROM "LiteLLM_SpendLogs" WHERE prompt_tokens > 0 GROUP BY model ORDER BY tokens DESC
    """)
    expected = by(traded.sales, lambda sale: sale.model)
    assert {row["model"] for row in rows} == set(expected)
    for row in rows:
        lines = [sale.line for sale in expected[row["model"]]]
        ratio = sum(line.completion_tokens / line.prompt_tokens for line in lines) / len(lines)
        assert float(row["ratio"]) == pytest.approx(ratio, abs=0.006)
        assert -row["ratio"].as_tuple().exponent == 2
        assert row["tokens"] == row["prompt"] + row["completion"] == tokens(expected[row["model"]])


async def test_which_tables_there_are(traded: Traded) -> None:
    columns = await traded.ask("""
        SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'
    """)
    kinds = {(row["table_name"], row["column_name"]): row["data_type"] for row in columns}
    assert kinds["LiteLLM_SpendLogs", "spend"] == "double precision"
    assert kinds["LiteLLM_SpendLogs", "startTime"] == "timestamp without time zone"
    assert kinds["LiteLLM_SpendLogs", "metadata"] == "jsonb"
    counts = await traded.ask("""
        SELECT 'rows' AS of, COUNT(*) AS number FROM "LiteLLM_SpendLogs"
        UNION ALL SELECT 'keys', COUNT(*) FROM "LiteLLM_VerificationToken"
        UNION ALL SELECT 'users', COUNT(*) FROM "LiteLLM_UserTable"
    """)
    assert {row["of"]: row["number"] for row in counts} == {"rows": len(traded.sales) + 1, "keys": 2, "users": 3}


# --- sessions, which the callers name in their metadata ---


async def test_the_calls_of_a_session(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT request_id, "startTime", "user", model, total_tokens, spend, metadata ->> 'agent_name' AS agent,
            metadata->>'conversation_name' AS conversation, metadata
        FROM "LiteLLM_SpendLogs" WHERE metadata->>'session_id' = 's-1' ORDER BY "startTime"
    """)
    sales = traded.of_session("s-1")
    assert [row["request_id"] for row in rows] == [sale.line.id for sale in sales]
    assert [nano(row["spend"]) for row in rows] == [sale.line.cost_nano_usd for sale in sales]
    assert {(row["agent"], row["conversation"]) for row in rows} == {("clerk", "about s-1")}


async def test_a_session_in_sum(traded: Traded) -> None:
    """`ROUND` of what `EXTRACT` returns is PostgreSQL's own."""
    [row] = await traded.ask("""
        SELECT metadata->>'session_id' AS session, metadata->>'agent_name' AS agent,
            metadata->>'conversation_name' AS conversation, "user", COUNT(*) AS calls, SUM(total_tokens) AS tokens,
            SUM(spend) AS usd, MIN("startTime") AS began, MAX("startTime") AS ended,
            ROUND(AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))), 2) AS mean_s
        FROM "LiteLLM_SpendLogs" WHERE metadata->>'session_id' = 's-3'
        GROUP BY metadata->>'session_id', metadata->>'agent_name', metadata->>'conversation_name', "user"
    """)
    sales = traded.of_session("s-3")
    assert (row["session"], row["agent"], row["user"], row["calls"]) == ("s-3", "scout", "bob", len(sales))
    assert (row["tokens"], nano(row["usd"])) == (tokens(sales), cost(sales))
    assert row["began"] < row["ended"]
    assert 0 <= row["mean_s"] < 20


async def test_what_was_said_in_a_session(traded: Traded) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:  # texts follow their rows
            rows = await traded.ask("""
                SELECT "startTime", messages, response
                FROM "LiteLLM_SpendLogs" WHERE metadata->>'session_id' = 's-1' ORDER BY "startTime" ASC
            """)
            if all(row["response"] for row in rows):
                break
            await asyncio.sleep(0.01)
    assert [row["messages"] for row in rows] == [MESSAGES] * 3
    assert [row["response"]["id"] for row in rows] == [sale.line.id for sale in traded.of_session("s-1")]
    assert all(row["response"]["choices"][0]["message"]["content"] for row in rows)


async def test_agents(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT metadata->>'agent_name' AS agent, COUNT(DISTINCT metadata->>'session_id') AS sessions,
            COUNT(*) AS calls, SUM(total_tokens) AS tokens, SUM(spend) AS usd,
            AVG(EXTRACT(EPOCH FROM ("endTime" - "startTime"))) AS mean_s
        FROM "LiteLLM_SpendLogs" WHERE metadata->>'agent_name' IS NOT NULL
        GROUP BY metadata->>'agent_name' ORDER BY calls DESC
    """)
    expected = by([sale for sale in traded.sales if sale.agent], lambda sale: sale.agent)
    assert [(row["agent"], row["sessions"], row["calls"]) for row in rows] == [("clerk", 2, 4), ("scout", 1, 2)]
    for row in rows:
        assert (row["tokens"], nano(row["usd"])) == (tokens(expected[row["agent"]]), cost(expected[row["agent"]]))


async def test_the_sessions_of_a_user(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT metadata->>'session_id' AS session, metadata->>'agent_name' AS agent,
            metadata->>'conversation_name' AS conversation, COUNT(*) AS calls, SUM(spend) AS usd,
            MIN("startTime") AS began, MAX("startTime") AS ended
        FROM "LiteLLM_SpendLogs" WHERE "user" = 'ann' AND metadata->>'session_id' IS NOT NULL
        GROUP BY metadata->>'session_id', metadata->>'agent_name', metadata->>'conversation_name' ORDER BY began DESC
    """)
    assert [(row["session"], row["calls"], nano(row["usd"])) for row in rows] == [
        ("s-2", 1, cost(traded.of_session("s-2"))),
        ("s-1", 3, cost(traded.of_session("s-1"))),
    ]


async def test_sessions_by_the_day(traded: Traded) -> None:
    rows = await traded.ask("""
        SELECT DATE("startTime") AS day, COUNT(DISTINCT metadata->>'session_id') AS sessions, COUNT(*) AS calls,
            COUNT(DISTINCT "user") AS users, SUM(spend) AS usd
        FROM "LiteLLM_SpendLogs"
        WHERE metadata->>'session_id' IS NOT NULL AND "startTime" >= NOW() - INTERVAL '7 days'
        GROUP BY DATE("startTime") ORDER BY day DESC
    """)
    in_sessions = [sale for sale in traded.sales if sale.session]
    assert sum(row["calls"] for row in rows) == len(in_sessions)
    assert sum(nano(row["usd"]) for row in rows) == cost(in_sessions)
    if len(rows) == 1:
        assert (rows[0]["sessions"], rows[0]["users"]) == (3, 2)


async def test_running_and_daily_totals_are_the_bill_too(traded: Traded) -> None:
    """By key, user, team and tag, as dashboards read them."""
    expected = by(traded.sales, lambda sale: sale.user)
    for query, keys in {
        'SELECT user_id AS of, spend FROM "LiteLLM_UserTable"': OWNERS,
        'SELECT user_id AS of, SUM(spend) AS spend FROM "LiteLLM_DailyUserSpend" GROUP BY user_id': OWNERS,
    }.items():
        rows = await traded.ask(query)
        assert {row["of"]: nano(row["spend"]) for row in rows} == {key: cost(expected[key]) for key in keys}
    for query, sales in {
        "\"LiteLLM_DailyTeamSpend\" WHERE team_id = 't'": expected["ann"],
        '"LiteLLM_DailyTeamSpend"': traded.sales,
        "\"LiteLLM_EndUserTable\" WHERE user_id = 'customer'": traded.sales,
        '"LiteLLM_DailyEndUserSpend"': traded.sales,
        "\"LiteLLM_TagTable\" WHERE tag_name = 'red'": expected["bob"],
        "\"LiteLLM_DailyTagSpend\" WHERE tag = 'red'": expected["bob"],
    }.items():
        [row] = await traded.ask(f"SELECT SUM(spend) AS usd FROM {query}")
        assert nano(row["usd"]) == cost(sales), query
