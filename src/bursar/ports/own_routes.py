"""Routes that no room of the management API answers, as its documentation shows them."""

from collections.abc import Mapping

import msgspec

Schema = Mapping[str, object]


class OwnRoute(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path, and of others that mean the same."""

    method: str
    path: str
    aliases: tuple[str, ...] = ()
    tag: str
    """The chapter of the documentation."""
    summary: str
    description: str
    public: bool = False
    """No key is asked for."""
    body: Schema | None = None
    """JSON schema of what is sent."""
    example: Schema | None = None
    """A body that works."""
    query: Mapping[str, Schema] = {}
    answers: Mapping[str, Schema]
    """JSON schemas of what comes back, by media type."""
    errors: tuple[int, ...] = ()
    """Statuses it answers beside 200."""
