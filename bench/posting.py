"""What posting costs: a worker serves calls, and its journal is posted again, slice by slice, into other databases.

Everything is compared within a round: posting a slice into a database without a past, copying the very rows that this
made (COPY, binary, in as few statements as possible) into tables with the same indexes, and posting the same slice into
a database that has a million entries.
"""

import io
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop

from bench.gates import Gate
from bench.gateway import Gateway
from bench.load import Closed
from bench.machine import Machine, Others, this_machine
from bench.programs import run_plan
from bench.rounds import Say
from bench.sizes import CONCURRENCY
from bench.spread import Spread, spread_of
from bench.subjects import plan_for
from bench.upstream import Upstream
from bursar.domain.ids import JournalId
from bursar.ledger.journal import JournalReader
from bursar.ledger.poster import Poster
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.ledger import PostgresLedger
from bursar.store.migrate import migrate

SERVED_MAX = 1 / 3
"""Of the time in which one worker serves a call: posting keeps three times its pace."""
COPY_MAX = 2.0
"""Times what COPY takes for the same rows."""
FULL_MAX = 1.2
"""Times what it takes without a past."""
_WARM_UP_CALLS = 2000
_US = 1e6

_TABLES = """
SELECT schemaname, relname FROM pg_stat_user_tables
WHERE n_live_tup > 0 AND relname NOT IN ('migrations', 'instances', 'journals', 'LiteLLM_VerificationToken')
ORDER BY 1, 2
"""
_PAST_ENTRIES = """
INSERT INTO bursar.entries (attempt_id, slot, kind, at, cost_nano_usd, evidence, body, instance_id)
SELECT overlay(attempt_id::text PLACING to_char($1::integer, 'fm00000000') FROM 1 FOR 8)::uuid, slot, kind,
    at - interval '1 day', cost_nano_usd, evidence, body, instance_id
FROM bursar.entries WHERE attempt_id > '01000000-0000-0000-0000-000000000000'
"""
_PAST_ROWS = """
INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
    "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata, cache_hit,
    cache_key, request_tags, team_id, end_user, requester_ip_address, session_id, status, organization_id,
    request_duration_ms, litellm_call_id
)
SELECT
    request_id || '-' || $1::text, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens,
    "startTime" - interval '1 day', "endTime" - interval '1 day', "completionStartTime", model, model_id, model_group,
    custom_llm_provider, api_base, "user", metadata, cache_hit, cache_key, request_tags, team_id, end_user,
    requester_ip_address, session_id, status, organization_id, request_duration_ms, litellm_call_id || '-' || $1::text
FROM "LiteLLM_SpendLogs" WHERE request_id NOT LIKE '%-%-%'
"""


class PostingSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int
    calls: int
    """Of each round."""
    past_entries: int


FULL = PostingSizes(rounds=5, calls=20_000, past_entries=1_000_000)
QUICK = PostingSizes(rounds=2, calls=5_000, past_entries=100_000)


class PostingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found; times in microseconds a call."""

    machine: Machine
    others_share: float
    """Of the machine's CPU, what others took during the run."""
    sizes: PostingSizes
    served_us: Spread
    """How long one worker takes for a call at `CONCURRENCY` connections: the inverse of its rate."""
    posted_us: Spread
    posted_full_us: Spread
    """The same with `past_entries` in the database."""
    copied_us: Spread
    copy_ratio: Spread
    """Posting over COPY, round by round."""
    full_ratio: Spread
    """Posting with a past over posting without, round by round."""

    @property
    def gates(self) -> list[Gate]:
        """On the medians."""
        served = self.posted_us.median / self.served_us.median
        return [
            Gate("posting a call", served, SERVED_MAX, "× a worker's call"),
            Gate("posting, beside COPY", self.copy_ratio.median, COPY_MAX, "× COPY"),
            Gate(f"with {self.sizes.past_entries} entries", self.full_ratio.median, FULL_MAX, "× without"),
        ]

    @property
    def passed(self) -> bool:
        """All gates hold."""
        return all(gate.passed for gate in self.gates)


class _Slice(JournalReader):
    """A reader that sees the journal end early."""

    def __init__(self, directory: Path, journal_id: JournalId, last: int) -> None:
        super().__init__(directory, journal_id)
        self._last = last

    def read(self, max_bytes: int = 1 << 20) -> list[memoryview]:
        left = self._last + 1 - self.next_sequence
        return super().read(max_bytes)[:left] if left > 0 else []


