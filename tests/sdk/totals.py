"""The totals of a database beside what they must be."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import asyncpg

_BY_DAY = """
SELECT {what} AS whose, model, sum(successful_requests)::int AS calls, sum(failed_requests)::int AS failed,
    sum(prompt_tokens)::int AS prompt, sum(completion_tokens)::int AS completion,
    sum(round(spend * 1e9))::bigint AS nano
FROM "{table}" GROUP BY 1, 2
"""
_ROWS = """
SELECT api_key, "user", team_id, end_user, tag, model, "startTime"::date::text AS day, status = 'success' AS good,
    prompt_tokens, completion_tokens, round(spend * 1e9)::bigint AS nano
FROM "LiteLLM_SpendLogs", jsonb_array_elements_text(request_tags) AS tag
"""
_DAILY = (
    ("LiteLLM_DailyUserSpend", "user_id", "user"),
    ("LiteLLM_DailyUserSpend", "api_key", "api_key"),
    ("LiteLLM_DailyUserSpend", "date", "day"),
    ("LiteLLM_DailyTeamSpend", "team_id", "team_id"),
    ("LiteLLM_DailyTeamSpend", "api_key", "api_key"),
    ("LiteLLM_DailyTagSpend", "tag", "tag"),
    ("LiteLLM_DailyEndUserSpend", "end_user_id", "end_user"),
)
_SPENT = (
    ("LiteLLM_VerificationToken", "token", "api_key"),
    ("LiteLLM_UserTable", "user_id", "user"),
    ("LiteLLM_TeamTable", "team_id", "team_id"),
    ("LiteLLM_EndUserTable", "user_id", "end_user"),
)


class Total(NamedTuple):
    """Of some calls."""

    calls: int = 0
    """That were answered."""
    failed: int = 0
    prompt: int = 0
    completion: int = 0
    nano: int = 0
    """What they cost, in nano-dollars."""

    def plus(self, more: "Total") -> "Total":
        """And some more."""
        return Total(*(a + b for a, b in zip(self, more, strict=True)))


class Row(NamedTuple):
    """One call, as a log row has it, and as a provider's bill and its caller would."""

    api_key: str
    user: str
    team_id: str
    end_user: str
    tag: str
    model: str
    good: bool
    prompt: int
    completion: int
    nano: int
    day: str = ""


def totals(rows: Iterable[Row], name: str) -> dict[tuple[str, str], Total]:
    """By what is called `name` of a row, and by model; of failures, which may name no model, without it."""
    found: dict[tuple[str, str], Total] = defaultdict(Total)
    for row in rows:
        key = (getattr(row, name), row.model if row.good else "")
        found[key] = found[key].plus(Total(int(row.good), int(not row.good), row.prompt, row.completion, row.nano))
    return dict(found)


async def log_rows(connection: Any) -> list[Row]:
    """Of all calls. Each of them has one tag."""
    return [
        Row(
            api_key=row["api_key"],
            user=row["user"],
            team_id=row["team_id"],
            end_user=row["end_user"],
            tag=row["tag"],
            model=row["model"],
            good=row["good"],
            prompt=row["prompt_tokens"],
            completion=row["completion_tokens"],
            nano=row["nano"],
            day=row["day"],
        )
        for row in await connection.fetch(_ROWS)
    ]


async def check_totals(connection: asyncpg.Connection, rows: list[Row]) -> None:
    """Days, keys, users, teams, tags and end users have what the log rows add up to, to the nano-dollar."""
    for table, column, name in _DAILY:
        found: dict[tuple[str, str], Total] = {}
        for row in await connection.fetch(_BY_DAY.format(table=table, what=f'"{column}"')):
            whose = (row["whose"], row["model"] if row["calls"] else "")
            found[whose] = found.get(whose, Total()).plus(Total(*(row[field] for field in Total._fields)))
        assert found == totals(rows, name), (table, column)
    for table, column, name in _SPENT:
        spent = dict(await connection.fetch(f'SELECT "{column}", round(spend * 1e9)::bigint FROM "{table}"'))
        owed: dict[str, int] = defaultdict(int)
        for row in rows:
            owed[getattr(row, name)] += row.nano
        assert {whose: nano for whose, nano in spent.items() if nano} == owed, table
