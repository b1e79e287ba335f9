"""What an app writes of a call, and the entries that it becomes."""

import msgspec

from bursar.domain.accounting import CallBody


class _Entry(msgspec.Struct):
    kind: str
    call_id: str
    body: dict[str, object]
    cost_nano_usd: int | None = None


def _without_defaults(record: bytes) -> list[_Entry]:
    """Entries whose bodies leave the same out, however they were made."""
    entries = msgspec.json.decode(record, type=list[_Entry])
    for entry in entries:
        if entry.kind == "call":
            body = msgspec.convert(entry.body, CallBody)
            entry.body = msgspec.to_builtins(body)
            entry.body.pop("cache_hit", None)
            entry.body.pop("call_type", None)
    return entries
