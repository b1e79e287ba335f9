"""Tags: by how many users, and how much."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, refused

TODAY = datetime.now(UTC).date()
ROWS = """
INSERT INTO "LiteLLM_DailyTagSpend" (
    id, tag, date, api_key, api_requests, successful_requests, failed_requests, prompt_tokens, completion_tokens, spend,
    updated_at
) VALUES ($1, $2, $3, $4, 10, 9, 1, 100, 20, 0.5, now())
"""
USED = [
    ("cli", 0, "a"),
    ("cli", 0, "b"),
    ("cli", 0, "nobody"),
    ("web", 0, "a"),
    ("cli", 1, "gone"),
    ("cli", 8, "a"),
    ("web", 40, "b"),
]
"""Which tag, how many days ago, with which key."""


@pytest.fixture
async def gateway(start_gateway: StartGateway, books: Books) -> Gateway:
    """Two users with a key each, one with a deleted one besides, and a key that is nobody's."""
    gateway = await start_gateway()
    keys = {}
    for name, user in (("a", "alice"), ("b", "bob"), ("gone", "bob"), ("nobody", None)):
        made = await does(gateway, "POST", "/key/generate", {} if user is None else {"user_id": user})
        keys[name] = made["token"]
    await does(gateway, "POST", "/key/delete", {"keys": [keys["gone"]]})
    for number, (tag, days, key) in enumerate(USED):
        await books.fetch(ROWS, f"t{number}", tag, ago(days), keys[key])
    return gateway


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def users(answer: object) -> dict[tuple[str, str], int]:
    assert isinstance(answer, dict)
    return {(row["tag"], row["date"]): row["active_users"] for row in answer["results"]}


async def test_users_of_a_day_a_week_and_a_month(gateway: Gateway) -> None:
    days = await does(gateway, "GET", "/tag/dau")
    assert users(days) == {("cli", ago(0)): 2, ("web", ago(0)): 1, ("cli", ago(1)): 1}
    weeks = await does(gateway, "GET", "/tag/wau?tag_filter=cli")
    assert users(weeks) == {("cli", ago(0)): 2, ("cli", ago(7)): 1}
    assert (weeks["results"][0]["period_start"], weeks["results"][0]["period_end"]) == (ago(6), ago(0))
    months = await does(gateway, "GET", "/tag/mau?tag_filters=cli,web")
    assert users(months) == {("cli", ago(0)): 2, ("web", ago(0)): 1, ("web", ago(30)): 1}


async def test_a_summary(gateway: Gateway) -> None:
    answer = await does(gateway, "GET", f"/tag/summary?start_date={ago(1)}&end_date={ago(0)}")
    cli, web = answer["results"]
    assert cli == {
        "tag": "cli",
        "unique_users": 2,
        "total_calls": 40,
        "successful_requests": 36,
        "failed_requests": 4,
        "total_tokens": 480,
        "total_spend": 2.0,
    }
    assert (web["tag"], web["unique_users"], web["total_calls"]) == ("web", 1, 10)
    await refused(gateway, "GET", "/tag/summary", status=400, word="start_date")
