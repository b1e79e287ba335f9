"""The life of a team as an administrator sees it, through HTTP alone, from its organization to its end."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar.oracle.bill import BillLine
from bursar.oracle.serving import RunningOracle
from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, error_of, refused, soon
from tests.management.matrix import hash_of
from tests.oracle.raw_client import Answer

MODELS = """
- model_name: cent
  litellm_params: &cent
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
- model_name: other
  litellm_params: *cent
"""
"""Both cost and hold exactly a cent when they are asked for 100 tokens."""

NAMES = "research/team+1%"


@dataclass(frozen=True)
class Invoiced:
    """A line of the provider's bill, and who had it done."""

    who: str
    customer: str | None
    tags: list[str]
    line: BillLine


def cents_of(invoiced: Iterable[Invoiced]) -> float:
    """At the price of `MODELS`: a cent for 100 tokens of an answer."""
    return sum(one.line.completion_tokens for one in invoiced) / 100


class Life:
    """A gateway, and what its clients do."""

    def __init__(self, gateway: Gateway, books: Books, oracle: RunningOracle) -> None:
        self.gateway = gateway
        self.books = books
        self.oracle = oracle
        self.keys: dict[str, str] = {}
        self.invoiced: list[Invoiced] = []
        self._lines = 0

    async def spend(self, who: str, *, model: str = "cent", **more: Any) -> Answer:
        """A call for a cent."""
        answer = await self.gateway.chat(model, key=self.keys[who], max_tokens=100, **more)
        tags = more.get("metadata", {}).get("tags", [])
        new = self.oracle.bill()[self._lines :]
        self._lines += len(new)
        self.invoiced += [Invoiced(who, more.get("user"), tags, line) for line in new]
        return answer

    @property
    def cents(self) -> float:
        """What the provider's bill comes to."""
        return cents_of(self.invoiced)

    async def spends(self, who: str, cents: int, **more: Any) -> None:
        """So many of them, all of which succeed."""
        for _ in range(cents):
            answer = await self.spend(who, **more)
            assert answer.status == 200, answer.body

    async def over_budget(self, who: str, words: str, **more: Any) -> None:
        """Refused for a budget, in LiteLLM's sentence; within a second, if the limit has just been lowered."""
        answer = await soon(lambda: self.spend(who, **more), 422)
        assert answer.json["error"]["type"] == "budget_exceeded"
        assert words in answer.json["error"]["message"]

    async def info(self) -> Any:
        """`/team/info`, once all calls are booked."""
        await self.books.posted()
        return await does(self.gateway, "GET", "/team/info?team_id=research%2Fteam%2B1%25")


@pytest.fixture
async def life(start_gateway: StartGateway, books: Books, oracle: RunningOracle) -> Life:
    return Life(await start_gateway(models=MODELS), books, oracle)


