"""What counts as a secret in what people write freely (metadata, settings, texts), and how it is shown: as a mask.

Two signs, either of which is enough: the name of a member, and the look of a text. The log of changes, answers, errors
and what is recorded of callers' metadata all go by them.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from bursar.domain.secrets import MASK

_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|credential(?!_name)|authorization|bearer|cookie|connection_string|database_url"
    r"|webhook|service_account(?!_id)"
    r"|(?:api|access|private|master|salt|signing|encryption|account|subscription)[-_]?key$"
    r"|^(?!.*cost_per_).*token$",  # a price is none
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{8,}"
    r"|(?<![A-Za-z0-9])xox[a-z]-[A-Za-z0-9-]{8,}"  # Slack
    r"|hooks\.slack\.com/(?:services|workflows|triggers)/\S+"
    r"|(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}"  # GitHub, GitLab
    r"|(?<![A-Za-z0-9])(?:hf_|gsk_)[A-Za-z0-9_-]{16,}"  # Hugging Face, Groq
    r"|(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}"  # Google
    r"|\b(?:Bearer|Basic)\s+\S{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password of an address
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-(?!----)[^-]*)*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    re.IGNORECASE,
)
_SIGNS = (
    *("sk-", "xox", "slack.com/", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "gsk_"),
    *("aiza", "bearer", "basic", "://", "eyj", "private key"),
)
"""One of these is in every such text, in small letters: nearly all texts have none, and are looked at no closer."""
_ENCODED_SIGNS = tuple(sign.encode() for sign in _SIGNS)
_NAME_MAX = 64
"""Characters of names that are remembered: others are as long as whoever sends them likes."""
_HASH = re.compile(r"[0-9a-f]{64}")
_HASH_COLUMN = "token"
"""Of tables of keys: holds a hash, whatever its name says."""
_HASH_MEMBER = "user_api_key"
"""Of the metadata of calls, by LiteLLM's name."""


def masked(value: object, name: str = "") -> object:
    """`value` without its secrets: what is called like one, and what looks like one."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _named(name)[0] and not (name == _HASH_MEMBER and _is_hash(value)):
        return MASK if value else value
    if isinstance(value, str):
        return _without_secrets(value)
    if isinstance(value, Mapping):
        return masked_members(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, name) for item in value]
    return value


def masked_members(members: Mapping[str, object]) -> dict[str, object]:
    """The same of an object."""
    return {_named(str(name))[1]: masked(value, str(name)) for name, value in members.items()}


def masked_kept(kept: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The same of members that are encoded, and within bounds (`domain.storable`): most are left as they are."""
    found: dict[str, msgspec.Raw] = {}
    everything = b" ".join([bytes(encoded) for encoded in kept.values()])
    closer = b"{" in everything or _has_sign(everything)  # else there are no names within, and no such texts
    for name, encoded in kept.items():
        secret, shown = _named(name)
        if secret or closer:
            value = msgspec.json.decode(encoded)
            if (safe := masked(value, name)) != value:
                found[shown] = msgspec.Raw(msgspec.json.encode(safe))
                continue
        found[shown] = encoded
    return found


def masked_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row of a table without its secrets. Hashes of keys stay: they say which key, and are no way in."""
    return {
        _named(name)[1]: value if name == _HASH_COLUMN and _is_hash(value) else masked(value, name)
        for name, value in row.items()
    }


def unmasked(value: object, before: object, name: str = "") -> object:
    """What somebody means who looked at `before`, masked, and sends it back as `value`: what is a mask of something
    stands for it."""
    if value != before and value == masked(before, name):
        return before
    if isinstance(value, Mapping) and isinstance(before, Mapping):
        return unmasked_members(value, before)
    if isinstance(value, list) and isinstance(before, list):
        kept = [*before, *[None] * (len(value) - len(before))]
        return [unmasked(item, old, name) for item, old in zip(value, kept, strict=False)]
    return value


def unmasked_members(members: Mapping[str, object], before: Mapping[str, object]) -> dict[str, object]:
    """The same of an object."""
    return {name: unmasked(value, before.get(name), name) for name, value in members.items()}


def _without_secrets(text: str) -> str:
    small = text.lower()
    for sign in _SIGNS:
        if sign in small:
            return _SECRET_TEXT.sub(MASK, text)
    return text


def _has_sign(encoded: bytes) -> bool:
    small = encoded.lower()
    for sign in _ENCODED_SIGNS:  # noqa: SIM110  # a generator takes three times as long, in every call
        if sign in small:
            return True
    return False


def _named(name: str) -> tuple[bool, str]:
    """Whether what is called so is secret, and the name as it may be shown."""
    return _remembered(name) if len(name) <= _NAME_MAX else _looked_at(name)


def _looked_at(name: str) -> tuple[bool, str]:
    return _SECRET_NAME.search(name) is not None, _without_secrets(name)


_remembered = lru_cache(maxsize=1024)(_looked_at)
"""Thousands of rows, and calls, have the same few names."""


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None
