"""The command line. Heavy imports happen inside the commands, so that `--help` is quick."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from bursar import LITELLM_CONTRACT_VERSION, __version__
from bursar.administration.budgets import budgets
from bursar.administration.keys import keys
from bursar.administration.models import models
from bursar.administration.teams import teams
from bursar.administration.users import users
from bursar.command_line import CONTEXT, Command, data_dir_option, told

if TYPE_CHECKING:
    from bursar.main import Books

config_option = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A LiteLLM config.yaml. Without one: a built-in demo model, and the models your provider keys allow.",
)


@click.group(context_settings=CONTEXT)
@click.version_option(
    __version__, prog_name="bursar", message=f"%(prog)s %(version)s (LiteLLM contract {LITELLM_CONTRACT_VERSION})"
)
def main() -> None:
    """An LLM gateway that keeps the books.

    \b
    bursar serve                     start with embedded defaults and a demo model
    bursar serve -c config.yaml      start with your LiteLLM configuration
    bursar check config.yaml         see what was understood of it
    bursar keys create --alias me    make a virtual key
    bursar db shell                  look into the books with psql
    bursar ledger verify             see whether the books close
    bursar upstream                  a local provider to try things with
    """


def _litellm_flags(command: Command) -> Command:
    """Options of LiteLLM's own command line that have no meaning here: accepted, so that existing start lines work."""
    for name in (
        "--debug",
        "--detailed_debug",
        "--run_gunicorn",
        "--run_granian",
        "--run_hypercorn",
        "--use_prisma_db_push",
        "--use_prisma_migrate",
        "--skip_server_startup",
        "--drop_params",
        "--use_v2_migration_resolver",
    ):
        command = click.option(name, is_flag=True, hidden=True, expose_value=False)(command)
    for name in ("--telemetry", "--log_config", "--prometheus_metrics_port", "--keepalive_timeout", "--max_budget"):
        command = click.option(name, hidden=True, expose_value=False)(command)
    return command


@main.command()
@config_option
@click.option("--host", help="Address to listen on. [default: $HOST, else 127.0.0.1]")
@click.option("--port", "-p", type=int, help="Port to listen on; 0 takes a free one. [default: $PORT, else 4000]")
@click.option(
    "--workers", "--num_workers", "workers", type=int, help="Worker processes. [default: $NUM_WORKERS, else 1]"
)
@data_dir_option
@click.option(
    "--ssl-certfile",
    "--ssl_certfile_path",
    "certificate",
    type=click.Path(exists=True, path_type=Path),
    envvar="SSL_CERTFILE_PATH",
    help="Speak TLS with this certificate.",
)
@click.option(
    "--ssl-keyfile",
    "--ssl_keyfile_path",
    "key",
    type=click.Path(exists=True, path_type=Path),
    envvar="SSL_KEYFILE_PATH",
    help="The certificate's private key.",
)
@click.option(
    "--validate-config", "--validate_config", "validate", is_flag=True, help="Check the configuration and exit."
)
@_litellm_flags
def serve(  # one parameter an option
    config_path: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    data_dir: Path | None,
    certificate: Path | None,
    key: Path | None,
    validate: bool,
) -> None:
    """Run the gateway.

    Without DATABASE_URL an embedded PostgreSQL server is made in the data directory. Without a master key
    (LITELLM_MASTER_KEY or general_settings.master_key) one is made and shown once. SIGTERM or Ctrl-C lets running calls
    end within bursar_settings.grace_s; a second one ends them at once, booked.

    \b
    bursar serve --port 4001 --data-dir ./books
    DATABASE_URL=postgresql://… bursar serve -c config.yaml --host 0.0.0.0 --workers 4
    """
    from bursar.config.options import Flags
    from bursar.main import TlsFiles
    from bursar.main import serve as run

    if validate:
        _check(config_path)
        return
    if (certificate is None) != (key is None):
        raise click.UsageError("--ssl-certfile and --ssl-keyfile go together")
    tls = None if certificate is None or key is None else TlsFiles(certificate, key)
    flags = Flags(host=host, port=port, workers=workers, data_dir=data_dir)
    with told():
        sys.exit(run(config_path, flags, say=_say, tls=tls))


def _say(message: str) -> None:
    """One message of a running gateway, which goes on where nobody listens any more: the terminal was closed, or
    whoever read the pipe has ended."""
    with suppress(OSError):
        click.echo(message)
        sys.stdout.flush()


