"""What the books cost: a worker serves calls, and what it has recorded is posted again, into other databases.

Each round measures, one right after the other: how fast one worker serves; posting the records of these calls into a
database without a past; copying the very rows that this made (COPY, binary, one statement a table) into tables with the
same indexes; and, if asked for, posting them into a database with a past. Besides: what a record costs the journal.
"""

import asyncio
import io
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop

from bench.appending import Appending, measure_appending
from bench.gates import Gate
from bench.gateway import Gateway
from bench.load import Closed
from bench.machine import Machine, Others, this_machine
from bench.programs import run_plan
from bench.report import line_of
from bench.rounds import Say
from bench.sizes import CONCURRENCY
from bench.spread import Spread, spread_of
from bench.subjects import Subject, plan_for
from bench.upstream import Upstream
from bursar.domain.ids import JournalId
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.process_memory import give_back_memory, quieten_collector
from bursar.store.database import Database, DatabaseOptions
from bursar.store.embedded import EmbeddedPostgres
from bursar.store.ledger import PostgresLedger
from bursar.store.migrate import migrate

SERVED_MAX = 1 / 3
"""Of the time in which one worker serves a call: posting keeps three times its pace."""
COPY_AIM = 0.5
"""Of COPY's pace: what we aim at, without a gate."""
FULL_MAX = 1.2
"""Times what it takes without a past."""
APPEND_MAX_US = 10.0
"""For a record that is written alone."""
_WARM_UP_CALLS = 2000
_US = 1e6

_GIVEN = ("bursar.windows", "bursar.grants", '"LiteLLM_VerificationToken"')
"""What is there before calls are posted: the key, its budget, and what of it the worker has."""
_NOTHING_SPENT = """
UPDATE bursar.grants SET spent_nano_usd = 0;
UPDATE bursar.windows SET spent_nano_usd = opening_nano_usd;
UPDATE "LiteLLM_VerificationToken" SET spend = 0, total_spend = 0;
"""
_TABLES = """
SELECT schemaname, relname FROM pg_stat_user_tables
WHERE n_live_tup > 0
    AND relname NOT IN (
        'migrations', 'books', 'instances', 'journals', 'windows', 'grants', 'LiteLLM_VerificationToken'
    )
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
    """0: that is not measured."""


FULL = PostingSizes(rounds=5, calls=20_000, past_entries=0)
LONG = PostingSizes(rounds=5, calls=20_000, past_entries=1_000_000)
QUICK = PostingSizes(rounds=2, calls=5_000, past_entries=0)


class PostingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found; times in microseconds a call."""

    machine: Machine
    others_share: float
    """Of the machine's CPU, what others took during the run."""
    sizes: PostingSizes
    served_us: Spread
    """How long one worker takes for a call at `CONCURRENCY` connections: the inverse of its rate."""
    posted_us: Spread
    copied_us: Spread
    served_ratio: Spread
    """Posting over serving, round by round."""
    copy_ratio: Spread
    """Posting over COPY, round by round."""
    posted_full_us: Spread | None
    """Posting with `past_entries` in the database."""
    full_ratio: Spread | None
    """Posting with a past over posting without, round by round."""
    appending: Appending

    @property
    def gates(self) -> list[Gate]:
        """On the medians."""
        gates = [
            Gate("posting a call", self.served_ratio.median, SERVED_MAX, "× serving"),
            Gate("a record in the journal", self.appending.alone_us.median, APPEND_MAX_US, "µs"),
        ]
        if self.full_ratio is not None:
            name = f"posting after {self.sizes.past_entries:,} entries"
            gates.append(Gate(name, self.full_ratio.median, FULL_MAX, "× without"))
        return gates

    @property
    def passed(self) -> bool:
        """All gates hold."""
        return all(gate.passed for gate in self.gates)


class _Round(msgspec.Struct, frozen=True):
    """Microseconds a call."""

    served: float
    posted: float
    copied: float
    posted_full: float | None


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
        upstream = Upstream(place, workers=1)
        stack.callback(upstream.stop)
        (place / "bursar").mkdir()
        gateway = Gateway(place / "bursar", upstream)
        stack.callback(gateway.stop)
        gateway.start()
        bench = _Bench(gateway.subject(), place / "bursar" / "data", sizes, say)
        rounds = bench.run()
        say("the journal")
        appending = measure_appending(bench.records(), place)
    posted = [each.posted for each in rounds]
    full = [each.posted_full for each in rounds if each.posted_full is not None]
    return PostingReport(
        machine=machine,
        others_share=others.share(),
        sizes=sizes,
        served_us=spread_of([each.served for each in rounds]),
        posted_us=spread_of(posted),
        copied_us=spread_of([each.copied for each in rounds]),
        served_ratio=spread_of([each.posted / each.served for each in rounds]),
        copy_ratio=spread_of([each.posted / each.copied for each in rounds]),
        posted_full_us=spread_of(full) if full else None,
        full_ratio=spread_of([one / other for one, other in zip(full, posted, strict=True)]) if full else None,
        appending=appending,
    )


