"""What may be spent, asked and used at a time: by whom (a scope), up to where (its limits).

A call is in many scopes at once: its key, the key's owner, team … the whole gateway. Each may have limits, and the call
must fit into all of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from bursar.domain.money import MAX_NANO_USD, NANO_PER_USD, NanoUsd


class ScopeKind(StrEnum):
    """Who or what a limit is about."""

    GATEWAY = "gateway"
    """Everything that goes through."""
    KEY = "key"
    KEY_MODEL = "key_model"
    """One model as one key uses it."""
    KEY_TAG = "key_tag"
    """One key's calls with one tag."""
    KEY_PERIOD = "key_period"
    """A key within periods of one length, beside those of its own budget."""
    USER = "user"
    USER_MODEL = "user_model"
    """One model as one user's keys use it."""
    TEAM = "team"
    TEAM_MODEL = "team_model"
    """One model as one team uses it."""
    TEAM_PERIOD = "team_period"
    """The same of a team."""
    TEAM_MEMBER = "team_member"
    """One user's calls within one team."""
    ORGANIZATION = "organization"
    ORGANIZATION_MODEL = "organization_model"
    """One model as one organization uses it."""
    END_USER = "end_user"
    END_USER_MODEL = "end_user_model"
    """One model as one end user's calls use it."""
    TAG = "tag"
    DEPLOYMENT = "deployment"


class Scope(NamedTuple):
    """One of them."""

    kind: ScopeKind
    id: str
    """As LiteLLM's tables have it: a key's hash, a user's id … Of two ids, `first/second`, with % and / in the first
    one encoded; the gateway's is empty."""


GATEWAY = Scope(ScopeKind.GATEWAY, "")
_MODELS_OF = {
    ScopeKind.KEY: ScopeKind.KEY_MODEL,
    ScopeKind.USER: ScopeKind.USER_MODEL,
    ScopeKind.TEAM: ScopeKind.TEAM_MODEL,
    ScopeKind.ORGANIZATION: ScopeKind.ORGANIZATION_MODEL,
    ScopeKind.END_USER: ScopeKind.END_USER_MODEL,
}
_OF_TWO = frozenset(
    {ScopeKind.TEAM_MEMBER, ScopeKind.KEY_TAG, ScopeKind.KEY_PERIOD, ScopeKind.TEAM_PERIOD, *_MODELS_OF.values()}
)


def member_scope(team_id: str, user_id: str) -> Scope:
    """A user within a team."""
    return Scope(ScopeKind.TEAM_MEMBER, f"{_encoded(team_id)}/{user_id}")


def model_scope(whose: Scope, model: str) -> Scope:
    """A model as a key, a team … uses it; `model` by the public name that their limits give."""
    return Scope(_MODELS_OF[whose.kind], f"{_encoded(whose.id)}/{model}")


def key_tag_scope(token: str, tag: str) -> Scope:
    """A key's calls that carry a tag."""
    return Scope(ScopeKind.KEY_TAG, f"{token}/{tag}")


def key_period_scope(token: str, duration: str) -> Scope:
    """A key within periods of `duration`."""
    return Scope(ScopeKind.KEY_PERIOD, f"{token}/{duration}")


def team_period_scope(team_id: str, duration: str) -> Scope:
    """A team within periods of `duration`."""
    return Scope(ScopeKind.TEAM_PERIOD, f"{_encoded(team_id)}/{duration}")


def _encoded(first: str) -> str:
    return first.replace("%", "%25").replace("/", "%2F")


def parts_of(scope: Scope) -> tuple[str, str]:
    """The ids a scope's id is made of; the second is empty where there is only one."""
    if scope.kind not in _OF_TWO:
        return scope.id, ""
    first, _, second = scope.id.partition("/")
    return first.replace("%2F", "/").replace("%25", "%"), second


class Raise(NamedTuple):
    """More to spend for a while: `temp_budget_increase` until `temp_budget_expiry`."""

    by: NanoUsd
    until_s: float
    """In seconds since 1970."""


class Budget(msgspec.Struct, frozen=True):
    """How much may be spent in a period."""

    limit: NanoUsd
    """0 or less: nothing."""
    duration: str | None = None
    """`30d`, `1mo` … as LiteLLM writes it; None: for ever."""
    reset_at_s: float | None = None
    """When the current period ends, in seconds since 1970, where the table says it; in the past: it has ended."""
    raised: Raise | None = None

    def limit_at(self, now_s: float) -> int:
        """The limit at `now_s`, in seconds since 1970: raised, until that ends."""
        return self.limit if self.raised is None else raised_limit(self.limit, self.raised, now_s)


def raised_limit(limit: int, raised: Raise, now_s: float) -> int:
    """`limit` with `raised`, while that lasts."""
    return min(limit + raised.by, MAX_NANO_USD) if now_s < raised.until_s else limit


def raise_of(stated: Mapping[str, object]) -> Raise | None:
    """The `temp_budget_increase`, in dollars, and the `temp_budget_expiry`, in ISO 8601 and UTC unless it says
    otherwise, of a row or of a key's metadata. None: they say nothing; without an end there is no raise."""
    usd, until = stated.get("temp_budget_increase"), stated.get("temp_budget_expiry")
    if not isinstance(usd, int | float) or isinstance(usd, bool) or not usd > 0 or not isinstance(until, str):
        return None
    try:
        ends = datetime.fromisoformat(until)
    except ValueError:
        return None
    ends = ends.replace(tzinfo=UTC) if ends.tzinfo is None else ends
    return Raise(NanoUsd(round(min(usd, MAX_NANO_USD // NANO_PER_USD) * NANO_PER_USD)), ends.timestamp())


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one scope; None: there is none of that kind."""

    scope: Scope
    name: str = ""
    """How messages name it, where that is not the id: a key's alias and last characters."""
    budget: Budget | None = None
    soft_budget: NanoUsd | None = None
    """Told about, never refused."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_calls: int | None = None
    models: "dict[str, Limits] | None" = None
    """Of single models in this scope, by public name."""

    @property
    def rated(self) -> bool:
        """Whether it limits anything but money."""
        return (
            self.requests_per_minute is not None
            or self.tokens_per_minute is not None
            or self.parallel_calls is not None
        )

    @property
    def limiting(self) -> bool:
        """Whether it says anything at all."""
        return self.rated or self.budget is not None or self.soft_budget is not None or bool(self.models)

    def of(self, scope: Scope) -> "Limits":
        """The same for another of that kind."""
        models = {
            model: msgspec.structs.replace(limits, scope=model_scope(scope, model))
            for model, limits in (self.models or {}).items()
        }
        return msgspec.structs.replace(self, scope=scope, models=models or None)

    def without_budgets(self) -> "Limits":
        """The others of them, of single models as well."""
        models = {model: limits.without_budgets() for model, limits in (self.models or {}).items()}
        limiting = {model: limits for model, limits in models.items() if limits.limiting}
        return msgspec.structs.replace(self, budget=None, models=limiting or None)
