"""Rate limits as one worker keeps them: a bucket for each limit, what a call takes from several at once, how it ends.

Requests and tokens are counted in windows: the minutes of the store's clock, numbered since 1970. Calls at a time have
no window. A bucket's `share` is the part of its limit that this worker may use (`domain.rate_shares` says how it comes
by it); what is `used` stays within it, but for tokens, whose true number is known only when a call ends.

Written for speed: every call passes here, and may meet twenty buckets.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from bursar.domain.limits import Limits, Scope

WINDOW_S = 60
HIGHEST = 10**15
"""A limit above this is this: nobody reaches it, and sums stay within 64 bits."""
NEVER = 2**62
_ID_MAX_CHARS = 200


class LimitKind(StrEnum):
    """What is limited, by LiteLLM's words."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    PARALLEL = "max_parallel_requests"


class RateKey(NamedTuple):
    """One limit of one scope."""

    scope: Scope
    kind: LimitKind


def rate_key(scope: Scope, kind: LimitKind) -> RateKey:
    """The key of a limit. Ids too long for an index become their hash."""
    if len(scope.id) > _ID_MAX_CHARS:
        scope = Scope(scope.kind, "sha256:" + sha256(scope.id.encode("utf-8", "replace")).hexdigest())
    return RateKey(scope, kind)


