"""What limits hold for whom, and how many calls they let through."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bursar.domain.ids import JournalId
from bursar.domain.limits import Limits, Scope
from bursar.domain.rate_limits import Hold, LimitKind, Need, Plan
from bursar.domain.rate_shares import Answer as RateAnswer
from bursar.domain.rate_shares import Statement


class NamedLimits(msgspec.Struct, frozen=True):
    """What is known of an end user or a tag."""

    limits: Limits | None
    blocked: bool = False
    by_default: bool = False
    """The limits are those of end users that have none of their own."""


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

    def recall(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...] | None:
        """Theirs, if memory knows: costs no I/O. Raises Unauthenticated: blocked.

        `end_user` may be empty. `default` is what the key says that those have who have no limits of their own, in
        place of what is configured.
        """

    async def find(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...]:
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
