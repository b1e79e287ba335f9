"""The composition root: the only module, with `worker` and `model_setup`, that knows every room.

`serve` brings the process up in this order, so that what is wrong is told before anything is changed: read the
configuration, lock the data directory, find the keys, look at the models, bind the address, start the database, migrate
it, start the demo's upstream, fork the workers.
"""

import asyncio
import errno
import os
import shlex
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvloop

from bursar import worker
from bursar.config.check import CheckReport, render_check
from bursar.config.database_url import DatabaseTarget, parse_database_url
from bursar.config.load import LoadedConfig, load_config
from bursar.config.options import Flags, ServerOptions, refuse_open_door, resolve_options
from bursar.config.schema import DeploymentConfig
from bursar.data_directory import DataDirectory
from bursar.database_setup import database_options
from bursar.domain.errors import BursarError, ConfigError, StoreError
from bursar.domain.money import usd_text
from bursar.domain.secrets import Secret
from bursar.ledger.file_system import refuse_network
from bursar.model_setup import ModelBuilder
from bursar.oracle.serving import serve_oracle
from bursar.prices import load_book
from bursar.server.supervisor import Supervisor, WorkerFailed
from bursar.store.binaries import find_binaries
from bursar.store.database import DatabaseOptions, connect
from bursar.store.embedded import DATABASE, EmbeddedPostgres
from bursar.store.migrate import known_migrations, migrate, pending_migrations
from bursar.store.named_sql import load_named_sql
from bursar.telemetry.logs import configure_logs
from bursar.vault.vault import Vault

MASTER_KEY = "master_key"
SALT_KEY = "salt_key"
SALT_KEY_OLD = "salt_key_old"
"""The one before, while a rotation is under way."""
_CONNECT_WAIT_S = 15.0

_PROMISES = {
    "process": "a call that was answered is on record: it survives kill -9, not a power cut",
    "power": "a call that was answered is on record, and on the disk: it survives a power cut",
    "database": "a call is in the database before it is sent; its cost survives kill -9, not the loss of this disk",
}
"""What holds under each `bursar_settings.durability`."""

Say = Callable[[str], None]


@dataclass(slots=True)
class TlsFiles:
    """Certificate and key of the front door, where it speaks TLS itself."""

    certificate: Path
    key: Path


def serve(config_path: Path | None, flags: Flags, *, say: Say, tls: TlsFiles | None = None) -> int:
    """Run the gateway until told to end; the exit code.

    Raises BursarError: it cannot start, with the reason and the cure.
    """
    loaded = load_config(config_path, os.environ)
    os.environ.update(loaded.exports)
    environ = loaded.environ
    configure_logs(
        level=environ.get("LITELLM_LOG", ""), as_json=loaded.config.litellm.json_logs or bool(environ.get("JSON_LOGS"))
    )
    options = resolve_options(flags, environ, loaded.config)
    refuse_open_door(options)
    _tell_findings(loaded, say)
    if loaded.config.bursar.durability == "database" and options.database is None:
        say("Warning: durability: database is of no use with the embedded database, which is on the journal's disk.")
    data = DataDirectory(options.data_dir)
    refuse_network(data.journals)
    data.lock()
    database: EmbeddedPostgres | None = None
    try:
        key, key_is_new = _master_key(options, data)
        sock = _bind(options.host, options.port)
        demo_socket = _bind("127.0.0.1", 0) if any(d.built_in_demo for d in loaded.config.deployments) else None
        demo_base = None if demo_socket is None else f"http://127.0.0.1:{demo_socket.getsockname()[1]}/v1"
        book = load_book()
        builder = ModelBuilder(loaded.config, book, environ, demo_base=demo_base)
        builder.of_file()  # tells mistakes now, not in a worker
        _tell_unbuilt(builder, loaded, say)
        if options.database is None:
            database = EmbeddedPostgres(data.path)
            database.start(say)
        stores = _stores(options, database)
        uvloop.run(_prepare_database(stores.direct, say, embedded=database))
        plan = worker.WorkerPlan(
            config=loaded.config,
            book=book,
            environ=environ,
            sockets=[sock],
            database=stores.pooled,
            listen_database=stores.direct,
            journals=data.journals,
            master_key=key,
            salt_keys=_salt_keys(options, data),
            demo_base=demo_base,
            tls=None if tls is None else _server_tls(tls),
        )
        targets = [(f"worker {number + 1}", partial(worker.live, plan)) for number in range(options.workers)]
        demo = [] if demo_socket is None else [("demo upstream", partial(_serve_demo, demo_socket, sock))]
        banner = _banner(options, loaded, sock, tls, key if key_is_new else None, database)
        supervisor = Supervisor(
            targets=targets,
            grace_s=loaded.config.bursar.grace_s,
            on_ready=lambda: say(banner),
            in_child=data.unlock,
            on_end=sock.close,  # with the workers' own, so that nobody waits at a door that will not be opened
            last=demo,
            companions=[] if database is None else [_Companion(database, say)],
        )
        return supervisor.run()
    except WorkerFailed as error:
        raise BursarError(f"{error}; its own words are above") from error
    finally:
        if database is not None:
            database.stop()
        data.unlock()


