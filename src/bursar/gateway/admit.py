"""Whether a call may be made now: the limits that apply to it, and what it takes of them until it has ended.

This is the one place that knows who is limited. Rate limits come first: a call takes of them once, whatever becomes of
it. Then each of its attempts holds money (`hold`). Both are decided from memory, all or none; a call for which nothing
is limited passes in a fraction of a microsecond.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bursar.domain.errors import StoreUnavailable, Unavailable
from bursar.domain.ids import DeploymentId, KeyHash
from bursar.domain.limits import Limits
from bursar.domain.prices import Price
from bursar.domain.principals import Principal
from bursar.domain.rate_limits import Need, Plan
from bursar.gateway.admitted import UNLIMITED, Admitted, Applied, HeldTokens
from bursar.gateway.call import Call
from bursar.gateway.hold_plan import hold_plan
from bursar.gateway.models import Deployment
from bursar.gateway.rate_headers import RateLines, refusal
from bursar.gateway.token_meter import TokenMeter
from bursar.ports.budgets import BudgetHold, BudgetKeeper
from bursar.ports.limits import LimitLookup, RateLimitReached, RateLimits

_CALLERS_MAX = 100_000
_WAYS_MAX = 1000
_ONE = Need(0, 0)


@dataclass(slots=True)
class _Caller:
    """What was made for a caller's calls."""

    principal: Principal
    ways: dict[tuple[str, DeploymentId, tuple[int, ...]], Applied] = field(default_factory=dict)


