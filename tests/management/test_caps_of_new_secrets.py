"""A key that gets another secret, and what it may spend and ask: caps hold over both secrets together."""

import asyncio

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.gateway.windows import within_one_minute
from tests.management.admin import does
from tests.management.test_key_lives import check_books_close, hash_of

CENTS = """
- model_name: slow
  litellm_params: &cent
    model: openai/oracle?tokens=100&head_ms=1500
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
- model_name: cent
  litellm_params: {{<<: *cent, model: 'openai/oracle?tokens=100'}}
"""
"""Each call costs and holds exactly a cent when it is asked for 100 tokens."""
IMPATIENT = "bursar_settings: {budget_wait_s: 0.2}"


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    return await start_gateway(models=CENTS, settings=IMPATIENT)


async def statuses(gateway: Gateway, model: str, *keys: str) -> list[int]:
    answers = await asyncio.gather(*(gateway.chat(model, key=key, max_tokens=100) for key in keys))
    return [answer.status for answer in answers]


@pytest.mark.parametrize("limits", [{"max_budget": 0.03}, {"model_max_budget": {"slow": {"budget_limit": 0.03}}}])
async def test_what_running_calls_hold_is_held_from_the_new_secret(
    gateway: Gateway, books: Books, database_url: str, limits: dict[str, object]
) -> None:
    """Of the key's budget, and of that of one model. In the grace period, two secrets have one budget."""
    key = await gateway.new_key(**limits)
    running = asyncio.create_task(statuses(gateway, "slow", *[key] * 3))
    await asyncio.sleep(0.5)
    first = (await does(gateway, "POST", "/key/regenerate", {"key": key, "grace_period": "1h"}))["key"]
    second = (await does(gateway, "POST", "/key/regenerate", {"key": first, "grace_period": "1h"}))["key"]
    assert not running.done()
    assert await statuses(gateway, "slow", second, first, key) == [422] * 3
    assert await running == [200] * 3
    assert await statuses(gateway, "slow", second, first, key) == [422] * 3
    await books.posted()
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["leased_nano_usd"], window["spent_nano_usd"]) == (30_000_000, 30_000_000)
    [row] = await books.fetch('SELECT token, spend, total_spend FROM "LiteLLM_VerificationToken"')
    assert row["token"] == hash_of(second)
    assert row["spend"] == row["total_spend"] == pytest.approx(0.03)
    await check_books_close(database_url)


async def test_nobody_gets_more_by_regenerating_all_the_time(gateway: Gateway, books: Books, database_url: str) -> None:
    key = await gateway.new_key(max_budget=0.1)
    calls = []
    for _ in range(6):
        calls.append(asyncio.create_task(statuses(gateway, "cent", *[key] * 5)))
        await asyncio.sleep(0.01)
        key = (await does(gateway, "POST", "/key/regenerate", {"key": key, "grace_period": "1h"}))["key"]
    calls.append(asyncio.create_task(statuses(gateway, "cent", *[key] * 20)))
    answered = [status for statuses in await asyncio.gather(*calls) for status in statuses]
    assert (answered.count(200), answered.count(422)) == (10, 40)
    await books.posted()
    [row] = await books.fetch('SELECT spend FROM "LiteLLM_VerificationToken"')
    assert row["spend"] == pytest.approx(0.1)
    await check_books_close(database_url)


async def test_a_new_secret_begins_no_new_minute(gateway: Gateway) -> None:
    await within_one_minute(10)
    key = await gateway.new_key(rpm_limit=2, model_rpm_limit={"cent": 5})
    assert await statuses(gateway, "cent", key, key) == [200, 200]
    new = (await does(gateway, "POST", "/key/regenerate", {"key": key}))["key"]
    assert await statuses(gateway, "cent", new) == [429]


async def test_spend_set_back_after_a_new_secret(gateway: Gateway, books: Books) -> None:
    """What is set back is the one budget that both secrets have."""
    key = await gateway.new_key(max_budget=0.02)
    assert await statuses(gateway, "cent", key, key) == [200, 200]
    await books.posted()
    new = (await does(gateway, "POST", "/key/regenerate", {"key": key, "grace_period": "1h"}))["key"]
    assert await statuses(gateway, "cent", new) == [422]
    await does(gateway, "POST", f"/key/{hash_of(new)}/reset_spend", {"reset_to": 0.01})
    await asyncio.sleep(1.1)  # a worker knows for a second what was used up
    assert await statuses(gateway, "cent", key) == [200]
    assert await statuses(gateway, "cent", new) == [422]