def measure_posting(sizes: PostingSizes, *, nginx: Path, say: Say) -> PostingReport:
    """Measure everything. Raises BenchError: something does not start, or calls failed."""
    machine, others = this_machine(nginx), Others()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bursar-bench-")))
        place.chmod(0o711)  # started by root, the database runs as another user
        served_us = _serve(place, sizes, stack, say)
        [directory] = (place / "bursar" / "data" / "journal").iterdir()
        server = EmbeddedPostgres(place / "bursar" / "data")
        server.start(say)
        stack.callback(server.stop)
        bench = _Bench(server, directory, sizes, say)
        rounds = uvloop.run(bench.run())
    posted, full, copied = zip(*rounds, strict=True)
    return PostingReport(
        machine=machine,
        others_share=others.share(),
        sizes=sizes,
        served_us=spread_of(served_us),
        posted_us=spread_of(posted),
        posted_full_us=spread_of(full),
        copied_us=spread_of(copied),
        copy_ratio=spread_of([one / other for one, other in zip(posted, copied, strict=True)]),
        full_ratio=spread_of([one / other for one, other in zip(full, posted, strict=True)]),
    )


def _serve(place: Path, sizes: PostingSizes, stack: ExitStack, say: Say) -> list[float]:
    """One worker's time for a call, measured several times; it leaves its journal."""
    upstream = Upstream(place, workers=1)
    stack.callback(upstream.stop)
    (place / "bursar").mkdir()
    gateway = Gateway(place / "bursar", upstream)
    stack.callback(gateway.stop)
    gateway.start()
    subject = gateway.subject()
    taken_us = []
    for calls in (_WARM_UP_CALLS, *[sizes.calls] * sizes.rounds):
        result = run_plan(plan_for(subject, Closed(CONCURRENCY, calls)))
        subject.settle(calls)
        taken_us.append(_US / result.per_s)
        say(f"a worker serves {result.per_s:.0f} calls a second")
    gateway.stop()
    upstream.stop()
    return taken_us[1:]


