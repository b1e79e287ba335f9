"""One worker process: everything a call needs, made and wired, served until told to end. Part of the composition."""

import asyncio
import logging
import os
import platform
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import socket

import uvloop

from bursar.access.directory import Directory
from bursar.access.keys import LitellmKeyForms
from bursar.access.limit_directory import LimitDirectory
from bursar.config.schema import Config
from bursar.domain.errors import JournalTaken, StoreError
from bursar.domain.ids import JournalId, uuid7
from bursar.domain.money import usd_float
from bursar.domain.price_book import PriceBook
from bursar.domain.secrets import Secret
from bursar.gateway.admit import Admission
from bursar.gateway.authenticate import KeyAuthenticator
from bursar.gateway.books import Books
from bursar.gateway.chat import ChatCompletions
from bursar.gateway.deadlines import Deadlines
from bursar.gateway.headers import HeaderWriter
from bursar.gateway.health import Health
from bursar.gateway.kept_text import TextKeeper
from bursar.gateway.key_spend import KeySpend
from bursar.gateway.metrics import Metrics
from bursar.gateway.model_list import ModelList
from bursar.gateway.paths import Paths
from bursar.gateway.quotes import Quotes
from bursar.gateway.token_meter import TokenMeter
from bursar.ledger.adoption import Adopter
from bursar.ledger.confirmation import Confirmation, Posted, Synced
from bursar.ledger.group_commit import GroupCommit
from bursar.ledger.journal import Journal
from bursar.ledger.poster import Poster
from bursar.ledger.reader import JournalReader
from bursar.ledger.retention import Retention
from bursar.ledger.texts import Texts
from bursar.live_models import ModelKeeper, with_stored_settings
from bursar.management_setup import (
    LoginParts,
    console_login,
    login_room,
    management_api,
    management_rooms,
    model_rooms,
    owner_rooms,
    report_rooms,
)
from bursar.ports.ledger import BooksState
from bursar.ports.models import StoredSetup
from bursar.ports.upstream import Transport
from bursar.process_memory import give_back_memory, quieten_collector
from bursar.quotas.budgets import Budgets
from bursar.quotas.rate_limits import RateLimiter
from bursar.server.listener import HttpServer
from bursar.store.auditor import Auditor, books_state
from bursar.store.budgets import PostgresBudgets
from bursar.store.changes import ChangeListener
from bursar.store.database import Database, DatabaseOptions
from bursar.store.instances import Instances
from bursar.store.keys import PostgresKeys
from bursar.store.ledger import PostgresLedger
from bursar.store.limits import PostgresLimits
from bursar.store.models import PostgresModels
from bursar.store.rate_shares import PostgresRateShares
from bursar.store.reports import AT_ONCE
from bursar.store.resets import PeriodSweeper
from bursar.store.texts import PostgresTexts
from bursar.tasks import TaskOwner
from bursar.vault.derivation import Purpose, derive
from bursar.vault.vault import Vault
from bursar.worker_settings import (
    available_teams,
    calendar_of,
    chat_settings,
    gateway_limits,
    server_limits_of,
    transport_of,
)

log = logging.getLogger(__name__)

_DRAIN_LEDGER_S = 10.0
"""How long the end of a worker waits for its journal to reach the database. What does not is posted by the next one."""
_DRAIN_HURRIED_S = 1.0
_ORPHAN_GRACE_S = 5.0
"""The grace of a worker whose supervisor has died: the next one wants to start."""
_SWEEP_SEGMENTS_S = 60.0
_POST_AGAIN_S = 2.0
"""After the database has refused in a way that only a person can mend."""


@dataclass(slots=True, frozen=True)
class SaltKeys:
    """What stored secrets are sealed with."""

    now: Secret
    others: tuple[Secret, ...] = ()
    """From before; they still open what they sealed."""

    def vault(self, master_key: str | None) -> Vault:
        """The vault; LiteLLM takes the master key where it has no salt key."""
        return Vault(
            self.now,
            others=self.others,
            litellm=[] if master_key is None else [Secret(master_key)],
        )


@dataclass(slots=True, frozen=True)
class WorkerPlan:
    """What a worker is to be."""

    config: Config
    book: PriceBook
    environ: Mapping[str, str]
    sockets: Sequence[socket]
    database: DatabaseOptions
    listen_database: DatabaseOptions
    """For LISTEN: past a transaction-mode pooler."""
    journals: Path
    master_key: str | None
    salt_keys: SaltKeys
    demo_base: str | None
    tls: ssl.SSLContext | None = None


def live(plan: WorkerPlan, ready: Callable[[], None]) -> None:
    """A worker's life, in a process of its own: until SIGTERM; a second one means at once."""
    uvloop.run(_live(plan, ready))


