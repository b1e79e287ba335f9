"""`bursar db`: the database and its tables."""

import os
import sys
from pathlib import Path

import click

from bursar.command_line import data_dir_option, told
from bursar.commands.books import books_of, running_books_of
from bursar.commands.say import say


@click.group()
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
        click.echo(books_of(data_dir).url)


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
        url, program = running_books_of(data_dir).url, psql_program()
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
        for line in books_status(running_books_of(data_dir)):
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
        applied = migrate_books(running_books_of(data_dir), say)
    click.echo("The database is up to date." if not applied else f"Applied {applied} migrations.")


@db.command("adopt")
@click.option("--apply", "apply", is_flag=True, help="Do it. Without this, look and tell.")
@click.option(
    "--with-sql-helpers",
    "helpers",
    is_flag=True,
    help="Also make round(double precision, integer), which published queries need, and LiteLLM's views that are "
    "missing, in LiteLLM's schema.",
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
