"""A complete worker inside the test: real listener, journal, poster and database; and a look into its books."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import asyncpg

from bursar.config.load import load_config
from bursar.domain.ids import JournalId
from bursar.domain.price_book import PriceBook
from bursar.domain.secrets import Secret
from bursar.ledger.places import waiting_journals
from bursar.ledger.reader import JournalReader
from bursar.prices import load_book
from bursar.store.database import DatabaseOptions
from bursar.worker import SaltKeys, Worker, WorkerPlan
from tests.oracle.raw_client import Answer, Connection
from tests.patience import PATIENCE_S

MASTER_KEY = "sk-master-of-the-tests-0123456789"
SALT_KEY = "salt-of-the-tests-0123456789"
PROVIDER_KEY = "sk-provider-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "How are the books?"}]
PROMPT_TOKENS = 8
"""Of `MESSAGES`, as the oracle counts."""
PRICE = 1000, 250, 4000
"""Nano-dollars for a prompt token, a cached one and a completion token: the oracle's tariff, and `ORACLE`'s prices."""

ORACLE = """
- model_name: oracle
  litellm_params: &oracle
    model: openai/oracle
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0.000001
    cache_read_input_token_cost: 0.00000025
    output_cost_per_token: 0.000004
  model_info: {{id: the-oracle}}