class Bucket:
    """One limit, as far as this worker may use it."""

    __slots__ = (
        "before",
        "demand_there",
        "gone",
        "key",
        "limit",
        "mark",
        "others_demand",
        "others_share",
        "planned_s",
        "planned_used",
        "recalled",
        "recent",
        "refused",
        "share",
        "share_there",
        "short_since_s",
        "used",
        "waiting",
        "window",
        "windowed",
    )

    def __init__(self, key: RateKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.windowed = key.kind is not LimitKind.PARALLEL
        self.share = 0
        self.used = 0
        """In this window; of calls at a time: now."""
        self.window = 0
        self.before = 0
        """What the window before this one used."""
        self.waiting = 0
        """What calls that wait for a larger share need."""
        self.refused = 0
        """What was refused since the last plan, for want of share."""
        self.mark = 0
        """Use above this means that more share is needed soon."""
        self.gone = False
        """Forgotten for lack of use: whoever still holds it has to ask for it anew."""

        self.share_there = 0
        """As the store last said: at least `share`."""
        self.demand_there = 0
        self.others_share = 0
        self.others_demand = 0
        self.recalled = False
        """Another worker needs more than it has."""
        self.short_since_s: float | None = None
        """Since when the store knows that we need more than we have."""
        self.recent = 0.0
        """What was wanted of late, used or refused; fades with time."""
        self.planned_s = 0.0
        self.planned_used = 0

    def turn(self, window: int) -> None:
        """A new window has begun."""
        self.before = self.used if window == self.window + 1 else 0
        self.used = self.planned_used = 0
        self.window = window
        self.short_since_s = None
        self.mark = NEVER if self.share >= self.limit else self.share // 2

    @property
    def remaining(self) -> int:
        """What may still be used, as far as this worker knows: of its own share, and of what nobody had."""
        room = self.limit
        if self.share < room:
            free = max(0, room - self.share_there - self.others_share)
            room = min(self.share + free, room)
        return max(0, room - self.used)


class Plan:
    """The buckets that one kind of call meets, each sort in the order in which refusals name them."""

    __slots__ = ("buckets", "counted", "slots", "tokens")

    def __init__(self, buckets: Sequence[Bucket]) -> None:
        self.counted = tuple(b for b in buckets if b.key.kind is LimitKind.REQUESTS)
        self.slots = tuple(b for b in buckets if b.key.kind is LimitKind.PARALLEL)
        self.tokens = tuple(b for b in buckets if b.key.kind is LimitKind.TOKENS)
        self.buckets = (*self.counted, *self.slots, *self.tokens)

    @property
    def outdated(self) -> bool:
        """Some of its buckets have been forgotten: another plan is needed."""
        return any(bucket.gone for bucket in self.buckets)


def stated_limits(limits: Iterable[Limits]) -> list[tuple[RateKey, int]]:
    """What the limits say of rates, each scope's own. Below 0 counts as 0: nothing passes."""
    found: list[tuple[RateKey, int]] = []
    for one in limits:
        for kind, value in (
            (LimitKind.REQUESTS, one.requests_per_minute),
            (LimitKind.TOKENS, one.tokens_per_minute),
            (LimitKind.PARALLEL, one.parallel_calls),
        ):
            if value is not None:
                found.append((rate_key(one.scope, kind), min(max(value, 0), HIGHEST)))
    return found


class Need(NamedTuple):
    """What a call is expected to use of token limits."""

    input: int
    output: int

    def of(self, bucket: Bucket) -> int:
        """What it takes from `bucket`. The output is a guess, and may not keep a call from a small limit: at most a
        quarter of the limit is set aside for it."""
        if bucket.key.kind is not LimitKind.TOKENS:
            return 1
        return max(1, self.input + min(self.output, bucket.limit // 4))


class Hold:
    """What one call has taken. Closed once; closing again changes nothing."""

    __slots__ = ("_book", "_counted", "_held", "_open", "_slots", "_window")

    def __init__(self, book: "RateBook", plan: Plan, held: Sequence[tuple[Bucket, int]]) -> None:
        self._book = book
        self._counted = plan.counted
        self._slots = plan.slots
        self._held: Sequence[tuple[Bucket, int]] = held
        self._window = book.window
        self._open = True

    def settle(self, tokens: int) -> None:
        """The call has used so many tokens. Those held are given back, those used are charged to the current window,
        which may take it beyond its share; a hold of an earlier window stays with that one, and only the excess is
        charged: no token counts twice."""
        held, self._held = self._held, ()
        window = self._book.window
        for bucket, amount in held:
            if bucket.window != window:
                bucket.turn(window)
            if self._window == window or tokens > amount:
                bucket.used += tokens - amount
            if bucket.used > bucket.mark:
                self._book.touch(bucket)

    def end(self) -> None:
        """The call is over: its slots are free, tokens not settled were not used."""
        if self._open:
            self._open = False
            self.settle(0)
            for bucket in self._slots:
                bucket.used -= 1

    def withdraw(self) -> None:
        """The call is not made after all: its request does not count either."""
        if self._open:
            for bucket in self._counted:
                if bucket.window == self._window:
                    bucket.used -= 1
            self.end()


class RateBook:
    """All buckets of a worker, and the window they count in."""

    def __init__(self) -> None:
        self.buckets: dict[RateKey, Bucket] = {}
        self.window = 0
        self.touched: dict[Bucket, None] = {}
        """Buckets whose share has to be thought about."""

    def bucket(self, key: RateKey, limit: int) -> Bucket:
        """The bucket of a limit, which is `limit` from now on.

        A lowered limit lowers the share in proportion, at once and without asking: when every worker has done so, the
        shares fit into the new limit again.
        """
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket(key, limit)
            bucket.window = self.window
        elif limit != bucket.limit:
            if limit < bucket.limit:
                bucket.share = bucket.share * limit // bucket.limit
            else:
                bucket.short_since_s = None  # that was of the lower one
            bucket.limit = limit
            bucket.mark = 0
            self.touched[bucket] = None
        return bucket

    def plan(self, stated: Iterable[tuple[RateKey, int]]) -> Plan:
        """The buckets of some limits."""
        return Plan([self.bucket(key, limit) for key, limit in stated])

    def turn(self, window: int) -> None:
        """It is `window` now. Windows do not go back, unless the clock was set back by more than one."""
        if window > self.window or window < self.window - 1:
            self.window = window

    def touch(self, bucket: Bucket) -> None:
        """Its use has passed its mark."""
        bucket.mark = NEVER
        if not bucket.gone:
            self.touched[bucket] = None

    def lacking(self, plan: Plan, need: Need) -> Bucket | None:
        """The first bucket that has no room for the call; None: it fits. Nothing is taken."""
        window = self.window
        for bucket in plan.counted:
            if bucket.window != window:
                bucket.turn(window)
            if bucket.used >= bucket.share:
                return bucket
        for bucket in plan.slots:
            if bucket.used >= bucket.share:
                return bucket
        for bucket in plan.tokens:
            if bucket.window != window:
                bucket.turn(window)
            if bucket.used + need.of(bucket) > bucket.share:
                return bucket
        return None

    def admit(self, plan: Plan, need: Need) -> Hold | None:
        """Take what the call needs from all buckets, or nothing from any."""
        held = self._held_by(plan, need)
        if held is None:
            return None
        for bucket in plan.counted:
            bucket.used += 1
            if bucket.used > bucket.mark:
                self.touch(bucket)
        for bucket in plan.slots:
            bucket.used += 1
            bucket.window = self.window
            if bucket.used > bucket.mark:
                self.touch(bucket)
        for bucket, amount in held:
            bucket.used += amount
            if bucket.used > bucket.mark:
                self.touch(bucket)
        return Hold(self, plan, held)

    def _held_by(self, plan: Plan, need: Need) -> list[tuple[Bucket, int]] | None:
        """The tokens to be held, if there is room for all. What `lacking` and `Need.of` say in other words stands here
        again, because this is done for every call."""
        window = self.window
        for bucket in plan.counted:
            if bucket.window != window:
                bucket.turn(window)
            if bucket.used >= bucket.share:
                return None
        for bucket in plan.slots:
            if bucket.used >= bucket.share:
                return None
        held = []
        prompt, guess = need
        for bucket in plan.tokens:
            if bucket.window != window:
                bucket.turn(window)
            amount = prompt + min(guess, bucket.limit // 4) or 1
            if bucket.used + amount > bucket.share:
                return None
            held.append((bucket, amount))
        return held
