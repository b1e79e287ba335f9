"""Prompts and answers for the log rows, where the operator wants them kept.

Text is not money: it waits in memory for its row to be posted, within a bound, and when there is too much of it the
oldest goes first, counted.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from bursar.domain.errors import StoreError
from bursar.domain.ids import CallId
from bursar.ports.ledger import CallText, TextStore

log = logging.getLogger(__name__)

_BUFFER_MAX_BYTES = 64 * 1024 * 1024


class _Named(msgspec.Struct):
    """What is looked at of an entry."""

    call_id: CallId
    kind: str


_decode = msgspec.json.Decoder(list[_Named]).decode


class Texts:
    """Texts waiting for their rows."""

    def __init__(self, store: TextStore, max_bytes: int = _BUFFER_MAX_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[CallId, CallText] = OrderedDict()
        self._bytes = 0
        self.dropped = 0

    def keep(self, text: CallText) -> None:
        """Keep a finished call's text until its row is there."""
        self._waiting[text.call_id] = text
        self._bytes += text.size
        while self._bytes > self._max_bytes:
            self._bytes -= self._waiting.popitem(last=False)[1].size
            self.dropped += 1

    async def rows_posted(self, records: Sequence[memoryview]) -> None:
        """`records` are in the database: write the texts of the calls they end. Refused ones are lost, and counted."""
        texts = self._take(entry.call_id for record in records for entry in _decode(record) if entry.kind == "call")
        if not texts:
            return
        try:
            await self._store.save(texts)
        except StoreError as error:
            self.dropped += len(texts)
            log.warning("texts.lost count=%d reason=%s", len(texts), error)

    def _take(self, calls: Iterable[CallId]) -> list[CallText]:
        taken = [text for call in calls if (text := self._waiting.pop(call, None)) is not None]
        self._bytes -= sum(text.size for text in taken)
        return taken
