"""Virtual keys in memory. After its first use a key costs no I/O; a change elsewhere is told, and found out anyway.

An entry is trusted while it is fresh, served once more while it is looked up again in the background, and forgotten
after ten minutes: a revoked key dies then even if the database is away. Unknown keys are remembered for a moment, so
that a client with a wrong key does not become a load on the database.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from bursar.domain.errors import StoreError
from bursar.domain.ids import KeyHash
from bursar.domain.principals import Principal
from bursar.ports.keys import KeyStore
from bursar.tasks import TaskOwner

log = logging.getLogger(__name__)

ALL_KEYS = "*"
"""In place of a hash, where a change concerns more keys than are worth naming."""

_MAX_AGE_S = 600.0
_UNKNOWN_AGE_S = 5.0
_KEYS_MAX = 200_000
_SAME_MOMENT_S = 0.1
_CHANGES_MAX = 1_000


class _Known(msgspec.Struct, frozen=True, gc=False):
    principal: Principal | None
    fetched_s: float


class Directory:
    """Key hash → principal."""

    def __init__(self, store: KeyStore, tasks: TaskOwner, *, clock: Callable[[], float], fresh_s: float = 60.0) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._fresh_s = fresh_s
        self._known: dict[KeyHash, _Known] = {}
        self._older: dict[KeyHash, _Known] = {}
        """What was known before `_known` had filled up; two plain dictionaries are half as large as one in order."""
        self._refreshing: set[KeyHash] = set()
        self._now_s = 0.0
        self._fetching: dict[KeyHash, asyncio.Future[Principal | None]] = {}
        self._changes = 0
        self._changed: OrderedDict[KeyHash, int] = OrderedDict()
        """Key → number of its last change, for the keys that changed last."""
        self._all_changed = 0
        """No key has changed since the change of this number, other than those in `_changed`."""

    def recall(self, key: KeyHash) -> Principal | None:
        """Who `key` is, if memory says so."""
        known = self._known.get(key) or self._older.get(key)
        if known is None or known.principal is None:
            return None
        age = self._clock() - known.fetched_s
        if age > _MAX_AGE_S:
            self._drop(key)
            return None
        if age > self._fresh_s and key not in self._refreshing:
            self._refreshing.add(key)
            self._tasks.start(self._refresh(key))
        return known.principal

    async def find(self, key: KeyHash) -> Principal | None:
        """Who `key` is; None: nobody. One look-up serves all who ask meanwhile.

        Raises StoreUnavailable.
        """
        if (principal := self.recall(key)) is not None:
            return principal
        known = self._known.get(key) or self._older.get(key)
        if known is not None and self._clock() - known.fetched_s <= _UNKNOWN_AGE_S:
            return None
        while (fetching := self._fetching.get(key)) is not None:
            try:
                return await asyncio.shield(fetching)
            except asyncio.CancelledError:
                if not fetching.cancelled() or _is_cancelled():
                    raise
                # Whoever was asking is gone: one of those who wait asks anew.
        return await self._fetch(key)

    async def _fetch(self, key: KeyHash) -> Principal | None:
        waiting: asyncio.Future[Principal | None] = asyncio.get_running_loop().create_future()
        self._fetching[key] = waiting
        changes = self._changes
        try:
            principal = await self._store.find(key)
        except Exception as error:
            waiting.set_exception(error)
            waiting.exception()  # whoever waits sees it; if nobody does, that is no news
            raise
        except BaseException:
            waiting.cancel()
            raise
        finally:
            if self._fetching.get(key) is waiting:
                del self._fetching[key]
        waiting.set_result(principal)
        if self._unchanged_since(changes, key):  # else what was read may be older than what was told
            self._remember(key, principal)
        return principal

    async def _refresh(self, key: KeyHash) -> None:
        changes = self._changes
        try:
            principal = await self._store.find(key)
            if self._unchanged_since(changes, key):
                self._remember(key, principal)
        except StoreError as error:
            log.warning("directory.refresh_failed reason=%s", error)
        finally:
            self._refreshing.discard(key)

    def _remember(self, key: KeyHash, principal: Principal | None) -> None:
        self._drop(key)
        if principal is not None and principal.api_key == key:
            key = KeyHash(principal.api_key)  # the same object for both
        if len(self._known) >= _KEYS_MAX // 2:
            self._known, self._older = {}, self._known
        now_s = self._clock()
        if now_s - self._now_s > _SAME_MOMENT_S:
            self._now_s = now_s  # one object for all of this moment
        self._known[key] = _Known(principal, self._now_s)

    def _drop(self, key: KeyHash) -> None:
        self._known.pop(key, None)
        self._older.pop(key, None)

    def told(self, payload: str) -> None:
        """Told by the database: the key with this hash has changed; `*`: any of them may have."""
        if payload == ALL_KEYS:
            self.forget_all()
        else:
            self.forget(KeyHash(payload))

    def forget(self, key: KeyHash) -> None:
        """The key has changed."""
        self._changes += 1
        self._drop(key)
        self._changed[key] = self._changes
        self._changed.move_to_end(key)
        if len(self._changed) > _CHANGES_MAX:
            _, self._all_changed = self._changed.popitem(last=False)

    def forget_all(self) -> None:
        """Changes may have been missed."""
        self._changes += 1
        self._known.clear()
        self._older.clear()
        self._changed.clear()
        self._all_changed = self._changes

    def _unchanged_since(self, change: int, key: KeyHash) -> bool:
        return self._changed.get(key, self._all_changed) <= change


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
