"""What LiteLLM's SDK tells, and what becomes of it: real LiteLLM, oldest and newest, and a real database."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.sdk.replaying import for_database, replay
from tests.sdk.running import App

SUCCESS, FAILURE = "success", "failure"
EVERY_KIND = {
    "completion": {SUCCESS: 1},
    "completion, streamed": {SUCCESS: 1},
    "completion, left": {SUCCESS: 1},
    "completion, left, watched": {SUCCESS: 1},
    "completion, failed": {FAILURE: 1},
    "completion, in a loop": {SUCCESS: 1},
    "unpriced": {SUCCESS: 1},
    "embedding": {SUCCESS: 1},
    "text_completion": {SUCCESS: 1},
    "asked": {SUCCESS: 1},
    "cached": {SUCCESS: 1},
    "acompletion": {SUCCESS: 1},
    "acompletion, streamed": {SUCCESS: 1},
    "acompletion, failed": {FAILURE: 1},
    "aembedding": {SUCCESS: 1},
    "fallback": {FAILURE: 1, SUCCESS: 1},
    "fallbacks, none": {SUCCESS: 1},
    "router": {FAILURE: 3},
    "abandoned, watched": {SUCCESS: 1},
    "acompletion, the last": {SUCCESS: 1},
}


async def test_every_kind_of_call_is_booked_once(app: App, connection: Any) -> None:
    app.run("every_kind")
    rows = await connection.fetch(
        """SELECT request_tags ->> 0 AS kind, status, call_type, model, spend, prompt_tokens, completion_tokens,
            cache_hit, metadata #>> '{bursar,evidence}' AS evidence FROM "LiteLLM_SpendLogs" """
    )
    booked = {kind: dict(Counter(row["status"] for row in rows if row["kind"] == kind)) for kind in EVERY_KIND}
    assert booked == EVERY_KIND
    of_itself = {row["kind"] for row in rows} - set(EVERY_KIND)
    assert of_itself == ({"abandoned"} if "newest" in str(app.python) else set()), "the silenced call is not booked"
    by_kind = {row["kind"]: row for row in rows if row["status"] == SUCCESS}
    assert by_kind["completion"]["spend"] == 0.000225
    assert by_kind["completion"]["model"] == by_kind["cached"]["model"] == "openai/gpt-4o"
    assert (by_kind["unpriced"]["spend"], by_kind["unpriced"]["evidence"]) == (0.0, "unpriced")
    assert (by_kind["cached"]["spend"], by_kind["cached"]["evidence"]) == (0.0, "cache")
    assert by_kind["fallback"]["model"] == "openai/gpt-4o-mini"
    read = [by_kind[kind] for kind in ("completion, left", "completion, left, watched", "abandoned, watched")]
    assert {row["evidence"] for row in read} == {"estimated"}
    assert len({row["completion_tokens"] for row in read}) == 1, "as much was read of each"
    assert all(row["spend"] > 0 for row in read)
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
    assert await connection.fetchval("SELECT count(*) FROM bursar.instances WHERE ended_at IS NULL") == 0


@pytest.mark.parametrize("calls", [5, 1000])
async def test_a_program_that_returns_at_once_loses_nothing(app: App, connection: Any, calls: int) -> None:
    app.run("at_once", str(calls))
    await check_books(connection, calls)


async def test_a_program_that_returns_at_once_loses_no_streams(newest_app: App, connection: Any) -> None:
    newest_app.run("at_once", "300", "stream")
    await check_books(connection, 300)


@pytest.mark.parametrize("end", ["returns", "closes", "goes on", "synchronous"])
async def test_the_answer_of_a_fallback_is_booked_once_as_its_own(
    newest_first_app: App, connection: Any, end: str
) -> None:
    newest_first_app.run("fallbacks", "20", end)
    rows = await connection.fetch(
        """SELECT status, model, spend, prompt_tokens, completion_tokens, metadata #>> '{bursar,evidence}' AS evidence,
            count(*) FROM "LiteLLM_SpendLogs" GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1"""
    )
    assert [tuple(row) for row in rows] == [
        (FAILURE, "openai/gpt-4o", 0.0, 0, 0, None, 20),
        (SUCCESS, "openai/gpt-4o-mini", 0.0000135, 10, 20, "provider", 20),
    ]


async def check_books(connection: Any, calls: int) -> None:
    """So many successful calls are in the rows, the users' and the days' totals, and what they cost adds up."""
    rows = await connection.fetchrow('SELECT count(*), sum(spend) FROM "LiteLLM_SpendLogs" WHERE status = $1', SUCCESS)
    users = await connection.fetchrow('SELECT count(*), sum(spend) FROM "LiteLLM_UserTable"')
    days = await connection.fetchrow(
        'SELECT sum(api_requests) AS count, sum(spend) FROM "LiteLLM_DailyUserSpend" WHERE endpoint = $1',
        "/chat/completions",
    )
    assert (rows["count"], users["count"], days["count"]) == (calls, min(calls, 10), calls)
    assert users["sum"] == pytest.approx(rows["sum"], abs=1e-9)
    assert days["sum"] == pytest.approx(rows["sum"], abs=1e-9)


