"""What apps say of their calls, in objects of their own, made fit to be kept: plain, within bounds, without secrets.

Nothing here raises, whatever those objects are: what cannot be kept is left out by name, and the call is booked.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from uuid import UUID

import msgspec

from bursar.domain.masking import masked
from bursar.domain.secrets import MASK
from bursar.domain.storable import TEXT_MAX_CHARS, storable_list, storable_members, storable_text

log = logging.getLogger(__name__)

_MEMBERS_MAX_BYTES = _TAGS_MAX_BYTES = 16_384
_TAGS_MAX = 4096
_MESSAGE_MAX = 2_000
_LOOKED_AT_MAX = 8_000
"""Characters of a message in which secrets are looked for."""
_CUT_MAX = 500
"""As much of its end may be the beginning of one."""
_WALKED_MAX_BYTES = 4 * _MEMBERS_MAX_BYTES
"""Of all members together: what is left out for want of room takes time, too."""
_DEPTH_MAX = 8
_NAMED_MAX = 20
_NAME_MAX = 64
_SECRET_NAME = re.compile(
    r"(^|[-_])(pwd|pgpass|pat|dsn)$|access[-_]?key[-_]?id"
    r"|(^|[-_])(openai|anthropic|azure|aws|gcp|google|gemini|mistral|groq|cohere|provider|llm|auth)[-_]?key$",
    re.IGNORECASE,
)
"""What apps call theirs, beside the names that `domain.masking` knows."""
_HARMLESS_MAX = 10
"""No text this short looks like a secret."""
_OWN_KEY_MIN = 4


class _NotPlain(Exception):
    """It is not JSON, or too much of it."""


def kept_members(
    members: object, *, is_ours: Callable[[object], bool] | None = None
) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """Metadata as it is kept, and the names of what is left out of it: what is no JSON, or too much. `is_ours`: which
    members are not the app's."""
    plain: dict[str, object] = {}
    left_out: list[str] = []
    if members is None:
        return {}, []
    try:
        left = _WALKED_MAX_BYTES
        for key, value in _items(members):
            if is_ours is not None and is_ours(key):
                continue
            if left <= 0:
                left_out.append("…")
                break
            try:
                name, secret = _remembered(key) if type(key) is str and len(key) <= _NAME_MAX else _named(key)
                if type(value) is str and len(value) <= _HARMLESS_MAX and not secret and value.isascii():
                    plain[name] = value  # most are such
                    left -= _HARMLESS_MAX
                else:
                    walk = _Walk()
                    try:
                        plain[name] = walk.plain(value, secret=secret)
                    finally:
                        left -= walk.used
            except Exception:  # of any kind: they are the app's objects
                log.debug("sdk.member_not_kept", exc_info=True)
                left_out.append(_name_of(key))
        kept, too_large = storable_members(plain, max_bytes=_MEMBERS_MAX_BYTES)
    except Exception:  # as above
        log.warning("sdk.metadata_not_kept", exc_info=True)
        return {}, ["metadata"]
    if len(left_out) > _NAMED_MAX:
        left_out[_NAMED_MAX:] = [f"… and {len(left_out) - _NAMED_MAX} more"]
    return kept, left_out + too_large


def kept_tags(tags: object) -> tuple[list[str], list[str]]:
    """Tags as they are kept, each once, and what is said of those left out."""
    if tags is None:
        return [], []
    try:
        given = tags if type(tags) is list else [tags] if isinstance(tags, str) else _iterable(tags)
        texts = [text for tag in islice(given, _TAGS_MAX) if (text := kept_text(tag))]
    except Exception:  # of any kind: it is the app's object
        log.warning("sdk.tags_not_kept", exc_info=True)
        return [], ["tags"]
    kept, more = storable_list(texts, max_bytes=_TAGS_MAX_BYTES)
    return kept, [f"{more} tags"] if more else []


