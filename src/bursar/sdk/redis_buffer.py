"""Redis between many instances and the database: batches go into a stream, and whoever reads them posts them.

A batch stays in its instance's journal until somebody says that the database has it. Then nothing depends on Redis:
what it loses, delivers twice or hands to somebody who dies, the instance posts by itself after a while, and the
database takes each batch of a journal once and in order. A batch whose instance may not commit any more (it was
declared lost with its disk) goes into the reader's own journal: its entries are known by their ids.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bursar.domain.errors import JournalTaken, StoreRefused, StoreUnavailable
from bursar.domain.ids import CallId, JournalId
from bursar.domain.secrets import Secret
from bursar.ports.ledger import Batch, JournalPosition, LedgerStore

log = logging.getLogger(__name__)

_STREAM = "bursar:batches"
"""With the name of the books behind it."""
_GROUP = "posters"
_REPLIES = "bursar:posted:"
_REPLY_KEPT_S = 60
_PATIENCE_S = 5.0
"""How long a batch waits for a reader before its instance posts it by itself; and one out of order for the one before
it."""
_ASK_S = 0.05
_BLOCK_MS = 1000
_IDLE_MS = 30_000
"""A reader that had a batch for so long has died: another one takes it."""
_CLAIM_S = 10.0
_AGAIN_S = 1.0

_ERRORS = (RedisError, OSError, TimeoutError)


class RedisBuffer:
    """What one instance does with Redis."""

    def __init__(
        self,
        url: Secret,
        ledger: LedgerStore,
        *,
        books: str,
        journal_id: JournalId,
        host: str,
        keep: Callable[[bytes], None],
    ) -> None:
        """`books`: which database's, so that what is meant for one is posted into no other; `keep` writes a record
        into the instance's journal, `journal_id`.

        Raises ValueError: `url` is none of Redis.
        """
        self._client: Any = Redis.from_url(url.reveal(), socket_connect_timeout=2.0, socket_timeout=_PATIENCE_S)
        stream = f"{_STREAM}:{books}"
        self.ledger = RedisLedger(self._client, ledger, stream=stream)
        self.reader = Reader(self._client, ledger, stream=stream, name=journal_id, host=host, keep=keep)

    async def close(self) -> None:
        """Read no more, and let go."""
        await self.reader.close()
        await self._client.aclose()


class RedisLedger:
    """Implements `ports.ledger.LedgerStore`: posts through the stream, and straight where that does not work."""

    def __init__(self, client: Redis, ledger: LedgerStore, *, stream: str) -> None:
        self._client: Any = client
        self._stream = stream
        self._ledger = ledger
        self._away = False

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        """See `ports.ledger.LedgerStore.register`."""
        return await self._ledger.register(journal_id, host)

    async def books(self) -> str:
        """See `ports.ledger.LedgerStore.books`."""
        return await self._ledger.books()

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        """See `ports.ledger.LedgerStore.take_over`."""
        return await self._ledger.take_over(journal_id, epoch)

    def expect(self, entries: bytes) -> None:
        """See `ports.ledger.LedgerStore.expect`. What goes through Redis is posted by others."""

    async def post(self, batch: Batch) -> int:
        """See `ports.ledger.LedgerStore.post`. What is set aside or gone goes past Redis, as what the dead left."""
        if batch.set_aside is None and not batch.missing and await self._sent(batch):
            return 0
        return await self._ledger.post(batch)

    async def _sent(self, batch: Batch) -> bool:
        """Whether a reader says that the database has it."""
        reply = f"{_REPLIES}{batch.journal_id}"
        try:
            await self._client.xadd(self._stream, _fields(batch))
            deadline = asyncio.get_running_loop().time() + _PATIENCE_S
            while asyncio.get_running_loop().time() < deadline:
                posted = await self._client.get(reply)
                if posted is not None and int(posted) >= batch.upto:
                    self._away = False
                    return True
                await asyncio.sleep(_ASK_S)
        except _ERRORS as error:
            if not self._away:
                log.warning("sdk.redis_away reason=%s", type(error).__name__)
            self._away = True
        return False


class Reader:
    """Posts what is in the stream: read, post, acknowledge."""

    def __init__(
        self,
        client: Redis,
        ledger: LedgerStore,
        *,
        stream: str,
        name: JournalId,
        host: str,
        keep: Callable[[bytes], None],
    ) -> None:
        """`name`: whose reader it is; `keep` writes a record into its journal."""
        self._client: Any = client
        self._ledger = ledger
        self._stream = stream
        self._name = name
        self._host = host
        self._keep = keep

    async def run(self) -> None:
        """Until cancelled."""
        claim_at_s = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            try:
                if clock() >= claim_at_s:
                    await self._make_group()
                    claimed = await self._client.xautoclaim(self._stream, _GROUP, self._name, _IDLE_MS, count=16)
                    await self._take(claimed[1])
                    claim_at_s = clock() + _CLAIM_S
                read = await self._client.xreadgroup(_GROUP, self._name, {self._stream: ">"}, count=16, block=_BLOCK_MS)
                for _, messages in read:
                    await self._take(messages)
            except _ERRORS as error:
                log.info("sdk.redis_not_read reason=%s", type(error).__name__)
                claim_at_s = 0.0  # it may have forgotten the group
                await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Read no more under this name."""
        try:
            if not await self._client.xpending_range(self._stream, _GROUP, "-", "+", 1, self._name):
                await self._client.xgroup_delconsumer(self._stream, _GROUP, self._name)
        except _ERRORS:
            pass  # others take what it had

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # Redis's code for: it is there
                raise

    async def _take(self, messages: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for message, fields in messages:
            batch = _batch(fields) if fields else None
            posted = batch is not None and await self._post(batch)
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xack(self._stream, _GROUP, message)
                pipe.xdel(self._stream, message)
                if posted and batch is not None:
                    pipe.set(f"{_REPLIES}{batch.journal_id}", batch.upto, ex=_REPLY_KEPT_S)
                await pipe.execute()

    async def _post(self, batch: Batch) -> bool:
        """Whether the database has it; else our journal, and its instance's as before."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            try:
                await self._ledger.post(batch)
                return True
            except StoreUnavailable:  # it is away, or the batch is not the next one of its journal
                if await self._has(batch):
                    return True
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(_ASK_S)
            except (JournalTaken, StoreRefused):
                if await self._has(batch):
                    return True
                break
        for record in _records(batch.entries):
            self._keep(record)
        return False

    async def _has(self, batch: Batch) -> bool:
        try:
            position = await self._ledger.register(batch.journal_id, self._host)
        except StoreUnavailable:
            return False
        return position.sequence >= batch.upto


class _Owned(msgspec.Struct):
    """What is looked at of an entry."""

    call_id: CallId


def _fields(batch: Batch) -> dict[str, str | int | bytes]:
    return {
        "journal": batch.journal_id,
        "epoch": batch.epoch,
        "after": batch.after,
        "upto": batch.upto,
        "entries": batch.entries,
    }


def _batch(fields: dict[bytes, bytes]) -> Batch | None:
    """None: it is none of ours."""
    try:
        return Batch(
            journal_id=JournalId(fields[b"journal"].decode()),
            epoch=int(fields[b"epoch"]),
            after=int(fields[b"after"]),
            upto=int(fields[b"upto"]),
            entries=fields[b"entries"],
        )
    except (KeyError, ValueError):
        log.error("sdk.redis_not_understood fields=%s", sorted(fields))
        return None


def _records(entries: bytes) -> list[bytes]:
    """The entries of each call apart, so that one that the database refuses stands alone."""
    by_call: dict[CallId, list[msgspec.Raw]] = {}
    for entry in msgspec.json.decode(entries, type=list[msgspec.Raw]):
        call = msgspec.json.decode(entry, type=_Owned).call_id
        by_call.setdefault(call, []).append(entry)
    return [msgspec.json.encode(of_call) for of_call in by_call.values()]
