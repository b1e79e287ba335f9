"""Every query in the documentation runs, on books that hold all it asks about, and returns what was billed."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bursar.oracle.bill import BillLine
from bursar.oracle.serving import RunningOracle
from bursar.store.auditor import Auditor
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway, Row
from tests.gateway.trade import Sale, by, cost, trade

DOCS = Path(__file__).parents[2] / "docs"
MODELS = """
- model_name: nobody
  litellm_params: {{model: openai/nobody-knows-it, api_base: '{base}', api_key: '{key}'}}
"""
PLANTED = """
INSERT INTO bursar.quarantine (reason, journal_id, sequence, content)
SELECT 'planted', journal_id, 1, '[]' FROM bursar.journals LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class World:
    """What has happened."""

    sales: list[Sale]
    bill: list[BillLine]
    books: Books

    @property
    def total(self) -> int:
        """Nano-dollars of all that was billed, but for what the books can only estimate or have no price for."""
        return sum(line.cost_nano_usd for line in self.bill if not _not_exact(line))


def _not_exact(line: BillLine) -> bool:
    return "usage=none" in line.model or line.model == "nobody-knows-it"


@pytest.fixture
async def world(start_gateway: StartGateway, oracle: RunningOracle, books: Books, database_url: str) -> World:
    """The usual trade, and: a call whose usage nobody reports, one without a price, one that costs far more than it
    could, and something in quarantine, which the auditor has found."""
    gateway = await start_gateway(models=MODELS)
    sales = await trade(gateway, oracle, books)
    for model in ("at/usage=none", "nobody"):
        assert (await gateway.chat(model)).status == 200
    await _pass_a_limit(gateway)
    await books.posted()
    await books.fetch(PLANTED)
    database = Database(DatabaseOptions({"dsn": database_url}))
    assert await Auditor(database, interval_s=0).look()
    await database.close()
    return World(sales, oracle.bill(), books)


async def _pass_a_limit(gateway: Gateway) -> None:
    key = await gateway.new_key(max_budget=0.01, key_alias="tight")
    assert (await gateway.chat("at/prompt=100000&tokens=1", key=key, max_tokens=1)).status == 200


