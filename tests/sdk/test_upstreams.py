"""Real answers: of the oracle, and of a gateway in front of it."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.process.conftest import make_gateway, oracle, place  # noqa: F401  # fixtures
from tests.process.gateway import MASTER_KEY, MakeGateway, Oracle
from tests.sdk.running import App

BY_THE_BOOK = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: openai/*
      api_base: os.environ/ORACLE_BASE
      api_key: anything
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
"""
"""At the price that LiteLLM knows."""


async def test_calls_through_a_gateway_are_left_to_it(
    app: App,
    connection: Any,
    oracle: Oracle,  # noqa: F811
    make_gateway: MakeGateway,  # noqa: F811
) -> None:
    gateway = make_gateway(oracle=oracle)
    await asyncio.to_thread(gateway.start)
    await asyncio.to_thread(app.run, "upstreams", oracle.base_url, f"{gateway.origin}/v1", MASTER_KEY)
    rows = {
        row["tag"]: row
        for row in await connection.fetch(
            """SELECT request_tags ->> 0 AS tag, *, metadata #>> '{bursar,evidence}' AS evidence
            FROM "LiteLLM_SpendLogs" """
        )
    }
    kinds = ("sync", "async", "stream", "stream, usage", "failed")
    assert set(rows) == {f"provider, {kind}" for kind in kinds}
    told = oracle.bill()[:4]
    for line, kind in zip(told, kinds[:4], strict=True):
        row = rows[f"provider, {kind}"]
        if kind == "stream":
            assert row["spend"] > 0, "usage was not asked for: LiteLLM counts it itself, or we do"
        else:
            assert row["evidence"] == "provider"
            assert (row["prompt_tokens"], row["completion_tokens"]) == (line.prompt_tokens, line.completion_tokens)
    failed = rows["provider, failed"]
    assert (failed["status"], failed["spend"]) == ("failure", 0.0)
    books = await asyncpg.connect(gateway.database_url())
    assert await books.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == len(kinds)
    await books.close()


async def test_books_are_the_same_whichever_way_calls_went(
    newest_app: App,
    connection: Any,
    database_url: str,
    oracle: Oracle,  # noqa: F811
    make_gateway: MakeGateway,  # noqa: F811
) -> None:
    """The same calls by SDK, and by SDK through a gateway, into one database: one row an answer, at the same price."""
    gateway = make_gateway(oracle=oracle, config=BY_THE_BOOK, environ={"DATABASE_URL": database_url})
    await asyncio.to_thread(gateway.start)
    ways = [(oracle.base_url, "anything"), (f"{gateway.origin}/v1", MASTER_KEY)]
    await asyncio.gather(*[asyncio.to_thread(newest_app.run, "split", *way, "7", "120") for way in ways])
    await asyncio.to_thread(gateway.stop)
    bill = oracle.bill()
    rows = await connection.fetch(
        """SELECT metadata #>> '{bursar,price}' LIKE 'litellm %' AS by_sdk, status, count(*),
            sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, sum(spend) AS spend
        FROM "LiteLLM_SpendLogs" WHERE status = 'success' GROUP BY 1, 2 ORDER BY 1"""
    )
    through, direct = rows
    assert (through["by_sdk"], direct["by_sdk"]) == (False, True)
    assert through["count"] == direct["count"]
    assert through["count"] + direct["count"] == len(bill)
    for name in ("prompt_tokens", "completion_tokens"):
        assert through[name] + direct[name] == sum(getattr(line, name) for line in bill)
    assert direct["spend"] / direct["completion_tokens"] == pytest.approx(
        through["spend"] / through["completion_tokens"], rel=0.2
    ), "the same prices, of answers of various lengths"
    failed = await connection.fetchval("""SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE status = 'failure'""")
    assert failed == 2 * await connection.fetchval(
        """SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE status = 'failure' AND request_tags::text = '[]'
            AND metadata #>> '{user_api_key}' = ''"""
    )
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
