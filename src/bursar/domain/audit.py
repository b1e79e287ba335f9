"""A change that somebody made to what the gateway keeps: what the log of changes holds."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import msgspec

from bursar.domain.secrets import MASK


class Action(StrEnum):
    """What was done, in LiteLLM's words."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    ROTATED = "rotated"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does it."""

    api_key: str
    """The hash of the key it is done with, or the master key's name."""
    user_id: str | None = None
    on_behalf_of: str | None = None
    """Whom an administrator names."""

    @property
    def name(self) -> str:
        """As `changed_by`, `created_by` and `updated_by` have it."""
        return self.on_behalf_of or self.user_id or self.api_key


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to one row. Values as they stand in the table; secrets are masked when it is recorded."""

    action: Action
    table_name: str
    object_id: str
    actor: Actor
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None


_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|api_?key$|access_?key|private_?key|master_?key|salt_?key|credential"
    r"|authorization|bearer|cookie|connection_string|database_url|webhook|service_account"
    r"|(^|_)(access|auth|refresh|id|session|security|bot)_token$",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"sk-[A-Za-z0-9_-]{8,}"
    r"|\b(?:Bearer|Basic)\s+\S{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password of an address
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.IGNORECASE,
)

_NAME_MAX = 64
"""Characters of names that are remembered: others are as long as whoever sends them likes."""


def masked(value: object, name: str = "") -> object:
    """`value` without its secrets: what is called like one, and what looks like one."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _named(name)[0]:
        return MASK if value else value
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    if isinstance(value, Mapping):
        return {_named(str(key))[1]: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, name) for item in value]
    return value


def _named(name: str) -> tuple[bool, str]:
    """Whether what is called so is secret, and the name as it may be shown."""
    return _remembered(name) if len(name) <= _NAME_MAX else _looked_at(name)


def _looked_at(name: str) -> tuple[bool, str]:
    return _SECRET_NAME.search(name) is not None, _SECRET_TEXT.sub(MASK, name)


_remembered = lru_cache(maxsize=1024)(_looked_at)
"""Thousands of rows have the same few names."""
