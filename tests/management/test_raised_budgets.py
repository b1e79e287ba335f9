"""`temp_budget_increase` and `temp_budget_expiry`: more to spend for a while, and then no longer."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway, config_text, running_gateway
from tests.management.admin import does, refused
from tests.management.test_caps_of_new_secrets import CENTS, IMPATIENT, statuses
from tests.patience import PATIENCE_S


def within(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def until_leased(books: Books, nano_usd: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await books.fetch("SELECT leased_nano_usd AS nano FROM bursar.windows"))[0]["nano"] < nano_usd:
            await asyncio.sleep(0.01)


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    return await start_gateway(models=CENTS, settings=IMPATIENT)


async def test_it_counts_until_it_ends_on_all_workers(
    oracle: RunningOracle, database_url: str, books: Books, tmp_path: Path
) -> None:
    """Also what workers have leased of it in advance is not spent afterwards."""
    config = config_text(oracle.base_url, models=CENTS, settings=IMPATIENT)
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_gateway(config, database_url=database_url, directory=tmp_path / f"w{number}")
            )
            for number in range(2)
        ]
        key = await one.new_key(max_budget=0.02)
        assert await statuses(one, "cent", key) + await statuses(two, "cent", key, key) == [200, 200, 422]
        raised = {"key": key, "temp_budget_increase": 0.5}
        await does(two, "POST", "/key/update", {**raised, "temp_budget_expiry": within(3600)})
        await asyncio.sleep(1.1)  # a worker knows for a second what was used up
        leased = asyncio.create_task(until_leased(books, 62_000_000))  # soon given back by who does not use it
        for gateway in (one, two):
            assert await statuses(gateway, "cent", key, key) == [200, 200]
        await leased
        await does(two, "POST", "/key/update", {**raised, "temp_budget_expiry": within(2)})
        await asyncio.sleep(2.05)
        for gateway in (one, two):
            assert (await gateway.chat("cent", key=key, max_tokens=10)).status == 422
        await books.posted()
    [window] = await books.fetch("SELECT spent_nano_usd AS spent, leased_nano_usd AS leased FROM bursar.windows")
    assert window["spent"] == window["leased"] == 60_000_000


@pytest.mark.parametrize("change", [{"max_budget": 0}, {"max_budget": 0.01}, {"spend": 10.0}], ids=str)
async def test_a_lowered_budget_refuses_the_very_next_call(
    change: dict[str, float], oracle: RunningOracle, database_url: str, books: Books, tmp_path: Path
) -> None:
    """On every worker, whatever it has leased of what there was before; and so does what is said to be spent."""
    config = config_text(oracle.base_url, models=CENTS, settings=IMPATIENT)
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                running_gateway(config, database_url=database_url, directory=tmp_path / f"w{number}")
            )
            for number in range(2)
        ]
        key = await workers[0].new_key(max_budget=10.0)
        for gateway in workers:
            assert await statuses(gateway, "cent", key, key) == [200, 200]
        async with asyncio.timeout(PATIENCE_S):
            while (await books.fetch("SELECT spent_nano_usd AS nano FROM bursar.windows"))[0]["nano"] < 40_000_000:
                await asyncio.sleep(0.02)
        await does(workers[1], "POST", "/key/update", {"key": key, **change})
        await asyncio.sleep(1.2)
        for gateway in workers:
            assert (await gateway.chat("cent", key=key, max_tokens=10)).status == 422
        await books.posted()
    [window] = await books.fetch("SELECT spent_nano_usd AS spent FROM bursar.windows")
    assert window["spent"] == (10_000_000_000 if "spend" in change else 40_000_000)


async def test_of_a_member_of_a_team(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "u"}]})
    key = await gateway.new_key(team_id="t", user_id="u")
    member = {"team_id": "t", "user_id": "u"}
    await does(gateway, "POST", "/team/member_update", {**member, "max_budget_in_team": 0.01})
    assert [await statuses(gateway, "cent", key) for _ in range(2)] == [[200], [422]]
    raised = {**member, "temp_budget_increase": 0.01}
    await does(gateway, "POST", "/team/member_update", {**raised, "temp_budget_expiry": within(3600)})
    await asyncio.sleep(1.1)
    assert await statuses(gateway, "cent", key) == [200]
    await does(gateway, "POST", "/team/member_update", {**raised, "temp_budget_expiry": within(1)})
    await asyncio.sleep(1.1)
    await does(gateway, "POST", "/team/member_update", {**member, "max_budget_in_team": 0.02})
    assert await statuses(gateway, "cent", key) == [422]


async def test_one_that_has_ended_says_nothing(gateway: Gateway) -> None:
    key = await gateway.new_key(max_budget=0.01, temp_budget_increase=5, temp_budget_expiry="2020-02-02")
    assert [await statuses(gateway, "cent", key) for _ in range(2)] == [[200], [422]]


@pytest.mark.parametrize(
    "metadata",
    [
        {"temp_budget_increase": "5", "temp_budget_expiry": "2999-01-01"},
        {"temp_budget_increase": 5, "temp_budget_expiry": "one day"},
        {"temp_budget_increase": -5, "temp_budget_expiry": "2999-01-01"},
        {"temp_budget_increase": True, "temp_budget_expiry": 4000000000},
        {"temp_budget_increase": [5]},
    ],
)
async def test_metadata_that_is_no_raise(gateway: Gateway, metadata: dict[str, object]) -> None:
    """An adopted database may hold anything."""
    key = await gateway.new_key(max_budget=0.01, metadata=metadata)
    assert [await statuses(gateway, "cent", key) for _ in range(2)] == [[200], [422]]


@pytest.mark.parametrize("amount", [10**400, 1e300, 9.2e9])
async def test_more_than_there_is_is_all_there_is(gateway: Gateway, amount: float) -> None:
    metadata = {"temp_budget_increase": amount, "temp_budget_expiry": "2999-01-01"}
    key = await gateway.new_key(max_budget=9e9, metadata=metadata)
    assert await statuses(gateway, "cent", key) == [200]


@pytest.mark.parametrize(
    "fields",
    [
        {"temp_budget_increase": 1.0, "temp_budget_expiry": "soon"},
        {"temp_budget_increase": -1.0, "temp_budget_expiry": "2999-01-01"},
    ],
)
async def test_what_is_no_raise_is_refused(gateway: Gateway, fields: dict[str, object]) -> None:
    await refused(gateway, "POST", "/key/generate", {"max_budget": 1, **fields}, status=400, word="temp_budget_expiry")


async def test_nobody_raises_what_bounds_him(gateway: Gateway) -> None:
    """Neither the budget of his key, nor that of keys he makes with it; in whichever words."""
    user = {"user_id": "u", "user_role": "internal_user", "auto_create_key": False}
    await does(gateway, "POST", "/user/new", user)
    key = await gateway.new_key(user_id="u", max_budget=0.01)
    fields = {"temp_budget_increase": 5.0, "temp_budget_expiry": "2999-01-01"}
    for more in (fields, {"metadata": fields}):
        for path, named in (("/key/update", {"key": key}), ("/key/regenerate", {"key": key}), ("/key/generate", {})):
            await refused(gateway, "POST", path, {**named, **more}, status=403, word="temp_budget_increase", key=key)
    await does(gateway, "POST", "/key/update", {"key": key, **fields})
    await does(gateway, "POST", "/key/update", {"key": key, "metadata": {"a": 1}}, key=key)
    assert await statuses(gateway, "cent", key, key) == [200, 200]
    later = {"temp_budget_increase": 5.0, "temp_budget_expiry": "2999-01-02"}
    await refused(gateway, "POST", "/key/update", {"key": key, **later}, status=403, word="temp_budget", key=key)


async def test_nobody_begins_a_new_period_of_his_own(gateway: Gateway) -> None:
    """What his running calls hold would not count in it."""
    await does(gateway, "POST", "/user/new", {"user_id": "u", "user_role": "internal_user", "auto_create_key": False})
    key = await gateway.new_key(user_id="u", max_budget=0.01, budget_duration="1d")
    for period in (None, "30d"):
        body = {"key": key, "budget_duration": period}
        for path in ("/key/update", "/key/regenerate"):
            await refused(gateway, "POST", path, body, status=403, word="budget_duration", key=key)
