"""Setting back all that keys and teams have spent: LiteLLM's columns, and the budget windows, in one transaction."""

from bursar.domain.audit import Action, Actor, Change
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = {**load_named_sql("spend_reset"), **load_named_sql("totals"), **load_named_sql("budgets")}

_EVERY = "*"
"""What the log of changes names in place of each row."""


class PostgresSpendReset:
    """Logs, daily and lifetime totals stay as they are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reset(self, actor: Actor) -> None:
        """See `ports.budgets.SpendReset.reset`."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_totals"])  # posters move these rows and windows together
            freed = [row["window_id"] for row in await connection.fetch(_SQL["windows"])]
            before = await connection.fetchrow(_SQL["sums"])
            await connection.execute(_SQL["keys"])
            await connection.execute(_SQL["teams"])
            for table in ("LiteLLM_VerificationToken", "LiteLLM_TeamTable"):
                spend = {"spend": before[table]}
                change = Change(
                    action=Action.UPDATED,
                    table_name=table,
                    object_id=_EVERY,
                    actor=actor,
                    before=spend,
                    after={"spend": 0.0},
                )
                await record(connection, change)
            if freed:
                await connection.execute(_SQL["tell"], freed, [], None)