async def test_lists_and_names(newest_first_app: App, connection: Any) -> None:
    newest_first_app.run("lists")
    rows = await connection.fetch('SELECT request_tags ->> 0 AS tag, call_type FROM "LiteLLM_SpendLogs"')
    booked = Counter((row["tag"], row["call_type"]) for row in rows)
    assert set(booked.values()) == {1}, booked
    assert {tag for tag, _ in booked} == {
        "by name",
        "failures named",
        "all names",
        "callbacks overwritten",
        "callbacks emptied",
        "name in callbacks",
        "name in callbacks, failed",
        "the advanced recipe",
        "the advanced recipe, and the name",
    }
    assert len(rows) == 2 * len({tag for tag, _ in booked}), "each once by completion and once by acompletion"
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0


async def test_no_call_is_lost_for_what_an_app_says_of_it(newest_app: App, connection: Any) -> None:
    told = newest_app.run("odd_words").splitlines()
    rows = await connection.fetch(
        """SELECT request_tags ->> 0 AS tag, "user", team_id, metadata ->> 'a' AS a,
            metadata #>> '{bursar,metadata_dropped}' AS dropped FROM "LiteLLM_SpendLogs" """
    )
    booked = {row["tag"]: row for row in rows}
    assert sorted(booked) == sorted(told)
    assert len(rows) == len(told)
    assert (booked["score"]["a"], booked["enum"]["a"], booked["object"]["a"]) == ("0.5", "a", None)
    assert booked["object"]["dropped"] == '["a"]'
    assert booked["team"]["team_id"] == "blue"
    assert (booked["user"]["user"], booked["number as user"]["user"]) == ("alice", "42")
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0


ADDED_WHERE_IT_IS_NOT = """
import time
import litellm
import bursar.sdk
for _ in range(5):
    if "bursar" not in litellm.success_callback:
        litellm.success_callback.append("bursar")
    litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi")
while bursar.sdk.health().posted < 5:
    time.sleep(0.05)
print(litellm.success_callback.count("bursar"), len(litellm.success_callback))
litellm.success_callback.remove("bursar")
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi")
"""


async def test_a_name_that_an_app_adds_where_it_is_not_is_there_once(newest_first_app: App, connection: Any) -> None:
    assert newest_first_app.run_code(ADDED_WHERE_IT_IS_NOT) == "1 2\n", "and the object that answers to it"
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 5


LOST = """
import litellm
import bursar.sdk
class Odd(dict):
    def get(self, name, default=None):
        raise RuntimeError("no")
litellm.success_callback = ["bursar"]
callback = bursar.sdk.install()
callback.log_success_event({"standard_logging_object": Odd()}, None, None, None)
health = bursar.sdk.health()
print(health.lost, health.last_error)
"""


def test_a_call_that_cannot_be_read_is_counted(newest_litellm: Path, tmp_path: Path) -> None:
    program = App(newest_litellm).start("-c", LOST, BURSAR_DATA_DIR=str(tmp_path))
    output, errors = program.communicate(timeout=60)
    assert output == "1 a call could not be read: RuntimeError\n", errors
    assert "sdk.not_booked" in errors


LOST_IN_SWEEP = """
import asyncio
from types import SimpleNamespace
import litellm
import bursar.sdk
class Odd(dict):
    def get(self, name, default=None):
        raise RuntimeError("no")
litellm.success_callback = ["bursar"]
callback = bursar.sdk.install()
async def main():
    calls = [
        {"litellm_call_id": call_id, "model": "gpt-4o", "standard_logging_object": told}
        for call_id, told in (("1", {}), ("2", Odd()), (["3"], {}), ("4", {}))
    ]
    for call in calls:
        owner = SimpleNamespace(model_call_details=call)
        await callback.async_post_call_success_deployment_hook({"litellm_logging_obj": owner}, None, None)
    print(await callback.aclose(20), bursar.sdk.health().lost)
asyncio.run(main())
"""


async def test_a_call_that_cannot_be_read_holds_up_no_other(newest_app: App, connection: Any) -> None:
    program = newest_app.start("-c", LOST_IN_SWEEP)
    output, errors = program.communicate(timeout=60)
    assert output == "True 1\n", errors
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 3


@pytest.mark.parametrize("method", ["fork", "forkserver"])
async def test_children_of_multiprocessing_post_what_they_were_answered(
    newest_app: App, connection: Any, method: str
) -> None:
    newest_app.run("children", method, patience_s=100)
    booked = await connection.fetch('SELECT "user", count(*) FROM "LiteLLM_SpendLogs" GROUP BY 1')
    assert dict(booked) == {"answered": 5, "left": 5, "pool": 30, "executor": 30}


