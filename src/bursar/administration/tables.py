"""Answers of the management API as people read them: aligned, money in US dollars, times short, ids whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from bursar.domain.money import nano_from_usd, usd_text

Row = Mapping[str, object]

_EMPTY: tuple[object, ...] = (None, "", [], {})


@dataclass(slots=True, frozen=True)
class Column:
    """One column: its title, and what stands in it."""

    title: str
    cell: Callable[[Row], str]
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """`rows` under the titles of `columns`."""
    cells = [[column.title for column in columns]]
    cells += [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in cells
    )


def description(row: Row) -> str:
    """All that a row says, a line each; what is empty is left out."""
    said = {name: _said(name, value) for name, value in row.items() if value not in _EMPTY and value is not False}
    width = max((len(name) for name in said), default=0)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in said.items())


def titled(title: str, name: str) -> Column:
    """A text, as it is."""
    return Column(title, lambda row: plain(row.get(name)))


def number(title: str, name: str) -> Column:
    """A count."""
    return Column(title, lambda row: plain(row.get(name)), right=True)


def dollars(title: str, name: str) -> Column:
    """An amount in US dollars."""
    return Column(title, lambda row: usd(row.get(name)), right=True)


def moment(title: str, name: str) -> Column:
    """A time, in UTC, to the minute."""
    return Column(title, lambda row: short_time(row.get(name)))


def words(title: str, name: str) -> Column:
    """A list."""
    return Column(title, lambda row: listed(row.get(name)))


def state(word: str, name: str) -> Column:
    """`word` where it is so, else nothing."""
    return Column("state", lambda row: word if row.get(name) is True else "")


def size_of(title: str, name: str) -> Column:
    """How many there are in a list."""
    return Column(title, lambda row: str(len(_rows(row.get(name)))), right=True)


def _rows(value: object) -> list[Row]:
    return value if isinstance(value, list) else []


def _row(value: object) -> Row:
    return value if isinstance(value, dict) else {}


def _within(outer: str, column: Column) -> Column:
    """The same of a row within the row."""
    return Column(column.title, lambda row: column.cell(_row(row.get(outer))), column.right)


def _per_million(title: str, name: str) -> Column:
    """A price of one token, as US dollars for a million."""

    def cell(row: Row) -> str:
        price = row.get(name)
        return usd(round(price * 1_000_000, 9)) if isinstance(price, int | float) else ""

    return Column(title, cell, right=True)


MODEL_COLUMNS = (
    titled("name", "model_name"),
    _within("litellm_params", titled("model", "model")),
    _within("model_info", titled("provider", "litellm_provider")),
    _within("model_info", _per_million("in USD", "input_cost_per_token")),
    _within("model_info", _per_million("out USD", "output_cost_per_token")),
    Column("kept in", lambda row: "database" if _row(row.get("model_info")).get("db_model") is True else "file"),
    _within("model_info", titled("id", "id")),
    _within("model_info", titled("cannot be used", "error")),
)
KEY_COLUMNS = (
    titled("alias", "key_alias"),
    titled("key", "key_name"),
    titled("user", "user_id"),
    titled("team", "team_id"),
    dollars("spend USD", "spend"),
    dollars("of USD", "max_budget"),
    titled("each", "budget_duration"),
    moment("expires (UTC)", "expires"),
    state("blocked", "blocked"),
    titled("hash", "token"),
)
TEAM_COLUMNS = (
    titled("alias", "team_alias"),
    titled("id", "team_id"),
    titled("organization", "organization_id"),
    size_of("members", "members_with_roles"),
    dollars("spend USD", "spend"),
    dollars("of USD", "max_budget"),
    titled("each", "budget_duration"),
    state("blocked", "blocked"),
    words("models", "models"),
)
USER_COLUMNS = (
    titled("e-mail", "user_email"),
    titled("name", "user_alias"),
    titled("role", "user_role"),
    number("keys", "key_count"),
    dollars("spend USD", "spend"),
    dollars("of USD", "max_budget"),
    titled("each", "budget_duration"),
    titled("id", "user_id"),
)
BUDGET_COLUMNS = (
    titled("id", "budget_id"),
    dollars("USD", "max_budget"),
    dollars("soft USD", "soft_budget"),
    titled("each", "budget_duration"),
    moment("next (UTC)", "budget_reset_at"),
    number("rpm", "rpm_limit"),
    number("tpm", "tpm_limit"),
    number("parallel", "max_parallel_requests"),
)
_MEMBER_COLUMNS = (
    titled("member", "user_id"),
    titled("e-mail", "user_email"),
    titled("role", "role"),
    dollars("spend USD", "spend"),
    _within("litellm_budget_table", dollars("of USD", "max_budget")),
    _within("litellm_budget_table", titled("each", "budget_duration")),
)


def team_description(answer: Row) -> str:
    """`/team/info`: the team, its members with what they spend in it, its keys."""
    team = _row(answer["team_info"])
    spending = {row.get("user_id"): row for row in _rows(answer["team_memberships"])}
    members = [{**spending.get(one.get("user_id"), {}), **one} for one in _rows(team.get("members_with_roles"))]
    own = {name: value for name, value in team.items() if name not in ("members_with_roles", "members", "admins")}
    return _chapters(description(own), table(_MEMBER_COLUMNS, members), table(KEY_COLUMNS, _rows(answer["keys"])))


def user_description(answer: Row) -> str:
    """`/user/info`: the user, his teams and keys."""
    user = {name: value for name, value in _row(answer["user_info"]).items() if name != "teams"}
    return _chapters(
        description(user or {"user_id": answer["user_id"]}),
        table(TEAM_COLUMNS, _rows(answer["teams"])),
        table(KEY_COLUMNS, _rows(answer["keys"])),
    )


def _chapters(first: str, *tables: str) -> str:
    """Tables without rows are left out."""
    return "\n\n".join([first, *(one for one in tables if "\n" in one)])


def plain(value: object) -> str:
    """On one line, and with nothing that a terminal obeys: aliases are whatever somebody typed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    found = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in found)


def usd(value: object) -> str:
    """An amount, exact to the nano-dollar, with cents at least."""
    if not isinstance(value, int | float):
        return ""
    whole, _, fraction = usd_text(nano_from_usd(value)).partition(".")
    return f"{whole}.{fraction:0<2}"


def short_time(value: object) -> str:
    """A time in UTC, to the minute; of text that is none, the text."""
    if not isinstance(value, str):
        return ""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return plain(value)
    return f"{at if at.tzinfo is None else at.astimezone(UTC):%Y-%m-%d %H:%M}"


def listed(value: object) -> str:
    """A list, divided by commas."""
    return ", ".join(plain(one) for one in value) if isinstance(value, list) else ""


_AMOUNTS = ("spend", "total_spend", "max_budget", "soft_budget")


def _said(name: str, value: object) -> str:
    if name in _AMOUNTS:
        return f"{usd(value)} USD"
    if isinstance(value, str) and name.endswith(("_at", "_active", "expires")):
        return f"{short_time(value)} UTC"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return listed(value)
    return plain(value)
