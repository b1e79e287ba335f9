"""A budget of a dollar, a thousand calls of a cent at once, real processes: exactly a hundred are served, however many
workers there are, and none too many when they are killed meanwhile."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.gateway import MASTER_KEY, Gateway, MakeGateway, Oracle
from tests.process.process_table import signal_all

CENT = """\
model_list:
  - model_name: cent
    litellm_params: &cent
      model: openai/oracle?tokens=100
      api_base: os.environ/ORACLE_BASE
      api_key: anything
      input_cost_per_token: 0
      output_cost_per_token: 0.0001
  - model_name: slow
    litellm_params: {<<: *cent, model: openai/oracle?tokens=100&head_ms=200}
  - model_name: unbounded
    litellm_params: {<<: *cent, model: openai/oracle?tokens=20&head_ms=20}
    model_info: {max_output_tokens: 1000000}
  - model_name: dense
    litellm_params: {<<: *cent, model: openai/oracle?prompt=1000&tokens=1, input_cost_per_token: 0.00001}
bursar_settings: {budget_wait_s: 20}  # a busy machine must not turn a turn that is late into a refusal
"""
CALLS = 1000
_AT_A_TIME = """
WITH ends AS (
    SELECT (body ->> 'opened_us')::bigint AS began, extract(epoch FROM at) * 1e6 AS ended FROM bursar.entries
    WHERE kind = 'settle'
)
SELECT max((SELECT count(*) FROM ends AS b WHERE b.began <= a.began AND a.began < b.ended)) FROM ends AS a
"""
"""How many calls were with the provider at the same moment."""


async def request(port: int, path: str, body: object, key: str) -> tuple[int, bytes]:
    """Status and body; (0, what came) when the connection broke."""
    payload = json.dumps(body).encode()
    answer = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST %b HTTP/1.1\r\nhost: g\r\nconnection: close\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (path.encode(), key.encode(), len(payload), payload)
        )
        async with asyncio.timeout(60):
            while piece := await reader.read(65536):
                answer += piece
        writer.close()
    except OSError:
        return 0, answer
    head, _, content = answer.partition(b"\r\n\r\n")
    return (int(head.split(b" ", 2)[1]) if content else 0), content


async def new_key(gateway: Gateway, max_budget: float) -> str:
    status, body = await request(gateway.port, "/key/generate", {"max_budget": max_budget}, MASTER_KEY)
    assert status == 200, body
    key = json.loads(body)["key"]
    assert isinstance(key, str)
    return key


async def race(gateways: Sequence[Gateway], key: str, model: str = "cent", **more: object) -> Counter[int]:
    """Statuses of all calls, made at once."""
    body = {"model": model, "messages": [{"role": "user", "content": "How are the books?"}], **more}
    answers = await asyncio.gather(
        *(request(gateways[n % len(gateways)].port, "/v1/chat/completions", body, key) for n in range(CALLS))
    )
    return Counter(status for status, _ in answers)


async def window(gateway: Gateway, settled: bool = True) -> tuple[int, int]:
    """What is leased and spent of the window that gave most, once all is booked and given back."""
    connection = await asyncpg.connect(gateway.database_url())
    try:
        async with asyncio.timeout(60):
            while True:
                row = await connection.fetchrow(
                    "SELECT leased_nano_usd, spent_nano_usd FROM bursar.windows ORDER BY leased_nano_usd DESC LIMIT 1"
                )
                if not settled or row[0] == row[1]:
                    return row[0], row[1]
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def race_on(workers: int, rounds: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway("--workers", str(workers), oracle=oracle, config=CENT)
    gateway.start()
    for _ in range(rounds):
        before = len(oracle.bill())
        key = await new_key(gateway, 1.0)
        assert await race([gateway], key, max_tokens=100) == Counter({200: 100, 422: 900})
        assert len(oracle.bill()) - before == 100
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_hundred_of_a_thousand(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    await race_on(workers, 2, oracle, make_gateway)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 4])
async def test_a_hundred_of_a_thousand_ten_times(workers: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    await race_on(workers, 10, oracle, make_gateway)


async def test_holds_ten_times_too_high(oracle: Oracle, make_gateway: MakeGateway) -> None:
    """Each call may cost a dime, and costs a cent: what is held and not spent comes back, down to the last dime."""
    gateway = make_gateway("--workers", "4", oracle=oracle, config=CENT)
    gateway.start()
    key = await new_key(gateway, 1.0)
    statuses = await race([gateway], key, max_tokens=1000)
    assert set(statuses) == {200, 422}
    assert statuses[200] == len(oracle.bill()) == 91
    assert gateway.stop() == 0


async def test_ten_times_as_many_tokens_as_words_suggest(oracle: Oracle, make_gateway: MakeGateway) -> None:
    """A token for each byte. What is held is counted in bytes, so that the budget holds all the same."""
    gateway = make_gateway("--workers", "4", oracle=oracle, config=CENT)
    gateway.start()
    key = await new_key(gateway, 1.0)
    statuses = await race(
        [gateway], key, model="dense", max_tokens=1, messages=[{"role": "user", "content": "€" * 333}]
    )
    assert set(statuses) == {200, 422}
    assert statuses[200] == len(oracle.bill()) > 90
    leased, spent = await window(gateway)
    assert 0.9 * 10**9 <= spent <= leased <= 10**9
    assert gateway.stop() == 0


async def test_two_gateways_on_one_database(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await two_gateways(1, oracle, make_gateway)


@pytest.mark.long
async def test_two_gateways_ten_times(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await two_gateways(10, oracle, make_gateway)


async def two_gateways(rounds: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    first = make_gateway("--workers", "2", oracle=oracle, config=CENT)
    first.start()
    second = make_gateway(
        "--workers", "2", oracle=oracle, config=CENT, name="second", environ={"DATABASE_URL": first.database_url()}
    )
    second.start()
    for number in range(1, rounds + 1):
        key = await new_key(first, 1.0)
        assert await race([first, second], key, max_tokens=100) == Counter({200: 100, 422: 900})
        assert len(oracle.bill()) == 100 * number
    assert second.stop() == 0
    assert first.stop() == 0


async def test_without_max_tokens(oracle: Oracle, make_gateway: MakeGateway) -> None:
    """Each answer costs 0.002, and could cost a hundred dollars."""
    gateway = make_gateway("--workers", "4", oracle=oracle, config=CENT)
    gateway.start()
    key = await new_key(gateway, 1.0)
    served = 0
    while (statuses := await race([gateway], key, model="unbounded"))[200]:
        assert set(statuses) <= {200, 422}
        served += statuses[200]
    assert served >= 0.9 * 500
    leased, spent = await window(gateway)
    assert 0.9 * 10**9 <= spent <= leased <= 10**9
    connection = await asyncpg.connect(gateway.database_url())
    assert await connection.fetchval(_AT_A_TIME) >= 4
    await connection.close()
    assert gateway.stop() == 0


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_the_database_is_away(how: str, oracle: Oracle, make_gateway: MakeGateway, place: Path) -> None:
    """Calls go on to the end of what is leased; then the database is missing, and not the money."""
    directory = place / "server"
    directory.mkdir()
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory)
    server.start(lambda _: None)
    try:
        config = CENT.replace("budget_wait_s: 20", "budget_wait_s: 1")
        gateway = make_gateway(oracle=oracle, config=config, environ={"DATABASE_URL": server.url("postgres")})
        gateway.start()
        key, unused = await new_key(gateway, 1.0), await new_key(gateway, 1.0)
        await asyncio.sleep(0.5)  # the news of new keys must not come after their first use: it would ask for another
        assert (await call(gateway, key))[0] == 200
        assert (await call(gateway, unused, model="nothing"))[0] == 400  # known, and nothing leased
        if how == "stopped":
            await asyncio.to_thread(server.stop)
        else:
            for _ in range(2):  # again for those that were born meanwhile
                signal_all(directory, signal.SIGSTOP)
        served = 1
        while (answer := await call(gateway, key))[0] == 200:
            served += 1
        assert 10 <= served <= 100, answer
        for status, body in (answer, await call(gateway, unused)):
            assert (status, json.loads(body)["error"]["type"]) == (503, "store_unavailable")
        if how == "stopped":
            await asyncio.to_thread(server.start, print)
        else:
            signal_all(directory, signal.SIGCONT)
        async with asyncio.timeout(40):
            while (await call(gateway, key))[0] != 422:
                pass
        assert len(oracle.bill()) == 100
        assert gateway.stop() == 0
    finally:
        signal_all(directory, signal.SIGCONT)
        server.stop()


async def call(gateway: Gateway, key: str, model: str = "cent") -> tuple[int, bytes]:
    body = {"model": model, "messages": [{"role": "user", "content": "How are the books?"}], "max_tokens": 100}
    return await request(gateway.port, "/v1/chat/completions", body, key)


async def test_workers_are_killed_meanwhile(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await killed_meanwhile(1, oracle, make_gateway)


@pytest.mark.long
async def test_workers_are_killed_ten_times(oracle: Oracle, make_gateway: MakeGateway) -> None:
    await killed_meanwhile(10, oracle, make_gateway)


async def killed_meanwhile(rounds: int, oracle: Oracle, make_gateway: MakeGateway) -> None:
    """One every half second, for as long as the race goes."""
    gateway = make_gateway("--workers", "4", oracle=oracle, config=CENT)
    gateway.start()
    for _ in range(rounds):
        before = len(oracle.bill())
        key = await new_key(gateway, 1.0)
        racing = asyncio.create_task(race([gateway], key, model="slow", max_tokens=100))
        kills = 0
        while not racing.done():
            await asyncio.wait({racing}, timeout=0.5)
            if not racing.done():
                gateway.workers()[0].signal(signal.SIGKILL)
                kills += 1
        statuses = await racing
        assert kills
        assert len(oracle.bill()) - before <= 100, "more was asked of the provider than the budget pays"
        assert statuses[200] <= 100
        leased, spent = await window(gateway, settled=False)
        assert spent <= leased <= 10**9
    assert gateway.stop() == 0
