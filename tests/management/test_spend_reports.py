"""Reports on spend: LiteLLM's shapes, the ledger's sums, nobody else's rows, and never a 500."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

TODAY = datetime.now(UTC).date()
TOMORROW = (TODAY + timedelta(days=1)).isoformat()
YESTERDAY = (TODAY - timedelta(days=1)).isoformat()
SPAN = f"start_date={YESTERDAY}&end_date={TOMORROW}"
"""Wide enough for a test that runs at midnight."""
MANY = "10" * 9


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(slots=True)
class World:
    """Ann and Bob, who is in Ann's team; Carl, who is in none; the team's keys, and what was called with them."""

    gateway: Gateway
    books: Books
    ann: str
    bob: str
    carl: str
    viewer: str

    async def get(self, path: str, *, key: str = MASTER_KEY) -> Any:
        answer = await self.answer(path, key=key)
        assert answer.status == 200, answer.body
        return answer.json

    async def answer(self, path: str, *, key: str = MASTER_KEY) -> Answer:
        return await self.gateway.request("GET", path, key=key)

    async def spend(self, where: str = "true") -> float:
        """What the log says."""
        [row] = await self.books.fetch(f'SELECT coalesce(sum(spend), 0) AS s FROM "LiteLLM_SpendLogs" WHERE {where}')
        return float(row["s"])


@pytest.fixture
async def world(gateway: Gateway, books: Books) -> World:
    await books.fetch(
        """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, updated_at) VALUES
            ('t', 'Tigers', '[{"role": "admin", "user_id": "ann"}, {"role": "user", "user_id": "bob"}]', now()),
            ('other', 'Others', '[]', now())"""
    )
    await books.fetch(
        """INSERT INTO "LiteLLM_UserTable" (user_id, models, user_role) VALUES
            ('ann', '{}', 'internal_user'), ('bob', '{}', 'internal_user'), ('carl', '{}', 'internal_user'),
            ('viewer', '{}', 'proxy_admin_viewer')"""
    )
    ann = await gateway.new_key(user_id="ann", team_id="t", key_alias="ann's")
    bob = await gateway.new_key(user_id="bob", team_id="t", key_alias="bob's")
    carl = await gateway.new_key(user_id="carl", team_id="other", key_alias="carl's")
    viewer = await gateway.new_key(user_id="viewer")
    tagged = {"x-litellm-tags": "red,blue"}
    for answer in (
        await gateway.chat("at/tokens=5", key=ann, user="customer", headers=tagged),
        await gateway.chat("at/tokens=7", key=ann, headers={"x-litellm-session-id": "s-1"}),
        await gateway.chat("at/tokens=9", key=bob, headers={"x-litellm-session-id": "s-1"}),
        await gateway.chat("at/tokens=3", key=carl, headers={"x-litellm-tags": "red"}),
        await gateway.chat("at/tokens=2"),
    ):
        assert answer.status == 200, answer.body
    assert (await gateway.chat("at/fault=status:500", key=bob)).status >= 400
    await books.posted()
    return World(gateway, books, ann, bob, carl, viewer)


@pytest.fixture
async def look(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


def check_error(answer: Answer, status: int, word: str) -> None:
    assert answer.status == status, answer.body
    if status == 422:
        assert word in json.dumps(answer.json["detail"])
    else:
        assert word in answer.json["error"]["message"]
        assert answer.json["error"]["code"] == str(status)


# --- the log ---


async def test_all_rows_newest_first(world: World) -> None:
    rows = await world.get("/spend/logs")
    assert len(rows) == 6
    assert [row["startTime"] for row in rows] == sorted((row["startTime"] for row in rows), reverse=True)
    assert sum(row["spend"] for row in rows) == pytest.approx(await world.spend())
    row = rows[-1]
    assert row["api_key"] == hash_of(world.ann)
    assert row["request_tags"][:2] == ["red", "blue"]
    assert row["metadata"]["user_api_key_alias"] == "ann's"
    assert row["startTime"].endswith("Z")
    assert {row["status"] for row in rows} == {"success", "failure"}
    expected = "call_type total_tokens endTime completionStartTime model model_id model_group custom_llm_provider user"
    assert set(expected.split()) <= row.keys()


async def test_rows_of_a_key_a_user_and_a_request(world: World) -> None:
    for key in (world.ann, hash_of(world.ann)):
        assert {row["user"] for row in await world.get(f"/spend/logs?api_key={key}")} == {"ann"}
    assert len(await world.get("/spend/logs?user_id=bob")) == 2
    assert await world.get("/spend/logs?user_id=nobody") == []
    wanted = (await world.get("/spend/logs?user_id=carl"))[0]["request_id"]
    [row] = await world.get(f"/spend/logs?request_id={quote(wanted, safe='')}")
    assert row["user"] == "carl"


async def test_a_list_that_is_cut_says_so(gateway: Gateway, books: Books) -> None:
    """With the newest rows; one that is as long as lists may be is whole."""
    insert = """INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, "user", "startTime", "endTime")
        SELECT 'r-' || n, '', $1, 'u', now() - interval '1 second' * n, now()
        FROM generate_series($2::int, $3::int) AS n"""
    await books.fetch(insert, hash_of("k"), 2, 5001)
    await books.fetch(
        """INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, updated_at)
        VALUES ('1', 'u', $1, $2, now())""",
        TODAY.isoformat(),
        hash_of("k"),
    )
    for query in (f"api_key={hash_of('k')}", "user_id=u"):
        whole = await gateway.request("GET", f"/spend/logs?{query}")
        assert (len(whole.json), "x-litellm-spend-logs-truncated" in whole.headers) == (5000, False)
    await books.fetch(insert, hash_of("k"), 1, 1)
    for query in (f"api_key={hash_of('k')}", "user_id=u"):
        cut = await gateway.request("GET", f"/spend/logs?{query}")
        assert cut.headers["x-litellm-spend-logs-truncated"] == "true"
        assert [row["request_id"] for row in cut.json] == [f"r-{n}" for n in range(1, 5001)]


async def test_days_in_sum(world: World) -> None:
    days = await world.get(f"/spend/logs?{SPAN}")
    assert [day["startTime"] for day in days] == [YESTERDAY, TODAY.isoformat()]
    day = max(days, key=lambda day: day["spend"])
    assert day["spend"] == pytest.approx(await world.spend())
    assert day["users"]["ann"] == pytest.approx(await world.spend("\"user\" = 'ann'"))
    assert sum(day["models"].values()) == pytest.approx(day["spend"])
    assert day[hash_of(world.ann)] == pytest.approx(day["users"]["ann"])
    rows = await world.get(f"/spend/logs?{SPAN}&summarize=false")
    assert len(rows) == 6
    assert rows[0].keys() >= {"request_id", "spend"}
    only = await world.get(f"/spend/logs?{SPAN}&user_id=ann")
    assert sum(day["spend"] for day in only) == pytest.approx(day["users"]["ann"])


async def test_days_on_which_nothing_was(world: World) -> None:
    days = await world.get("/spend/logs?start_date=2020-02-27&end_date=2020-03-02")
    assert days == [
        {"startTime": day, "spend": 0.0, "users": {}, "models": {}}
        for day in ("2020-02-27", "2020-02-28", "2020-02-29", "2020-03-01")
    ]


async def test_both_lists_end_before_the_last_day(world: World) -> None:
    """An `end_date` is its midnight, for days as for rows."""
    today = TODAY.isoformat()
    for days, whole in (
        (f"{today}&end_date={today}", False),
        (f"{YESTERDAY}&end_date={today}", False),
        (SPAN[11:], True),
    ):
        summed = await world.get(f"/spend/logs?start_date={days}")
        rows = await world.get(f"/spend/logs?start_date={days}&summarize=false")
        assert sum(day["spend"] for day in summed) == pytest.approx(sum(row["spend"] for row in rows))
        assert (len(rows) == 6) is whole
    assert await world.get(f"/spend/logs?start_date={today}&end_date={today}") == []


@pytest.mark.parametrize("path", ["/spend/logs/v2", "/spend/logs/ui"])
async def test_pages(world: World, path: str) -> None:
    seen: list[str] = []
    for page in (1, 2, 3):
        found = await world.get(f"{path}?{SPAN}&page={page}&page_size=2")
        assert found.keys() == {
            "data", "total", "total_is_exact", "page", "page_size", "total_pages", "next_cursor"
        }  # fmt: skip
        assert (found["total"], found["total_pages"], found["page"]) == (6, 3, page)
        assert found["total_is_exact"] is True
        seen += [row["request_id"] for row in found["data"]]
    assert len(set(seen)) == 6
    assert (await world.get(f"{path}?{SPAN}&page=4&page_size=2"))["data"] == []


async def test_pages_by_cursor(world: World) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    for _ in range(3):
        found = await world.get(f"/spend/logs/v2?{SPAN}&page_size=2&cursor={quote(cursor or '')}")
        seen += [row["request_id"] for row in found["data"]]
        cursor = found["next_cursor"]
    assert cursor is None
    assert len(set(seen)) == 6
    assert seen == [row["request_id"] for row in await world.get("/spend/logs")]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("team_id=t", 4),
        ("user_id=ann", 2),
        ("key_alias=carl%27s", 1),
        ("status_filter=failure", 1),
        ("status_filter=success", 5),
        ("model=at/tokens%3D5", 1),
        ("model=no-such-model", 0),
        ("model_id=the-oracle", 0),
        ("end_user=customer", 1),
        ("session_id=s-1", 2),
        ("error_code=500", 1),
        ("error_message=%25", 0),
        ("min_spend=1", 0),
        ("max_spend=1", 6),
        ("team_id=t&user_id=carl", 0),
    ],
)
async def test_filters(world: World, query: str, count: int) -> None:
    found = await world.get(f"/spend/logs/v2?{SPAN}&{query}")
    if query.startswith("model_id"):  # deployments of wildcards have ids of their own
        count = len(await world.books.fetch("SELECT FROM \"LiteLLM_SpendLogs\" WHERE model_id = 'the-oracle'"))
    assert (found["total"], len(found["data"])) == (count, count)


async def test_orders(world: World) -> None:
    for name in ("spend", "total_tokens", "prompt_tokens", "completion_tokens", "request_duration_ms", "endTime"):
        up = [row[name] for row in (await world.get(f"/spend/logs/v2?{SPAN}&sort_by={name}&sort_order=asc"))["data"]]
        down = [row[name] for row in (await world.get(f"/spend/logs/v2?{SPAN}&sort_by={name}"))["data"]]
        assert up == sorted(up)
        assert down == sorted(down, reverse=True)
    early = await world.get(f"/spend/logs/v2?{SPAN}&sort_order=asc&page_size=1")
    assert early["data"][0]["user"] == "ann"
    assert early["next_cursor"] is None


async def test_a_session(world: World) -> None:
    found = await world.get("/spend/logs/session/ui?session_id=s-1")
    assert [row["user"] for row in found["data"]] == ["ann", "bob"]
    check_error(await world.answer("/spend/logs/session/ui"), 422, "session_id")


async def test_a_row_with_its_text(world: World) -> None:
    await world.books.fetch(
        """UPDATE "LiteLLM_SpendLogs" SET messages = '[{"role": "user"}]', response = '{"id": 1}' WHERE team_id = 't'"""
    )
    wanted = quote((await world.get("/spend/logs?user_id=ann"))[0]["request_id"], safe="")
    found = await world.get(f"/spend/logs/ui/{wanted}?start_date={YESTERDAY}")
    assert (found["messages"], found["response"]) == ([{"role": "user"}], {"id": 1})
    assert (await world.get("/spend/logs?user_id=ann"))[0]["messages"] == {}
    assert (await world.get(f"/spend/logs/ui/{wanted}", key=world.ann))["response"] == {"id": 1}
    check_error(await world.answer(f"/spend/logs/ui/{wanted}", key=world.carl), 404, "No such request")
    check_error(await world.answer("/spend/logs/ui/a%2Fb+%25"), 404, "No such request")


async def test_everybody_sees_his_own_rows(world: World) -> None:
    async def users(key: str, query: str = "") -> list[str]:
        return sorted(row["user"] for row in await world.get(f"/spend/logs{query}", key=key))

    assert await users(world.carl) == ["carl"]
    assert await users(world.bob) == ["bob", "bob"]
    assert await users(world.ann) == ["ann", "ann", "bob", "bob"]
    assert len(await users(world.viewer)) == 6
    assert await users(world.carl, "?user_id=ann") == []
    assert await users(world.carl, f"?api_key={hash_of(world.ann)}") == []
    assert await users(world.ann, "?user_id=bob") == ["bob", "bob"]
    assert (await world.get("/spend/logs/session/ui?session_id=s-1", key=world.carl))["total"] == 0
    assert (await world.get(f"/spend/logs/v2?{SPAN}&team_id=t", key=world.carl))["data"] == []
    days = await world.get(f"/spend/logs?{SPAN}", key=world.carl)
    assert {user for day in days for user in day["users"]} == {"carl"}
    lonely = await world.gateway.new_key()
    check_error(await world.answer("/spend/logs", key=lonely), 403, "")


async def test_a_user_sees_what_a_key_spent_that_is_gone(world: World) -> None:
    assert (await world.gateway.request("POST", "/key/delete", {"keys": [world.carl]})).status == 200
    again = await world.gateway.new_key(user_id="carl")
    assert [row["user"] for row in await world.get("/spend/logs", key=again)] == ["carl"]


async def test_a_key_that_changes_hands_does_not_show_its_past(world: World) -> None:
    await world.books.fetch(
        """UPDATE "LiteLLM_VerificationToken" SET user_id = 'carl' WHERE token = $1""", hash_of(world.bob)
    )
    assert {row["user"] for row in await world.get("/spend/logs", key=world.carl)} == {"carl"}
    days = await world.get(f"/spend/logs?{SPAN}", key=world.carl)
    assert {user for day in days for user in day["users"]} == {"carl"}
    found = await world.get(f"/user/daily/activity?{SPAN}", key=world.carl)
    assert found["metadata"]["total_spend"] == pytest.approx(await world.spend("\"user\" = 'carl'"))


# --- sums ---


async def test_sums_are_the_ledgers(world: World) -> None:
    total = await world.spend()
    assert total > 0
    assert await world.get("/global/spend") == {"spend": pytest.approx(total), "max_budget": None}
    days = await world.get("/global/spend/logs")
    assert sum(day["spend"] for day in days) == pytest.approx(total)
    keys = await world.get("/global/spend/keys?limit=100")
    assert sum(key["total_spend"] for key in keys) == pytest.approx(total)
    [ann] = [key for key in keys if key["api_key"] == hash_of(world.ann)]
    assert (ann["key_alias"], ann["key_name"]) == ("ann's", f"sk-...{world.ann[-4:]}")
    assert len(await world.get("/global/spend/keys?limit=1")) == 1
    models = await world.get("/global/spend/models?limit=100")
    assert sum(model["total_spend"] for model in models) == pytest.approx(total)
    assert await world.get(f"/global/spend/provider?{SPAN}") == [{"provider": "openai", "spend": pytest.approx(total)}]
    [only] = await world.get(f"/global/spend/logs?api_key={world.ann}")
    assert only["spend"] == pytest.approx(ann["total_spend"])


async def test_sums_of_teams(world: World) -> None:
    found = await world.get("/global/spend/teams")
    assert set(found["teams"]) == {"Tigers", "Others", "Unassigned"}
    spent = {row["team_id"]: row["total_spend"] for row in found["total_spend_per_team"]}
    assert spent["Tigers"] == pytest.approx(await world.spend("team_id = 't'"))
    assert sum(day.get("Tigers", 0) for day in found["daily_spend"]) == pytest.approx(spent["Tigers"])


async def test_sums_of_end_users_and_tags(world: World) -> None:
    answer = await world.gateway.request("POST", "/global/spend/end_users", {})
    spent = await world.spend("end_user = 'customer'")
    assert answer.json == [{"end_user": "customer", "total_count": 1, "total_spend": pytest.approx(spent)}]
    body = {"api_key": world.carl, "startTime": f"{YESTERDAY}T00:00:00Z", "endTime": TOMORROW}
    assert (await world.gateway.request("POST", "/global/spend/end_users", body)).json == []
    tags = await world.get(f"/spend/tags?{SPAN}")
    [red] = [tag for tag in tags if tag["individual_request_tag"] == "red"]
    spent = await world.spend("request_tags ? 'red'")
    assert red == {"individual_request_tag": "red", "log_count": 2, "total_spend": pytest.approx(spent)}
    every = await world.get(f"/global/spend/tags?{SPAN}")
    assert every["spend_per_tag"]
    assert await world.get(f"/global/spend/tags?{SPAN}&tags=all-tags") == every
    assert await world.get(f"/global/spend/tags?{SPAN}&tags=") == every
    found = await world.get(f"/global/spend/tags?{SPAN}&tags=red,green")
    assert found == {"spend_per_tag": [{"name": "red", "spend": pytest.approx(spent), "log_count": 2}]}
    assert {"red", "blue"} <= set((await world.get("/global/spend/all_tag_names"))["tag_names"])


async def test_reports(world: World) -> None:
    days = await world.get(f"/global/spend/report?{SPAN}")
    [tigers] = [team for day in days for team in day["teams"] if team["team_name"] == "Tigers"]
    assert tigers["total_spend"] == pytest.approx(await world.spend("team_id = 't'"))
    assert {part["api_key"] for part in tigers["metadata"]} == {hash_of(world.ann), hash_of(world.bob)}
    assert days[0]["group_by_day"].endswith("T00:00:00+00:00")
    one = await world.get(f"/global/spend/report?{SPAN}&team_id=other")
    assert {team["team_name"] for day in one for team in day["teams"]} == {"Others"}
    customers = await world.get(f"/global/spend/report?{SPAN}&group_by=customer")
    assert [customer["customer"] for day in customers for customer in day["customers"]] == ["customer"]
    keys = await world.get(f"/global/spend/report?{SPAN}&group_by=api_key")
    assert sum(key["total_cost"] for key in keys) == pytest.approx(await world.spend())
    [ann] = await world.get(f"/global/spend/report?{SPAN}&api_key={world.ann}")
    assert ann["total_cost"] == pytest.approx(sum(model["total_cost"] for model in ann["model_details"]))
    assert await world.get(f"/global/spend/report?{SPAN}&internal_user_id=ann") == [ann]


async def test_activity_of_everybody(world: World) -> None:
    found = await world.get(f"/global/activity?{SPAN}")
    assert found["sum_api_requests"] == sum(day["api_requests"] for day in found["daily_data"]) == 6
    models = await world.get(f"/global/activity/model?{SPAN}")
    assert sum(model["sum_total_tokens"] for model in models) == found["sum_total_tokens"] > 0
    assert {"at/tokens=5", "at/tokens=9"} <= {model["model"] for model in models}


async def test_rows_of_keys_and_users(world: World) -> None:
    keys = await world.get("/spend/keys")
    assert [key["spend"] for key in keys] == sorted((key["spend"] for key in keys), reverse=True)
    assert keys[0].keys() >= {"token", "key_alias", "spend", "max_budget", "models", "metadata"}
    assert {key["key_alias"] for key in await world.get("/spend/keys", key=world.carl)} == {"carl's"}
    assert {key["key_alias"] for key in await world.get("/spend/keys", key=world.ann)} == {"ann's", "bob's"}
    users = await world.get("/spend/users")
    assert {"ann", "bob", "carl"} <= {user["user_id"] for user in users}
    assert not any("password" in user for user in users)
    assert [user["user_id"] for user in await world.get("/spend/users?user_id=bob")] == ["bob"]
    assert [user["user_id"] for user in await world.get("/spend/users", key=world.ann)] == ["ann"]
    check_error(await world.answer("/spend/users?user_id=ann", key=world.carl), 403, "your own")


# --- daily activity ---


async def test_activity_of_users(world: World) -> None:
    found = await world.get(f"/user/daily/activity?{SPAN}&page_size=1000")
    total = await world.spend()
    assert found["metadata"]["total_spend"] == pytest.approx(total)
    assert {name: found["metadata"][name] for name in ("total_api_requests", "total_failed_requests", "page")} == {
        "total_api_requests": 6,
        "total_failed_requests": 1,
        "page": 1,
    }
    assert (found["metadata"]["total_pages"], found["metadata"]["has_more"]) == (1, False)
    for day in found["results"]:
        metrics, breakdown = day["metrics"], day["breakdown"]
        assert metrics["total_tokens"] == metrics["prompt_tokens"] + metrics["completion_tokens"]
        assert metrics["api_requests"] == metrics["successful_requests"] + metrics["failed_requests"]
        assert breakdown.keys() == {
            "models", "model_groups", "providers", "endpoints", "api_keys", "entities", "mcp_servers"
        }  # fmt: skip
        for section in ("models", "model_groups", "providers", "endpoints", "api_keys", "entities"):
            parts = breakdown[section].values()
            assert sum(part["metrics"]["spend"] for part in parts) == pytest.approx(metrics["spend"]), section
    day = found["results"][0]["breakdown"]
    assert day["api_keys"][hash_of(world.ann)]["metadata"] == {"key_alias": "ann's", "team_id": "t"}
    group = day["model_groups"]["at/tokens=9"]["api_key_breakdown"]
    assert group[hash_of(world.bob)]["metadata"]["key_alias"] == "bob's"
    at_once = await world.get(f"/user/daily/activity/aggregated?{SPAN}")
    assert at_once == found


async def test_activity_by_pages(world: World) -> None:
    spent, pages = 0.0, 0
    while True:
        found = await world.get(f"/user/daily/activity?{SPAN}&page={pages + 1}&page_size=2")
        spent, pages = spent + found["metadata"]["total_spend"], pages + 1
        if not found["metadata"]["has_more"]:
            break
    assert pages == found["metadata"]["total_pages"] > 1
    assert spent == pytest.approx(await world.spend())
    past = await world.get(f"/user/daily/activity?{SPAN}&page=1000&page_size=2")
    assert (past["results"], past["metadata"]["total_pages"]) == ([], pages)


async def test_activity_of_one_key_or_model(world: World) -> None:
    of_key = await world.get(f"/user/daily/activity?{SPAN}&api_key={world.ann}")
    assert of_key["metadata"]["total_spend"] == pytest.approx(await world.spend("\"user\" = 'ann'"))
    of_model = await world.get(f"/user/daily/activity?{SPAN}&model=at/tokens%3D9")
    assert of_model["metadata"]["total_api_requests"] == 1


async def test_users_see_their_own_activity(world: World) -> None:
    for query in ("", "&user_id=ann"):
        found = await world.get(f"/user/daily/activity?{SPAN}{query}", key=world.ann)
        assert found["metadata"]["total_spend"] == pytest.approx(await world.spend("\"user\" = 'ann'"))
    check_error(await world.answer(f"/user/daily/activity?{SPAN}&user_id=ann", key=world.bob), 403, "your own")
    path = f"/user/daily/activity/aggregated?{SPAN}&user_id=ann"
    check_error(await world.answer(path, key=world.bob), 403, "your own")
    found = await world.get(f"/user/daily/activity?{SPAN}&api_key={hash_of(world.ann)}", key=world.carl)
    assert found["results"] == []


async def test_activity_of_teams(world: World) -> None:
    of_team = await world.spend("team_id = 't'")
    found = await world.get(f"/team/daily/activity?{SPAN}&team_ids=t")
    assert found["metadata"]["total_spend"] == pytest.approx(of_team)
    assert found["results"][0]["breakdown"]["entities"]["t"]["metadata"] == {"team_alias": "Tigers"}
    rest = await world.get(f"/team/daily/activity?{SPAN}&exclude_team_ids=t")
    assert rest["metadata"]["total_spend"] == pytest.approx(await world.spend() - of_team)
    as_admin = await world.get(f"/team/daily/activity?{SPAN}&team_ids=t", key=world.ann)
    assert as_admin["metadata"]["total_spend"] == pytest.approx(of_team)
    as_member = await world.get(f"/team/daily/activity?{SPAN}&team_ids=t", key=world.bob)
    assert as_member["metadata"]["total_spend"] == pytest.approx(await world.spend("\"user\" = 'bob'"))
    check_error(await world.answer(f"/team/daily/activity?{SPAN}&team_ids=t,other", key=world.bob), 403, "own teams")
    everything = await world.get(f"/team/daily/activity?{SPAN}", key=world.ann)
    assert everything["metadata"]["total_spend"] == pytest.approx(of_team)


async def test_activity_of_tags_customers_and_organizations(world: World) -> None:
    red = await world.get(f"/tag/daily/activity?{SPAN}&tags=red")
    assert red["metadata"]["total_spend"] == pytest.approx(await world.spend("request_tags ? 'red'"))
    for path in ("/customer/daily/activity", "/end_user/daily/activity"):
        found = await world.get(f"{path}?{SPAN}&end_user_ids=customer,nobody")
        assert found["metadata"]["total_spend"] == pytest.approx(await world.spend("end_user = 'customer'"))
    await world.books.fetch(
        """INSERT INTO "LiteLLM_DailyOrganizationSpend" (id, organization_id, date, api_key, model, spend, updated_at)
            VALUES ('1', 'o', $1, 'k', 'm', 2.5, now()), ('2', 'p', $1, 'k', NULL, 4, now())""",
        TODAY.isoformat(),
    )
    found = await world.get(f"/organization/daily/activity?{SPAN}&organization_ids=o")
    assert found["metadata"]["total_spend"] == 2.5
    found = await world.get(f"/organization/daily/activity?{SPAN}&exclude_organization_ids=o")
    assert found["results"][0]["breakdown"]["models"]["unknown"]["metrics"]["spend"] == 4


async def test_who_administers_an_organization_sees_it(world: World) -> None:
    await world.books.fetch(
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b', 'a', 'a')"""
    )
    await world.books.fetch(
        """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by,
            updated_by) VALUES ('o', 'O', 'b', 'a', 'a')"""
    )
    await world.books.fetch("""UPDATE "LiteLLM_TeamTable" SET organization_id = 'o' WHERE team_id = 't'""")
    await world.books.fetch(
        """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role)
            VALUES ('carl', 'o', 'org_admin')"""
    )
    users = sorted(row["user"] for row in await world.get("/spend/logs", key=world.carl))
    assert users == ["ann", "ann", "bob", "bob", "carl"]
    found = await world.get(f"/team/daily/activity?{SPAN}&team_ids=t", key=world.carl)
    assert found["metadata"]["total_spend"] == pytest.approx(await world.spend("team_id = 't'"))
    assert (await world.get(f"/organization/daily/activity?{SPAN}", key=world.carl))["results"] == []
    path = f"/organization/daily/activity?{SPAN}&organization_ids=p"
    check_error(await world.answer(path, key=world.carl), 403, "administer")