@pytest.mark.parametrize("database_is", ["there", "away"])
async def test_kill_9_loses_no_call_whose_callback_had_returned(
    newest_app: App, connection: Any, database_url: str, tmp_path: Path, database_is: str
) -> None:
    draw = random.Random(20_261_127)
    told: list[str] = []
    elsewhere = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/nothing"} if database_is == "away" else {}
    for _ in range(2):
        with newest_app.start("-m", "tests.sdk.apps.until_killed", **elsewhere) as program:
            assert program.stdout is not None
            told += [program.stdout.readline().strip() for _ in range(draw.randrange(100, 1500))]
            program.kill()
            told += [line.strip() for line in program.stdout if line.endswith("\n")]
    for url in {database_url, *elsewhere.values()}:
        await replay(database_url, for_database(tmp_path, url))
    ids = Counter(row[0] for row in await connection.fetch('SELECT litellm_call_id FROM "LiteLLM_SpendLogs"'))
    assert set(told) <= set(ids)
    assert set(ids.values()) == {1}
    assert len(told) > 200
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1', "alice")
    assert spent == pytest.approx(0.000225 * len(ids))


RESTARTED = """
import sys
import bursar.sdk
import litellm
litellm.callbacks = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
sys.stdin.read()
"""


@pytest.mark.parametrize("queued", [1000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_what_was_queued_when_the_app_was_killed_arrives_after_its_restart(
    newest_app: App, connection: Any, postgres_server: EmbeddedPostgres, queued: int
) -> None:
    admin = await asyncpg.connect(postgres_server.url("postgres"))
    name = await connection.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    away = newest_app.start("-m", "tests.sdk.apps.until_killed")
    assert away.stdout is not None
    told = [away.stdout.readline().strip() for _ in range(queued)]
    away.kill()
    told += [line.strip() for line in away.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 0, "all of them were queued"
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await admin.close()
    with newest_app.start("-c", RESTARTED) as restarted:
        async with asyncio.timeout(60):
            while await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') <= len(told):
                assert restarted.poll() is None
                await asyncio.sleep(0.1)
        assert "sdk." not in restarted.communicate("", timeout=20)[1]
    ids = Counter(row[0] for row in await connection.fetch('SELECT litellm_call_id FROM "LiteLLM_SpendLogs"'))
    assert set(told) <= set(ids)
    assert set(ids.values()) == {1}
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1', "alice")
    assert spent == pytest.approx(0.000225 * len(ids))
    print(f"{len(told)} queued when it was killed; all arrived once")


BEFORE_LITELLM = """
import sys
import bursar.sdk
assert "litellm" not in sys.modules, "an app that does not need it does not wait for it"
import litellm
litellm.callbacks = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""
LOOKED_FOR = """
import importlib.util
import bursar.sdk
assert importlib.util.find_spec("litellm").loader.get_resource_reader("litellm") is not None
assert importlib.util.find_spec("litellm") is not None
import litellm
litellm.callbacks = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""
UNGUARDED = """
import litellm
import bursar.sdk
assert type(litellm).__name__ != "GuardedModule"
litellm.success_callback = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""


CLASS_FIRST = """
from bursar.sdk import SpendCallback
import litellm
assert SpendCallback.__name__ == "SpendCallback"
assert type(litellm).__name__ == "GuardedModule"
litellm.success_callback = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""
MODULE_FIRST = CLASS_FIRST.replace("bursar.sdk", "bursar.sdk.litellm_callback")
ASKED_FIRST = """
import bursar.sdk
bursar.sdk.health()
import litellm
assert litellm.callbacks == [bursar.sdk.install()]
litellm.callbacks = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""
OLD_FINDER = """
import sys
class Finder:
    def find_module(self, name, path=None):
        return None
sys.meta_path.insert(0, Finder())
import bursar.sdk
import litellm
litellm.callbacks = ["bursar"]
litellm.completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Hi", user="alice")
"""


@pytest.mark.parametrize(
    ("code", "guard"),
    [
        pytest.param(BEFORE_LITELLM, "", id="before LiteLLM"),
        pytest.param(LOOKED_FOR, "", id="looked for"),
        pytest.param(UNGUARDED, "off", id="unguarded"),
        pytest.param(CLASS_FIRST, "", id="our class first"),
        pytest.param(MODULE_FIRST, "", id="our module first"),
        pytest.param(ASKED_FIRST, "", id="asked first"),
        pytest.param(OLD_FINDER, "", id="a finder of the old kind"),
    ],
)
async def test_it_may_be_imported_first_and_need_not_guard(
    newest_first_app: App, connection: Any, code: str, guard: str
) -> None:
    newest_first_app.run_code(code, BURSAR_SDK_GUARD_LISTS=guard)
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "user" = $1', "alice") == 1