_HEADING_OR_SQL = re.compile(r"^#+ (?P<heading>[^\n]+)$|^```sql\n(?P<sql>.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def recipes(page: str) -> list[tuple[str, str]]:
    """The SQL of a page, each block under its heading; of two under one, the second follows the first."""
    found: list[tuple[str, str]] = []
    heading = ""
    for match in re.finditer(
        r"^#+ (?P<heading>[^\n]+)$|^```sql\n(?P<sql>.*?)^```$", page, flags=re.MULTILINE | re.DOTALL
    ):
        if match["sql"] is None:
            heading = match["heading"]
        elif found and found[-1][0] == heading:
            found[-1] = (heading, found[-1][1] + match["sql"])
        else:
            found.append((heading, match["sql"]))
    return found


PAGE = recipes((DOCS / "sql.md").read_text())


def nano(usd: float | Decimal) -> int:
    return round(usd * 10**9)


async def ask(world: World, sql: str, prepare: Callable[[Any], Any] | None = None) -> list[Row]:
    """Run a recipe, statement by statement, and take back what it did; what its last statement returns."""
    rows: list[Row] = []
    await world.books.fetch("BEGIN")
    try:
        for statement in filter(None, (part.strip() for part in sql.split(";"))):
            rows = await world.books.fetch(statement)
            if statement.startswith("CREATE TEMPORARY") and prepare is not None:
                await prepare(world)
    finally:
        await world.books.fetch("ROLLBACK")
    return rows


async def _invoice(world: World) -> None:
    """The bill, as a provider would export it, with a line more that nobody knows of."""
    lines = {line.id: line.cost_nano_usd for line in world.bill} | {"chatcmpl-stranger": 5}
    for name, amount in lines.items():
        await world.books.fetch("INSERT INTO invoice VALUES ($1, $2)", name, Decimal(amount) / 10**9)


Check = Callable[[World, list[Row]], None]
CHECKS: dict[str, Check] = {}


def returns(heading: str) -> Callable[[Check], Check]:
    """What the recipe under `heading` must return."""

    def register(check: Check) -> Check:
        CHECKS[heading] = check
        return check

    return register


def _of(world: World, user: str) -> int:
    return cost(sale for sale in world.sales if sale.user == user)


@returns("By key, this month")
def _(world: World, rows: list[Row]) -> None:
    found = {row["alias"]: nano(row["usd"]) for row in rows}
    assert found["ann's"] == _of(world, "ann")
    assert found["bob's"] == _of(world, "bob")


@returns("By team and day")
def _(world: World, rows: list[Row]) -> None:
    found = by(rows, lambda row: row["team"])
    assert sum(nano(row["usd"]) for row in found["t"]) == _of(world, "ann")
    assert (sum(row["calls"] for row in found["t"]), sum(row["failed"] for row in found["t"])) == (5, 1)
    assert set(found) == {"t", "(no team)"}


@returns("By user")
def _(world: World, rows: list[Row]) -> None:
    found = {row["user"]: row for row in rows}
    for user in ("ann", "bob", "customer"):
        assert nano(found[user]["usd"]) == _of(world, user)
    assert found["bob"]["tokens"] == sum(sale.tokens for sale in world.sales if sale.user == "bob")


@returns("By end user")
def _(world: World, rows: list[Row]) -> None:
    assert [(row["end_user_id"], nano(row["usd"])) for row in rows] == [("customer", cost(world.sales))]


@returns("By tag")
def _(world: World, rows: list[Row]) -> None:
    assert [(row["tag"], nano(row["usd"]), row["calls"]) for row in rows] == [("red", _of(world, "bob"), 3)]


@returns("By model, as the client asked for it and as it was served")
def _(world: World, rows: list[Row]) -> None:
    for model, sales in by(world.sales, lambda sale: sale.model).items():
        [row] = [row for row in rows if row["served_by"] == model]
        assert (row["calls"], nano(row["usd"])) == (len(sales), cost(sales))
        rate = cost(sales) / sum(sale.tokens for sale in sales) / 1000
        assert float(row["usd_per_million_tokens"]) == pytest.approx(rate, abs=1e-4)


@returns("By whatever callers say of themselves")
def _(world: World, rows: list[Row]) -> None:
    expected = by([sale for sale in world.sales if sale.agent], lambda sale: (sale.agent, sale.session))
    found = {(row["agent"], row["session"]): nano(row["usd"]) for row in rows}
    assert found == {key: cost(sales) for key, sales in expected.items()}


@returns("By day, exact")
def _(world: World, rows: list[Row]) -> None:
    booked = sum(row["nano_usd"] for row in rows)
    assert booked > world.total  # the estimate
    assert sum(row["usd"] for row in rows) * 10**9 == booked


@returns("By key, exact")
def _(world: World, rows: list[Row]) -> None:
    amounts = {row["usd"] * 10**9 for row in rows}
    assert {_of(world, "ann"), _of(world, "bob")} <= amounts


@returns("By key, as LiteLLM's dashboards ask")
def _(world: World, rows: list[Row]) -> None:
    found = {row["key_alias"]: nano(row["total_spend"]) for row in rows}
    assert found["ann's"] == _of(world, "ann")
    assert found["bob's"] == _of(world, "bob")
    assert list(found.values()) == sorted(found.values(), reverse=True)


@returns("By day, user and key, as LiteLLM's dashboards ask")
def _(world: World, rows: list[Row]) -> None:
    for user in ("ann", "bob"):
        assert sum(nano(row["spend"]) for row in rows if row["user"] == user) == _of(world, user)
    assert {row["key_alias"] for row in rows if row["user"] == "ann"} == {"ann's"}


@returns("All of them")
def _(world: World, rows: list[Row]) -> None:
    [row] = rows
    all_of_it = {nano(row[name]) for name in ("days", "keys_by_day", "keys", "models")}
    assert len(all_of_it) == 1
    assert all_of_it.pop() > world.total  # the estimate
    assert nano(row["end_users"]) == cost(world.sales)
    assert nano(row["tags"]) == _of(world, "bob")


@returns("Estimated, and why")
def _(world: World, rows: list[Row]) -> None:
    [row] = rows
    assert row["model"] == "openai/oracle?usage=none"
    assert json.loads(row["flags"]) == ["missing", "usage_estimated"]


@returns("How much of the spend rests on what")
def _(world: World, rows: list[Row]) -> None:
    found = {row["evidence"]: row for row in rows}
    assert found["provider"]["usd"] * 10**9 == world.total
    assert found["estimated"]["attempts"] == found["unpriced"]["attempts"] == 1


@returns("Models without a price")
def _(world: World, rows: list[Row]) -> None:
    assert [(row["model_group"], row["calls"]) for row in rows] == [("nobody", 1)]


@returns("Failures, by what went wrong")
def _(world: World, rows: list[Row]) -> None:
    assert [(row["code"], row["calls"], row["usd"]) for row in rows] == [("500", 1, 0.0)]


@returns("Under way at this moment")
def _(world: World, rows: list[Row]) -> None:
    assert rows == []


@returns("By day and model")
def _(world: World, rows: list[Row]) -> None:
    exact = [line for line in world.bill if not _not_exact(line)]
    expected = by(exact, lambda line: line.model)
    for model, lines in expected.items():
        found = [row for row in rows if row["model"] == model]
        assert sum(row["usd"] for row in found) * 10**9 == sum(line.cost_nano_usd for line in lines)
        assert sum(row["attempts"] for row in found) == len(lines)
        assert sum(row["prompt_tokens"] for row in found) == sum(line.prompt_tokens for line in lines)
        assert sum(row["completion_tokens"] for row in found) == sum(line.completion_tokens for line in lines)


@returns("Line by line")
def _(world: World, rows: list[Row]) -> None:
    assert {row["evidence"] for row in rows} == {"estimated", "unpriced", None}
    [stranger] = [row for row in rows if row["evidence"] is None]
    assert (stranger["id"], stranger["booked"]) == ("chatcmpl-stranger", None)


@returns("Under which prices")
def _(world: World, rows: list[Row]) -> None:
    assert all((row["price"] is None) == (row["model"] == "nobody-knows-it") for row in rows)
    assert all(row["first_used"] <= row["last_used"] for row in rows)


@returns("What is left, and what of it is lent out")
def _(world: World, rows: list[Row]) -> None:
    tight, ann = rows
    assert (ann["scope"], ann["spent"] * 10**9) == ("ann's", _of(world, "ann"))
    assert ann["usd"] == ann["spent"] + ann["lent_out"] + ann["free"] == 5
    assert (tight["scope"], tight["usd"]) == ("tight", Decimal("0.01"))
    assert tight["free"] < 0


@returns("Who has borrowed")
def _(world: World, rows: list[Row]) -> None:
    assert all(row["leased"] > row["spent"] and row["ended_at"] is None for row in rows)


@returns("What passed its limit")
def _(world: World, rows: list[Row]) -> None:
    [row] = rows
    assert (row["usd"], row["spent"] * 10**9, row["without_a_hold"]) == (Decimal("0.01"), _dear(world), 0)


@returns("Which calls did")
def _(world: World, rows: list[Row]) -> None:
    [row] = rows
    assert row["cost"] * 10**9 == _dear(world)
    assert row["held"] < row["cost"]
    assert row["request_id"] in {line.id for line in world.bill}


def _dear(world: World) -> int:
    [line] = [line for line in world.bill if line.prompt_tokens == 100_000]
    return line.cost_nano_usd


@returns("What the auditor found")
def _(world: World, rows: list[Row]) -> None:
    [row] = rows
    assert [difference["check"] for difference in row["differences"]] == ["quarantine"]
    assert row["entries"] >= 2 * len(world.bill)


@returns("Rows beside entries")
def _(world: World, rows: list[Row]) -> None:
    assert rows == []


@returns("Totals that must be one")
def _(world: World, rows: list[Row]) -> None:
    assert rows[0]["entries"] * 10**9 > world.total
    assert rows[0]["apart"] < Decimal("1e-12")


@returns("Set aside")
def _(world: World, rows: list[Row]) -> None:
    assert [(row["reason"], row["content"]) for row in rows] == [("planted", "[]")]


@returns("How far journals are carried over")
def _(world: World, rows: list[Row]) -> None:
    assert len(rows) == 1
    assert rows[0]["posted_sequence"] > 0


async def test_recipes(world: World) -> None:
    assert [heading for heading, _ in PAGE] == list(CHECKS), "each recipe has its check, in the page's order"
    for heading, sql in PAGE:
        rows = await ask(world, sql, prepare=_invoice)
        try:
            CHECKS[heading](world, rows)
        except (AssertionError, KeyError, ValueError) as error:
            raise AssertionError(f"{heading}: {error}\n{rows}") from error


@pytest.mark.parametrize("page", [page.name for page in sorted(DOCS.rglob("*.md")) if "```sql" in page.read_text()])
async def test_queries_on_other_pages_run(gateway: Gateway, books: Books, database_url: str, page: str) -> None:
    await gateway.chat(metadata={"department": "sales"})
    await books.posted()
    connection = await asyncpg.connect(database_url)
    for heading, sql in recipes((DOCS / page).read_text()):
        undone = connection.transaction()
        await undone.start()
        for statement in filter(None, (part.strip() for part in sql.split(";"))):
            assert await connection.fetch(statement) is not None, heading
        await undone.rollback()
    await connection.close()
