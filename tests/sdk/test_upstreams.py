"""Real answers: of the oracle, and of a gateway in front of it."""

import asyncio
from typing import Any

import asyncpg

from tests.process.conftest import make_gateway, oracle, place  # noqa: F401  # fixtures
from tests.process.gateway import MASTER_KEY, MakeGateway, Oracle
from tests.sdk.running import App


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
