"""What the commands share: their options, where they ask, how they tell."""

import functools
import getpass
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from bursar.administration.api import Administration
from bursar.administration.names import Page, team_id, user_id
from bursar.administration.tables import Column, description, table
from bursar.command_line import Command, data_dir_option, told

T = TypeVar("T")
Option = Callable[[Command], Command]
Fields = Mapping[str, object]


@dataclass(slots=True, frozen=True)
class Desk:
    """Where a command asks, and how it tells."""

    api: Administration
    as_json: bool
    with_config: bool
    """A configuration file was named."""

    def tell(self, answer: bytes, kind: type[T], shown: Callable[[T], str]) -> None:
        """Print an answer: as it is, or as people read it."""
        if self.as_json:
            click.echo(msgspec.json.format(answer).decode())
        else:
            click.echo(shown(msgspec.json.decode(answer, type=kind)))

    def tell_made(self, answer: bytes, name: str, *, quiet: bool) -> None:
        """Print a new row, its column `name` first; or that alone."""
        row = msgspec.json.decode(answer, type=dict[str, object])
        if quiet:
            click.echo(str(row[name]))
            return
        self.tell(answer, dict[str, object], lambda row: description({name: row[name], **row}))
        if row.get("key") and not self.as_json:
            click.echo("The key is shown this once: what is kept is its hash.", err=True)

    def tell_done(self, answer: bytes, words: str) -> None:
        """Say what was done, or print the answer."""
        click.echo(msgspec.json.format(answer).decode() if self.as_json else words)

    def tell_row(self, answer: bytes, *, within: str | None = None) -> None:
        """Print one row, which may stand within the answer."""

        def shown(found: Fields) -> str:
            row = found if within is None else found[within]
            assert isinstance(row, dict)
            return description(row)

        self.tell(answer, dict[str, object], shown)

    def tell_rows(self, answer: bytes, columns: Sequence[Column]) -> None:
        """Print all rows there are."""
        self.tell(answer, list[dict[str, object]], lambda rows: table(columns, rows))

    def tell_page(self, answer: bytes, kind: type[Page], columns: Sequence[Column]) -> None:
        """Print a page of rows, and how much of all it is."""
        self.tell(answer, kind, lambda page: table(columns, page.rows))
        page = msgspec.json.decode(answer, type=kind)
        if len(page.rows) < page.count and not self.as_json:
            click.echo(f"{len(page.rows)} of {page.count}: --page and --size show others.", err=True)


class _Usd(click.ParamType[float]):
    """An amount in US dollars."""

    name = "USD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails also for `nan`, which JSON could only write as null, which means no limit."""
        try:
            amount = float(str(value))
        except ValueError:
            amount = math.nan
        if not math.isfinite(amount):
            self.fail(f"{value!r} is not an amount in US dollars.", param, ctx)
        return amount


USD = _Usd()


def administers(*, models: bool = False) -> Option:
    """The options of all commands here; the command gets a `Desk` in their place."""

    def decorate(command: Command) -> Command:
        @data_dir_option
        @click.option(
            "--config",
            "-c",
            "config_path",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The config.yaml of the gateway, where it has one: its defaults and bounds hold here, too.",
        )
        @click.option("--as", "who", help="Who does it, for the audit log. [default: the system's user]")
        @click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
        @functools.wraps(command)
        def run(
            *, data_dir: Path | None, config_path: Path | None, who: str | None, as_json: bool, **rest: object
        ) -> None:
            from bursar.administration.opening import Place, administration
            from bursar.config.options import data_directory

            place = Place(data_directory(data_dir, os.environ), config_path)
            with told(), administration(place, name=who or operator(), with_models=models) as api:
                command(Desk(api, as_json, config_path is not None), **rest)

        return run

    return decorate


def operator() -> str:
    """Who types commands here, for the log of changes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as containers have it
        return f"uid {os.getuid()}"


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print the new key or id alone.")
page_option = click.option("--page", type=click.IntRange(1), default=1, show_default=True)
size_option = click.option(
    "--size", type=click.IntRange(1, 100), default=100, show_default=True, help="Rows on a page."
)


def together(*options: Option) -> Option:
    """Several options as one decorator, in this order in the help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


set_options = together(
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Any other field of the API's; the value in JSON, or plain text; - reads it from standard input.",
    ),
    click.option("--clear", "clears", multiple=True, metavar="FIELD", help="Empty a field. Repeatable."),
)
rate_options = together(
    click.option("--tpm", "tpm_limit", type=click.IntRange(0), help="Tokens a minute."),
    click.option("--rpm", "rpm_limit", type=click.IntRange(0), help="Requests a minute."),
    click.option("--parallel", "max_parallel_requests", type=click.IntRange(0), help="Calls at a time."),
)
limit_options = together(
    click.option("--max-budget", type=USD, help="US dollars that may be spent, in a period if there is one."),
    click.option("--budget-duration", metavar="TIME", help="The period: 24h, 30d, 1mo."),
    rate_options,
)
models_option = click.option(
    "--model", "models", multiple=True, help="What may be called; none: everything. Repeatable."
)
team_option = click.option("--team", metavar="TEAM", help="Its id or alias.")
user_option = click.option("--user", metavar="USER", help="Id or e-mail address.")
organization_option = click.option("--organization", "organization_id", metavar="ID")


def fields_of(given: Fields, sets: Sequence[str], clears: Sequence[str], kind: type) -> dict[str, object]:
    """What options come to as the body `kind`. Raises click.UsageError: a field that it has not."""
    body = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items() if v is not None and v != ()}
    body |= assigned(sets, "--set")
    body |= dict.fromkeys(clears)
    known = msgspec.structs.fields(kind)
    if unknown := sorted(set(body) - {field.encode_name for field in known}):
        fields = ", ".join(sorted(field.encode_name for field in known))
        raise click.UsageError(
            f"There is no field {unknown[0]!r} here. There are: {fields}.", click.get_current_context()
        )
    return body


def changes_of(given: Fields, sets: Sequence[str], clears: Sequence[str], kind: type) -> dict[str, object]:
    """The same, where there has to be something. Raises click.UsageError."""
    if not (body := fields_of(given, sets, clears, kind)):
        raise click.UsageError("Say what to change.", click.get_current_context())
    return body


def assigned(pairs: Iterable[str], option: str) -> dict[str, object]:
    """`NAME=VALUE` each. A value is JSON if it can be, else text; `-` stands for what comes in."""
    found: dict[str, object] = {}
    read = False
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter("expected NAME=VALUE.", click.get_current_context(), param_hint=option)
        if value == "-":
            if read:
                raise click.BadParameter(
                    "standard input can be read once only.", click.get_current_context(), param_hint=option
                )
            found[name], read = _read_in(name), True
            continue
        try:
            found[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError):
            found[name] = value
    return found


def _read_in(name: str) -> str:
    if sys.stdin.isatty():
        secret: str = click.prompt(name, hide_input=True, err=True)
        return secret
    return sys.stdin.read().rstrip("\r\n")


def ask_first(question: str, *, yes: bool) -> None:
    """Have the person confirm it, unless `yes` says that he does. Raises click.Abort."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def places(desk: Desk, team: str | None, user: str | None) -> dict[str, object]:
    """Team and user by their ids."""
    found: dict[str, object] = {}
    if team is not None:
        found["team_id"] = team_id(desk.api, team)
    if user is not None:
        found["user_id"] = user_id(desk.api, user)
    return found