@main.command()
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(dir_okay=False, path_type=Path))
def check(config_path: Path | None) -> None:
    """Explain what was understood of a configuration.

    Groups and deployments, prices found and missing, keys not set, settings without effect. Exit code 1 when the
    gateway could not run with it. Without CONFIG: what `bursar serve` would do by itself.

    \b
    bursar check config.yaml
    bursar check && bursar serve
    """
    _check(config_path)


def _check(config_path: Path | None) -> None:
    from bursar.main import check as explain

    with told():
        report = explain(config_path)
    click.echo(report.text)
    sys.exit(0 if report.ok else 1)


@main.group()
def db() -> None:
    """Look into the database, and keep its tables up to date.

    The database is that of DATABASE_URL, else the embedded one of the data directory, which runs while `bursar serve`
    does.

    \b
    bursar db shell -c 'SELECT count(*) FROM bursar.entries'
    bursar db status
    bursar db adopt                  take over a LiteLLM proxy's database
    """


@db.command("url")
@data_dir_option
def db_url(data_dir: Path | None) -> None:
    """Print the database's URL, password included.

    \b
    psql "$(bursar db url)" -c 'SELECT model, sum(spend) FROM "LiteLLM_SpendLogs" GROUP BY model'
    """
    with told():
        click.echo(_books(data_dir).url)


@db.command("shell", context_settings={"ignore_unknown_options": True})
@data_dir_option
@click.argument("psql_arguments", nargs=-1, type=click.UNPROCESSED)
def db_shell(data_dir: Path | None, psql_arguments: tuple[str, ...]) -> None:
    """Open psql on the books. Further arguments go to psql.

    \b
    bursar db shell
    bursar db shell -c 'SELECT count(*) FROM bursar.entries'
    """
    from bursar.main import psql_program

    with told():
        url, program = _running_books(data_dir).url, psql_program()
    os.execv(program, [program, url, *psql_arguments])  # noqa: S606  # the person's own command


@db.command("status")
@data_dir_option
def db_status(data_dir: Path | None) -> None:
    """List migrations applied and missing, and journals.

    Of each journal: up to which record it is in the database.

    \b
    bursar db status --data-dir ./books
    """
    from bursar.main import books_status

    with told():
        for line in books_status(_running_books(data_dir)):
            click.echo(line)


@db.command("migrate")
@data_dir_option
def db_migrate(data_dir: Path | None) -> None:
    """Apply the migrations the database lacks.

    `bursar serve` does so at start; this is for doing it apart.

    \b
    DATABASE_URL=postgresql://… bursar db migrate
    """
    from bursar.main import migrate_books

    with told():
        applied = migrate_books(_running_books(data_dir), _say)
    click.echo("The database is up to date." if not applied else f"Applied {applied} migrations.")


