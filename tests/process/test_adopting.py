"""The switch as it is done: the proxy's database is looked at, taken over, and served on."""

import json
from pathlib import Path

import asyncpg
import pytest

from tests.adopting.litellm import KEYS, fingerprint, make_litellm_database
from tests.process.gateway import MASTER_KEY, MakeGateway, Oracle
from tests.process.test_budgets import CENT, request
from tests.process.test_cli import Done, bursar


@pytest.fixture
async def litellm_url(empty_database: str) -> str:
    """URL of a LiteLLM proxy's database."""
    connection = await asyncpg.connect(empty_database)
    await make_litellm_database(connection)
    await connection.close()
    return empty_database


def adopt(*arguments: str, url: str) -> Done:
    return bursar("db", "adopt", *arguments, environ={"DATABASE_URL": url})


async def test_a_switch(place: Path, litellm_url: str, oracle: Oracle, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(oracle=oracle, config=CENT, environ={"DATABASE_URL": litellm_url})
    refused = gateway.launch()
    assert refused.wait() == 1
    assert "`bursar db adopt`" in refused.output
    connection = await asyncpg.connect(litellm_url)
    before = await fingerprint(connection)

    dry = adopt(url=litellm_url)
    assert dry.code == 0
    assert "LiteLLM_SpendLogs                               154 rows  19.25 USD" in dry.out
    assert "Acme                                     7.5 of 10 USD, until " in dry.out
    assert dry.out.endswith("Nothing was changed: `bursar db adopt --apply` does it.\n")
    assert await fingerprint(connection) == before
    assert not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'bursar')")

    done = adopt("--apply", url=litellm_url)
    assert done.code == 0
    assert done.out.endswith("Adopted: `bursar serve` works on it.\n")
    assert done.out.splitlines()[:-1] == dry.out.splitlines()[:-1]
    again = adopt("--apply", url=litellm_url)
    assert again.code == 0
    assert again.out.startswith("It was adopted at ")
    assert again.out.endswith(" UTC. Nothing was changed.\n")
    assert "can be again" in adopt("--again", url=litellm_url).out
    assert adopt("--again", "--apply", url=litellm_url).out.endswith("Adopted: `bursar serve` works on it.\n")
    assert await fingerprint(connection) == before

    gateway.start()
    body = {"model": "cent", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
    status, answer = await request(gateway.port, "/v1/chat/completions", body, KEYS["own"])
    assert status == 200, answer
    status, answer = await request(gateway.port, "/v1/chat/completions", body | {"max_tokens": 25_001}, KEYS["own"])
    assert status == 422
    assert b"Max budget: 10" in answer
    assert (await request(gateway.port, "/key/generate", {}, MASTER_KEY))[0] == 200
    assert gateway.stop() == 0
    here = {"DATABASE_URL": litellm_url}
    verified = bursar("ledger", "verify", environ=here)
    assert verified.code == 0, verified.out
    spent = await connection.fetchval('SELECT spend FROM "LiteLLM_VerificationToken" WHERE key_alias = $1', "own")
    assert spent == pytest.approx(7.51)
    assert bursar("db", "migrate", environ=here).out == "The database is up to date.\n"
    await connection.close()


def test_for_scripts(place: Path, litellm_url: str) -> None:
    found = json.loads(adopt("--json", url=litellm_url).out)
    assert (found["adopted_at"], found["changed"]) == (None, False)
    assert found["found"]["keys"] == {"total": 11, "usable": 9, "blocked": 1, "expired": 1, "not_hashed": 0}
    [team] = [budgets for budgets in found["found"]["budgets"] if budgets["kind"] == "team"]
    assert (team["spend_usd"], team["most_used"][0]["name"], team["most_used"][0]["limit_usd"]) == ("7.5", "Red", "10")
    applied = json.loads(adopt("--apply", "--json", "--with-sql-helpers", url=litellm_url).out)
    assert applied["changed"]
    assert applied["found"] == found["found"]
    again = json.loads(adopt("--apply", "--json", url=litellm_url).out)
    assert again == {"adopted_at": applied["adopted_at"], "changed": False, "found": None}


def test_what_cannot_be(place: Path, database_url: str, empty_database: str) -> None:
    for url, reason in (
        ("", "there is no DATABASE_URL"),
        (database_url, "this database is Bursar's own"),
        (empty_database, "this is no database of a LiteLLM proxy"),
        ("postgresql://nobody:x@127.0.0.1:1/none", "the database does not answer"),
    ):
        for arguments in ((), ("--apply",)):
            done = adopt(*arguments, url=url)
            assert (done.code, done.out) == (1, ""), done
            assert f"Error: {reason}" in done.err
    typed = adopt("--with-sql-helpers", url=empty_database)
    assert (typed.code, typed.out) == (2, "")
    assert "--apply" in typed.err