- model_name: at/*
  litellm_params: {{<<: *oracle, model: 'openai/oracle?*'}}
"""
"""Models for most tests: `oracle`, and `at/<scenario>` for every scenario of the oracle's."""


@cache
def shipped_book() -> PriceBook:
    """Reading it takes as long as a test."""
    return load_book()


def config_text(oracle_base: str, *, models: str = "", settings: str = "") -> str:
    """A config file: `ORACLE` and more `models` (list items), then more top-level `settings`."""
    listed = ORACLE + dedent(models)
    listed = listed.format(base=oracle_base, key=PROVIDER_KEY)
    indented = "".join(f"  {line}\n" for line in listed.splitlines() if line.strip())
    return f"model_list:\n{indented}\n{dedent(settings)}"


@dataclass(slots=True)
class Gateway:
    """A running worker, as its clients see it."""

    port: int
    worker: Worker
    journals: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """As OpenAI's clients want it."""
        return f"{self.url}/v1"

    async def connect(self) -> Connection:
        """A raw connection."""
        return await Connection.to(self.port)

    async def exchange(self, request: bytes) -> Answer:
        """Send these bytes on a connection of their own; the first answer."""
        connection = await self.connect()
        connection.writer.write(request)
        try:
            return await connection.answer()
        finally:
            await connection.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = MASTER_KEY,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON unless it is bytes."""
        return await self.exchange(request_bytes(method, path, body, key=key, headers=headers))

    async def chat(
        self,
        model: str = "oracle",
        *,
        key: str | None = MASTER_KEY,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> Answer:
        """A chat completion with `MESSAGES`, unless `members` brings others."""
        body = {"model": model, "messages": MESSAGES} | members
        return await self.request("POST", "/v1/chat/completions", body, key=key, headers=headers)

    async def stream(self, model: str = "oracle", *, usage: bool = False, **members: Any) -> Answer:
        """The same, streamed."""
        if usage:
            members["stream_options"] = {"include_usage": True}
        return await self.chat(model, stream=True, **members)

    async def new_key(self, **settings: object) -> str:
        """A virtual key, made through the management API."""
        answer = await self.request("POST", "/key/generate", settings)
        assert answer.status == 200, answer.body
        key = answer.json["key"]
        assert isinstance(key, str)
        return key

    async def model_ids(self, key: str = MASTER_KEY) -> list[str]:
        """What `GET /v1/models` lists for `key`."""
        answer = await self.request("GET", "/v1/models", key=key)
        assert answer.status == 200, answer.body
        return [model["id"] for model in answer.json["data"]]


def request_bytes(
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = MASTER_KEY,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request as it goes over the wire."""
    payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: gateway"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + payload


@asynccontextmanager
async def running_gateway(
    config: str,
    *,
    database_url: str,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    master_key: str | None = MASTER_KEY,
    listen_url: str | None = None,
) -> AsyncIterator[Gateway]:
    """A worker with the config file `config`, from its first request to its orderly end.

    `listen_url`: where it listens for changes, if not where it asks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(config, encoding="utf-8")
    loaded = load_config(path, environ or {}, directory=directory)
    sock = socket.create_server(("127.0.0.1", 0))
    database = DatabaseOptions({"dsn": database_url}, connect_timeout_s=1.0)
    plan = WorkerPlan(
        config=loaded.config,
        book=shipped_book(),
        environ=loaded.environ,
        sockets=[sock],
        database=database,
        listen_database=DatabaseOptions({"dsn": listen_url or database_url}, connect_timeout_s=1.0),
        journals=directory / "journal",
        master_key=master_key,
        salt_keys=SaltKeys(Secret(SALT_KEY)),
        demo_base=None,
    )
    worker = Worker(plan)
    ready = asyncio.Event()
    running = asyncio.create_task(worker.run(ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        waiting.cancel()
        await running  # raises what went wrong
    try:
        yield Gateway(sock.getsockname()[1], worker, plan.journals)
    finally:
        worker.end()
        await running


Row = Mapping[str, Any]


class Books:
    """What the database holds. Looks only once everything in the gateway's journal has been posted."""

    def __init__(self, database_url: str, journals: Path) -> None:
        self._url = database_url
        self._journals = journals
        self._connection: Any = None

    async def fetch(self, query: str, *arguments: object) -> list[Row]:
        """The rows of any query; JSON columns decoded."""
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
            for kind in ("json", "jsonb"):
                await self._connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        return [dict(row) for row in await self._connection.fetch(query, *arguments)]

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def posted(self) -> None:
        """Wait until all that is in the journals by now is in the database."""
        last = {path.name: _last_sequence(path) for path in waiting_journals(self._journals)}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await self.fetch("SELECT journal_id::text, posted_sequence FROM bursar.journals")
                at = {row["journal_id"]: row["posted_sequence"] for row in rows}
                if all(at.get(journal, 0) >= sequence for journal, sequence in last.items()):
                    return
                await asyncio.sleep(0.01)

    async def rows(self) -> list[Row]:
        """All rows of `LiteLLM_SpendLogs`, oldest first."""
        await self.posted()
        return await self.fetch(
            'SELECT s.* FROM "LiteLLM_SpendLogs" AS s JOIN bursar.entries AS e'
            " ON e.attempt_id = (s.metadata #>> '{bursar,call_id}')::uuid AND e.kind = 'call' ORDER BY e.at"
        )

    async def row(self) -> Row:
        """The only row."""
        rows = await self.rows()
        assert len(rows) == 1, f"{len(rows)} rows: {rows}"
        return rows[0]

    async def ended(self, calls: int = 1) -> list[Row]:
        """All rows, once so many calls have ended: for those that go on without their client."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self.fetch(
                "SELECT FROM (SELECT count(*) AS n FROM bursar.entries WHERE kind = 'call') AS c WHERE n >= $1", calls
            ):
                await asyncio.sleep(0.01)
        return await self.rows()

    async def entries(self) -> list[Row]:
        """All entries, in the order they happened; of attempts that have ended without their `open`, which the database
        has or has not, depending on how soon they ended."""
        await self.posted()
        return await self.fetch(
            "SELECT kind, attempt_id::text, bursar.call_id(attempt_id)::text AS call_id, slot, cost_nano_usd, evidence,"
            " body FROM bursar.entries AS e WHERE kind <> 'open' OR NOT EXISTS ("
            "  SELECT FROM bursar.entries AS t WHERE t.attempt_id = e.attempt_id AND t.slot = 1"
            ") ORDER BY at, attempt_id DESC, array_position(ARRAY['open','unknown','settle','void','call'], kind)"
        )

    async def kinds(self) -> list[str]:
        """The kinds of all entries, in the order they happened."""
        return [entry["kind"] for entry in await self.entries()]

    async def cost_nano_usd(self) -> int:
        """What all attempts have cost."""
        return sum(entry["cost_nano_usd"] or 0 for entry in await self.entries())

    async def nothing(self) -> bool:
        """Nothing at all is on record, nor in quarantine."""
        await self.posted()
        return not await self.fetch("SELECT FROM bursar.entries UNION ALL SELECT FROM bursar.quarantine")


def _last_sequence(journal: Path) -> int:
    reader = JournalReader(journal, JournalId(journal.name))
    reader.seek(1)
    while reader.read(1 << 20):
        pass
    reader.close()
    return reader.next_sequence - 1