@pytest.fixture
async def look(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


async def found(life: Life) -> None:
    """Organization, team, members, keys, customer."""
    gateway = life.gateway
    organization = await does(
        gateway,
        "POST",
        "/organization/new",
        {
            "organization_id": "lab",
            "organization_alias": "The Lab",
            "max_budget": 0.5,
            "models": ["cent", "other"],
            "budget_duration": "1mo",
        },
    )
    assert organization["litellm_budget_table"]["max_budget"] == 0.5
    team = {"team_id": NAMES, "organization_id": "lab", "team_alias": "Research"}
    await refused(gateway, "POST", "/team/new", team | {"max_budget": 0.6}, status=400, word="max_budget")
    await refused(gateway, "POST", "/team/new", team | {"models": ["gpt-4o"]}, status=400, word="gpt-4o")
    await does(
        gateway,
        "POST",
        "/team/new",
        team
        | {
            "max_budget": 0.2,
            "models": ["cent"],
            "team_member_budget": 0.05,
            "members_with_roles": [{"user_id": "alice", "role": "admin"}],
        },
    )
    await refused(gateway, "POST", "/team/new", team, status=400, word=f"Team id = {NAMES} already exists")
    added = await does(
        gateway,
        "POST",
        "/team/member_add",
        {"team_id": NAMES, "member": [{"user_id": "bob"}, {"user_email": "Carol@example.org"}]},
    )
    carol = next(user for user in added["updated_users"] if user["user_email"] == "Carol@example.org")
    updated = await does(
        gateway,
        "POST",
        "/team/member_update",
        {"team_id": NAMES, "user_id": "alice", "max_budget_in_team": 0.03},
    )
    assert updated["max_budget_in_team"] == 0.03
    life.keys = {
        "alice": await gateway.new_key(team_id=NAMES, user_id="alice"),
        "bob": await gateway.new_key(team_id=NAMES, user_id="bob", models=["cent", "other"]),
        "carol": await gateway.new_key(team_id=NAMES, user_id=carol["user_id"]),
        "service": await gateway.new_key(team_id=NAMES),
    }
    await does(gateway, "POST", "/budget/new", {"budget_id": "small", "max_budget": 0.02})
    await does(gateway, "POST", "/customer/new", {"user_id": "acme", "budget_id": "small"})
    await does(gateway, "POST", "/tag/new", {"name": "demo", "max_budget": 0.01})


async def test_the_life_of_a_team(life: Life, look: Database) -> None:
    gateway = life.gateway
    await found(life)

    assert error_of(await life.spend("bob", model="other")) == (403, "team_model_access_denied")
    await life.spends("alice", 3)
    await life.over_budget("alice", "User=alice in Team=research/team+1% Current cost: 0.03, Max budget: 0.03")
    await life.spends("bob", 1)
    await life.spends("bob", 2, user="acme")
    await life.over_budget("bob", "End User=acme over budget", user="acme")
    await life.spends("bob", 1, metadata={"tags": ["demo"]})
    await life.over_budget("bob", "Tag=demo Current cost: 0.01", metadata={"tags": ["demo"]})
    await life.spends("bob", 1)
    await life.over_budget("bob", "User=bob in Team=")

    shown = await life.info()
    spent = {row["user_id"]: row["spend"] for row in shown["team_memberships"]}
    assert (spent["alice"], spent["bob"]) == (pytest.approx(0.03), pytest.approx(0.05))
    assert shown["team_info"]["spend"] == pytest.approx(0.08)
    assert len(shown["keys"]) == 4

    await does(gateway, "POST", "/team/update", {"team_id": NAMES, "max_budget": 0.09})
    await life.spends("carol", 1)
    await life.over_budget("service", f"Team={NAMES} Current cost: 0.09, Max budget: 0.09")
    await does(gateway, "POST", "/team/update", {"team_id": NAMES, "max_budget": 0.5})
    await does(gateway, "PATCH", "/organization/update", {"organization_id": "lab", "max_budget": 0.1})
    assert (await soon(lambda: life.spend("service"), 200)).status == 200
    await life.over_budget("service", "Organization=lab")
    await does(gateway, "PATCH", "/organization/update", {"organization_id": "lab", "max_budget": 1})

    reset = "/team/research%2Fteam%2B1%25"
    membership = await does(gateway, "POST", f"{reset}/member/alice/reset_spend", {"reset_to": 0.01})
    assert membership["spend"] == pytest.approx(0.01)
    await soon(lambda: life.spend("alice"), 200)
    await life.spends("alice", 1)
    await life.over_budget("alice", "User=alice in Team=")

    await does(gateway, "POST", "/budget/update", {"budget_id": "small", "max_budget": 0.03})
    await soon(lambda: life.spend("carol", user="acme"), 200)
    await does(gateway, "POST", "/customer/block", {"user_ids": ["acme"]})
    await soon(lambda: life.spend("carol", user="acme"), 401, "End User=acme is blocked")
    await does(gateway, "POST", "/customer/unblock", {"user_ids": ["acme"]})
    await soon(lambda: life.spend("carol", user="acme"), 422, "End User=acme over budget")

    await does(gateway, "POST", "/team/block", {"team_id": NAMES})
    await soon(lambda: life.spend("carol"), 401, "is blocked")
    await does(gateway, "POST", "/team/unblock", {"team_id": NAMES})
    await soon(lambda: life.spend("carol"), 200)

    await refused(gateway, "DELETE", "/organization/delete", {"organization_ids": ["lab"]}, status=400, word="1 teams")
    await refused(gateway, "POST", "/budget/delete", {"id": "small"}, status=400, word="1 customers")
    await does(gateway, "POST", "/team/member_delete", {"team_id": NAMES, "user_id": "bob"})
    await soon(lambda: life.spend("bob"), 401)
    await life.books.posted()
    assert (await audit(look, lambda *_: None)).differences == []
    await objects_have_spent_what_was_invoiced(life)
    await reports_say_what_was_invoiced(life)

    assert await does(gateway, "POST", "/team/delete", {"team_ids": [NAMES]}) == 1
    await soon(lambda: life.spend("carol"), 401)
    await refused(gateway, "GET", "/team/info?team_id=gone", status=404, word="Team not found")
    await does(gateway, "DELETE", "/organization/delete", {"organization_ids": ["lab"]})
    await does(gateway, "POST", "/customer/delete", {"user_ids": ["acme"]})
    await does(gateway, "POST", "/budget/delete", {"id": "small"})
    await does(gateway, "POST", "/tag/delete", {"name": "demo"})
    await nothing_is_left(life, look)
    await reports_say_what_was_invoiced(life)


async def objects_have_spent_what_was_invoiced(life: Life) -> None:
    """Each of them, in its current period; nobody's has ended but one member's, which was set back."""
    invoiced = life.invoiced

    async def spent(path: str, *within: str, method: str = "GET", body: object = None) -> Any:
        found = await does(life.gateway, method, path, body)
        for name in within:
            found = found[name]
        return pytest.approx(found["spend"])

    for who in ("alice", "carol", "service"):  # bob's keys went with his membership
        cents = cents_of(one for one in invoiced if one.who == who)
        assert cents / 100 == await spent(f"/key/info?key={life.keys[who]}", "info")
    for who in ("alice", "bob"):
        cents = cents_of(one for one in invoiced if one.who == who)
        assert cents / 100 == await spent(f"/user/info?user_id={who}", "user_info")
    assert life.cents / 100 == await spent("/team/info?team_id=research%2Fteam%2B1%25", "team_info")
    assert life.cents / 100 == await spent("/organization/info?organization_id=lab")
    for_acme = cents_of(one for one in invoiced if one.customer == "acme")
    assert for_acme / 100 == await spent("/customer/info?end_user_id=acme")
    demo = cents_of(one for one in invoiced if "demo" in one.tags)
    assert demo / 100 == await spent("/tag/info", "demo", method="POST", body={"names": ["demo"]})


async def reports_say_what_was_invoiced(life: Life) -> None:
    """All sums of all reports, also of those who are gone."""
    await life.books.posted()
    invoiced, today = life.invoiced, datetime.now(UTC).date()
    span = f"start_date={today - timedelta(days=1)}&end_date={today + timedelta(days=1)}"
    by_key = {hash_of(key): cents_of(one for one in invoiced if one.who == who) / 100 for who, key in life.keys.items()}
    for_acme = [one for one in invoiced if one.customer == "acme"]
    demo = [one for one in invoiced if "demo" in one.tags]
    total = pytest.approx(life.cents / 100)

    async def get(path: str) -> Any:
        return await does(life.gateway, "GET", path)

    def sums(rows: Iterable[Mapping[str, Any]], name: str, *, column: str = "spend") -> dict[str, float]:
        found: defaultdict[str, float] = defaultdict(float)
        for row in rows:
            found[row[name]] += row[column]
        return {key: value for key, value in found.items() if value}

    rows = [row for row in await get("/spend/logs") if row["status"] == "success"]
    assert len(rows) == len(invoiced)
    assert sums(rows, "api_key") == pytest.approx(by_key)
    assert sum(row["completion_tokens"] for row in rows) == sum(one.line.completion_tokens for one in invoiced)
    assert sum(row["prompt_tokens"] for row in rows) == sum(one.line.prompt_tokens for one in invoiced)
    assert sums(rows, "end_user")["acme"] == pytest.approx(cents_of(for_acme) / 100)
    assert sum(day["spend"] for day in await get(f"/spend/logs?{span}")) == total
    for who in ("alice", "bob"):
        own = sum(row["spend"] for row in await get(f"/spend/logs?user_id={who}"))
        assert own == pytest.approx(by_key[hash_of(life.keys[who])])
    assert sum(row["spend"] for row in (await get(f"/spend/logs/v2?{span}&page_size=100"))["data"]) == total

    assert (await get("/global/spend"))["spend"] == total
    assert sum(row["spend"] for row in await get("/global/spend/logs")) == total
    assert sums(await get("/global/spend/keys?limit=10"), "api_key", column="total_spend") == pytest.approx(by_key)
    assert sum(row["total_spend"] for row in await get("/global/spend/models?limit=10")) == total
    teams = await get("/global/spend/teams")
    assert sum(row["total_spend"] for row in teams["total_spend_per_team"]) == total
    [tag] = [row for row in (await get(f"/global/spend/tags?{span}"))["spend_per_tag"] if row["name"] == "demo"]
    assert tag["spend"] == pytest.approx(cents_of(demo) / 100)
    assert sum(row["spend"] for row in await get(f"/global/spend/provider?{span}")) == total
    ends = await does(life.gateway, "POST", "/global/spend/end_users", {})
    [acme] = [row for row in ends if row["end_user"] == "acme"]
    assert acme["total_spend"] == pytest.approx(cents_of(for_acme) / 100)
    activity = await get(f"/global/activity?{span}")
    tokens = sum(one.line.prompt_tokens + one.line.completion_tokens for one in invoiced)
    assert activity["sum_total_tokens"] == tokens

    for path, wanted in (
        ("user/daily/activity?", invoiced),
        ("user/daily/activity/aggregated?", invoiced),
        ("team/daily/activity?team_ids=research%2Fteam%2B1%25&", invoiced),
        ("organization/daily/activity?organization_ids=lab&", invoiced),
        ("customer/daily/activity?end_user_ids=acme&", for_acme),
        ("tag/daily/activity?tags=demo&", demo),
        (f"user/daily/activity?api_key={life.keys['alice']}&", [one for one in invoiced if one.who == "alice"]),
    ):
        metadata = (await get(f"/{path}{span}"))["metadata"]
        found = {name: metadata[f"total_{name}"] for name in ("spend", "successful_requests", "completion_tokens")}
        assert found == {
            "spend": pytest.approx(cents_of(wanted) / 100),
            "successful_requests": len(wanted),
            "completion_tokens": sum(one.line.completion_tokens for one in wanted),
        }, path


async def nothing_is_left(life: Life, look: Database) -> None:
    """No row that belonged to what is gone; and every cent on the books."""
    await life.books.posted()
    for table in ("BudgetTable", "TeamMembership", "OrganizationMembership", "VerificationToken", "ModelTable"):
        assert await life.books.fetch(f'SELECT * FROM "LiteLLM_{table}"') == [], table
    [alice] = await life.books.fetch("SELECT teams FROM \"LiteLLM_UserTable\" WHERE user_id = 'alice'")
    assert alice["teams"] == []
    [day] = await life.books.fetch('SELECT sum(spend) AS usd FROM "LiteLLM_DailyTeamSpend" WHERE team_id = $1', NAMES)
    assert day["usd"] == pytest.approx(life.cents / 100)
    found = await audit(look, lambda *_: None)
    assert (found.differences, found.spend_nano_usd) == ([], round(life.cents * 10_000_000))


async def test_a_team_that_is_made_anew_begins_anew(life: Life, look: Database) -> None:
    """Its name may be that of one that was deleted: what that one spent is history."""
    for _ in range(2):
        await does(life.gateway, "POST", "/team/new", {"team_id": "again", "max_budget": 0.02})
        life.keys["k"] = await life.gateway.new_key(team_id="again")
        await life.spends("k", 2)
        await life.over_budget("k", "Team=again Current cost: 0.02")
        await life.books.posted()
        await does(life.gateway, "POST", "/team/delete", {"team_ids": ["again"]})
    assert (await audit(look, lambda *_: None)).differences == []
