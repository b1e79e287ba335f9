"""Reports on spend: what of the books a caller may see, what a report is asked about, and what it shows."""

from datetime import datetime
from typing import NamedTuple

import msgspec


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Whose spend a caller sees: everybody's, or his own and that of the teams and organizations he administers."""

    everything: bool = False
    user_id: str | None = None
    """The caller."""
    api_keys: tuple[str, ...] = ()
    """Hashes of the caller's own keys, deleted ones too."""
    teams: tuple[str, ...] = ()
    """Those he administers, himself or through their organization."""
    organizations: tuple[str, ...] = ()
    """Those he administers."""
    member_of: tuple[str, ...] = ()
    """Teams he is in: of them he sees what his own keys spent."""


EVERYTHING = Sight(everything=True)


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of the log are asked for; None: it does not matter."""

    start: datetime | None = None
    """The earliest start; UTC without a zone, as the column has it."""
    end: datetime | None = None
    """The latest start, inclusive."""
    api_keys: tuple[str, ...] | None = None
    """Hashes."""
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None
    session_id: str | None = None
    request_id: str | None = None
    """The row's, or the call's."""
    status: str | None = None
    model: str | None = None
    """As the provider calls it, or as clients do."""
    model_id: str | None = None
    min_spend: float | None = None
    max_spend: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    """A part of the message, in any case."""

    @property
    def by_index(self) -> bool:
        """Whether an index finds the rows; else many may have to be looked at for each that is found."""
        unindexed = (self.status, self.model, self.model_id, self.min_spend, self.max_spend)
        return all(asked is None for asked in (*unindexed, self.error_code, self.error_message))


class LogPlace(msgspec.Struct, frozen=True):
    """A place in the log, newest first: just below this row."""

    start: datetime
    request_id: str


COUNTED = 10_000
"""Rows of the log that are counted, and can be paged through by number."""


class LogOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the rows found are shown, and how they follow each other."""

    sort_by: str = "startTime"
    ascending: bool = False
    offset: int = 0
    limit: int = 50
    below: LogPlace | None = None
    texts: bool = False
    """With prompts and answers, where they are kept."""
    counted: int = COUNTED
    """Rows that are counted at most: what nobody wants to know need not be looked at."""


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of the log."""

    rows: bytes
    """A JSON array."""
    count: int
    """How many there are on the page."""
    found: int
    """How many there are in all."""
    exact: bool
    """False: there are more; so many were counted."""
    below: LogPlace | None
    """Where the next rows begin, newest first; None: there are none."""


class Days(msgspec.Struct, frozen=True):
    """UTC days, both included, as the daily tables write them: `YYYY-MM-DD`."""

    first: str
    last: str


class ActiveTag(msgspec.Struct, frozen=True, kw_only=True):
    """How many users' keys used a tag in a period."""

    period: int
    """Which of those that were asked for, from 0."""
    tag: str
    users: int


class ActivityFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which daily rows are asked for."""

    kind: str
    """Whose days: `user`, `team`, `tag`, `organization` or `customer`."""
    days: Days
    entities: tuple[str, ...] | None = None
    """Ids of users, teams …; None: all."""
    excluded: tuple[str, ...] = ()
    api_keys: tuple[str, ...] | None = None
    model: str | None = None
    seen_entities: tuple[str, ...] | None = None
    """Entities of which the caller sees all rows; with `seen_keys` None as well: of all."""
    seen_keys: tuple[str, ...] | None = None
    """Keys of which the caller sees the rows, whoever's they are."""


class Amounts(NamedTuple):
    """What is added up of daily rows."""

    spend: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    api_requests: int = 0


class ActivityRow(NamedTuple):
    """One daily row, or several that agree in all this. Text that is not known is empty."""

    date: str
    entity: str
    api_key: str
    model: str
    model_group: str
    provider: str
    endpoint: str
    mcp_server: str
    amounts: Amounts


class KeyNames(NamedTuple):
    """How a key is called, and whose it is."""

    key_alias: str | None = None
    key_name: str | None = None
    team_id: str | None = None


class SpendOnDay(NamedTuple):
    """A sum of one day: of everything, or of one user, model or key."""

    date: str
    of: str
    """`day`, `user`, `model` or `api_key`."""
    name: str
    spend: float