async def test_keys_and_users_beyond_the_first_twenty_are_one(world: World) -> None:
    await world.books.fetch(
        """INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, spend, updated_at)
            SELECT 'x' || n, 'u' || n, '2021-01-01', 'k' || n, 'm', n, now() FROM generate_series(1, 60) AS n"""
    )
    found = await world.get("/user/daily/activity/aggregated?start_date=2021-01-01&end_date=2021-01-01")
    [day] = found["results"]
    keys = day["breakdown"]["api_keys"]
    assert len(keys) == 21
    assert keys["others"]["metrics"]["spend"] == sum(range(1, 41))
    assert day["breakdown"]["entities"]["others"]["metrics"]["spend"] == sum(range(1, 41))
    assert day["metrics"]["spend"] == sum(range(1, 61))


# --- what a call costs ---


async def test_what_an_answer_costs(world: World) -> None:
    answer = await world.gateway.chat("at/tokens=5")
    body = {"completion_response": answer.json}
    calculated = await world.gateway.request("POST", "/spend/calculate", body, key=world.carl)
    cost = calculated.json.get("cost", calculated.body)
    assert cost == float(answer.headers["x-litellm-response-cost"]) > 0
    listed = {"model": "gpt-4o", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}
    body = {"completion_response": listed}
    assert (await world.gateway.request("POST", "/spend/calculate", body)).json["cost"] == pytest.approx(2.5)