async def _live(plan: WorkerPlan, ready: Callable[[], None]) -> None:
    worker = Worker(plan)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.end)
    await worker.run(ready)


class Worker:
    """One worker. Made inside a running loop, and run once."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._supervisor = os.getppid()
        self._tasks = TaskOwner("worker")
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until told to `end`, book what is under way, and let go of everything. `ready` is called once."""
        database = Database(self._plan.database)
        file = self._plan.config
        stored = await _stored_setup(self._plan, database)
        vault = self._plan.salt_keys.vault(self._plan.master_key)
        self._plan = plan = replace(self._plan, config=with_stored_settings(file, stored, vault))
        host = platform.node()
        # Reports take no connection from calls, and are planned for the days they ask for.
        reading = Database(replace(plan.database, pool_max=AT_ONCE, planned_once=False))
        own = plan.config.bursar
        journal_id = JournalId(uuid7(time.time_ns() // 1_000_000, _random()))
        journal = Journal(plan.journals, journal_id, synced=own.durability == "power")
        ledger = PostgresLedger(database)
        reader = JournalReader(journal.directory, journal.id)
        went_back = asyncio.Event()

        async def remember() -> None:
            went_back.set()
            await _note_restored(Instances(database), journal.id)
            await budgets.remind()

        poster = Poster(ledger, reader, journal_id=journal.id, host=host, went_back=remember)
        commit = GroupCommit(
            journal, appended=poster.notify, confirmation=_confirmation(own.durability, journal, poster)
        )
        keys = PostgresKeys(database, user_budgets_in_teams=plan.config.general.apply_user_budget_to_team_keys)
        directory = Directory(
            keys, self._tasks, clock=time.monotonic, fresh_s=plan.config.general.user_api_key_cache_ttl_s
        )
        transport = transport_of(plan.config)
        general, litellm = plan.config.general, plan.config.litellm
        limit_directory = LimitDirectory(
            PostgresLimits(database, default_budget_id=litellm.max_end_user_budget_id),
            self._tasks,
            clock=time.monotonic,
            default_budget=litellm.max_end_user_budget_nano_usd,
        )
        rate_shares = PostgresRateShares(database)
        rates = RateLimiter(rate_shares, journal.id, lease_s=plan.config.bursar.rate_lease_s)
        books = Books(
            commit,
            log_rows=not general.disable_spend_logs,
            log_failures=not general.disable_error_logs,
        )
        budget_store = PostgresBudgets(database)
        budgets = Budgets(
            budget_store,
            instance=journal.id,
            epoch=lambda: poster.epoch,
            calendar=calendar_of(plan.config),
            wait_s=plan.config.bursar.budget_wait_s,
        )
        admission = Admission(
            rates,
            budgets,
            limit_directory,
            TokenMeter(general.token_rate_limit_type),
            gateway=gateway_limits(plan.config),
        )

        models = ModelKeeper(
            file,
            plan.config,
            plan.book,
            plan.environ,
            demo_base=plan.demo_base,
            store=PostgresModels(database),
            vault=vault,
        )
        models.put(stored)

        def missed() -> None:
            directory.forget_all()
            limit_directory.forget_all()
            models.told("")

        listener = ChangeListener(
            plan.listen_database,
            {
                "bursar_keys": directory.told,
                "bursar_windows": budgets.told,
                "bursar_limits": limit_directory.told,
                "bursar_models": models.told,
            },
            missed=missed,
        )
        state = _State(
            database_connected=lambda: listener.connected,
            journal_accepts=lambda: commit.accepts,
            shutting_down=self._stopping.is_set,
            books=lambda: books_state(database),
            deadlines=Deadlines(),
        )
        texts = Texts(PostgresTexts(database)) if general.store_prompts_in_spend_logs else None
        keeper = None if texts is None or general.disable_spend_logs else TextKeeper(texts.keep)
        handler = _handler(
            plan, books, directory, database, reading, keys, admission, transport, state, keeper, models, vault
        )
        server = HttpServer(handler, server_limits_of(plan.config))

        posting = self._tasks.start(self._post(poster, texts))
        adopter = Adopter(
            ledger,
            budget_store,
            root=plan.journals,
            own=journal.id,
            record=commit.record,
            host=host,
            keep_bytes=own.journal_keep_bytes,
            keep_s=own.journal_keep_hours * 3600,
            went_back=went_back,
            adopted=lambda dead: _end_shares(rate_shares, dead),
        )
        background = TaskOwner("background")
        background.start(rates.run(), "rates")
        background.start(_persist("adopter", adopter.run), "adopter")
        background.start(listener.run(), "listener")
        background.start(_persist("models", models.run), "models")
        background.start(self._lease(budgets), "budgets")
        background.start(_persist("resets", PeriodSweeper(database, calendar_of(plan.config)).run), "resets")
        if interval_s := plan.config.bursar.audit_interval_s:
            background.start(_persist("auditor", Auditor(database, interval_s=interval_s).run), "auditor")
        background.start(self._sweep(journal, poster), "sweeper")
        background.start(self._watch_supervisor(), "watch")
        for sock in plan.sockets:
            await server.listen(sock, tls=plan.tls)
        quieten_collector()
        give_back_memory()
        ready()

        await self._stopping.wait()
        grace_s = plan.config.bursar.grace_s if os.getppid() == self._supervisor else _ORPHAN_GRACE_S
        if not await self._unless_hurried(server.close(grace_s)):
            await server.close(0.0)
        await background.cancel()
        ended = books.close()
        closed = commit.close() and ended
        await self._unless_hurried(rates.leave())
        poster.stop()
        await self._unless_hurried(self._tasks.finish(_DRAIN_LEDGER_S))
        drained = await self._tasks.finish(_DRAIN_HURRIED_S) and poster.posted_sequence == journal.last_sequence
        if drained and closed and poster.epoch is not None:
            await _release(budget_store, journal.id, poster.epoch, poster.posted_sequence)
        if not drained:
            log.warning("ledger.not_drained posted=%d last=%d", poster.posted_sequence, journal.last_sequence)
        posting.cancel()
        await self._tasks.cancel()
        state.deadlines.close()
        await transport.aclose()
        await reading.close()
        await database.close()
        reader.close()
        journal.release(done=drained and closed)

    def end(self) -> None:
        """Have `run` end gracefully; told a second time, at once."""
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def _unless_hurried(self, ending: Coroutine[object, object, object]) -> bool:
        """Await `ending`. False: we were told a second time to end, and it was cancelled."""
        waiting = asyncio.ensure_future(ending)  # noqa: TID251  # owned here, until its end below
        hurrying = asyncio.ensure_future(self._hurry.wait())  # noqa: TID251
        await asyncio.wait({waiting, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if waiting.done():
            await waiting
            return True
        waiting.cancel()
        await asyncio.wait({waiting})
        return False

    async def _post(self, poster: Poster, texts: Texts | None) -> None:
        """Post for as long as we live: what cannot be posted stays in the journal, and is tried again."""
        while True:
            try:
                await poster.run(on_posted=None if texts is None else texts.rows_posted)
                return
            except JournalTaken as error:
                log.critical("ledger.journal_taken reason=%s", error)
                self._stopping.set()
                return
            except Exception:  # the edge of a task: a mistake of ours, or of the database's owner, who may mend it
                log.exception("ledger.posting_failed")
            if self._stopping.is_set():
                return
            await asyncio.sleep(_POST_AGAIN_S)

    async def _lease(self, budgets: Budgets) -> None:
        try:
            await _persist("budgets", budgets.run)
        except JournalTaken as error:
            log.critical("budgets.taken reason=%s", error)
            self._stopping.set()

    async def _sweep(self, journal: Journal, poster: Poster) -> None:
        keep = self._plan.config.bursar
        retention = Retention(
            journal.directory, keep_bytes=keep.journal_keep_bytes, keep_s=keep.journal_keep_hours * 3600
        )
        while True:
            await asyncio.sleep(_SWEEP_SEGMENTS_S)
            try:
                retention.sweep(before=poster.segment)
            except OSError as error:  # the disk is not well; the journal itself says so
                log.info("journal.not_swept reason=%s", error)

    async def _watch_supervisor(self) -> None:
        """Where the kernel does not tell us that the supervisor has died (other than Linux), look."""
        while os.getppid() == self._supervisor:  # noqa: ASYNC110  # nobody sends an event when a parent dies
            await asyncio.sleep(1.0)
        log.error("worker.orphaned")
        self._stopping.set()


def _confirmation(durability: str, journal: Journal, poster: Poster) -> Confirmation | None:
    """What `bursar_settings.durability` has promises wait for."""
    match durability:
        case "power":
            return Synced(journal)
        case "database":
            return Posted(poster)
    return None


@dataclass(slots=True, frozen=True)
class _State:
    """What handlers share of the worker."""

    database_connected: Callable[[], bool]
    journal_accepts: Callable[[], bool]
    shutting_down: Callable[[], bool]
    books: Callable[[], Awaitable[BooksState]]
    deadlines: Deadlines


def _handler(
    plan: WorkerPlan,
    books: Books,
    directory: Directory,
    database: Database,
    reading: Database,
    keys: PostgresKeys,
    admission: Admission,
    transport: Transport,
    state: _State,
    texts: TextKeeper | None,
    models: ModelKeeper,
    vault: Vault,
) -> Paths:
    config = plan.config
    forms = LitellmKeyForms()
    authenticator = KeyAuthenticator(
        directory,
        master_key=plan.master_key,
        hash_key=forms.hash,
        wall_clock=time.time,
        key_header=config.general.litellm_key_header_name,
        allowed_clients=[ip_network(network) for network in config.general.allowed_ips],
        trusted_proxies=[ip_network(network) for network in config.bursar.trusted_proxies],
    )
    key_spend = KeySpend()
    chat = ChatCompletions(
        authenticator=authenticator,
        models=models.live,
        admission=admission,
        transport=transport,
        books=books,
        headers=HeaderWriter(key_spend, hide_organization=config.bursar.forward_upstream_headers == "safe"),
        key_spend=key_spend,
        deadlines=state.deadlines,
        settings=chat_settings(config),
        texts=texts,
    )
    login = LoginParts(
        console=console_login(plan.environ, plan.master_key),
        session_key=derive(plan.salt_keys.now, Purpose.SESSIONS),
        trusted_proxies=tuple(ip_network(network) for network in config.bursar.trusted_proxies),
        secure=plan.tls is not None,
    )
    budget = config.litellm.max_budget_nano_usd
    reports = report_rooms(
        database,
        reading,
        forms,
        Quotes(models.live, listed=models.listed_price, wall_clock=time.time),
        max_budget=usd_float(budget) if budget else None,
    )
    others = [
        *owner_rooms(database, calendar_of(config), available_teams=available_teams(config)),
        *reports,
        *model_rooms(database, models, vault),
        login_room(database, forms, login),
    ]
    master_key = None if plan.master_key is None else Secret(plan.master_key)
    rooms = management_rooms(database, keys, forms, config, calendar_of(config), others, master_key=master_key)
    management = management_api(database, authenticator, rooms)
    metrics = Metrics(
        authenticator,
        state.books,
        public=_on_loopback(plan.sockets) or not config.litellm.require_auth_for_metrics_endpoint,
    )
    return Paths(
        chat=chat,
        models=ModelList(authenticator, models.live),
        health=Health(
            authenticator=authenticator,
            models=models.live,
            chat=chat,
            database_connected=state.database_connected,
            journal_accepts=state.journal_accepts,
            shutting_down=state.shutting_down,
        ),
        others={"/metrics": metrics},
        management=management,
    )


async def _stored_setup(plan: WorkerPlan, database: Database) -> StoredSetup:
    """What the database adds to the configuration; nothing, for the moment, when it does not answer."""
    if plan.config.general.store_model_in_db:
        try:
            return await PostgresModels(database).setup()
        except StoreError as error:
            log.warning("models.not_read reason=%s", error)
    return StoredSetup(fingerprint="")


def _on_loopback(sockets: Sequence[socket]) -> bool:
    """Nobody else can reach us."""
    return all(ip_address(sock.getsockname()[0]).is_loopback for sock in sockets)


async def _end_shares(shares: PostgresRateShares, instance: JournalId) -> None:
    """Free what a dead process had of rate limits; if that fails, its lease ends by itself."""
    try:
        await shares.end(instance)
    except StoreError as error:
        log.warning("rates.not_freed instance=%s reason=%s", instance, error)


async def _persist(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run it again and again: what the database refuses today (a table that is just being restored) a person may mend.

    Raises JournalTaken, which nobody can.
    """
    while True:
        try:
            await run()
        except JournalTaken:
            raise
        except Exception:  # the edge of a task
            log.exception("%s.failed", name)
        await asyncio.sleep(_POST_AGAIN_S)


async def _note_restored(instances: Instances, journal_id: JournalId) -> None:
    try:
        await instances.note(
            f"the database had forgotten some of journal {journal_id}: it was restored to an earlier state. What it "
            "lacked is posted again; budgets may have been granted twice"
        )
    except StoreError as error:
        log.warning("incident.not_noted reason=%s", error)


async def _release(budgets: PostgresBudgets, instance: JournalId, epoch: int, posted: int) -> None:
    """Give back what was granted. If it cannot be told now, whoever finds the journal does."""
    try:
        await budgets.release(instance, epoch, posted)
    except (StoreError, JournalTaken) as error:
        log.warning("budgets.not_released reason=%s", error)
    except Exception:  # whatever it is, it must not keep the process from ending in order
        log.exception("budgets.not_released")


def _random() -> int:
    return int.from_bytes(os.urandom(10), "big")
