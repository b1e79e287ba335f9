"""Setting back all that keys and teams have spent: LiteLLM's columns, and the budget windows, in one transaction."""

from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = {**load_named_sql("spend_reset"), **load_named_sql("totals"), **load_named_sql("budgets")}


class PostgresSpendReset:
    """Logs, daily and lifetime totals stay as they are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reset(self) -> None:
        """See `ports.SpendReset.reset`."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock_totals"])  # posters move these rows and windows together
            freed = [row["window_id"] for row in await connection.fetch(_SQL["windows"])]
            await connection.execute(_SQL["keys"])
            await connection.execute(_SQL["teams"])
            if freed:
                await connection.execute(_SQL["tell"], freed, [], None)