async def test_what_messages_would_cost(world: World) -> None:
    body = {"model": "oracle", "messages": [{"role": "user", "content": "How are the books?"}]}
    cost = (await world.gateway.request("POST", "/spend/calculate", body)).json["cost"]
    assert 4e-6 < cost < 4e-5  # a millionth of a dollar for a token


NEITHER = "Bad Request - Either 'model' or 'completion_response' must be provided"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 400, NEITHER),
        ({"model": "oracle"}, 400, "messages"),
        ({"model": "nobody-knows-it", "messages": [{}]}, 400, "No price is known"),
        ({"completion_response": {}}, 400, "model"),
        ({"completion_response": {"model": "oracle"}}, 400, "usage"),
        ({"completion_response": {"model": "oracle", "usage": "many"}}, 400, "usage"),
        ({"completion_response": 5}, 422, "completion_response"),
        ({"model": 5}, 422, "model"),
        ({"model": "oracle\x00'; --", "messages": ["x"]}, 422, "messages"),
        ([], 422, "body"),
        (b"{", 400, "JSON"),
    ],
)
async def test_costs_that_cannot_be_told(gateway: Gateway, body: Any, status: int, word: str) -> None:
    check_error(await gateway.request("POST", "/spend/calculate", body), status, word)


# --- bad input ---


