"""The books for apps without LiteLLM."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from bursar.sdk.ledger import Ledger
from tests.sdk.replaying import for_database, replay
from tests.sdk.running import ROOT


async def row(connection: Any, user: str) -> Any:
    found = await connection.fetch(
        """SELECT *, metadata #>> '{bursar,evidence}' AS evidence, metadata #>> '{bursar,flags}' AS flags,
            metadata #>> '{error_information,error_class}' AS error_class
        FROM "LiteLLM_SpendLogs" WHERE "user" = $1""",
        user,
    )
    assert len(found) == 1
    return found[0]


async def test_a_call_is_booked_by_the_price_book(database_url: str, connection: Any, tmp_path: Path) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    with ledger.call(
        provider="openai", model="gpt-4o", user="alice", team="blue", end_user="bob", tags=["beans"], metadata={"a": 1}
    ) as call:
        call.first_token()
        call.answered("chatcmpl-1")
        call.usage(SimpleNamespace(prompt_tokens=1000, completion_tokens=500, total_tokens=1500))
    with ledger.call(provider="openai", model="gpt-4o", user="carol") as call:
        call.usage(prompt_tokens=10, completion_tokens=5, cost_usd=0.25)
    with ledger.call(provider="nobody", model="sells-this", user="dave") as call:
        call.usage({"prompt_tokens": 10, "completion_tokens": 5})
    with ledger.call(provider="openai", model="gpt-4o", user="erin", promised_usd=0.5) as call:
        call.usage(object(), cost_usd=float("nan"))
        call.usage(None)
    with pytest.raises(KeyError), ledger.call(provider="openai", model="gpt-4o", user="frank") as call:
        raise KeyError("no beans")
    assert ledger.close(20)
    alice = await row(connection, "alice")
    assert (alice["spend"], alice["request_id"], alice["team_id"]) == (0.0075, "chatcmpl-1", "blue")
    assert (alice["model"], alice["end_user"], alice["evidence"]) == ("openai/gpt-4o", "bob", "provider")
    assert (await row(connection, "carol"))["spend"] == 0.25
    assert (await row(connection, "dave"))["evidence"] == "unpriced"
    erin = await row(connection, "erin")
    assert (erin["spend"], erin["evidence"]) == (0.5, "estimated")
    frank = await row(connection, "frank")
    assert (frank["status"], frank["error_class"], frank["evidence"]) == ("failure", "KeyError", "estimated")
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0


async def test_a_call_whose_process_dies_is_booked_at_what_it_promised(
    database_url: str, connection: Any, tmp_path: Path
) -> None:
    code = """
import os, signal, sys
from bursar.sdk import Ledger
with Ledger().call(provider="openai", model="gpt-4o", user="alice", promised_usd=0.125):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)}
    died = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], env=environ, cwd=ROOT, capture_output=True, check=False
    )
    assert died.returncode == -9, died.stderr
    await replay(database_url, for_database(tmp_path, database_url))
    alice = await row(connection, "alice")
    assert (alice["spend"], alice["status"], alice["evidence"]) == (0.125, "failure", "estimated")


@pytest.mark.parametrize(
    "said",
    [
        {"user": None, "team": None, "organization": None, "end_user": None, "session_id": 5, "call_type": None},
        {"user": 7, "team": UUID(int=1), "session_id": object()},
        {"user": "x\ud800", "metadata": {"a": "\ud800"}},
        {"tags": None, "metadata": {"object": object(), "error": ValueError("x")}},
        {"tags": [1, object()], "metadata": 5, "promised_usd": None},
        {"tags": 5, "promised_usd": "much"},
        {"model": None, "provider": object()},
    ],
)
async def test_whatever_an_app_says_its_call_is_booked(
    database_url: str, connection: Any, tmp_path: Path, said: dict[str, Any]
) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    itself: dict[str, object] = {}
    itself["itself"] = itself
    with ledger.call(**({"model": "gpt-4o", "provider": "openai", "metadata": itself} | said)) as call:
        call.answered(cast("str", None))
        call.usage(itself)
        call.usage(prompt_tokens=-5, completion_tokens=10**30)
        call.usage(prompt_tokens=1, completion_tokens=2)
    assert ledger.close(20)
    assert ledger.health().lost == 0
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 1
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0


async def test_no_secret_is_kept(database_url: str, connection: Any, tmp_path: Path) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    metadata = {"api_key": "canary", "nested": {"x-api-key": "canary"}, "url": "postgres://u:canary@h/d", "kept": 1}
    with pytest.raises(KeyError), ledger.call(model="gpt-4o", provider="openai", user="alice", metadata=metadata):
        raise KeyError("sk-canary-0123456789")
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"alice" in left
    assert b"canary" not in left
    assert ledger.close(20)
    booked = await connection.fetchval('SELECT row_to_json(l)::text FROM "LiteLLM_SpendLogs" l')
    assert "canary" not in booked
    assert "•••" in booked


def test_an_error_that_cannot_be_told_harms_nobody(tmp_path: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    ledger = Ledger(data_dir=tmp_path)
    with pytest.raises(Mute), ledger.call(model="gpt-4o"):
        raise Mute
    assert ledger.health().lost == 0