@db.command("adopt")
@click.option("--apply", "apply", is_flag=True, help="Do it. Without this, look and tell.")
@click.option(
    "--with-sql-helpers",
    "helpers",
    is_flag=True,
    help="Also make round(double precision, integer), which published queries need, in LiteLLM's schema.",
)
@click.option(
    "--again", is_flag=True, help="It was taken over before, and LiteLLM has served on it since: take that over."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def db_adopt(*, apply: bool, helpers: bool, again: bool, as_json: bool) -> None:
    """Take over the database of a LiteLLM proxy.

    Keys, users, teams, budgets and spend are used where they are; budgets go on from LiteLLM's counters. Made are the
    schema `bursar`, and tables of LiteLLM's that are missing. Nothing of LiteLLM's is changed, and it can be started
    again on it. Without --apply nothing is changed at all. docs/switch-from-litellm.md goes through a switch.

    Exits with 0 when it was done or can be, also before, with 1 when it cannot be done, with 2 when it was typed wrong.

    \b
    export DATABASE_URL=postgresql://…        the proxy's own
    bursar db adopt                           what would be done
    bursar db adopt --apply
    """
    from bursar.book_keeping import adopt_books
    from bursar.main import configured_books

    if helpers and not apply:
        raise click.UsageError("--with-sql-helpers goes with --apply")
    with told():
        books = configured_books(os.environ)
        with click.progressbar(
            length=1000,
            label="Taking it over" if apply else "Looking",
            file=sys.stderr,
            item_show_func=lambda name: name,
        ) as bar:

            def progress(done: int, steps: int, name: str) -> None:
                bar.update(1000 * done // steps - bar.pos, name)

            adoption = adopt_books(books, progress, apply=apply, again=again, helpers=helpers)
    click.echo(adoption.as_json() if as_json else adoption.as_text())


def _books(data_dir: Path | None) -> "Books":
    from bursar.config.options import data_directory
    from bursar.main import find_books

    return find_books(os.environ, data_directory(data_dir, os.environ))


def _running_books(data_dir: Path | None) -> "Books":
    from bursar.config.options import data_directory
    from bursar.main import running_books

    return running_books(os.environ, data_directory(data_dir, os.environ))


@main.group()
def ledger() -> None:
    """The ledger: whether the books close.

    \b
    bursar ledger verify             compare the books with themselves
    bursar ledger replay             carry journals into the database that wait for it
    bursar ledger worker             do so for apps that book through the SDK, all the time
    bursar ledger instances          processes that have not ended in order
    bursar ledger declare-lost ID    give up on one whose disk is gone
    """


@ledger.command("verify")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def ledger_verify(*, data_dir: Path | None, as_json: bool) -> None:
    """Compare the books with themselves.

    Everything that is kept beside the entries (budgets, grants, log rows, the totals of keys, the days of users, teams,
    organizations, end users and tags) must be what the entries add up to, to the nano-dollar. All of it is looked at
    as of one moment; calls may go on meanwhile.

    Exits with 0 when the books close, with 1 when something differs, and lists it; with 2 when it cannot look.

    \b
    bursar ledger verify
    DATABASE_URL=postgresql://… bursar ledger verify --json
    """
    from bursar.book_keeping import verify_books

    with told(code=2):
        books = _running_books(data_dir)
        with click.progressbar(
            length=1000, label="Looking at the books", file=sys.stderr, item_show_func=lambda name: name
        ) as bar:

            def progress(done: int, steps: int, name: str) -> None:
                bar.update(1000 * done // steps - bar.pos, name)

            audit = verify_books(books, progress)
    click.echo(audit.as_json() if as_json else audit.as_text())
    raise SystemExit(0 if audit.closes else 1)


@ledger.command("replay")
@data_dir_option
@click.option(
    "--journals",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the journals are, if not in the data directory: those of another host, say.",
)
def ledger_replay(*, data_dir: Path | None, journals: Path | None) -> None:
    """Carry into the database what waits in journals.

    `bursar serve` does so by itself, and every app that books through the SDK. This is for journals that they do not
    find: of a host whose gateway will not run again, brought here; or of this one, without starting it. Journals that
    were put by are looked at as well, in case the database was restored and lacks some of them. Nothing is booked
    twice, however often this is run.

    Exits with 0 when everything is in the database, with 1 when some journals were left: they are in use, or damaged.

    \b
    DATABASE_URL=postgresql://… bursar ledger replay --journals /mnt/old-disk/bursar/journal
    """
    from bursar.book_keeping import replay_journals
    from bursar.config.options import data_directory

    with told(code=2):
        books = _running_books(data_dir)
        places = [journals] if journals is not None else _journals(data_directory(data_dir, os.environ))
        with click.progressbar(length=1000, label="Carrying journals", file=sys.stderr) as bar:

            def progress(done: int, of: int) -> None:
                bar.update((1000 * done // of if of else 1000) - bar.pos)

            found = replay_journals(books, places, progress)
    click.echo(f"{found.carried} of {found.found} journals are in the database to their end.")
    if found.carried < found.found:
        click.echo("The others are in use by processes that live, or damaged: the messages above say which.", err=True)
        raise SystemExit(1)


def _journals(data_dir: Path) -> list[Path]:
    """Where the gateway's are, and those of apps that book through the SDK."""
    from bursar.data_directory import SDK_JOURNALS

    return [place for place in (data_dir / "journal", data_dir / SDK_JOURNALS) if place.is_dir()]


@ledger.command("worker")
@data_dir_option
@click.option("--redis-url", envvar="REDIS_URL", help="Also post what apps put into Redis. [default: $REDIS_URL]")
def ledger_worker(*, data_dir: Path | None, redis_url: str | None) -> None:
    """Post for apps that book through the SDK.

    They post by themselves. This carries into the database what those leave on this host that have ended before they
    could, were killed, or have no DATABASE_URL of their own; and what apps of any host put into Redis
    (use_redis_buffer). It runs until SIGTERM or Ctrl-C.

    \b
    DATABASE_URL=postgresql://… REDIS_URL=redis://… bursar ledger worker
    """
    import signal

    from bursar.config.options import data_directory
    from bursar.domain.secrets import Secret
    from bursar.sdk.recorder import Recorder
    from bursar.sdk.settings import Settings
    from bursar.telemetry.logs import configure_logs

    configure_logs(level="WARNING")
    told_to_end = {signal.SIGTERM, signal.SIGINT}
    with told(code=2):
        place = data_directory(data_dir, os.environ)
        settings = Settings(
            database_url=Secret(_running_books(data_dir).url),
            data_dir=place,
            redis_url=Secret(redis_url) if redis_url else None,
            uses_redis=lambda: bool(redis_url),
        )
    signal.pthread_sigmask(signal.SIG_BLOCK, told_to_end)
    recorder = Recorder(settings)
    recorder.start()
    _say(f"Posting what apps leave in {settings.journals()}" + (", and in Redis." if redis_url else "."))
    signal.sigwait(told_to_end)
    sys.exit(0 if recorder.close(30.0) else 1)


@ledger.command("instances")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def ledger_instances(*, data_dir: Path | None, as_json: bool) -> None:
    """List processes that have not ended in order.

    They run, or have died and were not adopted yet. A process on this host that has died is adopted within seconds by
    the next one that runs here, with its journal. One whose disk or host is gone is not: declare it lost.

    \b
    bursar ledger instances
    """
    import msgspec

    from bursar.book_keeping import unsettled_instances
    from bursar.domain.money import usd_text

    with told():
        found = unsettled_instances(_running_books(data_dir))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    line = "{:<36}  {:<20}  {:<19}  {:>10}  {:>5}  {:>14}  {}"
    click.echo(line.format("instance", "host", "started (UTC)", "silent for", "open", "unspent grants", ""))
    for one in found:
        click.echo(
            line.format(
                *(one.instance, one.host[:20], f"{one.started_at:%Y-%m-%d %H:%M:%S}"),
                *(f"{one.silent.total_seconds():.0f} s", one.open_attempts, usd_text(one.unspent_nano_usd)),
                "" if one.lost_at is None else f"declared lost {one.lost_at:%Y-%m-%d %H:%M}",
            ).rstrip()
        )


@ledger.command("declare-lost")
@data_dir_option
@click.argument("instance", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also when it was heard of lately: it ends at its next word.")
def ledger_declare_lost(*, data_dir: Path | None, instance: UUID, yes: bool, force: bool) -> None:
    """Give up on a process whose journal is gone.

    Its disk is gone, or its host. What the database knows it had under way is booked at what it held, marked as lost.
    What it was granted of budgets and did not report as spent stays taken until their periods end: it may have been
    spent. From then on it commits nothing; if it lives after all, it ends, and what its journal tells replaces what was
    booked here.

    \b
    bursar ledger instances
    bursar ledger declare-lost 019a9c1e-6d0c-7b1f-9d61-0a3f0f7f9a11
    """
    from bursar.book_keeping import declare_lost
    from bursar.domain.ids import JournalId
    from bursar.domain.money import usd_text

    with told():
        books = _running_books(data_dir)
        if not yes:
            click.confirm(f"Is the journal of {instance} gone for good?", abort=True)
        loss = declare_lost(books, JournalId(str(instance)), force=force)
    click.echo(
        f"{instance} is declared lost: {loss.attempts} attempts booked at {usd_text(loss.cost_nano_usd)} USD, "
        f"{usd_text(loss.stranded_nano_usd)} USD of budgets stay taken."
    )


for group in (keys, teams, users, budgets, models):
    main.add_command(group)


@keys.command("show-admin")
@data_dir_option
def show_admin(data_dir: Path | None) -> None:
    """Print the admin key that `serve` made.

    One that you configured yourself is not stored.

    \b
    export OPENAI_API_KEY=$(bursar keys show-admin)
    """
    from bursar.config.options import data_directory
    from bursar.main import stored_master_key

    with told():
        click.echo(stored_master_key(data_directory(data_dir, os.environ)))


@main.group()
def secrets() -> None:
    """Secrets that the database holds: providers' keys, credentials.

    \b
    bursar secrets rotate
    """


@secrets.command("rotate")
@data_dir_option
def rotate(data_dir: Path | None) -> None:
    """Seal all stored secrets with a new key.

    In two steps, between which every gateway learns the new key. With LITELLM_SALT_KEY: set it to the new key, set
    LITELLM_SALT_KEY_OLD to the one before, restart the gateways, run this, and take LITELLM_SALT_KEY_OLD away. Without:
    run this, which makes a new key beside the old one; restart the gateway; run it again.

    It can be interrupted, and run again, at any time. What LiteLLM encrypted is sealed anew, too: LiteLLM itself cannot
    read it afterwards.

    \b
    bursar secrets rotate
    LITELLM_SALT_KEY=… LITELLM_SALT_KEY_OLD=… DATABASE_URL=postgresql://… bursar secrets rotate
    """
    from bursar.administration.desk import operator
    from bursar.config.options import data_directory
    from bursar.main import books_vault, salt_key_is_configured
    from bursar.secret_rotation import begin_new_key, forget_old_key, rotate_secrets

    with told():
        directory = data_directory(data_dir, os.environ)
        books = _running_books(data_dir)
        own = not salt_key_is_configured(os.environ, directory)
        if own and begin_new_key(directory):
            click.echo(
                "A new key was made beside the old one. Restart the gateway, so that it knows it; then run this again."
            )
            return
        with click.progressbar(length=1, label="Sealing", file=sys.stderr) as bar:

            def progress(done: int, rows: int) -> None:
                bar.length = max(rows, 1)
                bar.update(done - bar.pos)

            found = rotate_secrets(books, books_vault(os.environ, directory), progress, name=operator())
        for reason in found.unreadable:
            click.echo(f"Not readable: {reason}", err=True)
        click.echo(f"{found.sealed} of {found.rows} rows were sealed anew; the others were already, or hold no secret.")
        if found.unreadable:
            sys.exit(1)
        if own:
            forget_old_key(directory)
            click.echo("The old key is not needed any more, and gone.")
        else:
            click.echo("LITELLM_SALT_KEY_OLD is not needed any more.")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4010, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--bill",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Append a line of JSON for each served call to this file.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes to serve with.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="MODEL=prompt:USD,completion:USD[,…]",
    help="US dollars per million tokens; also cached, cache_write, audio_in, reasoning, audio_out. "
    "The model * stands for all others (default: prompt:1,cached:0.25,completion:4). Repeatable.",
)
@click.option("--grace", "grace_s", default=2.0, show_default=True, help="Seconds that calls get to end in.")
def upstream(*, host: str, port: int, bill: Path | None, workers: int, prices: tuple[str, ...], grace_s: float) -> None:
    """Run a local provider to try things with.

    It answers, fails and stalls on demand, and keeps its own bill. It speaks OpenAI's chat completions, streamed and
    not. Point a gateway or client at it and say in the model's name how it shall answer; any API key will do.

    \b
    Fifty tokens, one each 10 ms:       oracle?tokens=50&delay_ms=10
    A price of its own, cached input:   gpt-4o?cached=100
    Too many requests, twice:           oracle?fault=status:429&retry_after=1&times=2
    Cut after three chunks:             oracle?fault=cut:3c
    Never answers:                      oracle?fault=stall
    No usage, no [DONE]:                oracle?usage=none&done=0

    \b
    Try it:
      bursar upstream --bill bill.jsonl --price gpt-4o=prompt:2.5,cached:1.25,completion:10
      curl http://127.0.0.1:4010/v1/chat/completions -H 'content-type: application/json' \\
        -d '{"model": "oracle?tokens=5", "messages": [{"role": "user", "content": "Hi"}]}'

    docs/oracle.md has all words of the language and the rules of the bill.
    """
    import socket

    from bursar.oracle.serving import serve_in_workers, serve_oracle
    from bursar.oracle.tariff import TariffError, parse_tariffs

    try:
        tariffs = parse_tariffs(prices)
    except TariffError as error:
        raise click.BadParameter(str(error), param_hint="--price") from None
    if bill is not None:
        try:
            bill.touch(mode=0o600)
        except OSError as error:
            raise click.BadParameter(f"{bill} cannot be written: {error.strerror}", param_hint="--bill") from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host} port {port}: {error.strerror}") from None
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{sock.getsockname()[1]}/v1"

    def ready() -> None:
        click.echo(f"Oracle upstream: {url}")
        click.echo(f"Bill:            {bill if bill is not None else 'none (--bill FILE keeps one)'}")
        click.echo(f'Use it:          base_url="{url}", any API key, model="oracle?tokens=20" (bursar upstream --help)')

    if workers == 1:
        serve_oracle(sock, ready, bill=bill, tariffs=tariffs, grace_s=grace_s)
    else:
        raise SystemExit(serve_in_workers(sock, workers, bill=bill, tariffs=tariffs, grace_s=grace_s, on_ready=ready))
