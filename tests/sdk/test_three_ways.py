"""The same books whichever way calls go: through the gateway, by the SDK, and by the SDK through the gateway."""

import asyncio
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bursar.oracle.bill import BillLine
from bursar.store.audit import audit
from bursar.store.database import Database
from tests.process.conftest import make_gateway, place  # noqa: F401  # fixtures
from tests.process.gateway import MASTER_KEY, Gateway, MakeGateway, Oracle, start_oracle
from tests.process.test_budgets import request
from tests.sdk.running import App
from tests.sdk.totals import Row, check_totals, log_rows, totals

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: &big
      model: openai/gpt-4o
      api_base: os.environ/ORACLE_BASE
      api_key: anything
      input_cost_per_token: 0.0000025
      output_cost_per_token: 0.00001
  - model_name: gpt-4o-mini
    litellm_params:
      <<: *big
      model: openai/gpt-4o-mini
      input_cost_per_token: 0.00000015
      output_cost_per_token: 0.0000006
  - model_name: busy
    litellm_params: {<<: *big, model: "openai/gpt-4o?fault=status:429"}
  - model_name: frail
    litellm_params: &broken {<<: *big, model: "openai/gpt-4o?fault=status:500"}
  - model_name: broken
    litellm_params: *broken
router_settings:
  num_retries: 0
  allowed_fails: 1000000
  fallbacks: [{frail: [gpt-4o]}]
litellm_settings:
  disable_add_user_agent_to_request_tags: true
general_settings:
  forward_client_headers_to_llm_api: true  # so that the mark of a call arrives on the bill
"""
"""At the prices that LiteLLM knows."""
PRICES = ("--price", "gpt-4o=prompt:2.5,completion:10", "--price", "gpt-4o-mini=prompt:0.15,completion:0.6")
CALLERS = 6


async def new_caller(gateway: Gateway, number: int) -> dict[str, str]:
    """A key, whose user has another one too, as the team has three."""
    who = {"user": f"user-{number // 2}", "team": f"team-{number % 2}", "tag": f"tag-{number % 3}"}
    body = {"user_id": who["user"], "team_id": who["team"]}
    status, answer = await request(gateway.port, "/key/generate", body, MASTER_KEY)
    assert status == 200, answer
    return who | {"key": json.loads(answer)["key"]}


def row_of(mark: str, callers: list[dict[str, str]], line: BillLine | None = None) -> Row:
    """How a call must stand in the books; without a line of the bill it failed."""
    who = callers[int(mark.partition("-")[0])]
    return Row(
        api_key=hashlib.sha256(who["key"].encode()).hexdigest(),
        user=who["user"],
        team_id=who["team"],
        end_user=who["user"],
        tag=who["tag"],
        model="" if line is None else f"openai/{line.model}",
        good=line is not None,
        prompt=0 if line is None else line.prompt_tokens,
        completion=0 if line is None else line.completion_tokens,
        nano=0 if line is None else line.cost_nano_usd,
    )


async def equal_after(
    calls: int, app: App, gateway: Gateway, oracle: Oracle, connection: Any, database: Database
) -> None:
    await asyncio.to_thread(gateway.start)
    for team in range(2):
        await request(gateway.port, "/team/new", {"team_id": f"team-{team}"}, MASTER_KEY)
    callers = [await new_caller(gateway, number) for number in range(CALLERS)]
    arguments = (oracle.base_url, gateway.origin, "7", str(calls))
    told = await asyncio.to_thread(app.run, "split", *arguments, given=json.dumps(callers), patience_s=60 + calls / 10)
    assert await asyncio.to_thread(gateway.stop) == 0
    made = [line.split("\t") for line in told.splitlines()]
    assert len(made) == calls
    bill = oracle.bill()
    failed = [row_of(mark, callers) for mark, _, kind in made if kind in ("failed", "fallback")]
    owed = [*failed, *(row_of(str(line.attempt), callers, line) for line in bill)]
    booked = await log_rows(connection)
    for name in ("api_key", "user", "team_id", "end_user", "tag"):
        assert totals(booked, name) == totals(owed, name), name
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == len(booked)
    ids = await connection.fetch("""SELECT request_id FROM "LiteLLM_SpendLogs" WHERE status = 'success'""")
    assert Counter(row[0] for row in ids) == Counter(line.id for line in bill)
    await check_totals(connection, booked)
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
    found = await audit(database)
    assert found.closes, found.as_text()
    ways = Counter(way for _, way, _ in made)
    print(
        f"{dict(ways)}: {len(bill)} billed and booked, {len(failed)} failures; 0 missing, 0 twice, 0 nano-dollars apart"
    )


@pytest.fixture
def oracle(place: Path) -> Any:  # noqa: F811
    """A provider whose prices LiteLLM knows."""
    oracle = start_oracle(place / "oracle", *PRICES)
    yield oracle
    oracle.program.close()


@pytest.mark.parametrize("calls", [600, pytest.param(20_000, marks=pytest.mark.long)])
async def test_calls_are_booked_the_same_whichever_way_they_go(
    calls: int,
    newest_app: App,
    connection: Any,
    database: Database,
    database_url: str,
    oracle: Oracle,
    make_gateway: MakeGateway,  # noqa: F811
) -> None:
    gateway = make_gateway(oracle=oracle, config=CONFIG, environ={"DATABASE_URL": database_url})
    await equal_after(calls, newest_app, gateway, oracle, connection, database)