def _serve_demo(sock: socket.socket, gateway: socket.socket, ready: Callable[[], None]) -> None:
    """The demo's upstream, which holds on to nothing of the gateway's."""
    gateway.close()
    serve_oracle(sock, ready)


@dataclass(slots=True)
class _Companion:
    """The embedded database under the supervisor's eyes."""

    database: EmbeddedPostgres
    say: Say

    @property
    def running(self) -> bool:
        return self.database.running

    def restart(self) -> None:
        self.say("The embedded database has ended; starting it again.")
        self.database.start(self.say)


@dataclass(slots=True, frozen=True)
class _Stores:
    pooled: DatabaseOptions
    direct: DatabaseOptions
    """Past a transaction-mode pooler."""


def _stores(options: ServerOptions, embedded: EmbeddedPostgres | None) -> _Stores:
    if embedded is not None:
        store = DatabaseOptions({"dsn": embedded.url()})
        return _Stores(store, store)
    assert options.database is not None
    pooled = database_options(options.database)
    return _Stores(pooled, pooled if options.direct_database is None else database_options(options.direct_database))


async def _prepare_database(options: DatabaseOptions, say: Say, *, embedded: EmbeddedPostgres | None = None) -> None:
    """Wait for the database, make ours in the embedded server, migrate."""
    if embedded is not None:
        await _make_database(DatabaseOptions({"dsn": embedded.url("postgres")}))
    connection = await _connect_patiently(options, say)
    try:
        await migrate(connection, say)
    finally:
        await connection.close()


async def _make_database(options: DatabaseOptions) -> None:
    sql = load_named_sql("migrations")
    connection = await connect(options)
    try:
        if not await connection.fetchval(sql["database_exists"]):
            await connection.execute(sql["create_database"])
    finally:
        await connection.close()


async def _connect_patiently(options: DatabaseOptions, say: Say) -> Any:  # noqa: ANN401  # asyncpg is not typed
    """A database that is being started together with us gets a moment."""
    deadline = asyncio.get_running_loop().time() + _CONNECT_WAIT_S
    waited = False
    while True:
        try:
            return await connect(options)
        except StoreError as error:
            if type(error) is StoreError or asyncio.get_running_loop().time() > deadline:
                raise StoreError(f"{error} (waited {_CONNECT_WAIT_S:g} s)") from error
            if not waited:
                say(f"Waiting for the database: {error} …")
                waited = True
            await asyncio.sleep(0.5)


def _master_key(options: ServerOptions, data: DataDirectory) -> tuple[str, bool]:
    """The admin key, and whether it was made just now."""
    if options.master_key is not None:
        return options.master_key.reveal(), False
    if (stored := data.secret(MASTER_KEY)) is not None:
        return stored, False
    return data.generate_secret(MASTER_KEY, prefix="sk-"), True


def _salt_keys(options: ServerOptions, data: DataDirectory) -> worker.SaltKeys:
    """What stored secrets are sealed with: as configured, else as stored in `data`, where one is made if need be."""
    if options.salt_key is None and data.secret(SALT_KEY) is None:
        data.generate_secret(SALT_KEY)
    known = _known_salt_keys(options, data)
    return worker.SaltKeys(known[0], tuple(known[1:]))


def _known_salt_keys(options: ServerOptions, data: DataDirectory | None) -> list[Secret]:
    """Those that are configured or kept in `data`, the one that seals first."""
    stored = [] if data is None else [data.secret(SALT_KEY), data.secret(SALT_KEY_OLD)]
    kept = [Secret(text) for text in stored if text is not None]
    return list(dict.fromkeys(key for key in (options.salt_key, options.old_salt_key, *kept) if key is not None))