class _Bench:
    """A gateway that serves calls, its journal, and the databases into which that is posted again."""

    def __init__(self, subject: Subject, data: Path, sizes: PostingSizes, say: Say) -> None:
        self._subject = subject
        self._server = EmbeddedPostgres(data)
        [self._directory] = (data / "journal").iterdir()
        self._journal_id = JournalId(self._directory.name)
        self._sizes = sizes
        self._say = say
        self._last = 0
        """Sequence of the last record of the calls served so far."""

    def run(self) -> list[_Round]:
        """All rounds."""
        quieten_collector()  # both as in a worker
        give_back_memory()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._serve(_WARM_UP_CALLS)
            runner.run(self._prepare())
            return [self._round(number, runner) for number in range(self._sizes.rounds)]

    async def _prepare(self) -> None:
        await self._make("empty", None)
        if self._sizes.past_entries:
            await self._make_past()

    def _round(self, number: int, runner: asyncio.Runner) -> _Round:
        first = self._last
        served = self._serve(self._sizes.calls)
        found = runner.run(self._post_and_copy(number, served, first))
        with_past = "" if found.posted_full is None else f", with a past in {found.posted_full:.1f}"
        self._say(
            f"round {number + 1} of {self._sizes.rounds}: µs a call: served in {served:.1f}, posted in "
            f"{found.posted:.1f}{with_past}, copied in {found.copied:.1f}"
        )
        return found

    async def _post_and_copy(self, number: int, served: float, first: int) -> _Round:
        await self._make("fresh", "empty")
        names = ["fresh", *(["past"] if self._sizes.past_entries else [])]
        posted = {name: await self._post(name, first) for name in (names if number % 2 == 0 else names[::-1])}
        return _Round(served, posted["fresh"], await self._copy(), posted.get("past"))

    def records(self) -> list[bytes]:
        """Those of the calls of the warm-up, in order."""
        reader = JournalReader(self._directory, self._journal_id)
        reader.seek(1)
        batch = [record.tobytes() for record in reader.read()]
        reader.close()
        return batch

    def _serve(self, calls: int) -> float:
        """One worker's time for a call, in microseconds; afterwards all of them are in its own database."""
        result = run_plan(plan_for(self._subject, Closed(CONCURRENCY, calls)))
        self._subject.settle(calls)
        reader = JournalReader(self._directory, self._journal_id)
        reader.seek(self._last + 1)
        while reader.read():
            pass
        reader.close()
        self._last = reader.next_sequence - 1
        return _US / result.per_s

    async def _make(self, name: str, template: str | None) -> None:
        admin = await asyncpg.connect(self._server.url("postgres"))
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        await admin.close()
        if template is None:
            source, connection = (
                await asyncpg.connect(self._server.url()),
                await asyncpg.connect(self._server.url(name)),
            )
            await migrate(connection, lambda _: None)
            for table in _GIVEN:
                content = io.BytesIO()
                await source.copy_from_query(f"SELECT * FROM {table}", output=content, format="binary")
                content.seek(0)
                await _copy_into(connection, table, content)
            await connection.execute(_NOTHING_SPENT)
            await source.close()
            await connection.close()

    async def _make_past(self) -> None:
        """A database with `past_entries` entries, and rows to match, made of the calls of the warm-up."""
        self._say(f"making a database with {self._sizes.past_entries:,} entries")
        await self._make("past", "empty")
        await self._post("past", 0)
        connection = await asyncpg.connect(self._server.url("past"), timeout=600)
        entries = await connection.fetchval("SELECT count(*) FROM bursar.entries")
        for number in range(self._sizes.past_entries // entries):
            await connection.execute(_PAST_ENTRIES, number)
            await connection.execute(_PAST_ROWS, str(number))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
        await connection.close()

    async def _post(self, database: str, first: int) -> float:
        """Post what comes after `first` and was served by now; microseconds a call."""
        pool = Database(DatabaseOptions({"dsn": self._server.url(database)}))
        ledger = PostgresLedger(pool)
        await ledger.register(self._journal_id, "bench")
        async with pool.connection() as connection:
            await connection.execute("UPDATE bursar.journals SET posted_sequence = $1", first)
        reader = _Slice(self._directory, self._journal_id, self._last)
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


async def _copy_into(connection: Any, table: str, content: io.BytesIO) -> None:  # noqa: ANN401  # asyncpg
    *schema, name = table.replace('"', "").split(".")
    await connection.copy_to_table(name, schema_name=schema[0] if schema else None, source=content, format="binary")


def render_posting(report: PostingReport, *, gated: bool = True) -> str:
    """The report as a person reads it."""
    sizes = report.sizes
    lines = [
        f"Posting to the database. Others took {report.others_share:.1%} of the machine's CPU meanwhile.",
        f"Medians of {sizes.rounds} rounds of {sizes.calls} calls, in parentheses the least and the most; µs a call.",
        *_rows(
            [
                (f"one worker serves, {CONCURRENCY} connections", report.served_us),
                ("one poster posts", report.posted_us),
                ("COPY of the same rows", report.copied_us),
                ("posting ÷ serving", report.served_ratio),
                ("posting ÷ COPY", report.copy_ratio),
            ]
        ),
    ]
    if report.posted_full_us is not None and report.full_ratio is not None:
        past = f"{sizes.past_entries:,} entries"
        lines += _rows([(f"posting after {past}", report.posted_full_us), ("  ÷ without them", report.full_ratio)])
    pace, of_copy = 1 / report.served_ratio.median, 1 / report.copy_ratio.median
    lines += [
        f"A poster keeps {pace:.2f} times a worker's pace, and {of_copy:.0%} of COPY's (aim: {COPY_AIM:.0%}).",
        "",
        "The journal, µs of CPU a record:",
        *_rows(
            [
                ("written alone", report.appending.alone_us),
                (f"{report.appending.together} written together", report.appending.together_us),
            ]
        ),
    ]
    return "\n".join([*lines, "", "Gates", *map(line_of, report.gates)] if gated else lines)


def _rows(rows: Sequence[tuple[str, Spread]]) -> list[str]:
    return [f"  {name:<34}{spread.median:9.2f}  ({spread.least:.2f}–{spread.most:.2f})" for name, spread in rows]
