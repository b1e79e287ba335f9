"""What a caller said, made fit for the database before it is journaled: nothing a caller sends may stop the books.

PostgreSQL takes no NUL in text or JSON, and no text beyond a few kilobytes into an index.
"""

import re
from collections.abc import Iterable, Mapping
from math import isfinite

import msgspec

TEXT_MAX_CHARS = 512
_REPLACEMENT = "\ufffd"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""In encoded JSON, at any depth: an escape whose backslash is not itself escaped."""


def storable_text(text: str, max_chars: int = TEXT_MAX_CHARS) -> str:
    """`text` without NUL and lone surrogates, cut to `max_chars` characters."""
    if "\x00" in text:
        text = text.replace("\x00", _REPLACEMENT)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text[:max_chars]


def storable_list(texts: Iterable[str], *, max_bytes: int) -> tuple[list[str], int]:
    """Texts fit to be stored, each once, up to `max_bytes` of them; and how many were left out for that."""
    kept: dict[str, None] = {}
    total = dropped = 0
    for text in texts:
        storable = storable_text(text)
        size = 0 if storable in kept else len(storable.encode())
        if total + size > max_bytes:
            dropped += 1
        else:
            total += size
            kept[storable] = None
    return list(kept), dropped


_NAMED_MAX = 20
"""A caller with more members than this left out is told of so many, and of the number."""


def storable_members(members: Mapping[str, object], *, max_bytes: int) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """Members of a JSON object, each encoded and storable, and the names of those left out to stay below `max_bytes`.

    Every value that JSON can say is kept: only NUL inside strings and names is replaced.
    """
    kept: dict[str, msgspec.Raw] = {}
    dropped: list[str] = []
    total = left_out = 0
    for name, value in members.items():
        encoded = msgspec.json.encode(value)
        if b"\\u0000" in encoded:
            encoded = _NUL.sub(rb"\1" + _REPLACEMENT.encode(), encoded)
        total += len(encoded) + len(name)
        if total > max_bytes:
            total -= len(encoded) + len(name)
            left_out += 1
            if left_out <= _NAMED_MAX:
                dropped.append(storable_text(name, 64))
        else:
            kept[storable_text(name)] = msgspec.Raw(encoded)
    if left_out > _NAMED_MAX:
        dropped.append(f"… and {left_out - _NAMED_MAX} more")
    return kept, dropped


_LONG_TEXT_CHARS = 2048
_HEAD_SHARE = 0.35
_DEPTH_MAX = 100


def shortened_json(value: object) -> bytes:
    """JSON that the database takes; of long strings, the first third and the last two thirds stay.

    What is nested deeper than any text of ours to people is left out, and says so.
    """
    return msgspec.json.encode(_shortened(value, _DEPTH_MAX))


def _shortened(value: object, depth: int) -> object:
    if isinstance(value, str):
        if len(value) > _LONG_TEXT_CHARS:
            head = int(_LONG_TEXT_CHARS * _HEAD_SHARE)
            left_out = len(value) - _LONG_TEXT_CHARS
            value = f"{value[:head]}... ({left_out} characters left out) ...{value[head - _LONG_TEXT_CHARS :]}"
        return storable_text(value, len(value))
    if isinstance(value, list | dict) and depth == 0:
        return "(nested too deeply)"
    if isinstance(value, list):
        return [_shortened(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {storable_text(str(name)): _shortened(item, depth - 1) for name, item in value.items()}
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value
