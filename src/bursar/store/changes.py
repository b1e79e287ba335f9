"""What changed in the database, told by it: LISTEN on a connection of its own, reconnecting for ever.

A connection can be dead without anybody saying so, and a proxy can swallow what it does not understand. So a listener
tells itself something every few seconds. The database passes notifications on in the order of their commits: when its
own has come back, so has everything before it; when it does not, changes may have been missed.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from uuid import uuid4

import asyncpg

from bursar.domain.errors import StoreError, StoreUnavailable
from bursar.store.database import DatabaseOptions, connect, describe
from bursar.store.named_sql import load_named_sql

log = logging.getLogger(__name__)

_SQL = load_named_sql("sessions")
_RETRY_S = 1.0
_PROBE_INTERVAL_S = 3.0
_PROBE_TIMEOUT_S = 3.0
"""Together with `_RETRY_S` and connecting anew less than ten seconds: within those a change is found out."""


class ChangeListener:
    """Calls a handler for each notification, and `missed` when some may have been lost."""

    def __init__(
        self, options: DatabaseOptions, handlers: Mapping[str, Callable[[str], None]], missed: Callable[[], None]
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._missed = missed
        self.connected = False
        """Whether the connection stands, which is also the quickest news of the database's health."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except StoreError as error:
                log.warning("changes.not_listening reason=%s", error)
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        """Until the connection ends. Raises StoreError: there is none, or what is told does not come."""
        connection = await connect(self._options)
        ended = asyncio.Event()
        back = asyncio.Event()
        own = f"bursar_listener_{uuid4().hex}"
        try:
            connection.add_termination_listener(lambda _: ended.set())
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await connection.add_listener(own, lambda *_: back.set())
                for channel, handler in self._handlers.items():
                    await connection.add_listener(channel, lambda _c, _p, _ch, told, handler=handler: handler(told))
            self.connected = True
            self._missed()  # of what happened before we listened nothing is known
            while not await _happens(ended, within_s=_PROBE_INTERVAL_S):
                async with asyncio.timeout(_PROBE_TIMEOUT_S):
                    back.clear()
                    await connection.execute(_SQL["probe"], own)
                    await back.wait()
        except TimeoutError as error:
            raise StoreUnavailable("notifications do not arrive; DIRECT_URL has to lead past a pooler") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise StoreUnavailable(f"the connection broke: {describe(error)}") from error
        finally:
            self.connected = False
            connection.terminate()


async def _happens(event: asyncio.Event, *, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