DATED = [
    "/spend/logs/v2",
    "/global/spend/report",
    "/user/daily/activity",
    "/team/daily/activity",
    "/tag/daily/activity",
]
LISTS = ["/spend/logs", "/spend/tags", "/global/spend/tags", "/global/spend/provider", "/global/activity"]


@pytest.mark.parametrize("path", DATED)
async def test_dates_that_are_missing(gateway: Gateway, path: str) -> None:
    word = "Please provide start_date and end_date"
    for query in ("", "?start_date=2025-01-01", "?end_date=2025-01-01", "?start_date=&end_date="):
        check_error(await gateway.request("GET", path + query), 400, word)


@pytest.mark.parametrize("path", DATED + LISTS)
async def test_dates_that_are_none(gateway: Gateway, path: str) -> None:
    for start in (
        "soon",
        "20250101",
        "2025-13-01",
        "2025-02-30",
        "2025-W01-1",
        "%00",
        "1' OR '1'='1",
        "9" * 50,
        "0000-01-01",
    ):
        answer = await gateway.request("GET", f"{path}?start_date={quote(start)}&end_date=2025-01-31")
        check_error(answer, 400, "start_date")
    answer = await gateway.request("GET", f"{path}?start_date=2025-01-02&end_date=2025-01-01")
    assert answer.status in (200, 400), answer.body
    answer = await gateway.request("GET", f"{path}?start_date=0001-01-01&end_date=9999-12-31")
    assert answer.status in (200, 400), answer.body


