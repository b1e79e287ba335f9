"""`bursar keys|teams|users|budgets|models` on the books of a running gateway."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bursar.cli import main
from tests.gateway.running import SALT_KEY, Books, Gateway
from tests.management.admin import soon

Run = Callable[..., Awaitable[Result]]
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    """Runs a command to its end, in a thread: it has an event loop of its own."""
    environ = {
        "DATABASE_URL": database_url,
        "LITELLM_SALT_KEY": SALT_KEY,
        "STORE_MODEL_IN_DB": "True",
        "BURSAR_DATA_DIR": str(tmp_path / "data"),
        "LOGNAME": "ada",
    }

    def of(*arguments: str, code: int = 0, stdin: str | None = None, **more: str | None) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, env=environ | more)
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    async def run(*arguments: str, **options: Any) -> Result:
        return await asyncio.to_thread(of, *arguments, **options)

    return run


async def told(run: Run, *arguments: str, **options: Any) -> Any:
    """What a command answers in JSON."""
    return json.loads((await run(*arguments, "--json", **options)).stdout)


async def refused(run: Run, *arguments: str, code: int = 1, **options: Any) -> str:
    """The message of a command that must fail, and that prints nothing else."""
    result = await run(*arguments, code=code, **options)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def lines_of(result: Result) -> list[list[str]]:
    """The cells of a table."""
    return [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]


async def test_the_life_of_a_key(run: Run, gateway: Gateway, books: Books) -> None:
    made = await run("keys", "create", "--alias", "ci-bot", "--max-budget", "10", "--budget-duration", "30d")
    assert "shown this once" in made.stderr
    found = re.search(r"^key +(sk-\S+)$", made.stdout, re.MULTILINE)
    assert found is not None
    key = found[1]
    assert (await gateway.chat(key=key)).status == 200

    [titles, row] = lines_of(await run("keys", "list"))
    assert titles == ["alias", "key", "user", "team", "spend USD", "of USD", "each", "expires (UTC)", "state", "hash"]
    assert row[:2] == ["ci-bot", f"sk-...{key[-4:]}"]
    assert row[-3:-1] == ["10.00", "30d"]
    [listed] = (await told(run, "keys", "list"))["keys"]
    assert listed["token"] == row[-1]
    for name in ("ci-bot", key, row[-1]):
        assert (await told(run, "keys", "show", name))["info"]["key_alias"] == "ci-bot"
    shown = (await run("keys", "show", "ci-bot")).stdout
    assert re.search(r"^max_budget +10\.00 USD$", shown, re.MULTILINE)
    assert key not in shown

    await run("keys", "block", "ci-bot", "--as", "Grace H")
    await soon(lambda: gateway.chat(key=key), 401, "blocked")
    assert "blocked" in (await run("keys", "list")).stdout
    await run("keys", "unblock", "ci-bot")
    await soon(lambda: gateway.chat(key=key), 200)

    await run("keys", "update", "ci-bot", "--max-budget", "2.5", "--clear", "budget_duration", "--set", 'tags=["a"]')
    changed = (await told(run, "keys", "show", "ci-bot"))["info"]
    assert (changed["max_budget"], changed["budget_duration"]) == (2.5, None)
    assert changed["metadata"]["tags"] == ["a"]

    fresh = (await run("keys", "regenerate", "ci-bot", "-q")).stdout
    assert re.fullmatch(r"sk-\S+\n", fresh)
    await soon(lambda: gateway.chat(key=key), 401)
    await soon(lambda: gateway.chat(key=fresh.strip()), 200)

    refusal = await run("keys", "delete", "ci-bot", stdin="n\n", code=1)
    assert "Delete the key" in refusal.stderr
    assert refusal.stdout == ""
    assert "Deleted the key" in (await run("keys", "delete", "ci-bot", "--yes")).stdout
    await soon(lambda: gateway.chat(key=fresh.strip()), 401)
    assert "there is no key 'ci-bot'. `bursar keys list`" in await refused(run, "keys", "show", "ci-bot")

    audit = await books.fetch('SELECT action, changed_by FROM "LiteLLM_AuditLog" ORDER BY updated_at')
    assert [(row["action"], row["changed_by"]) for row in audit] == [
        ("created", "ada"),
        ("blocked", "Grace H"),
        ("unblocked", "ada"),
        ("updated", "ada"),
        ("rotated", "ada"),
        ("deleted", "ada"),
    ]


async def test_a_new_key_alone(run: Run, database_url: str) -> None:
    made = await run("keys", "create", "--quiet", "--duration", "24h")
    assert re.fullmatch(r"sk-\S+\n", made.stdout)
    assert made.stderr == ""


async def test_the_life_of_a_team(run: Run, gateway: Gateway) -> None:
    team = (await run("teams", "create", "--alias", "research", "--max-budget", "500", "-q")).stdout.strip()
    assert re.fullmatch(UUID, team)
    await run("users", "create", "--email", "ada@example.org", "--id", "ada")
    await run("teams", "add-member", "research", "ada@example.org", "--role", "admin", "--max-budget", "50")
    await run("teams", "add-member", team, "bob")
    key = (await run("keys", "create", "-q", "--team", "research", "--user", "ada@example.org")).stdout.strip()

    [_, row] = lines_of(await run("teams", "list"))
    assert row == ["research", team, "2", "0.00", "500.00"]
    shown = (await run("teams", "show", "research")).stdout
    assert re.search(r"^ada +ada@example\.org +admin +0\.00 +50\.00$", shown, re.MULTILINE)
    assert f"sk-...{key[-4:]}" in shown
    assert (await told(run, "teams", "show", "research"))["team_id"] == team
    assert [row["team_id"] for row in (await told(run, "teams", "list", "--user", "bob"))["teams"]] == [team]
    assert len((await told(run, "keys", "list", "--team", "research"))["keys"]) == 1

    await run("teams", "update", "research", "--alias", "Research & more", "--rpm", "7")
    assert (await told(run, "teams", "show", "Research & more"))["team_info"]["rpm_limit"] == 7
    await run("teams", "block", team)
    await soon(lambda: gateway.chat(key=key), 401)
    await run("teams", "unblock", team)
    await soon(lambda: gateway.chat(key=key), 200)
    await run("users", "create", "--id", "eve@elsewhere")
    await run("teams", "add-member", team, "eve@elsewhere")
    assert "eve@elsewhere" in (await run("teams", "show", team)).stdout
    await run("teams", "remove-member", team, "eve@elsewhere", "--yes")
    assert (await told(run, "users", "list"))["total"] == 3
    await run("teams", "remove-member", team, "bob", "--yes")
    assert "bob" not in (await run("teams", "show", team)).stdout

    await run("teams", "delete", team, "--yes")
    assert lines_of(await run("teams", "list"))[1:] == []
    await soon(lambda: gateway.chat(key=key), 401)


async def test_the_life_of_a_user(run: Run, gateway: Gateway) -> None:
    made = await run(
        "users", "create", "--email", "Ada@example.org", "--with-key", "-q", "--set", "password=-", stdin="12345678\n"
    )
    key = made.stdout.strip()
    assert (await gateway.chat(key=key)).status == 200
    [_, row] = lines_of(await run("users", "list", "--role", "internal_user"))
    assert row[:3] == ["Ada@example.org", "internal_user", "1"]
    login = {"username": "Ada@example.org", "password": "12345678"}
    assert (await gateway.request("POST", "/v2/login", login, key=None)).status == 200
    assert f"sk-...{key[-4:]}" in (await run("users", "show", "ada@example.org")).stdout
    changed = await told(run, "users", "update", "ada@example.org", "--role", "proxy_admin_viewer", "--name", "Ada")
    assert (changed["data"]["user_role"], changed["data"]["user_alias"]) == ("proxy_admin_viewer", "Ada")
    await run("users", "delete", "ada@example.org", "--yes")
    await soon(lambda: gateway.chat(key=key), 401)
    assert (await told(run, "users", "list"))["total"] == 0


async def test_the_life_of_a_budget(run: Run, database_url: str) -> None:
    await run(
        "budgets", "create", "--id", "small", "--max-budget", "5", "--budget-duration", "1d", "--soft-budget", "4"
    )
    [titles, row] = lines_of(await run("budgets", "list"))
    assert titles == ["id", "USD", "soft USD", "each", "next (UTC)", "rpm", "tpm", "parallel"]
    assert row[:4] == ["small", "5.00", "4.00", "1d"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", row[4])
    assert (await told(run, "budgets", "update", "small", "--max-budget", "8", "--parallel", "3"))["max_budget"] == 8
    await run("keys", "create", "--alias", "has-it", "--budget", "small")
    assert "small" in await refused(run, "budgets", "delete", "small", "--yes")
    await run("keys", "delete", "has-it", "--yes")
    assert (await told(run, "budgets", "delete", "small", "--yes"))["budget_id"] == "small"
    assert "Budget not found" in await refused(run, "budgets", "update", "small", "--max-budget", "1")


async def test_the_life_of_a_model(run: Run, gateway: Gateway, books: Books) -> None:
    [oracle] = (await gateway.request("GET", "/model/info?litellm_model_id=the-oracle")).json["data"]
    base = oracle["litellm_params"]["api_base"]
    prices = ("--param", "input_cost_per_token=0.000001", "--param", "output_cost_per_token=0.000004")
    added = await run(
        *("models", "add", "mine", "--model", "openai/oracle", "--param", f"api_base={base}", *prices),
        *("--param", "api_key=-", "--info", 'access_groups=["few"]', "-q"),
        stdin="sk-canary-1234567890\n",
    )
    model = added.stdout.strip()
    assert re.fullmatch(UUID, model)
    await soon(lambda: gateway.chat("mine"), 200)
    [row] = await books.fetch('SELECT litellm_params::text AS text FROM "LiteLLM_ProxyModelTable"')
    assert "canary" not in row["text"]

    shown = await run("models", "list")
    assert "canary" not in shown.output
    assert "name it with --config" in shown.stderr
    row_of = {cells[0]: cells for cells in lines_of(shown)}
    assert row_of["mine"] == ["mine", "openai/oracle", "openai", "1.00", "4.00", "database", model]
    await run("models", "update", "mine", "--blocked", "--name", "yours", "--param", "rpm=7")
    await soon(lambda: gateway.chat("mine"), 400)
    await run("models", "delete", "yours", "--yes")
    models = (await told(run, "models", "list"))["data"]
    assert model not in {one["model_info"]["id"] for one in models}
    assert "there is no model 'yours'" in await refused(run, "models", "delete", "yours", "--yes")


async def test_models_that_cannot_be_stored(run: Run, database_url: str, tmp_path: Path) -> None:
    add = ("models", "add", "m", "--model", "openai/gpt-4o", "--param", "api_key=sk-canary-1234567890")
    off = await refused(run, *add, STORE_MODEL_IN_DB=None)
    assert "store_model_in_db: true" in off
    assert "--config" in off
    keyless = await refused(run, *add, LITELLM_SALT_KEY=None)
    assert "LITELLM_SALT_KEY is not set" in keyless
    assert "canary" not in off + keyless
    assert not (tmp_path / "data").exists(), "no key was made that no gateway has"
    assert "The model cannot be used" in await refused(run, "models", "add", "m", "--model", "nobody/x")


async def test_names_that_mean_several(run: Run, database_url: str) -> None:
    one = (await run("teams", "create", "--alias", "twin", "-q")).stdout.strip()
    two = (await run("teams", "create", "--alias", "twin", "-q")).stdout.strip()
    await run("teams", "create", "--alias", "twins", "-q")
    message = await refused(run, "teams", "show", "twin")
    assert "'twin' is the name of 2 teams" in message
    assert one in message
    assert two in message
    await run("teams", "create", "--alias", one, "-q")  # in vain
    assert (await told(run, "teams", "show", one))["team_info"]["team_alias"] == "twin"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("keys", "create", "--max-budget", "nan"), 2, "not an amount in US dollars"),
        (("keys", "create", "--rpm", "-1"), 2, "--rpm"),
        (("keys", "create", "--set", "no_such_field=1"), 2, "There is no field 'no_such_field'"),
        (("keys", "create", "--set", "novalue"), 2, "NAME=VALUE"),
        (("keys", "create", "--clear", "nope"), 2, "There is no field 'nope'"),
        (("keys", "create", "--set", "tpm_limit=many"), 1, "tpm_limit: Expected `int | null`"),
        (("keys", "create", "--duration", "soon"), 1, "duration"),
        (("keys", "create", "--max-budget", "-1"), 1, "max_budget"),
        (("keys", "create", "--team", "nobody"), 1, "there is no team 'nobody'. `bursar teams list`"),
        (("keys", "update", "nobody", "--rpm", "1"), 1, "there is no key 'nobody'"),
        (("keys", "block", "sk-canary-1234567890"), 1, "there is no key 'sk-...7890'"),
        (("keys", "list", "--sort-by", "nonsense"), 1, "sort_by"),
        (("teams", "update", "nobody"), 2, "Say what to change"),
        (("teams", "delete", "nobody", "--yes"), 1, "there is no team"),
        (("users", "show", "nobody@example.org"), 1, "there is no user"),
        (("users", "create", "--set", "password=short"), 1, "password"),
        (("budgets", "delete", "nobody", "--yes"), 1, "Budget not found"),
        (("models", "add", "x"), 2, "--model"),
        (("keys", "create", "--alias", "\udcff"), 1, "not UTF-8"),
    ],
)
async def test_what_is_wrong_is_said(
    run: Run, database_url: str, arguments: tuple[str, ...], code: int, word: str
) -> None:
    message = await refused(run, *arguments, code=code)
    assert word in message
    assert "canary" not in message


async def test_one_name_once(run: Run, database_url: str) -> None:
    await run("keys", "create", "--alias", "mine")
    assert "mine" in await refused(run, "keys", "create", "--alias", "mine")
    await run("budgets", "create", "--id", "b")
    assert "'b' already exists" in await refused(run, "budgets", "create", "--id", "b")


async def test_what_a_terminal_would_obey_is_not_printed(run: Run, database_url: str) -> None:
    await run("teams", "create", "--alias", "red\x1b[31m\nteam")
    shown = await run("teams", "list")
    assert "\x1b" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 2


async def test_pages(run: Run, database_url: str) -> None:
    for number in range(3):
        await run("budgets", "create", "--id", str(number))
        await run("keys", "create", "--alias", f"key-{number}")
    page = await run("keys", "list", "--size", "2", "--page", "2", "--sort-by", "created_at")
    assert [cells[0] for cells in lines_of(page)[1:]] == ["key-0"]
    assert page.stderr.startswith("1 of 3")


async def test_bounds_of_the_configuration_hold(run: Run, database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "bounds.yaml"
    config.write_text("model_list: []\nlitellm_settings: {upperbound_key_generate_params: {max_budget: 5}}\n")
    message = await refused(run, "keys", "create", "--max-budget", "6", "-c", str(config))
    assert "max_budget" in message
    await run("keys", "create", "--max-budget", "5", "-c", str(config))


async def test_a_database_that_is_not_ready(run: Run, empty_database: str) -> None:
    assert "bursar db migrate" in await refused(run, "keys", "list", DATABASE_URL=empty_database)
    away = await refused(run, "keys", "list", DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert away.startswith("Error: ")
    nowhere = await refused(run, "keys", "list", DATABASE_URL=None)
    assert "there is no embedded database" in nowhere


GROUPS = ("keys", "teams", "users", "budgets", "models")
PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def commands() -> Iterator[tuple[str, str]]:
    """All that this page is about."""
    for name in GROUPS:
        group = main.commands[name]
        assert isinstance(group, click.Group)
        yield from ((name, command) for command in group.commands)


def examples(text: str) -> Iterator[list[str]]:
    """The words of each command in a text, without what the shell keeps for itself."""
    for line in re.findall(rf"bursar ((?:{'|'.join(GROUPS)}) [a-z][^\n|<>)]*)", text):
        yield shlex.split(line)


def check(group: str, name: str, *words: str) -> None:
    """Such a command can be typed."""
    command = main.commands[group]
    assert isinstance(command, click.Group)
    with click.Context(command.commands[name]) as context:
        command.commands[name].parse_args(context, [*words])


def test_the_page_shows_every_command() -> None:
    shown = list(examples("".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))))
    assert {(group, name) for group, name, *_ in shown} == set(commands())
    for words in shown:
        check(*words)


@pytest.mark.parametrize(("group", "name"), list(commands()))
def test_examples_can_be_typed(group: str, name: str) -> None:
    owner = main.commands[group]
    assert isinstance(owner, click.Group)
    found = list(examples(owner.commands[name].help or ""))
    assert found
    for words in found:
        check(*words)
