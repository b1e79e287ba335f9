"""The books for apps without LiteLLM."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.error import URLError
from uuid import UUID

import pytest

from bursar.sdk.ledger import Ledger
from bursar.wire.openai_usage import usage_from
from bursar.wire.usage_report import encoded_report
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


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -5, 1e18, "$1.50", object()])
async def test_a_cost_that_is_none_is_looked_up(
    database_url: str, connection: Any, tmp_path: Path, cost: float
) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    with ledger.call(provider="openai", model="gpt-4o", user="alice") as call:
        call.usage(prompt_tokens=1000, completion_tokens=500, cost_usd=cost)
    assert ledger.close(20)
    assert (await row(connection, "alice"))["spend"] == 0.0075


@pytest.mark.parametrize(
    ("provider", "report", "counts"),
    [
        (
            "gemini",
            SimpleNamespace(
                prompt_token_count=100,
                cached_content_token_count=20,
                candidates_token_count=30,
                thoughts_token_count=50,
                total_token_count=180,
            ),
            (100, 80, 20, 50),
        ),
        (
            "gemini",
            {"promptTokenCount": 100, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 30, "totalTokenCount": 135},
            (105, 30, 0, 0),
        ),
        (
            "bedrock",
            {"inputTokens": 100, "outputTokens": 30, "totalTokens": 150, "cacheReadInputTokens": 20},
            (120, 30, 20, 0),
        ),
    ],
)
def test_usage_in_the_words_of_google_and_amazon(
    provider: str, report: object, counts: tuple[int, int, int, int]
) -> None:
    usage = usage_from(encoded_report(report)).usage
    found = usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens, usage.reasoning_tokens
    assert found == counts, provider


class Refused(Exception):
    def __init__(self, status_code: int | None = None) -> None:
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "spend"),
    [(Refused(429), 0), (ConnectionRefusedError(), 0), (Refused(), 0.25), (TimeoutError(), 0.25), (KeyError(), 0.25)],
)
async def test_a_failure_costs_nothing_where_that_is_certain(
    database_url: str, connection: Any, tmp_path: Path, error: Exception, spend: float
) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    with (
        pytest.raises(type(error)),
        ledger.call(provider="openai", model="gpt-4o", user="alice", promised_usd=0.25),
    ):
        raise error
    assert ledger.close(20)
    assert (await row(connection, "alice"))["spend"] == spend


class ReadTimeout(Exception):
    """Called like httpx's: the request was sent."""


def chained(error: Exception, first: Exception) -> Exception:
    """`error`, as Python has it where it is raised while `first` is handled."""
    try:
        try:
            raise first
        except type(first):
            raise error  # noqa: B904  # nobody says what it comes of
    except type(error) as raised:
        return raised


_REFUSED = ConnectionRefusedError()


@pytest.mark.parametrize(
    ("error", "spend"),
    [(ReadTimeout(), 0.25), (ValueError("the answer is not JSON"), 0.25), (URLError(_REFUSED), 0)],
    ids=["a fallback timed out", "a fallback was answered", "urllib's own error"],
)
async def test_a_failure_is_not_free_because_the_one_before_was(
    database_url: str, connection: Any, tmp_path: Path, error: Exception, spend: float
) -> None:
    """Python chains the error of a fallback to that of the first try, as it chains wrappers to what they wrap."""
    ledger = Ledger(database_url, data_dir=tmp_path)
    failure = chained(error, _REFUSED)
    with (
        pytest.raises(type(error)),
        ledger.call(provider="openai", model="gpt-4o", user="alice", promised_usd=0.25),
    ):
        raise failure
    assert ledger.close(20)
    assert (await row(connection, "alice"))["spend"] == spend


async def test_a_call_that_is_entered_anew_is_another_and_twice_at_once_is_one(
    database_url: str, connection: Any, tmp_path: Path
) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    again, nested = (ledger.call(provider="openai", model="gpt-4o", user=user) for user in ("alice", "bob"))
    for _ in range(20):
        with again as call:
            call.usage(prompt_tokens=1000, completion_tokens=500)
    with nested, nested as call:
        call.usage(prompt_tokens=1000, completion_tokens=500)
    nested.__exit__(None, None, None)
    assert ledger.close(20)
    found = await connection.fetch("""SELECT "user", count(*) FROM "LiteLLM_SpendLogs" GROUP BY 1 ORDER BY 1""")
    assert [tuple(row) for row in found] == [("alice", 20), ("bob", 1)]
    assert await connection.fetchval("SELECT count(*) FROM bursar.quarantine") == 0


async def test_a_call_that_is_entered_anew_has_nothing_of_the_one_before(
    database_url: str, connection: Any, tmp_path: Path
) -> None:
    ledger = Ledger(database_url, data_dir=tmp_path)
    call = ledger.call(provider="openai", model="gpt-4o", promised_usd=0.25)
    with call:
        call.answered("resp-1")
        call.first_token()
        call.usage(prompt_tokens=1000, completion_tokens=500, cost_usd=3)
    with pytest.raises(ConnectionRefusedError), call:
        raise ConnectionRefusedError
    with pytest.raises(TimeoutError), call:
        raise TimeoutError
    assert ledger.close(20)
    found = await connection.fetch(
        """SELECT spend, prompt_tokens, request_id = 'resp-1' AS answered, "completionStartTime" > "startTime" AS began
        FROM "LiteLLM_SpendLogs" ORDER BY "startTime", request_id"""
    )
    assert [tuple(row)[:3] for row in found] == [(3, 1000, True), (0, 0, False), (0.25, 0, False)]


async def test_a_database_url_of_another_type_is_told(tmp_path: Path) -> None:
    ledger = Ledger(cast(str, 7), data_dir=tmp_path)
    with ledger.call(provider="openai", model="gpt-4o"):
        pass
    health = ledger.health()
    assert (health.queued, health.lost) == (2, 0)
    assert "database_url" in health.last_error
    assert "int" in health.last_error
    ledger.close(0)


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