class Admission:
    """Admits calls."""

    def __init__(
        self,
        rates: RateLimits,
        budgets: BudgetKeeper,
        named: LimitLookup,
        meter: TokenMeter,
        *,
        gateway: Limits | None = None,
    ) -> None:
        """`named`: the limits of end users and tags. `gateway`: those of everything that goes through."""
        self._rates = rates
        self._budgets = budgets
        self._named = named
        self._meter = meter
        self._gateway = gateway
        self._callers: OrderedDict[KeyHash | str, _Caller] = OrderedDict()
        self._rooms: dict[DeploymentId, tuple[Limits, Plan]] = {}

    def at_once(self, call: Call, deployment: Deployment) -> Admitted | None:
        """Admit the call, if memory alone can decide and there is room; else None, and `in_turn` says.

        Raises Unauthenticated: the end user is blocked.
        """
        principal, attribution = call.principal, call.attribution
        named: tuple[Limits, ...] = ()
        if attribution.end_user or attribution.tags:
            recalled = self._named.recall(attribution.end_user, attribution.tags, principal.end_user_limits)
            if recalled is None:
                return None
            named = recalled
            if principal.tag_limits:
                named += _of_tags(principal, attribution.tags)
        if not named and not principal.limits and deployment.limits is None and self._gateway is None:
            return UNLIMITED
        applied = self._applied(principal, call.group, deployment, named)
        plan = applied.plan
        if plan is None:
            return Admitted(applied)
        need, tokens = self._need(call, deployment, plan)
        hold = self._rates.admit(plan, need)
        return None if hold is None else Admitted(applied, hold, tokens)

    async def in_turn(self, call: Call, deployment: Deployment) -> Admitted:
        """Admit the call, after a look-up or a moment's wait where that can help.

        Raises RateLimited; Unauthenticated: the end user is blocked; Unavailable: it cannot be known.
        """
        principal, attribution = call.principal, call.attribution
        try:
            named = await self._named.find(attribution.end_user, attribution.tags, principal.end_user_limits)
        except StoreUnavailable:
            raise _unavailable("The limits of the end user and of tags cannot be looked up") from None
        if principal.tag_limits:
            named += _of_tags(principal, attribution.tags)
        applied = self._applied(principal, call.group, deployment, named)
        if applied.plan is not None and applied.plan.outdated:
            del self._callers[principal.api_key]
            applied = self._applied(principal, call.group, deployment, named)
        if applied.plan is None:
            return Admitted(applied)
        need, tokens = self._need(call, deployment, applied.plan)
        try:
            hold = await self._rates.admit_in_turn(applied.plan, need)
        except RateLimitReached as reached:
            raise refusal(reached) from None
        except StoreUnavailable:
            raise _unavailable("A rate limit cannot be shared with other processes of the gateway") from None
        return Admitted(applied, hold, tokens)

    async def hold(self, call: Call, deployment: Deployment, price: Price | None) -> BudgetHold | None:
        """Hold the most that an attempt of an admitted call can cost; None: no budget applies to it, or it is free.

        Raises BudgetExceeded; InvalidRequest, UnboundedCost: it is not known what it can cost; Unavailable: the
        database is needed.
        """
        account = call.admitted.account
        if account is None:
            return None
        plan = hold_plan(call.request, call.chat, deployment, price)
        if plan is None:
            return None
        return account.hold_now(plan) or await account.hold(plan)

    def _need(self, call: Call, deployment: Deployment, plan: Plan) -> tuple[Need, HeldTokens | None]:
        if not plan.tokens:
            return _ONE, None
        need, size_bytes = self._meter.need(call.chat, deployment)
        return need, HeldTokens(self._meter, deployment.upstream_model, size_bytes)

    def with_room(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        """Those whose own limits are not used up; all, if that is none: their refusal says why."""
        if all(deployment.limits is None for deployment in deployments):
            return deployments
        return [d for d in deployments if d.limits is None or self._has_room(d.id, d.limits)] or deployments

    def _has_room(self, deployment: DeploymentId, limits: Limits) -> bool:
        known = self._rooms.get(deployment)
        if known is None or known[0] is not limits or known[1].outdated:
            plan = self._rates.plan([limits])
            if plan is None:
                return True
            known = self._rooms[deployment] = (limits, plan)
        return self._rates.has_room(known[1])

    def _applied(self, principal: Principal, model: str, deployment: Deployment, named: tuple[Limits, ...]) -> Applied:
        """What applies to a call; made once for calls of its kind."""
        caller = self._callers.get(principal.api_key)
        if caller is None or caller.principal is not principal:
            caller = self._callers[principal.api_key] = _Caller(principal)
            self._callers.move_to_end(principal.api_key)
            if len(self._callers) > _CALLERS_MAX:
                self._callers.popitem(last=False)
        way = (model, deployment.id, tuple(map(id, named)) if named else ())  # which `Applied.limits` keeps alive
        applied = caller.ways.get(way)
        if applied is None:
            applied = self._apply(principal, model, deployment, named)
            if len(caller.ways) >= _WAYS_MAX:
                caller.ways.clear()
            caller.ways[way] = applied
        return applied

    def _apply(self, principal: Principal, model: str, deployment: Deployment, named: tuple[Limits, ...]) -> Applied:
        whose = (*principal.limits, *named)
        limits = (
            *whose,
            *_of_model(whose, model, deployment.group),
            *((deployment.limits,) if deployment.limits is not None else ()),
            *((self._gateway,) if self._gateway is not None else ()),
        )
        plan = self._rates.plan(limits)
        return Applied(
            limits,
            plan,
            None if plan is None else RateLines(plan.buckets, model=model, until_reset_s=self._rates.until_reset_s),
            self._budgets.account(limits),
        )


def _of_tags(principal: Principal, tags: Sequence[str]) -> tuple[Limits, ...]:
    """The key's own limits of `tags`."""
    by_tag = principal.tag_limits
    return tuple([by_tag[tag] for tag in tags if tag in by_tag])


def _of_model(whose: Sequence[Limits], model: str, group: str) -> list[Limits]:
    """Their limits of the model: by the name that is asked for, and by the one it is configured under, so that no alias
    and no deployment's id leads past them. A name stands for itself and for what is behind its last slash, so that no
    limit of the longer one does either."""
    names = dict.fromkeys(name for full in (model, group) for name in (full, full.rpartition("/")[2]))
    return [limits.models[name] for limits in whose if limits.models for name in names if name in limits.models]


def _unavailable(what: str) -> Unavailable:
    return Unavailable(f"{what}: the database does not answer. Try again.", kind="store_unavailable")
