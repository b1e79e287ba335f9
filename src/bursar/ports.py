"""The seams between rooms: small Protocols that two implementations, or two rooms that must not meet, share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from bursar.domain.audit import Action, Actor
from bursar.domain.holds import HoldPlan
from bursar.domain.ids import CallId, JournalId, KeyHash
from bursar.domain.limits import Budget, Limits, Scope
from bursar.domain.money import NanoUsd
from bursar.domain.principals import Memberships, Principal
from bursar.domain.rate_limits import Hold, LimitKind, Need, Plan
from bursar.domain.rate_shares import Answer as RateAnswer
from bursar.domain.rate_shares import Statement
from bursar.domain.reports import (
    ActiveTag,
    ActivityFilter,
    ActivityRow,
    Days,
    KeyNames,
    LogFilter,
    LogOrder,
    LogPage,
    Sight,
    SpendOnDay,
)
from bursar.domain.windows import Answer, Ask, WindowId
from bursar.wire.http import FieldLines, Origin, RawHeaders, Request
from bursar.wire.openai_answer import AnswerRules
from bursar.wire.openai_chat import ChatRequest


class Reply(Protocol):
    """The answer to one request, as the server lets a handler write it.

    Writes never fail: when the client has left they go nowhere and `gone` says so.
    """

    @property
    def gone(self) -> bool:
        """The client's connection is closed: nobody reads what is written from now on."""

    @property
    def ended(self) -> bool:
        """The client has ended its side of the connection, or is `gone`. It has nearly always left; but it may read on,
        and what is written tells."""

    @property
    def started(self) -> bool:
        """The status line and headers are out: what follows can only be body."""

    def send(self, status: int, fields: FieldLines, body: bytes) -> None:
        """A complete answer: framing, date, connection and what every answer carries are added to `fields`."""

    def start(self, status: int, fields: FieldLines) -> None:
        """Begin an answer of unknown length; `write` and `finish` follow."""

    def write(self, data: bytes) -> None:
        """Some more of the body; empty data writes nothing."""

    def finish(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """Close the connection at once, so that the client sees the body break off."""

    async def drained(self) -> None:
        """Wait until the client has read enough for more to be written; returns at once when it is `gone`."""

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the client has `ended`, and again when it is `gone`; at once if it has. The last
        one set counts."""


class Handler(Protocol):
    """What answers requests."""

    async def __call__(self, request: Request, reply: Reply, /) -> None:
        """Answer `request` through `reply`, completely."""


class RoutedHandler(Handler, Protocol):
    """A handler whose paths cannot all be listed."""

    def answers(self, request: Request) -> bool:
        """Whether the request's path is one of its."""


class FailureKind(StrEnum):
    """How the way to an upstream failed."""

    DNS = "dns"
    CONNECT = "connect"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    POOL = "pool"
    RESPONSE_TIMEOUT = "response_timeout"
    """Connected and sent, but no complete answer head in time."""
    IDLE_TIMEOUT = "idle_timeout"
    """The body stopped coming."""
    CLOSED = "closed"
    """The connection ended before the answer's head was complete."""
    TRUNCATED = "truncated"
    """The connection ended inside the body."""
    PROTOCOL = "protocol"
    """What came is not HTTP, or breaks a limit."""


class TransportError(Exception):
    """No (complete) answer came. `sent` decides the accounting: only False proves that nothing was billed."""

    def __init__(self, kind: FailureKind, detail: str, *, sent: bool, reused: bool = False) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.sent = sent
        """At least one byte of the request may have reached the peer."""
        self.reused = reused
        """It happened on a kept-alive connection that had served an earlier request."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds at the three boundaries of one attempt; each has its own FailureKind."""

    connect_s: float = 10.0
    response_s: float = 600.0
    """From the request's last byte to the complete head of the answer."""
    idle_s: float = 300.0
    """Between two pieces of the body."""


class UpstreamRequest(msgspec.Struct, kw_only=True):
    """One POST (or GET) to an upstream, complete."""

    method: str
    origin: Origin
    target: str
    """Path and query as they stand in the request line, already encoded."""
    headers: RawHeaders
    """Without host, content-length and connection, which the transport adds."""
    lines: FieldLines = b""
    """`headers` as they stand in a message, where that is known already."""
    body: bytes
    timeouts: Timeouts
    sent: bool = False
    """Set by the transport: a byte of it may have left. Until then it is certain that nothing was asked for."""


class UpstreamResponse(Protocol):
    """An answer whose head has come. Its body is read in pieces, undecoded, as the network delivers them."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> RawHeaders: ...

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its proper end.

        Raises TransportError (always `sent`): truncated, idle too long, broken framing. A piece is returned as soon as
        any of it is there, so a token is never held back for a fuller buffer.
        """

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Safe to repeat."""


class Transport(Protocol):
    """Carries bytes upstream. Follows no redirects, decodes nothing, uses no proxy that was not configured.

    Implementations: `providers.native` and `providers.aiohttp_transport`, held to one contract suite.
    """

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send and wait for the head of the answer.

        Raises TransportError. Cancelling closes the connection.
        """

    async def aclose(self) -> None:
        """Close all idle connections; those in use close with their response."""


@dataclass(slots=True, frozen=True)
class JournalPosition:
    """How far a journal is in the database, and under whose epoch it may be carried on."""

    sequence: int
    epoch: int
    unsettled: bool = False
    """Its process has not ended by the books: what was granted to it has not gone back."""


@dataclass(slots=True, frozen=True)
class Batch:
    """Records of one journal, to be posted whole or not at all."""

    journal_id: JournalId
    epoch: int
    after: int
    """The position the database must be at."""
    upto: int
    """The position it will be at."""
    entries: bytes
    """A JSON array of entries."""
    missing: int = 0
    """Records before these that cannot be read any more: the position passes over them."""
    set_aside: "SetAside | None" = None


@dataclass(slots=True, frozen=True)
class SetAside:
    """A record the database would not take as it was, kept for people; the batch holds what could be saved of it."""

    reason: str
    content: bytes


class LedgerStore(Protocol):
    """Where the books are kept: PostgreSQL (`store.ledger`)."""

    async def register(self, journal_id: JournalId, host: str) -> JournalPosition:
        """Make the journal known, if it is not; its position. Raises StoreUnavailable."""

    async def take_over(self, journal_id: JournalId, epoch: int) -> int:
        """Advance the instance's epoch, by whoever holds its journal's lock now; the new one. Its former owner cannot
        post or lease any more.

        Raises StoreUnavailable; JournalTaken: somebody else was faster.
        """

    def expect(self, entries: bytes) -> None:
        """A batch with these entries will follow the one that is being posted: what can be done for it now may be done.
        Raises nothing: whatever is wrong with them, `post` will say."""

    async def post(self, batch: Batch) -> int:
        """Post a batch in one transaction; how many of its entries were new.

        Raises StoreUnavailable: try again; StoreRefused: something in it cannot be stored, nothing was; JournalTaken.
        """


class BudgetAsk(msgspec.Struct, frozen=True):
    """An exchange, and of which budget."""

    ask: Ask
    scope: Scope
    budget: Budget
    """As the asker knows it; the tables' word counts, where they have one."""
    ends_at_s: float | None
    """When the window's period ends, in seconds since 1970."""


class BudgetHold(Protocol):
    """What one call holds of its budgets. Closed exactly once: later closings change nothing."""

    @property
    def amount(self) -> int:
        """Nano-dollars, of each window."""

    @property
    def bound(self) -> int | None:
        """The bound on the output of each answer that has to be set; None: none."""

    @property
    def windows(self) -> tuple[WindowId, ...]:
        """Of which the hold is a part."""

    def settle(self, cost: int) -> None:
        """The call cost so much. What was held beyond it is free again."""

    def void(self) -> None:
        """It cost nothing."""


class BudgetAccount(Protocol):
    """The budgets that apply to calls of one kind, each in the period of the moment."""

    def hold_now(self, plan: HoldPlan) -> BudgetHold | None:
        """Hold what the call may cost at most, if that is at hand and nobody waits for it."""

    async def hold(self, plan: HoldPlan) -> BudgetHold:
        """Hold what the call may cost, waiting for it if it must.

        Raises BudgetExceeded: it does not fit, or did not become free in time; Unavailable: the database is needed.
        """


class BudgetKeeper(Protocol):
    """Holds money for calls (`quotas.budgets`)."""

    def account(self, limits: Sequence[Limits]) -> BudgetAccount | None:
        """The budgets among `limits`, for all calls of their kind; None: there are none."""


class BudgetStore(Protocol):
    """Where budgets are shared out: PostgreSQL (`store.budgets`). All raise StoreUnavailable."""

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        """`instance` lives: for some seconds it counts among those that share. Returns the store's Unix time.

        Raises JournalTaken: it was declared dead.
        """

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        """Make exchanges, in one transaction.

        Raises JournalTaken: the instance was declared dead, and its grants with it.
        """

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        """The instance has ended, and its journal is posted to its end, `posted`: what it did not spend goes back, but
        for the holds of attempts that nobody has ended yet. Repeating it changes nothing.

        Raises JournalTaken: it was taken over by somebody else, or the database has forgotten some of its journal.
        """


class LastAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What the last look of the books at themselves found."""

    ended_at: datetime
    seconds: float
    entries: int
    drift_nano_usd: int
    differences: int


class BooksState(msgspec.Struct, frozen=True, kw_only=True):
    """How the books are, for those who watch."""

    quarantined: int
    """Records."""
    budgets_over_limit: int
    """In their current period."""
    incidents: int
    """What explains figures that are odd: restored databases, processes declared lost, records that are gone."""
    audit: LastAudit | None
    """None: nobody has looked yet."""


class CallText(msgspec.Struct, frozen=True):
    """The text of one call, as JSON."""

    call_id: CallId
    litellm_call_id: str
    messages: bytes
    response: bytes
    request: bytes

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.messages) + len(self.response) + len(self.request)


class TextStore(Protocol):
    """Where the text of calls is kept: PostgreSQL (`store.texts`)."""

    async def save(self, texts: Sequence[CallText]) -> None:
        """Put texts into their rows, which exist. Raises StoreError."""


class KeyStore(Protocol):
    """Where virtual keys are kept: PostgreSQL (`store.keys`)."""

    async def find(self, key: KeyHash) -> Principal | None:
        """The key's principal; None: there is no such key. Raises StoreUnavailable."""


class NamedLimits(msgspec.Struct, frozen=True):
    """What is known of an end user or a tag."""

    limits: Limits | None
    blocked: bool = False


class AnyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Whether looking anybody up can tell anything."""

    end_users: bool
    """Some end user has a budget of their own, or is blocked."""
    tags: bool
    default: Limits | None
    """Of end users without a budget of their own, known or not; whose id is to be put in."""


class LimitStore(Protocol):
    """Where limits of end users and tags are kept: PostgreSQL (`store.limits`)."""

    async def any(self) -> AnyLimits:
        """Whether there are any. Raises StoreUnavailable."""

    async def find(self, end_users: Sequence[str], tags: Sequence[str]) -> dict[Scope, NamedLimits]:
        """Those of them that are known. Raises StoreUnavailable."""


class LimitLookup(Protocol):
    """Limits of whom a request names, from memory where possible (`access.limit_directory`)."""

    def recall(self, end_user: str, tags: Sequence[str]) -> tuple[Limits, ...] | None:
        """Theirs, if memory knows: costs no I/O. `end_user` may be empty. Raises Unauthenticated: blocked."""

    async def find(self, end_user: str, tags: Sequence[str]) -> tuple[Limits, ...]:
        """Theirs. Raises Unauthenticated: blocked; StoreUnavailable."""


class RateLimitReached(Exception):
    """A rate limit has no room for a call."""

    def __init__(
        self, *, scope: Scope, kind: LimitKind, limit: int, remaining: int, reset_at_s: float, retry_after_s: int
    ) -> None:
        super().__init__(f"{scope.kind} {kind}")
        self.scope = scope
        self.kind = kind
        self.limit = limit
        self.remaining = remaining
        self.reset_at_s = reset_at_s
        """Seconds since 1970."""
        self.retry_after_s = retry_after_s


class RateLimits(Protocol):
    """Admits calls to rate limits (`quotas.rate_limits`)."""

    def plan(self, limits: Sequence[Limits]) -> Plan | None:
        """What calls under these limits have to fit into, to be kept for them until it is outdated; None: no rate is
        limited."""

    def admit(self, plan: Plan, need: Need) -> Hold | None:
        """Take what a call needs from all its limits, or nothing; None: there is no room here and now."""

    async def admit_in_turn(self, plan: Plan, need: Need) -> Hold:
        """The same, and wait a moment where other processes may have room to give.

        Raises RateLimitReached; StoreUnavailable: this process has no share of a limit, and nobody to ask.
        """

    def has_room(self, plan: Plan) -> bool:
        """Whether none of its limits is used up, as far as this process knows."""

    def reset_at_s(self) -> float:
        """When the current window ends, in seconds since 1970."""

    def until_reset_s(self) -> int:
        """Whole seconds until then, at least 1."""


class RateStore(Protocol):
    """Where workers share rate limits: PostgreSQL (`store.rate_shares`)."""

    async def share(self, instance: JournalId, statement: Statement, *, lease_s: float) -> RateAnswer:
        """Take one statement of a worker; all of it, or nothing. Raises StoreUnavailable: nobody knows which."""

    async def end(self, instance: JournalId) -> None:
        """The worker has ended: it uses none of its shares any more. Raises StoreUnavailable."""


KeyRow = dict[str, object]
"""A row of `LiteLLM_VerificationToken` by column name; times carry UTC, JSON columns are decoded."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual key to be stored, by column name. Money in US dollars as LiteLLM's columns hold it."""

    token: KeyHash
    key_name: str
    key_alias: str | None = None
    spend: float = 0.0
    expires: datetime | None = None
    models: tuple[str, ...] = ()
    aliases: dict[str, object] = {}
    config: dict[str, object] = {}
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    permissions: dict[str, object] = {}
    max_parallel_requests: int | None = None
    metadata: dict[str, object] = {}
    blocked: bool | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    tpd_limit: int | None = None
    max_budget: float | None = None
    soft_budget: float | None = None
    """No column: it is kept in a budget of the key's own."""
    budget_duration: str | None = None
    budget_reset_at: datetime | None = None
    budget_limits: list[object] | None = None
    budget_id: str | None = None
    model_max_budget: dict[str, object] = {}
    allowed_cache_controls: tuple[str, ...] = ()
    allowed_routes: tuple[str, ...] = ()
    router_settings: dict[str, object] = {}
    key_type: str | None = None


class KeyPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a key is, or is to be; nobody changes it until the key is stored."""

    team: KeyRow | None = None
    """What the key's team says about keys in it: its organization, members and their permissions. None: there is no
    such team, or the key is in none."""
    owner: Memberships = Memberships()
    """Of the key's user."""
    asker: Memberships = Memberships()
    """Of whoever asks."""


class KeyEdit(msgspec.Struct, frozen=True, kw_only=True):
    """How a key is to be changed, decided when its row is at hand and nobody else can change it."""

    changes: Callable[[KeyRow, KeyPlace], Mapping[str, object]]
    """Columns and their new values; `soft_budget` is one, too. Raises Refusal. The place is that of the key as it is to
    be; empty where there is no `asker`."""
    asker: str | None = None
    """The user who asks, if what he may do depends on where he belongs."""
    moves: Mapping[str, object] = {}
    """Which of `team_id`, `user_id` and `organization_id` are to be others."""
    spend: bool = False
    """`spend` is one of them: then what is spent of the key's budget is stated anew, too."""


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys, in which order; None: any."""

    reach: dict[str, object]
    """Whose keys may be seen: `{"everything": True}`, or of `user`, `teams`, `organizations`."""
    user_id: str | None = None
    created_by: str | None = None
    """Beside those of `user_id`."""
    teams: tuple[str, ...] | None = None
    """Beside those of `user_id`."""
    team_id: str | None = None
    """None: all but those of logins."""
    organization_id: str | None = None
    project_id: str | None = None
    key_alias: str | None = None
    key_hash: str | None = None
    search: str | None = None
    """Part of an alias."""
    status: str | None = None
    """`active`, `expired`, `revoked` or `deleted`."""
    sort_by: str = "created_at"
    downwards: bool = True


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the keys: hash and alias of each."""

    total: int
    """Of all that fit."""
    keys: list[tuple[KeyHash, str | None]]


class KeyAdministration(Protocol):
    """What the management API does with stored keys: PostgreSQL (`store.keys`).

    All raise StoreUnavailable; those that change something StoreRefused: it cannot be stored, with a message for
    whoever asked. Every worker hears of changes at once.
    """

    async def insert(
        self,
        key: NewKey,
        *,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> KeyRow | None:
        """Store a new key, and its owner's row if there is none; None when its alias is taken.

        `check` sees the place of the key, of a user `asker` who asks for it, and raises to prevent it.
        """

    async def info(self, token: KeyHash) -> KeyRow | None:
        """The key's row."""

    async def infos(self, tokens: Sequence[KeyHash], *, deleted: bool = False) -> list[KeyRow]:
        """The rows of those that there are, in the same order."""

    async def budgets(self, budget_ids: Sequence[str]) -> dict[str, KeyRow]:
        """Rows of `LiteLLM_BudgetTable`, by id."""

    async def users(self, user_ids: Sequence[str]) -> dict[str, KeyRow]:
        """What is shown of keys' owners, by id."""

    async def page(self, wanted: KeyFilter, *, limit: int, offset: int) -> KeyPage:
        """Keys, some at a time."""

    async def change(
        self, token: KeyHash, edit: KeyEdit, *, action: Action, actor: Actor, expected: datetime | None = None
    ) -> KeyRow | None:
        """Change a key; its row afterwards, None when there is no such key.

        `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is another by now.
        """

    async def rotate(
        self,
        token: KeyHash,
        edit: KeyEdit,
        *,
        actor: Actor,
        revoke_at: datetime | None,
        expected: datetime | None = None,
    ) -> KeyRow | None:
        """Give a key another secret, whose hash is the `token` of the edit; its row afterwards, None when there is no
        such key. `revoke_at`: until when the old one works. What it has spent goes on."""

    async def delete(
        self,
        *,
        tokens: Sequence[KeyHash],
        aliases: Sequence[str],
        actor: Actor,
        allow: Callable[[KeyRow], None] = ...,
    ) -> list[tuple[KeyHash, str | None]]:
        """Move keys to the table of deleted ones; hash and alias of each. `allow` sees each, and raises to prevent all
        of it."""


UserRow = dict[str, object]
"""A row of `LiteLLM_UserTable` by column name, without the password."""


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which users, in which order; None: any."""

    organizations: tuple[str, ...] | None = None
    """Of which one must be a member."""
    role: str | None = None
    user_ids: tuple[str, ...] | None = None
    user_email: str | None = None
    """Part of it."""
    user_alias: str | None = None
    """Part of it."""
    sso_user_ids: tuple[str, ...] | None = None
    team: str | None = None
    sort_by: str = "created_at"
    downwards: bool = True


class UserPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the users."""

    total: int
    """Of all that fit."""
    users: list[UserRow]
    """Each with the number of his keys, `key_count`."""


class UserAdministration(Protocol):
    """What the management API does with users: PostgreSQL (`store.users`).

    All raise StoreUnavailable; those that change something StoreRefused, and Conflict: id or address are another's. The
    workers hear at once of changes that concern keys.
    """

    async def insert(
        self,
        user: UserRow,
        *,
        teams: Sequence[str],
        organizations: Sequence[str],
        key: NewKey | None,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> tuple[UserRow, KeyRow | None]:
        """Store a new user (`password`: already hashed) and, if there is one, his key. Raises NotFound: an unknown team
        or organization.

        `check` sees the place of the key, of a user `asker` who asks for it, and raises to prevent all of it; without a
        key, of the user.
        """

    async def find(self, user_id: str) -> UserRow | None:
        """The user's row."""

    async def find_by_email(self, email: str) -> UserRow | None:
        """The row of the user with this address, in whatever case."""

    async def all_ids(self, limit: int) -> list[str]:
        """All users."""

    async def count(self) -> int:
        """How many there are."""

    async def belongings(self, user_id: str) -> tuple[list[KeyRow], list[UserRow]]:
        """The user's keys, and the rows of the teams he is in."""

    async def page(self, wanted: UserFilter, *, limit: int, offset: int) -> UserPage:
        """Users, some at a time."""

    async def change(
        self,
        user_id: str,
        edit: Callable[[UserRow], Mapping[str, object]],
        *,
        actor: Actor,
        expected: datetime | None = None,
        spend: bool = False,
    ) -> UserRow | None:
        """Change a user; his row afterwards, None when there is none. `edit` gives the columns that change, and may
        raise Refusal. `spend`: it is one of them.

        `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is another by now.
        """

    async def delete(self, user_ids: Sequence[str], *, actor: Actor) -> list[UserRow]:
        """Delete users, their keys and memberships. Raises NotFound: there is no such user, and all stay."""


class ReportNames(Protocol):
    """Whose keys are whose, and what they are called: PostgreSQL (`store.reports`).

    This and the other stores of reports raise StoreBusy (others are being made), StoreTooSlow, StoreRefused (a value
    that no row can have) and StoreUnavailable.
    """

    async def keys_of(self, user_id: str) -> list[str]:
        """Hashes of a user's keys, deleted ones too."""

    async def key_names(self, tokens: Sequence[str]) -> dict[str, KeyNames]:
        """How keys are called: those that are known."""

    async def team_aliases(self, teams: Sequence[str]) -> dict[str, str | None]:
        """How teams are called: those that are known."""


class SpendLogStore(Protocol):
    """The log of calls, for reports: PostgreSQL (`store.spend_logs`)."""

    async def page(self, sight: Sight, asked: LogFilter, order: LogOrder) -> LogPage:
        """Some of the rows that are asked for and seen."""

    async def summary(
        self, sight: Sight, days: Days, *, api_keys: tuple[str, ...] | None, user_id: str | None
    ) -> list[SpendOnDay]:
        """What was spent on each day on which anything was, in the order of days."""


Rows = list[dict[str, object]]


class TagUsageStore(Protocol):
    """How much tags are used: PostgreSQL (`store.spend_totals`). At most a thousand tags of a period, those with most
    users. `tags`: only these; None: all."""

    async def summary(self, days: Days, *, tags: Sequence[str] | None) -> Rows:
        """`tag`, `unique_users`, `total_calls`, `successful_requests`, `failed_requests`, `total_tokens`,
        `total_spend`."""

    async def active_users(self, periods: Sequence[Days], *, tags: Sequence[str] | None) -> list[ActiveTag]:
        """How many users' keys used each tag, period by period."""


class SpendTotalStore(Protocol):
    """Sums of what was spent: PostgreSQL (`store.spend_totals`).

    Rows are by the names of the answers' fields, in the order of what was spent, or of days. `api_keys`, `team_id` and
    so on: only theirs; None: everybody's.
    """

    async def total(self, days: Days) -> float: ...

    async def by_day(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_day_and_model(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_key(self, days: Days, *, limit: int) -> Rows: ...

    async def by_model(self, days: Days, *, limit: int) -> Rows: ...

    async def by_provider(self, days: Days, *, api_keys: Sequence[str] | None = None) -> Rows: ...

    async def by_team(self, days: Days) -> Rows: ...

    async def by_end_user(self, days: Days, *, api_keys: Sequence[str] | None, limit: int) -> Rows: ...

    async def by_tag(self, days: Days, *, tags: Sequence[str] | None = None) -> Rows: ...

    async def keys(self, sight: Sight, *, limit: int) -> Rows: ...

    async def users(self, *, user_id: str | None, limit: int) -> Rows: ...

    async def report_by_team(self, days: Days, *, team_id: str | None) -> bytes: ...

    async def report_by_customer(self, days: Days, *, customer_id: str | None, others: str) -> bytes: ...

    async def report_by_key(self, days: Days, *, api_keys: Sequence[str] | None, user_id: str | None) -> bytes: ...


class ActivityStore(Protocol):
    """Days of users, teams and others: PostgreSQL (`store.activity`)."""

    async def page(self, asked: ActivityFilter, *, limit: int, offset: int) -> tuple[list[ActivityRow], int]:
        """Some of the rows, the last day's first, and how many there are in all."""

    async def all(self, asked: ActivityFilter, *, others: str) -> list[ActivityRow]:
        """All of them, added up; beside the keys and entities that spent most, the rest are one, called `others`."""


class CostQuotes(Protocol):
    """What calls would cost (`gateway.quotes`). Both raise InvalidRequest: nobody knows a price for the model."""

    def of_messages(self, model: str, encoded_bytes: int) -> NanoUsd:
        """About what the prompt costs, as so many bytes of JSON."""

    def of_usage(self, model: str, usage: bytes) -> NanoUsd:
        """What is charged for a usage report. Raises InvalidRequest also where it reports nothing."""


class SpendReset(Protocol):
    """Setting back what was spent: PostgreSQL (`store.spend_reset`)."""

    async def reset(self, actor: Actor) -> None:
        """All keys and teams have spent nothing in their current periods. Raises StoreUnavailable."""


AuditRow = dict[str, object]
"""A row of `LiteLLM_AuditLog` by column name."""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes, in which order; None: any."""

    changed_by: str | None = None
    changed_by_api_key: str | None = None
    action: str | None = None
    table_name: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    """Not included."""
    sort_by: str = "updated_at"
    """A column; among equals, time decides."""
    downwards: bool = True


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the changes."""

    total: int
    """Of all that fit."""
    rows: list[AuditRow]


class AuditLog(Protocol):
    """What was changed by whom: PostgreSQL (`store.audit_log`)."""

    async def find(self, entry_id: str) -> AuditRow | None:
        """One entry. Raises StoreUnavailable."""

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> AuditPage:
        """Entries. Raises StoreUnavailable, StoreRefused."""


ModelRow = dict[str, object]
"""A row of `LiteLLM_ProxyModelTable` by column name, secrets sealed."""
CredentialRow = dict[str, object]
"""A row of `LiteLLM_CredentialsTable` by column name, values sealed."""


class NewModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model to be stored; secrets among its parameters are sealed."""

    model_id: str
    model_name: str
    litellm_params: Mapping[str, object]
    model_info: Mapping[str, object]
    blocked: bool = False


class NewCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential to be stored, its values sealed."""

    name: str
    values: Mapping[str, object]
    info: Mapping[str, object]


class StoredSetup(msgspec.Struct, frozen=True, kw_only=True):
    """All that the database adds to the configuration, as of one moment."""

    fingerprint: str
    models: tuple[ModelRow, ...] = ()
    credentials: tuple[CredentialRow, ...] = ()
    litellm_settings: Mapping[str, object] = {}


ModelChange = Callable[[ModelRow], NewModel]
"""From a row as it is to what it shall be. May refuse."""


class ModelStore(Protocol):
    """Models in the database (`store.models`). Everything raises StoreUnavailable; writing also StoreRefused."""

    async def fingerprint(self) -> str:
        """Another one whenever models, credentials or settings have changed."""

    async def setup(self) -> StoredSetup:
        """All of it."""

    async def find(self, model_id: str) -> ModelRow | None:
        """One row."""

    async def insert(self, model: NewModel, *, actor: Actor) -> ModelRow | None:
        """Store a new model, and tell all gateways; None when its id is taken."""

    async def update(self, model_id: str, change: ModelChange, *, actor: Actor) -> ModelRow | None:
        """Change a row that nobody else changes meanwhile; None: there is none. What `change` raises passes."""

    async def delete(self, model_id: str, *, actor: Actor) -> bool:
        """False: there is none."""


class CredentialStore(Protocol):
    """Credentials in the database (`store.credentials`). Raises as `ModelStore` does."""

    async def all(self) -> list[CredentialRow]:
        """By name."""

    async def find(self, name: str) -> CredentialRow | None:
        """One row."""

    async def insert(self, credential: NewCredential, *, actor: Actor) -> bool:
        """False: the name is taken."""

    async def update(
        self,
        name: str,
        change: Callable[[CredentialRow], NewCredential],
        *,
        actor: Actor,
        expected: datetime | None = None,
    ) -> bool:
        """False: there is none. `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is
        another by now."""

    async def delete(self, name: str, *, check: Callable[[Sequence[ModelRow]], None], actor: Actor) -> bool:
        """False: there is none. `check` sees all models of the database, and raises to prevent it."""


class SettingStore(Protocol):
    """Sections of the configuration in the database (`store.settings`). Raises as `ModelStore` does."""

    async def find(self, section: str) -> dict[str, object]:
        """What is stored of a section; empty: nothing."""

    async def update(
        self, section: str, change: Callable[[Mapping[str, object]], Mapping[str, object]], *, actor: Actor
    ) -> dict[str, object]:
        """Change a section that nobody else changes meanwhile; what it is now."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment on offer, or one of the database that cannot be, as `/model/info` shows it. Nothing secret."""

    id: str
    model_name: str
    names: frozenset[str]
    """What lists of allowed models may call it: the public name, and the provider's with its prefix."""
    access_groups: tuple[str, ...]
    provider: str | None
    stored: bool
    """In the database, not in the file."""
    parameters: Mapping[str, object]
    api_base: str | None
    """Without what may be secret in it. For administrators."""
    info: Mapping[str, object]
    """`model_info`: what the operator says, and what the price book knows."""
    error: str | None = None
    """Why it cannot be called."""


class SettingField(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, as `/config/list` shows it; secrets masked."""

    name: str
    kind: str
    description: str
    value: object
    default: object


class ModelCatalogue(Protocol):
    """The models on offer, of the file and of the database (`live_models`)."""

    @property
    def stores_models(self) -> bool:
        """The configuration allows models in the database."""

    def entries(self) -> Sequence[ModelEntry]:
        """All deployments."""

    async def check(self, model: NewModel) -> None:
        """Raises InvalidRequest: a model of the database that cannot be used; its parameters are in clear."""

    def check_credential(self, name: str, values: Mapping[str, object]) -> None:
        """Raises InvalidRequest: values in clear that cannot be used, or a name that the file has taken."""

    def file_credentials(self) -> Sequence[str]:
        """The names of those that stand in the file."""

    def settings(self, section: str) -> Sequence[SettingField]:
        """What holds at the moment in `general_settings`, `litellm_settings` or `router_settings`."""

    def check_settings(self, litellm_settings: Mapping[str, object]) -> None:
        """Raises InvalidRequest: settings that cannot be used."""

    async def refresh(self) -> None:
        """Put in force what the database has now. Raises StoreUnavailable."""


class SecretVault(Protocol):
    """Secrets as the database holds them (`vault`)."""

    def seal(self, text: str, place: str) -> str:
        """`text` encrypted, fit for a text column. It opens only with the same `place`: which value, of which row."""

    def open(self, text: str, place: str) -> str:
        """What was sealed, by us or by LiteLLM; any other text as it is. Raises SecretUnreadable."""

    def is_current(self, text: str) -> bool:
        """It is sealed, with the key that seals now."""

    def is_doubtful(self, text: str) -> bool:
        """It opens to itself, and may all the same be a ciphertext, of LiteLLM's and of a key we have not."""


class LoginUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user who may have a password."""

    user_id: str
    email: str | None
    role: str | None
    password: str | None
    """As the table has it (`access.passwords`)."""

    def __repr__(self) -> str:
        """Without the password."""
        return f"LoginUser(user_id={self.user_id!r})"


class LoginStore(Protocol):
    """Users and their sessions (`store.logins`). Raises StoreUnavailable."""

    async def find(self, name: str) -> LoginUser | None:
        """The user of this e-mail or id; None: none, or several."""

    async def open_session(
        self,
        user_id: str,
        *,
        token: KeyHash,
        key_name: str,
        expires: datetime,
        max_budget: float | None,
        password: str | None,
    ) -> bool:
        """Store the key of a session. `password`: as the table had it when it was checked; where the user has another
        one by now, or is gone, there is no session, and False. None: whoever knows the console's password, and is an
        administrator from now on."""


class TokenSigner(Protocol):
    """Session tokens (`access.session_tokens`)."""

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token that says `claims`."""


class MembershipLookup(Protocol):
    """Where users belong: PostgreSQL (`store.memberships`)."""

    async def find(self, user_id: str) -> Memberships:
        """The memberships of a user. Raises StoreUnavailable."""


class Authenticator(Protocol):
    """Who calls."""

    def recognise(self, request: Request) -> Principal | None:
        """The caller, if memory knows: costs no I/O. Raises Refusal: bad or missing credentials."""

    async def authenticate(self, request: Request) -> Principal:
        """The caller. Raises Refusal (Unavailable when the database is needed and away)."""


class KeyForms(Protocol):
    """Virtual keys as strings (`access.keys`)."""

    def generate(self) -> str:
        """A new key."""

    def hash(self, key: str) -> KeyHash:
        """How tables name it."""

    def abbreviate(self, key: str) -> str:
        """What may be shown of it."""

    def is_hash(self, text: str) -> bool:
        """Whether `text` has the form of a hash."""


class ChatUpstream(Protocol):
    """One deployment's provider, as a chat call needs it (`providers.openai_compatible`)."""

    @property
    def api_base(self) -> str:
        """Where it lives, as headers and log rows show it: stable, without credentials or query."""

    @property
    def answers(self) -> AnswerRules:
        """How its answers differ from OpenAI's."""

    def request(self, chat: ChatRequest, *, extra_headers: RawHeaders, timeouts: Timeouts) -> UpstreamRequest:
        """The request to send. Raises InvalidRequest: the provider does not know a parameter, and may not drop it."""

    def output_limit(self, chat: ChatRequest) -> int | None:
        """The bound on the tokens of each answer that the provider will be given; None: none."""

    def bounded(self, chat: ChatRequest, tokens: int) -> ChatRequest:
        """The same request with such a bound."""

    def conceal(self, text: str) -> str:
        """`text` without this deployment's credentials: providers quote them in their complaints."""

    def conceal_lines(self, lines: FieldLines) -> FieldLines:
        """The same of header fields."""

    def canned(self, chat: ChatRequest) -> UpstreamResponse | None:
        """An answer from the configuration, in place of the provider's; None nearly always."""


class Promise(asyncio.Future[None]):
    """A record that something depends on. Awaited, it is as safe as is configured."""

    recorded = False
    """It is on record, whatever becomes of the wait for it: what it promised has to be ended."""


class Recorder(Protocol):
    """Where entries are put on record (`ledger.group_commit`)."""

    def promise(self, payload: bytes) -> Promise:
        """Record what is about to be done, with room for the record of its end.

        Raises JournalError when awaited: it must not be done. If it is `recorded` all the same, it has to be ended.
        """

    def end(self, payload: bytes) -> None:
        """Record how something promised has ended. What the journal does not take waits for it to recover."""

    def report(self, payload: bytes) -> None:
        """Record something that no money depends on. What the journal does not take is dropped."""

    def written(self) -> Awaitable[None]:
        """Wait until the ends so far are as safe as is configured, or wait for the journal to recover."""

    def flush(self) -> bool:
        """Write at once what is waiting. False: the journal did not take all of it."""