@pytest.mark.parametrize("path", ["/spend/logs/v2", "/spend/logs/session/ui", "/user/daily/activity"])
async def test_pages_that_are_none(gateway: Gateway, path: str) -> None:
    for query in ("page=0", "page=-1", "page_size=0", "page_size=1000000000", "page=x", "page=1e99", f"page={MANY}"):
        answer = await gateway.request("GET", f"{path}?{SPAN}&session_id=s&{query}")
        check_error(answer, 422, query.partition("=")[0])
    for query in ("limit=0", "limit=-1", f"limit={MANY}"):
        check_error(await gateway.request("GET", f"/global/spend/keys?{query}"), 422, "limit")


async def test_pages_that_are_too_deep(gateway: Gateway) -> None:
    answer = await gateway.request("GET", f"/spend/logs/v2?{SPAN}&page=101&page_size=100")
    check_error(answer, 400, "next_cursor")
    assert (await gateway.request("GET", f"/spend/logs/v2?{SPAN}&page=100&page_size=100")).status == 200


async def test_choices_that_are_none(gateway: Gateway) -> None:
    for query in ("sort_by=api_key;--", "sort_order=up", "status_filter=x", "min_spend=much"):
        check_error(await gateway.request("GET", f"/spend/logs/v2?{SPAN}&{query}"), 422, query.partition("=")[0])
    for cursor in ("x", "~", "2025-01-01T00:00:00Z~x", "'; DROP TABLE"):
        answer = await gateway.request("GET", f"/spend/logs/v2?{SPAN}&cursor={quote(cursor or '')}")
        check_error(answer, 400, "cursor")
    check_error(await gateway.request("GET", f"/global/spend/report?{SPAN}&group_by=x"), 422, "group_by")