class _Bench:
    """The databases, and the journal that is posted into them."""

    def __init__(self, server: EmbeddedPostgres, directory: Path, sizes: PostingSizes, say: Say) -> None:
        self._server = server
        self._directory = directory
        self._journal_id = JournalId(directory.name.removesuffix(".done"))
        self._sizes = sizes
        self._say = say
        self._ends = self._slices()

    async def run(self) -> list[tuple[float, float, float]]:
        """Of each round: posting, posting with a past, COPY."""
        await self._make("empty", None)
        await self._make_past()
        found = []
        for number in range(self._sizes.rounds):
            first, last = self._ends[number], self._ends[number + 1]
            measures: list[tuple[str, Callable[[], Any]]] = [
                ("posted", lambda first=first, last=last: self._post("fresh", first, last)),  # type: ignore[misc]
                ("full", lambda first=first, last=last: self._post("past", first, last)),  # type: ignore[misc]
            ]
            await self._make("fresh", "empty")
            taken = {name: await measure() for name, measure in (measures if number % 2 == 0 else measures[::-1])}
            copied = await self._copy()
            found.append((taken["posted"], taken["full"], copied))
            self._say(
                f"round {number + 1} of {self._sizes.rounds}: posted in {found[-1][0]:.1f} µs a call, with a past in "
                f"{found[-1][1]:.1f}, copied in {copied:.1f}"
            )
        return found

    def _slices(self) -> list[int]:
        """Ends of slices of `calls` calls each, as sequences; the warming up is left out."""
        reader = JournalReader(self._directory, self._journal_id)
        reader.seek(1)
        ends, calls, wanted = [], 0, _WARM_UP_CALLS
        sequence = 0
        while batch := reader.read():
            for record in batch:
                sequence += 1
                calls += not record[:20].tobytes().startswith(b'[{"kind":"open"')
                if calls == wanted:
                    ends.append(sequence)
                    calls, wanted = 0, self._sizes.calls
        reader.close()
        return ends

    async def _make(self, name: str, template: str | None) -> None:
        admin = await asyncpg.connect(self._server.url("postgres"))
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        await admin.close()
        if template is None:
            connection = await asyncpg.connect(self._server.url(name))
            await migrate(connection, lambda _: None)
            await connection.execute(
                'INSERT INTO "LiteLLM_VerificationToken" (token) SELECT $1', await self._key_of_the_bench()
            )
            await connection.close()

    async def _key_of_the_bench(self) -> str:
        """The virtual key that all calls were made with, from the gateway's own database."""
        connection = await asyncpg.connect(self._server.url())
        token: str = await connection.fetchval('SELECT token FROM "LiteLLM_VerificationToken"')
        await connection.close()
        return token

    async def _make_past(self) -> None:
        """A database with `past_entries` entries, and rows to match, made of a slice of the journal."""
        self._say(f"making a database with {self._sizes.past_entries} entries")
        await self._make("past", "empty")
        await self._post("past", 0, self._ends[0])
        connection = await asyncpg.connect(self._server.url("past"), timeout=600)
        entries = await connection.fetchval("SELECT count(*) FROM bursar.entries")
        for number in range(self._sizes.past_entries // entries):
            await connection.execute(_PAST_ENTRIES, number)
            await connection.execute(_PAST_ROWS, str(number))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
        await connection.close()

    async def _post(self, database: str, first: int, last: int) -> float:
        """Post a slice; microseconds a call."""
        pool = Database(DatabaseOptions({"dsn": self._server.url(database)}))
        ledger = PostgresLedger(pool)
        await ledger.register(self._journal_id, "bench")
        async with pool.connection() as connection:
            await connection.execute("UPDATE bursar.journals SET posted_sequence = $1", first)
        reader = _Slice(self._directory, self._journal_id, last)
        started_s = time.perf_counter()
        await Poster(ledger, reader, journal_id=self._journal_id, host="bench").run(follow=False)
        taken_s = time.perf_counter() - started_s
        reader.close()
        await pool.close()
        return taken_s / self._sizes.calls * _US

    async def _copy(self) -> float:
        """Copy what "fresh" got into a database like it; microseconds a call."""
        source = await asyncpg.connect(self._server.url("fresh"))
        await source.execute("ANALYZE")
        held: list[tuple[str, str, bytes]] = []
        for schema, table in await source.fetch(_TABLES):
            data = io.BytesIO()
            await source.copy_from_table(table, schema_name=schema, output=data, format="binary")
            held.append((schema, table, data.getvalue()))
        await source.close()
        await self._make("copied", "empty")
        target = await asyncpg.connect(self._server.url("copied"))
        started_s = time.perf_counter()
        async with target.transaction():
            for schema, table, content in held:
                await target.copy_to_table(table, schema_name=schema, source=io.BytesIO(content), format="binary")
        taken_s = time.perf_counter() - started_s
        await target.close()
        return taken_s / self._sizes.calls * _US


def render_posting(report: PostingReport) -> str:
    """The report as a person reads it."""
    machine, sizes = report.machine, report.sizes
    lines = [
        f"{machine.at}  {machine.cpu}, {machine.cores} cores, {machine.memory_mb} MB, {machine.kernel}",
        f"{machine.python}",
        f"Others took {report.others_share:.1%} of the machine's CPU meanwhile.",
        f"Medians of {sizes.rounds} interleaved rounds of {sizes.calls} calls, in parentheses the least and the most.",
        "",
        *_rows(
            [
                (f"one worker serves a call, {CONCURRENCY} connections", report.served_us, "µs"),
                ("one poster posts a call", report.posted_us, "µs"),
                (f"with {sizes.past_entries} entries there", report.posted_full_us, "µs"),
                ("COPY of the same rows", report.copied_us, "µs"),
                ("posting ÷ COPY", report.copy_ratio, ""),
                (f"with {sizes.past_entries} entries ÷ without", report.full_ratio, ""),
            ]
        ),
        "",
        f"A poster keeps {report.served_us.median / report.posted_us.median:.2f} times a worker's pace,",
        f"and {1 / report.copy_ratio.median:.0%} of COPY's.",
        "",
        "Gates",
    ]
    for gate in report.gates:
        verdict = "ok" if gate.passed else "FAILED"
        lines.append(f"  {gate.name:<28} {gate.value:8.2f} of at most {gate.limit:.2f} {gate.unit:<18} {verdict}")
    return "\n".join(lines)


def _rows(rows: Sequence[tuple[str, Spread, str]]) -> list[str]:
    return [
        f"  {name:<44} {spread.median:8.2f} {unit:2} ({spread.least:.2f}–{spread.most:.2f})"
        for name, spread, unit in rows
    ]
