"""The end of an attempt in few bytes, for when the disk has room for no more than was set aside: money first."""

import msgspec

from bursar.ledger.poster import without_presentation


def brief(payload: bytes, max_bytes: int) -> bytes:
    """A record that says how an attempt ended, cut to what matters most of it.

    First what callers and providers said goes: their words, and the report the charge was made of. If that is still
    more than `max_bytes`, the row goes too; the attempt's entries, which are the money, stay whatever they take.
    Returns `payload` itself where it is small enough, and where it is no list of entries.
    """
    if len(payload) <= max_bytes:
        return payload
    try:
        entries = msgspec.json.decode(without_presentation(payload), type=list[dict[str, object]])
    except msgspec.MsgspecError:
        return payload
    for entry in entries:
        body = entry.get("body")
        if isinstance(body, dict):
            body.pop("provider_usage", None)
    shortened = msgspec.json.encode(entries)
    if len(shortened) > max_bytes:
        shortened = msgspec.json.encode([entry for entry in entries if entry.get("kind") != "call"])
    return shortened