@pytest.mark.parametrize(
    "text", ['\'; DROP TABLE "LiteLLM_SpendLogs"; --', "%00", "\x00", "☃", "\ud800", "a" * 4000, "{}"]
)
async def test_texts_that_nobody_has(world: World, text: str) -> None:
    sent = quote(text, errors="surrogatepass")
    paths = [
        f"/spend/logs?api_key={sent}",
        f"/spend/logs?user_id={sent}&request_id={sent}",
        f"/spend/logs/v2?{SPAN}&user_id={sent}",
        f"/spend/logs/v2?{SPAN}&key_alias={sent}&model={sent}&error_message={sent}",
        f"/spend/logs/session/ui?session_id={sent}",
        f"/spend/logs/ui/{sent}",
        f"/user/daily/activity?{SPAN}&user_id={sent}&model={sent}",
        f"/team/daily/activity?{SPAN}&team_ids={sent}&exclude_team_ids={sent}",
        f"/global/spend/tags?{SPAN}&tags={sent}",
        f"/global/spend/report?{SPAN}&team_id={sent}",
        f"/spend/users?user_id={sent}",
    ]
    for path in paths:
        answer = await world.answer(path)
        assert answer.status in (200, 400, 404), (path, answer.body)
    assert await world.spend() > 0


async def test_methods(gateway: Gateway) -> None:
    for path in ("/spend/logs", "/global/spend", "/user/daily/activity"):
        assert (await gateway.request("POST", path, {})).status == 405
    assert (await gateway.request("GET", "/global/spend/reset")).status == 405


