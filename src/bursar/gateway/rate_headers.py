"""How rate limits are told: the header fields of answers and the words of refusals, as LiteLLM has them."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from bursar.domain.errors import RateLimited
from bursar.domain.limits import Scope, ScopeKind, parts_of
from bursar.domain.rate_limits import Bucket, LimitKind
from bursar.ports.limits import RateLimitReached
from bursar.wire.http import FieldLines, RawHeaders

_WORDS = {
    ScopeKind.GATEWAY: "global",
    ScopeKind.KEY: "api_key",
    ScopeKind.KEY_MODEL: "model_per_key",
    ScopeKind.KEY_TAG: "tag_per_key",
    ScopeKind.USER: "user",
    ScopeKind.USER_MODEL: "model_per_user",
    ScopeKind.TEAM: "team",
    ScopeKind.TEAM_MODEL: "model_per_team",
    ScopeKind.TEAM_MEMBER: "team_member",
    ScopeKind.ORGANIZATION: "organization",
    ScopeKind.ORGANIZATION_MODEL: "model_per_organization",
    ScopeKind.END_USER: "end_user",
    ScopeKind.END_USER_MODEL: "model_per_end_user",
    ScopeKind.TAG: "tag",
    ScopeKind.DEPLOYMENT: "deployment",
}
_NO_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")
"""What the name of a header field cannot hold."""
_RESETS = {LimitKind.REQUESTS: b"x-ratelimit-reset-requests", LimitKind.TOKENS: b"x-ratelimit-reset-tokens"}


class RateLines:
    """The fields that tell of one plan's buckets; all but the numbers is made once."""

    __slots__ = ("_buckets", "_plain", "_resets", "_template", "_until_reset_s")

    def __init__(self, buckets: Iterable[Bucket], *, model: str, until_reset_s: Callable[[], int]) -> None:
        """`model`: the public name of the model that is asked for. `until_reset_s`: seconds left of the window."""
        self._until_reset_s = until_reset_s
        named: list[tuple[bytes, Bucket]] = []  # fields up to the number that changes, and whose it is
        self._plain: list[tuple[bytes, bytes, Bucket]] = []
        """Fields that the provider's own of the same name go before."""
        kinds: dict[LimitKind, None] = {}
        first: dict[tuple[ScopeKind, LimitKind], Bucket] = {}
        for bucket in buckets:
            scope, kind = bucket.key.scope.kind, bucket.key.kind
            kinds[kind] = None
            if scope is ScopeKind.DEPLOYMENT:
                name = f"x-ratelimit-remaining-{kind}".encode()
                limit = f"x-ratelimit-limit-{kind}: {bucket.limit}\r\n".encode()
                self._plain.append((name, limit, bucket))
                continue
            known = first.setdefault((scope, kind), bucket)
            if known is not bucket:  # of several tags the tightest
                if known.limit <= bucket.limit:
                    continue
                named = [one for one in named if one[1] is not known]
                first[scope, kind] = bucket
            named += _fields(bucket, model)
        self._template: bytes = b"".join(field.replace(b"%", b"%%") + b"%d\r\n" for field, _ in named)
        self._buckets = [bucket for _, bucket in named]
        self._resets = [_RESETS[kind] for kind in kinds if kind in _RESETS]

    def lines(self, upstream: RawHeaders) -> FieldLines:
        """As things stand now. `upstream`: the provider's headers."""
        found = [self._template % tuple([bucket.remaining for bucket in self._buckets])]
        theirs = {name for name, _ in upstream}
        for name, limit, bucket in self._plain:
            if name not in theirs:
                found.append(b"%b%b: %d\r\n" % (limit, name, bucket.remaining))
        if self._resets:
            left = b": %ds\r\n" % self._until_reset_s()
            found += [name + left for name in self._resets if name not in theirs]
        return b"".join(found)


def _fields(bucket: Bucket, model: str) -> list[tuple[bytes, Bucket]]:
    word, kind = _WORDS[bucket.key.scope.kind], bucket.key.kind
    fields = (
        f"x-ratelimit-{word}-limit-{kind}: {bucket.limit}\r\nx-ratelimit-{word}-remaining-{kind}: ".encode(),
        bucket,
    )
    if bucket.key.scope.kind is not ScopeKind.KEY_MODEL or kind is LimitKind.PARALLEL:
        return [fields]
    return [fields, (f"x-litellm-key-remaining-{kind}-{_NO_TOKEN.sub('-', model)}: ".encode(), bucket)]


def refusal(reached: RateLimitReached) -> RateLimited:
    """What the caller is told."""
    reset_at = datetime.fromtimestamp(reached.reset_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return RateLimited(
        f"Rate limit exceeded for {_WORDS[reached.scope.kind]}: {_value(reached.scope)}. "
        f"Limit type: {reached.kind}. Current limit: {reached.limit}, Remaining: {reached.remaining}. "
        f"Limit resets at: {reset_at}",
        limit_type=reached.kind,
        reset_at=reset_at,
        retry_after_s=reached.retry_after_s,
    )


def _value(scope: Scope) -> str:
    """Whom it is about. Pairs are written with a colon."""
    if scope.kind is ScopeKind.GATEWAY:
        return "gateway"
    return ":".join(filter(None, parts_of(scope)))
