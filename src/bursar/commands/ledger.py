"""`bursar ledger`: whether the books close, and what waits for them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from bursar.command_line import data_dir_option, told
from bursar.commands.books import running_books_of
from bursar.commands.say import say

if TYPE_CHECKING:
    from bursar.config.database_url import DatabaseTarget


@click.group()
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
        books = running_books_of(data_dir)
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
@click.option("--any-books", is_flag=True, help="Also journals that belong to another database's books.")
def ledger_replay(*, data_dir: Path | None, journals: Path | None, any_books: bool) -> None:
    """Carry into the database what waits in journals.

    `bursar serve` does so by itself, and every app that books through the SDK. This is for journals that they do not
    find: of a host whose gateway will not run again, brought here; or of this one, without starting it. Those of apps
    are kept apart by the database that their DATABASE_URL names (host, port, name, schema): carried are those for the
    one that is named here, and those of apps that had none. Journals that were put by are looked at as well, in case
    the database was restored and lacks some of them. Nothing is booked twice, however often this is run.

    A journal that was posted to another database is left to that one, unless --any-books is given.

    Exits with 0 when everything is in the database, with 1 when some journals were left: they are in use, damaged, or
    belong to another database.

    \b
    DATABASE_URL=postgresql://… bursar ledger replay --journals /mnt/old-disk/bursar/journal
    """
    from bursar.book_keeping import replay_journals
    from bursar.config.options import data_directory

    with told(code=2):
        books = running_books_of(data_dir)
        places, others = [journals] if journals is not None else [], list[Path]()
        if journals is None:
            places, others = _journals(data_directory(data_dir, os.environ), books.target)
        with click.progressbar(length=1000, label="Carrying journals", file=sys.stderr) as bar:

            def progress(done: int, of: int) -> None:
                bar.update((1000 * done // of if of else 1000) - bar.pos)

            found = replay_journals(books, places, progress, any_books=any_books)
    for other in others:
        click.echo(f"Left: journals for another database, in {other} (--journals carries them all the same).", err=True)
    click.echo(f"{found.carried} of {found.found} journals are in the database to their end.")
    if found.carried < found.found:
        click.echo("The others are in use, damaged, or of another database: the messages above say which.", err=True)
        raise SystemExit(1)


def _journals(data_dir: Path, target: "DatabaseTarget") -> tuple[list[Path], list[Path]]:
    """Where the gateway's are, those of apps that book through the SDK into `target`, and those of apps
    that know of no database. And where journals wait that are for others."""
    from bursar.ledger.places import waiting_journals
    from bursar.sdk.settings import journals_for

    unassigned = journals_for(data_dir, None)
    places = [data_dir / "journal", journals_for(data_dir, target), unassigned]
    others = [path for path in unassigned.glob("*") if path not in places and waiting_journals(path)]
    return [place for place in places if place.is_dir()], others


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
        target = running_books_of(data_dir).target
        settings = Settings(
            target=target,
            data_dir=data_directory(data_dir, os.environ),
            redis_url=Secret(redis_url) if redis_url else None,
            uses_redis=lambda: bool(redis_url),
            carries_unassigned=True,
        )
    signal.pthread_sigmask(signal.SIG_BLOCK, told_to_end)
    recorder = Recorder(settings)
    recorder.start()
    place = settings.journals(None)
    say(f"Posting what apps leave in {place} for {target.label}" + (", and in Redis." if redis_url else "."))
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
        found = unsettled_instances(running_books_of(data_dir))
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
        books = running_books_of(data_dir)
        if not yes:
            click.confirm(f"Is the journal of {instance} gone for good?", abort=True)
        loss = declare_lost(books, JournalId(str(instance)), force=force)
    click.echo(
        f"{instance} is declared lost: {loss.attempts} attempts booked at {usd_text(loss.cost_nano_usd)} USD, "
        f"{usd_text(loss.stranded_nano_usd)} USD of budgets stay taken."
    )