# --- setting back ---


async def test_all_spend_is_set_back(world: World, look: Database) -> None:
    limited = await world.gateway.new_key(max_budget=0.0003, team_id="t")
    statuses = [(await world.gateway.chat("at/tokens=5", key=limited, max_tokens=5)).status for _ in range(20)]
    assert statuses[0] == 200
    assert statuses[-1] != 200
    await world.books.posted()
    before = await world.spend()
    for key in (world.viewer, world.ann):
        check_error(await world.gateway.request("POST", "/global/spend/reset", key=key), 403, "")
    answer = await world.gateway.request("POST", "/global/spend/reset")
    assert (answer.status, answer.json["status"]) == (200, "success")
    for table in ("VerificationToken", "TeamTable"):
        assert await world.books.fetch(f'SELECT FROM "LiteLLM_{table}" WHERE spend <> 0') == []
    assert await world.spend() == before
    async with asyncio.timeout(PATIENCE_S):  # until the gateway has been told
        while (await world.gateway.chat("at/tokens=5", key=limited, max_tokens=5)).status != 200:
            await asyncio.sleep(0.01)
    await world.books.posted()
    found = await audit(look)
    assert found.differences == []
    [spent] = await world.books.fetch(
        'SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = $1', hash_of(limited)
    )
    [window] = await world.books.fetch(
        "SELECT spent_nano_usd FROM bursar.windows WHERE scope_id = $1", hash_of(limited)
    )
    assert window["spent_nano_usd"] == round(spent["spend"] * 1e9) > 0
    changes = await world.books.fetch("SELECT * FROM \"LiteLLM_AuditLog\" WHERE object_id = '*' ORDER BY table_name")
    assert [change["table_name"] for change in changes] == ["LiteLLM_TeamTable", "LiteLLM_VerificationToken"]