def _bind(host: str, port: int) -> socket.socket:
    """A listening address, before anything is started. Raises ConfigError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use. Choose another with --port, or stop its owner."
            ) from error
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _server_tls(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificate {files.certificate} cannot be used: {error}") from error
    return context


def _tell_findings(loaded: LoadedConfig, say: Say) -> None:
    for warning in loaded.warnings:
        say(f"Warning: {warning}")
    if loaded.inactive:
        say("Not active yet in this release (accepted, without effect):")
        for finding in loaded.inactive:
            say(f"  {finding}")


def _tell_unbuilt(builder: ModelBuilder, loaded: LoadedConfig, say: Say) -> None:
    for deployment in loaded.config.deployments:
        provider = None if deployment.model == "*" else builder.resolve(deployment).provider
        if provider is not None and not provider.built:
            say(f"Not active yet: {deployment.model_name} ({deployment.model}): calls to {provider.name} answer 501")


def _banner(
    options: ServerOptions,
    loaded: LoadedConfig,
    sock: socket.socket,
    tls: TlsFiles | None,
    new_key: str | None,
    database: EmbeddedPostgres | None,
) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    base = f"{'http' if tls is None else 'https'}://{host}:{sock.getsockname()[1]}"
    names = sorted(loaded.config.groups())
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    store = f"embedded PostgreSQL in {options.data_dir / 'pg'}"
    if database is None and options.database is not None:
        store = options.database.label
    show_key = f"bursar keys show-admin --data-dir {shlex.quote(str(options.data_dir))}"
    if new_key is not None:
        key = f"{new_key}   (made just now; `{show_key}` shows it again)"
    elif options.master_key is not None:
        key = "as you configured it"
    else:
        key = f"as before: {show_key}"
    lines = [
        f"Bursar is ready on {base}",
        "",
        f"  Base URL   {base}/v1",
        f"  Admin key  {key}",
        f"  Models     {shown or 'none: add some to model_list'}",
        f"  Books      {store}",
        f"  Promise    {_PROMISES[loaded.config.bursar.durability]}",
        "",
    ]
    if "demo" in names:
        token = new_key or "$KEY"
        body = '{"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}'
        lines += [
            "  Try it:",
            f"    curl {base}/v1/chat/completions -H 'Authorization: Bearer {token}' -d '{body}'",
            "",
        ]
    return "\n".join(lines)


def check(config_path: Path | None) -> CheckReport:
    """Explain a configuration. Raises ConfigError: it cannot be read."""
    loaded = load_config(config_path, os.environ)
    book = load_book()
    builder = ModelBuilder(loaded.config, book, loaded.environ, demo_base="http://127.0.0.1:1/v1")
    return render_check(
        loaded,
        find_price=partial(_price_line, builder),
        resolve_provider=lambda deployment: builder.resolve(deployment).provider,
        environ=loaded.environ,
    )


def _price_line(builder: ModelBuilder, deployment: DeploymentConfig) -> str | None:
    price = builder.price_source(deployment).at(time.time())
    if price is None:
        return None
    return (
        f"${usd_text(price.rates.prompt, scale=9)} in, ${usd_text(price.rates.completion, scale=9)} out "
        f"per million tokens ({price.version})"
    )


@dataclass(slots=True, frozen=True)
class Books:
    """Where the books are: for commands that look in."""

    options: DatabaseOptions
    url: str
    """As psql takes it, password included."""
    target: DatabaseTarget
    """As apps name it, which post into it."""
    embedded: bool = False


def find_books(environ: Mapping[str, str], data_dir: Path, config_path: Path | None = None) -> Books:
    """The configured database, or the embedded one of `data_dir`, whether it runs or not.

    Raises BursarError: neither is there.
    """
    loaded = load_config(config_path, environ)
    options = resolve_options(Flags(data_dir=data_dir), loaded.environ, loaded.config)
    if options.database is not None:
        return _books_of(options.database, options.direct_database)
    if not (data_dir / "pg" / "PG_VERSION").exists():
        raise StoreError(f"there is no embedded database in {data_dir}. Start `bursar serve` once, or name --data-dir.")
    url = EmbeddedPostgres(data_dir).url(DATABASE)
    return Books(DatabaseOptions({"dsn": url}), url, parse_database_url(Secret(url)), embedded=True)


def configured_books(environ: Mapping[str, str]) -> Books:
    """The database that DATABASE_URL names. Raises BursarError: it names none."""
    loaded = load_config(None, environ)
    options = resolve_options(Flags(), loaded.environ, loaded.config)
    if options.database is None:
        raise StoreError(
            "there is no DATABASE_URL. Set it to that of the LiteLLM proxy, or to general_settings.database_url of its "
            "config.yaml. The embedded database is Bursar's own: there is nothing to adopt in it."
        )
    return _books_of(options.database, options.direct_database)


def running_books(environ: Mapping[str, str], data_dir: Path, config_path: Path | None = None) -> Books:
    """As `find_books`, for use now. Raises StoreError also when the embedded server does not run."""
    books = find_books(environ, data_dir, config_path)
    if books.embedded and not EmbeddedPostgres(data_dir).answers():
        raise StoreError(f"the embedded database in {data_dir} is not running: it runs while `bursar serve` does.")
    return books


def _books_of(target: DatabaseTarget, direct: DatabaseTarget | None) -> Books:
    return Books(database_options(direct or target), _url_of(target), target)


def _url_of(target: DatabaseTarget) -> str:
    user = "" if target.user is None else quote(target.user, safe="")
    password = "" if target.password is None else f":{quote(target.password.reveal(), safe='')}"
    login = f"{user}{password}@" if user else ""
    database = quote(target.database, safe="")
    if target.host.startswith("/"):
        return f"postgresql://{login}/{database}?host={quote(target.host, safe='/')}"
    return f"postgresql://{login}{target.host}:{target.port}/{database}"


def salt_key_is_configured(environ: Mapping[str, str], data_dir: Path) -> bool:
    """It is none that we made and keep. Raises ConfigError."""
    loaded = load_config(None, environ)
    return resolve_options(Flags(data_dir=data_dir), loaded.environ, loaded.config).salt_key is not None


def books_vault(environ: Mapping[str, str], data_dir: Path) -> Vault:
    """What seals and opens the secrets in the books."""
    loaded = load_config(None, environ)
    options = resolve_options(Flags(data_dir=data_dir), loaded.environ, loaded.config)
    master_key = options.master_key.reveal() if options.master_key is not None else None
    return _salt_keys(options, DataDirectory(data_dir)).vault(master_key)


def known_vault(options: ServerOptions) -> Vault | None:
    """As `books_vault`; None: no key is configured, nor kept in the data directory. Nothing is made there."""
    data = DataDirectory(options.data_dir) if (options.data_dir / "keys").is_dir() else None
    if not (known := _known_salt_keys(options, data)):
        return None
    master_key = options.master_key.reveal() if options.master_key is not None else None
    return worker.SaltKeys(known[0], tuple(known[1:])).vault(master_key)


def migrate_books(books: Books, say: Say) -> int:
    """Apply what the database lacks; how many migrations. Raises StoreError."""

    async def run() -> int:
        connection = await connect(books.options)
        try:
            return len(await migrate(connection, say))
        finally:
            await connection.close()

    return asyncio.run(run())


def books_status(books: Books) -> list[str]:
    """Lines for `bursar db status`. Raises StoreError."""

    async def run() -> list[str]:
        connection = await connect(books.options)
        try:
            known = known_migrations()
            missing = await pending_migrations(connection, known)
            lines = [
                f"{migration.number:04d} {migration.name:<20} {'missing' if migration in missing else 'applied'}"
                for migration in known
            ]
            if not missing:
                journals = await connection.fetch(load_named_sql("ledger")["journals"])
                lines += [f"journal {row['journal_id']}  posted up to {row['posted_sequence']}" for row in journals]
            return lines
        finally:
            await connection.close()

    return asyncio.run(run())


def psql_program() -> str:
    """psql, from the installation that the embedded server runs on, else from PATH. Raises StoreError."""
    program = Path(find_binaries().program("psql"))
    if program.exists():
        return str(program)
    if (found := shutil.which("psql")) is not None:
        return found
    raise StoreError("psql is not on this machine; `bursar db url` prints what another client needs")


def stored_master_key(data_dir: Path) -> str:
    """The admin key that `serve` made. Raises ConfigError: there is none."""
    key_file = data_dir / "keys" / MASTER_KEY
    if not key_file.exists():
        raise ConfigError(
            f"no admin key was made in {data_dir}. Either `bursar serve` has not run there (name --data-dir), or you "
            "configured a master key of your own."
        )
    return key_file.read_text(encoding="utf-8").strip()
