"""Shares of rate limits in PostgreSQL: implements `ports.limits.RateStore`."""

from collections.abc import Sequence

from bursar.domain.ids import JournalId
from bursar.domain.limits import Scope, ScopeKind
from bursar.domain.rate_limits import LimitKind, RateKey
from bursar.domain.rate_shares import Answer, Outcome, Share, Statement
from bursar.store.database import Database
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("rate_shares")


class PostgresRateShares:
    """The tables `bursar.rate_workers`, `rate_shares` and `rate_epoch`. Each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def share(self, instance: JournalId, statement: Statement, *, lease_s: float) -> Answer:
        """See `ports.limits.RateStore.share`."""
        asks = statement.asks
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["share"],
                instance,
                statement.incarnation,
                statement.number,
                statement.fresh,
                statement.claim,
                statement.window,
                lease_s,
                [ask.key.scope.kind.value for ask in asks],
                [ask.key.scope.id for ask in asks],
                [ask.key.kind.value for ask in asks],
                [ask.limit for ask in asks],
                [ask.held for ask in asks],
                [ask.want for ask in asks],
                [ask.demand for ask in asks],
            )
        outcome = Outcome(row["outcome"])
        if outcome is not Outcome.OK:
            return Answer(outcome=outcome, at_s=row["at_s"], epoch=str(row["epoch"]))
        return Answer(
            outcome=outcome,
            at_s=row["at_s"],
            window=row["minute"],
            epoch=str(row["epoch"]),
            workers=row["workers"],
            shares=_shares(row["shares"], row["others_shares"], row["others_demands"]),
            short=tuple(
                zip(
                    map(_key, *(row[f"short_{name}"] or () for name in ("scope_kinds", "scope_ids", "limit_kinds"))),
                    _shares(row["short_shares"], row["short_others_shares"], row["short_others_demands"]),
                    strict=True,
                )
            ),
        )

    async def end(self, instance: JournalId) -> None:
        """See `ports.limits.RateStore.end`."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["end"], instance)


def _key(scope_kind: str, scope_id: str, limit_kind: str) -> RateKey:
    return RateKey(Scope(ScopeKind(scope_kind), scope_id), LimitKind(limit_kind))


def _shares(
    shares: Sequence[int] | None, others_shares: Sequence[int] | None, others_demands: Sequence[int] | None
) -> tuple[Share, ...]:
    return tuple(map(Share, shares or (), others_shares or (), others_demands or ()))