def kept_text(value: object) -> str:
    """A name or an id; "" if it is none."""
    if value is None or value is True or value is False:
        return ""
    if type(value) is not str:
        if isinstance(value, str):
            value = str.__str__(value)
        elif isinstance(value, int):
            value = _digits(value)
        elif isinstance(value, UUID):
            value = str(value)
        else:
            return ""
    plain = len(value) <= TEXT_MAX_CHARS and value.isascii() and "\x00" not in value
    return value if plain else storable_text(value)


def kept_message(message: object, secrets: Iterable[object] = ()) -> str:
    """What went wrong, without `secrets`, which providers repeat, and without what looks like one."""
    try:
        text = str(message)
    except Exception:  # of any kind: it is the app's object
        log.warning("sdk.message_not_kept", exc_info=True)
        return type(message).__name__
    text = text[:_LOOKED_AT_MAX]  # providers repeat prompts, of whatever length
    known = {secret for secret in secrets if isinstance(secret, str) and len(secret) >= _OWN_KEY_MIN}
    for secret in sorted(known, key=len, reverse=True):  # one may have another within it
        text = text.replace(secret, MASK)
    return storable_text(_shown(text)[: _LOOKED_AT_MAX - _CUT_MAX], _MESSAGE_MAX)


def is_secret_name(name: object) -> bool:
    """What is called so is a secret."""
    return isinstance(name, str) and _named(name)[1]


class _Walk:
    """Through one member, which may be as large as it likes, and have itself in it."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MEMBERS_MAX_BYTES
        """Bytes that it may at least still have as JSON."""

    @property
    def used(self) -> int:
        """Of what it may have; all of it, if that was too little."""
        return _MEMBERS_MAX_BYTES - max(self._left, 0)

    def plain(self, value: object, depth: int = _DEPTH_MAX, *, secret: bool) -> object:
        """`value` of JSON's own types alone; of what is `secret`, a mask. Raises what its objects raise, and
        _NotPlain."""
        self._left -= 1
        if self._left < 0:
            raise _NotPlain
        if secret:
            return MASK if value else None
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            self._left -= len(value)
            if self._left < 0:
                raise _NotPlain
            return _plain_text(value)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, int):
            return _storable_int(value)
        if depth == 0:
            raise _NotPlain
        if isinstance(value, list | tuple):
            return [self.plain(item, depth - 1, secret=False) for item in value]
        if isinstance(value, dict | Mapping):
            return dict(self._members(value, depth - 1))
        raise _NotPlain

    def _members(self, value: Mapping[object, object], depth: int) -> Iterator[tuple[str, object]]:
        for key, item in value.items():
            name, secret = _named(key)
            self._left -= len(name)
            yield name, self.plain(item, depth, secret=secret)


def _items(members: object) -> Iterable[tuple[object, object]]:
    if not isinstance(members, dict | Mapping):
        raise _NotPlain
    return members.items()


def _iterable(value: object) -> Iterable[object]:
    if not isinstance(value, Iterable):
        raise _NotPlain
    return value


def _named(key: object) -> tuple[str, bool]:
    """A member's name as it is kept, and whether it is a secret's. Raises _NotPlain."""
    if not isinstance(key, str):
        raise _NotPlain
    return _remembered(key) if len(key) <= _NAME_MAX else _looked_at(key)


def _looked_at(key: str) -> tuple[str, bool]:
    name = str.__str__(key)
    return _shown(storable_text(name)), masked("-", name) != "-" or _SECRET_NAME.search(name) is not None


_remembered = lru_cache(maxsize=4096)(_looked_at)
"""Calls have the same few names."""


def _name_of(key: object) -> str:
    return storable_text(_shown(str.__str__(key)), _NAME_MAX) if isinstance(key, str) else f"a {type(key).__name__}"


def _plain_text(value: str) -> str:
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        text = storable_text(text, len(text))
    return text if len(text) <= _HARMLESS_MAX else _shown(text)


def _shown(text: str) -> str:
    return str(masked(text))


def _storable_int(value: int) -> int:
    number = int.__int__(value)
    if not -(1 << 63) <= number < 1 << 64:
        raise _NotPlain
    return number


def _digits(value: int) -> str:
    return str(int.__int__(value)) if value.bit_length() < 1024 else ""
