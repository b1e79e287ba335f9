"""The connection to PostgreSQL: one small pool for each worker, and one word for every way it can be away."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bursar.domain.errors import StoreError, StoreTooSlow, StoreUnavailable
from bursar.store.named_sql import load_named_sql

DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_POOL_MAX = 5
_COMMAND_TIMEOUT_S = 30.0
_STATEMENT_MAX_CHARS = 64 * 1024
"""Longer ones are parsed and planned each time. The driver's own bound is below our longest, that of the totals, where
that takes as long as running it four times."""
_IDLE_IN_TRANSACTION_S = 10
_STALLED_S = 15.0

_SQL = load_named_sql("sessions")
_APPLICATION = "bursar"

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server ended the connection at the very moment the statement began
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated by the administrator
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.ReadOnlySQLTransactionError,  # a replica, or a disk that was made read-only
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InvalidAuthorizationSpecificationError,  # the password is being changed
    asyncpg.InvalidCatalogNameError,  # the database is being restored
)
"""Failures of the moment: the same statement may succeed later."""

_CUT = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,  # what was the primary
)
"""Among them: the connection was dead, or was ended under the statement. On another one it may succeed at once."""

_SLOW = (TimeoutError, asyncpg.QueryCanceledError)
"""Among them: it took longer than we, or the server's own limit, allow."""


@dataclass(slots=True, frozen=True)
class DatabaseOptions:
    """How to reach a database."""

    address: Mapping[str, object] = field(repr=False)
    """Where and as whom, as asyncpg's arguments: `dsn`, or `host`, `port`, `user`, `password`, `database`, `ssl`."""
    schema: str | None = None
    """The schema of the LiteLLM-named tables; None for the server's search path."""
    pool_max: int = DEFAULT_POOL_MAX
    behind_pgbouncer: bool = False
    """A pooler in transaction mode: no prepared statements, no session state."""
    planned_once: bool = True
    """A connection plans a statement once, whatever its parameters: look-ups and the books know their indexes, and
    planning the totals takes longer than running them."""
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    command_timeout_s: float = _COMMAND_TIMEOUT_S
    """Of one statement."""


class Database:
    """A pool that is made at first use and survives the server's absence."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self._pool: Any = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection (asyncpg's) for one use.

        Raises StoreUnavailable for every failure of the moment, whether connecting or in the body; other database
        errors pass as asyncpg's own.
        """
        try:
            pool = self._pool or await self._make_pool()
            async with pool.acquire(timeout=self._options.connect_timeout_s) as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:
                    connection.terminate()  # it is out of step with the server, and would go back to the pool
                    raise
        except _AWAY as error:
            if self._pool is not None and isinstance(error, _CUT):
                await self._pool.expire_connections()  # the others have hardly fared better
            kind = StoreTooSlow if isinstance(error, _SLOW) else StoreUnavailable
            raise kind(away(error)) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection inside a transaction; raises as `connection` does."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def read_row(self, query: str, *arguments: object) -> Any:  # noqa: ANN401  # asyncpg is not typed
        """The first row of a query that changes nothing, or None. Asked once more when its connection was cut.

        Raises as `connection` does.
        """
        try:
            async with self.connection() as connection:
                return await connection.fetchrow(query, *arguments)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, _CUT):
                raise
        async with self.connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def _make_pool(self) -> Any:  # noqa: ANN401  # asyncpg is not typed
        async with self._lock:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=self._options.pool_max,
                    command_timeout=self._options.command_timeout_s,
                    reset=_leave_as_it_is,
                    **connect_arguments(self._options),
                )
            return self._pool

    async def close(self) -> None:
        """End all connections, within a moment."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
            self._pool = None


async def _leave_as_it_is(_connection: object) -> None:
    """A connection goes back to the pool as it is: nobody here sets session state, and open transactions are ended by
    asyncpg before this. Its own reset is one more exchange with the server for each use."""


async def end_stalled(connection: Any) -> None:  # noqa: ANN401  # asyncpg is not typed
    """End sessions of ours, whichever process's, that stopped within a statement and hold what they had locked.

    Only a process that is frozen, or cut off, leaves one for so long; if it wakes up, it connects again.
    """
    await connection.execute(_SQL["end_stalled"], _APPLICATION, _STALLED_S)


async def connect(options: DatabaseOptions) -> Any:  # noqa: ANN401  # asyncpg is not typed
    """One connection of its own, for migrations and LISTEN.

    Raises StoreUnavailable; StoreError: the server refuses us for good (password, no such database).
    """
    try:
        return await asyncpg.connect(**connect_arguments(options))
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise StoreError(f"the database refuses the connection: {error}. Check DATABASE_URL.") from error
    except _AWAY as error:
        raise StoreUnavailable(away(error)) from error


async def identify(connection: Any) -> str | None:  # noqa: ANN401  # asyncpg is not typed
    """Which database it is, however it is reached; None: the server does not say. A copy of its files says the same."""
    try:
        identity: str | None = await connection.fetchval(_SQL["identity"])
    except asyncpg.PostgresError:  # the role may not ask, or it is no PostgreSQL of the usual make
        return None
    return identity


def connect_arguments(options: DatabaseOptions) -> dict[str, Any]:
    """asyncpg's arguments for `options`."""
    arguments: dict[str, Any] = {**options.address, "timeout": options.connect_timeout_s}
    if options.behind_pgbouncer:
        arguments["statement_cache_size"] = 0
    else:
        arguments["max_cacheable_statement_size"] = _STATEMENT_MAX_CHARS
        settings = {
            "timezone": "UTC",
            "application_name": _APPLICATION,
            # A process that is frozen, or whose host is gone, in the middle of a transaction would hold its locks.
            # Where this timer does not run, `end_stalled` does it.
            "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION_S}s",
        }
        if options.planned_once:
            settings["plan_cache_mode"] = "force_generic_plan"
        if options.schema is not None:
            settings["search_path"] = options.schema
        arguments["server_settings"] = settings
    return arguments


def away(error: BaseException) -> str:
    """That the database is away, and why: without addresses or passwords."""
    if "unsupported startup parameter" in str(error):  # PgBouncer's words; it has no code of its own for that
        return f"PgBouncer refuses the connection: {error}. Add pgbouncer=true to the parameters of DATABASE_URL."
    return f"the database does not answer: {describe(error)}"


def describe(error: BaseException) -> str:
    """What went wrong, without addresses or passwords."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__