async def test_setting_back_under_way_leaves_the_books_closed(world: World, look: Database) -> None:
    keys = [await world.gateway.new_key(max_budget=1.0, team_id="t", budget_duration="1d") for _ in range(3)]

    async def calls(key: str) -> None:
        for _ in range(15):
            await world.gateway.chat("at/tokens=5", key=key, max_tokens=5)

    async def resets() -> None:
        for _ in range(10):
            assert (await world.gateway.request("POST", "/global/spend/reset")).status == 200

    await asyncio.gather(resets(), *(calls(key) for key in keys))
    await world.books.posted()
    assert (await audit(look)).differences == []


REPORTS = (
    *(
        "/spend/keys",
        "/spend/users",
        f"/spend/tags?{SPAN}",
        "/global/spend",
        "/global/spend/logs",
        "/global/spend/keys",
    ),
    *("/global/spend/models", "/global/spend/teams", f"/global/spend/tags?{SPAN}", f"/global/spend/provider?{SPAN}"),
    *(f"/global/spend/report?{SPAN}&group_by={by}" for by in ("team", "customer", "api_key")),
    *("/team/info?team_id=t", "/key/list?return_full_object=true", "/user/list", f"/tag/summary?{SPAN}"),
    f"/team/daily/activity?{SPAN}",
)


async def test_sums_have_no_dust(gateway: Gateway, books: Books) -> None:
    """0.1 + 0.2 is 0.3, in whatever order it was added up."""
    dust = 0.1 + 0.2
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, updated_at, spend) VALUES ('t', now(), $1)", dust)
    await gateway.request("POST", "/user/new", {"user_id": "u"})
    await books.fetch('UPDATE "LiteLLM_UserTable" SET spend = $1', dust)
    await books.fetch('UPDATE "LiteLLM_VerificationToken" SET spend = $1, total_spend = $1', dust)
    for table, entity in (
        ("DailyUserSpend", "user_id"),
        ("DailyTeamSpend", "team_id"),
        ("DailyTagSpend", "tag"),
        ("DailyEndUserSpend", "end_user_id"),
    ):
        for endpoint, spend in (("/a", 0.1), ("/b", 0.2)):
            await books.fetch(
                f"""INSERT INTO "LiteLLM_{table}" (
                    id, {entity}, date, api_key, model, custom_llm_provider, endpoint, spend, updated_at
                ) VALUES (gen_random_uuid()::text, 't', $1, 'k', 'm', 'p', $2, $3, now())""",
                TODAY.isoformat(),
                endpoint,
                spend,
            )
    for path in REPORTS:
        answer = await gateway.request("GET", path)
        assert answer.status == 200, (path, answer.body)
        assert "0.3" in answer.body.decode(), path
        assert str(dust) not in answer.body.decode(), path
    answer = await gateway.request("POST", "/global/spend/end_users", {})
    assert answer.json == [{"end_user": "t", "total_count": 0, "total_spend": 0.3}]
