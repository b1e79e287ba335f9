"""The commands, as they are typed: what they print, and how they end."""

import asyncio
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click
import pytest
from click.testing import CliRunner

from bursar.cli import main
from bursar.store.migrate import known_migrations
from tests.patience import promised
from tests.process.caller import call_all
from tests.process.checks import GREETING, check_served, until_served
from tests.process.gateway import MakeGateway, Oracle
from tests.process.program import BURSAR, clean_environment

CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/NOT_SET_ANYWHERE}
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def bursar(*arguments: str, environ: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        [*BURSAR, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=clean_environment() | dict(environ or {}),
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def commands(group: click.Group, above: str = "") -> Iterator[str]:
    """All that can be typed, groups included."""
    yield above
    for name, command in group.commands.items():
        path = f"{above} {name}".strip()
        yield from commands(command, path) if isinstance(command, click.Group) else (path,)


@pytest.mark.parametrize("command", list(commands(main)), ids=lambda command: command or "bursar")
def test_help_teaches(command: str) -> None:
    long, short = (CliRunner().invoke(main, [*command.split(), flag], prog_name="bursar") for flag in ("--help", "-h"))
    assert (long.exit_code, long.stderr) == (0, "")
    own = f"bursar {command}".strip()
    assert re.search(rf"^\s+.*\b{own}\b", long.stdout, re.MULTILINE), "no example"
    assert "..." not in re.sub(r"\[\w+\]\.\.\.", "", long.stdout), "a summary is cut off"
    assert short.stdout == long.stdout


def test_help_of_the_program() -> None:
    done = bursar("--help")
    assert (done.code, done.err) == (0, "")
    own = CliRunner().invoke(main, ["--help"], prog_name="-c", terminal_width=80)
    assert done.out == own.stdout


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["serve", "--no-such"], ["db", "frobnicate"], ["serve", "--port", "x"], ["check", "a", "b"]],
)
def test_what_is_typed_wrong_is_2(arguments: list[str]) -> None:
    done = bursar(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "--help" in done.err
    assert "Error: " in done.err


def test_the_version_names_the_contract() -> None:
    assert re.fullmatch(r"bursar \d+\.\d+\.\d+ \(LiteLLM contract \d+\.\d+\.\d+\)\n", bursar("--version").out)


@pytest.mark.parametrize("command", ["db url", "db shell", "db status", "db migrate", "keys show-admin"])
def test_a_data_directory_where_nothing_has_run(command: str, place: Path) -> None:
    done = bursar(*command.split(), "--data-dir", str(place / "nowhere"))
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"Error: (there is no embedded database|no admin key was made) in .*nowhere.*\n", done.err)
    assert "--data-dir" in done.err
    assert not (place / "nowhere").exists()


async def test_looking_into_the_books(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(environ={"LITELLM_MASTER_KEY": ""})
    gateway.start()
    await check_served(gateway)
    here = ("--data-dir", str(gateway.data))
    assert bursar("keys", "show-admin", *here) == Done(0, f"{gateway.key}\n", "")
    assert bursar("keys", "show-admin", environ={"BURSAR_DATA_DIR": str(gateway.data)}).out == f"{gateway.key}\n"

    url = bursar("db", "url", *here).out.strip()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM bursar.migrations") == len(known_migrations())
    await connection.close()

    counted = bursar("db", "shell", *here, "-At", "-c", "SELECT count(*) FROM bursar.migrations")
    assert counted == Done(0, f"{len(known_migrations())}\n", "")
    wrong = bursar("db", "shell", *here, "-v", "ON_ERROR_STOP=1", "-c", "SELECT nonsense")
    assert (wrong.code, wrong.out) == (1, "")  # psql's own
    assert "nonsense" in wrong.err

    status = bursar("db", "status", *here)
    assert re.match(r"(\d{4} \w+ +applied\n)+journal [0-9a-f-]{36}  posted up to \d+\n", status.out)
    assert bursar("db", "migrate", *here) == Done(0, "The database is up to date.\n", "")

    assert gateway.stop() == 0
    for command in (["db", "status"], ["db", "migrate"], ["db", "shell", "-c", "SELECT 1"]):
        done = bursar(*command[:2], *here, *command[2:])
        assert (done.code, done.out) == (1, "")
        assert "is not running: it runs while `bursar serve` does." in done.err
    assert bursar("db", "url", *here).out.strip() == url


@promised(1.0)
async def test_administering_a_running_gateway(make_gateway: MakeGateway, at_most_s: float) -> None:
    gateway = make_gateway()
    gateway.start()
    here = {"BURSAR_DATA_DIR": str(gateway.data)}
    made = bursar("keys", "create", "-q", "--alias", "bot", environ=here)
    assert (made.code, made.err) == (0, "")
    assert made.out.count("\n") == 1
    [received] = await call_all(gateway.port, made.out.strip(), [GREETING], concurrency=1)
    assert received.answered
    assert "demo" in bursar("models", "list", environ=here).out
    assert bursar("keys", "block", "bot", environ=here).code == 0
    async with asyncio.timeout(at_most_s):
        while (await call_all(gateway.port, made.out.strip(), [GREETING], concurrency=1))[0].answered:
            pass
    unasked = bursar("keys", "delete", "bot", environ=here)  # nobody is there to ask
    assert (unasked.code, unasked.out) == (1, "")
    assert bursar("keys", "delete", "bot", "--yes", environ=here).code == 0
    assert bursar("keys", "show", "bot", environ=here).code == 1


def test_a_database_of_ones_own(place: Path, empty_database: str) -> None:
    here = {"environ": {"DATABASE_URL": empty_database}}
    assert bursar("db", "status", **here).out == "".join(
        f"{migration.number:04d} {migration.name:<20} missing\n" for migration in known_migrations()
    )
    migrated = bursar("db", "migrate", **here)
    assert migrated.code == 0
    assert migrated.out.endswith(f"Applied {len(known_migrations())} migrations.\n")
    assert bursar("db", "migrate", **here).out == "The database is up to date.\n"
    assert "missing" not in bursar("db", "status", **here).out
    url = bursar("db", "url", **here).out.strip()
    assert bursar("db", "shell", "-At", "-c", "SELECT 1", environ={"DATABASE_URL": url}).out == "1\n"


def test_check_explains(place: Path) -> None:
    config = place / "config.yaml"
    config.write_text(CONFIG)
    done = bursar("check", str(config))
    assert "gpt-4o" in done.out
    assert "NOT_SET_ANYWHERE" in done.out
    assert "per million tokens" in done.out
    assert bursar("serve", "--config", str(config), "--validate_config") == done
    alone = bursar("check")
    assert alone.code == 0
    assert "demo" in alone.out
    config.write_text("model_list: 7\n")
    wrong = bursar("check", str(config))
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith(f"Error: {config}: model_list: expected")


async def test_litellm_s_own_flags(oracle: Oracle, make_gateway: MakeGateway, database_url: str) -> None:
    """A start line as people have it for the proxy that we take the place of, variables included."""
    gateway = make_gateway(oracle=oracle, environ={"DATABASE_URL": database_url, "NUM_WORKERS": "2", "PORT": "1"})
    gateway.start(
        *("--detailed_debug", "--run_gunicorn", "--use_prisma_db_push", "--drop_params", "--debug"),
        *("--telemetry", "False", "--keepalive_timeout", "75", "--max_budget", "10"),
    )
    assert len(gateway.workers()) == 2
    assert gateway.port != 1
    await until_served(gateway)
    assert gateway.stop() == 0
