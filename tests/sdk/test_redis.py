"""Through Redis: a real one, killed and started again, and instances that die."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from bursar.domain.secrets import Secret
from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from bursar.store.database import identify
from bursar.store.migrate import migrate
from tests.sdk.redis_server import RedisServer
from tests.sdk.replaying import for_database, replay
from tests.sdk.running import App
from tests.sdk.telling import spend


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    directory = tmp_path / "redis"
    directory.mkdir()
    server = RedisServer(directory)
    server.start()
    yield server
    server.kill()


def instance(database_url: str, tmp_path: Path, redis_url: str | None) -> Recorder:
    return Recorder(
        Settings(
            database_url=Secret(database_url),
            data_dir=tmp_path,
            redis_url=None if redis_url is None else Secret(redis_url),
            uses_redis=lambda: True,
        )
    )


async def ids(connection: Any) -> Counter[str]:
    return Counter(row[0] for row in await connection.fetch('SELECT litellm_call_id FROM "LiteLLM_SpendLogs"'))


async def stream_of(connection: Any) -> str:
    """Of the database that `connection` is to."""
    return f"bursar:batches:{await identify(connection)}"


async def test_instances_post_for_each_other_once(
    database_url: str, connection: Any, tmp_path: Path, server: RedisServer
) -> None:
    instances = [instance(database_url, tmp_path, server.url) for _ in range(3)]
    for number in range(300):
        instances[number % 3].book(spend(str(number)))
        if number % 100 == 99:
            assert all(one.flush(20) for one in instances)
    with redis.Redis.from_url(server.url) as client:
        assert client.xinfo_stream(await stream_of(connection))["entries-added"] >= 3, "they went through it"
        assert client.xlen(await stream_of(connection)) == 0, "and all were acknowledged"
    for one in instances:
        assert await asyncio.to_thread(one.close, 20)
    assert await ids(connection) == Counter(str(number) for number in range(300))
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
    assert await connection.fetchval("SELECT count(*) FROM bursar.instances WHERE ended_at IS NULL") == 0


async def test_databases_that_share_a_redis_share_nothing_else(
    database_url: str, empty_database: str, connection: Any, tmp_path: Path, server: RedisServer
) -> None:
    other = await asyncpg.connect(empty_database)
    await migrate(other, lambda _: None)
    apps = [instance(url, tmp_path / url[-9:], server.url) for url in (database_url, empty_database)]
    told = [str(number) for number in range(60)]
    for number, call in enumerate(told):
        apps[number % 2].book(spend(call))
        if number % 6 > 3:
            assert await asyncio.to_thread(apps[number % 2].flush, 20)
    for app in apps:
        assert await asyncio.to_thread(app.close, 20)
    assert await ids(connection) == Counter(told[::2])
    assert await ids(other) == Counter(told[1::2])
    with redis.Redis.from_url(server.url) as client:
        for books in (connection, other):
            assert client.xinfo_stream(await stream_of(books))["entries-added"] >= 3, "they went through it"
    await other.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://no.redis", None])
async def test_without_redis_batches_go_straight(
    database_url: str, connection: Any, tmp_path: Path, url: str | None
) -> None:
    recorder = instance(database_url, tmp_path, url)
    recorder.book(spend("a"))
    assert recorder.flush(20)
    assert recorder.close(20)
    assert await ids(connection) == Counter(["a"])


async def test_what_nobody_understands_is_passed_over(
    database_url: str, connection: Any, tmp_path: Path, server: RedisServer
) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.xadd(await stream_of(connection), {"nonsense": "1"})
        client.xadd(
            await stream_of(connection), {"journal": "x", "epoch": "y", "after": "0", "upto": "1", "entries": "[]"}
        )
    recorder = instance(database_url, tmp_path, server.url)
    recorder.book(spend("a"))
    assert recorder.flush(20)
    assert recorder.close(20)
    assert await ids(connection) == Counter(["a"])


@pytest.mark.parametrize(("kills", "restarts"), [(4, 1), pytest.param(24, 4, marks=pytest.mark.long)])
async def test_kill_9_of_instances_and_of_redis_loses_nothing_and_doubles_nothing(
    database_url: str, connection: Any, tmp_path: Path, server: RedisServer, kills: int, restarts: int
) -> None:
    """Three instances and a worker, of which one after the other is killed and replaced, and Redis between them."""
    app = App(
        Path(sys.executable),
        {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path), "REDIS_URL": server.url},
    )
    told = tmp_path / "told"
    worker = ("-c", "from bursar.cli import main; main()", "ledger", "worker", "--redis-url", server.url)
    commands = [("-m", "tests.sdk.apps.instance", f"{number}", str(told)) for number in range(3)] + [worker]
    draw = random.Random(20_261_127)
    victims = [draw.randrange(len(commands)) for _ in range(kills)]
    restarted = set(range(1, kills, kills // restarts))
    assert len(restarted) >= restarts
    programs = [app.start(*command) for command in commands]
    await asyncio.sleep(2.0)
    for life, victim in enumerate(victims):
        await asyncio.sleep(1.5 * draw.random())
        kill(programs[victim])
        if life in restarted:
            server.kill()
            await asyncio.sleep(draw.random())
            server.start()
        command = commands[victim]
        if victim < 3:
            command = (*command[:2], f"{victim}, life {life}", *command[3:])
        programs[victim] = app.start(*command)
    await asyncio.sleep(2.0)
    for program in programs:
        kill(program)
    last = instance(database_url, tmp_path, server.url)
    last.book(spend("the last"))
    assert await asyncio.to_thread(last.flush, 60)
    await asyncio.to_thread(last.close, 20)
    await replay(database_url, for_database(tmp_path, database_url))
    booked = await ids(connection)
    on_record = told.read_text().splitlines()
    assert set(on_record) <= set(booked), "0 lost"
    assert set(booked.values()) == {1}, "0 duplicate"
    assert len(on_record) > 500 * kills
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1', "alice")
    assert spent == pytest.approx(0.001 * len(booked))
    print(f"{kills} kills, {len(restarted)} restarts of Redis: {len(on_record)} on record, 0 lost, 0 duplicate")


def kill(program: "subprocess.Popen[str]") -> None:
    program.kill()
    program.communicate()


async def test_the_worker_posts_what_apps_leave_and_what_is_in_redis(
    database_url: str, connection: Any, tmp_path: Path, server: RedisServer
) -> None:
    left = Recorder(Settings(data_dir=tmp_path))
    left.book(spend("left"))
    left.close()
    app = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    command = ("-c", "from bursar.cli import main; main()", "ledger", "worker", "--redis-url", server.url)
    with app.start(*command) as worker:
        for _ in range(200):
            if await ids(connection):
                break
            await asyncio.sleep(0.05)
        with redis.Redis.from_url(server.url) as client:
            assert [group["name"] for group in client.xinfo_groups(await stream_of(connection))] == [b"posters"]
        worker.terminate()
        output, errors = worker.communicate(timeout=20)
    assert worker.returncode == 0, errors
    assert output.startswith(f"Posting what apps leave in {tmp_path / 'sdk'} for ")
    assert output.endswith(", and in Redis.\n")
    assert await ids(connection) == Counter(["left"])
