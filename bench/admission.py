"""What admission costs: a call that is in eight scopes, each with a budget and limits of requests, tokens and calls.

`python -m bench.admission`. In one process, with stores in memory that give everything: what is measured is the way of
nearly every call, which asks nobody. CPU seconds of this thread.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import cast

import msgspec

from bench.spread import Spread, spread_of
from bursar.config.schema import Config, DeploymentConfig
from bursar.domain.accounting import Evidence
from bursar.domain.ids import CallId, DeploymentId, JournalId, KeyHash
from bursar.domain.limits import GATEWAY, Budget, Limits, Scope, ScopeKind, member_scope, model_scope
from bursar.domain.money import NANO_PER_USD, NanoUsd
from bursar.domain.principals import Principal, Role
from bursar.domain.rate_shares import Answer as RateAnswer
from bursar.domain.rate_shares import Outcome, Share, Statement
from bursar.domain.usage import Usage
from bursar.domain.windows import Answer
from bursar.gateway.admit import Admission
from bursar.gateway.admitted import Admitted
from bursar.gateway.attribution import AttributionRules, attribute
from bursar.gateway.call import Call
from bursar.gateway.models import Deployment
from bursar.gateway.token_meter import TokenMeter
from bursar.model_setup import ModelBuilder
from bursar.ports.budgets import BudgetAsk, BudgetHold
from bursar.ports.http import Reply
from bursar.prices import load_book
from bursar.process_memory import quieten_collector
from bursar.quotas.budgets import Budgets
from bursar.quotas.rate_limits import RateLimiter
from bursar.tasks import TaskOwner
from bursar.wire.http import Request
from bursar.wire.openai_chat import decode_request

_ROUNDS = 50
_CALLS = 500
_PLENTY = 10**9
_KEY = KeyHash("k" * 64)
_INSTANCE = JournalId("00000000-0000-7000-8000-000000000000")
_USAGE = Usage(uncached_prompt_tokens=100, answer_tokens=200)
_COST = 900_000


class Cost(msgspec.Struct, frozen=True):
    """Microseconds of CPU a call."""

    taken: Spread
    """Rates and budgets of eight scopes."""
    given_back: Spread
    """Settled and ended, in all of them."""
    unlimited: Spread
    """The whole of it, for a call that nothing limits."""

    def with_(self, other: "Cost") -> "Cost":
        """Over the rounds of both."""
        return Cost(
            spread_of([*self.taken.rounds, *other.taken.rounds]),
            spread_of([*self.given_back.rounds, *other.given_back.rounds]),
            spread_of([*self.unlimited.rounds, *other.unlimited.rounds]),
        )


class _AllMoney:
    """A `ports.budgets.BudgetStore` that grants all of every limit."""

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        return time.time()

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        return [
            Answer(
                window=asked.ask.window,
                operation=asked.ask.operation,
                leased=asked.budget.limit,
                limit=asked.budget.limit,
                spent=0,
                committed=asked.budget.limit,
                scarce=False,
            )
            for asked in asks
        ]

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        pass


class _AllRates:
    """A `ports.limits.RateStore` that grants all of every limit."""

    async def share(self, instance: JournalId, statement: Statement, *, lease_s: float) -> RateAnswer:
        shares = tuple(Share(ask.limit, 0, 0) for ask in statement.asks)
        return RateAnswer(outcome=Outcome.OK, at_s=time.time(), window=statement.window, epoch="e", shares=shares)

    async def end(self, instance: JournalId) -> None:
        pass


class _EndUsers:
    """A `ports.limits.LimitLookup` in which every end user has the same limits, and no tag any."""

    def __init__(self, limits: Limits) -> None:
        self._limits = (limits,)

    def recall(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...]:
        return self._limits if end_user else ()

    async def find(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...]:
        return self.recall(end_user, tags)


def told(cost: Cost) -> list[str]:
    """For a person."""
    return [
        f"  {name:30}{spread.median:6.2f} µs ({spread.least:.2f}–{spread.most:.2f})"
        for name, spread in (
            ("taken in 8 scopes", cost.taken),
            ("given back", cost.given_back),
            ("if nothing is limited", cost.unlimited),
        )
    ]


def measure() -> Cost:
    """Measure it, in an event loop of its own. The collector is as quiet as a worker has it."""
    before = gc.get_threshold()
    quieten_collector()
    try:
        return asyncio.run(_measure())
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _measure() -> Cost:
    tasks = TaskOwner("admission")
    end_users = _EndUsers(_limits(Scope(ScopeKind.END_USER, "e")))
    rates = RateLimiter(_AllRates(), _INSTANCE, lease_s=600)
    budgets = Budgets(_AllMoney(), instance=_INSTANCE, epoch=lambda: 1)
    tasks.start(rates.run(), "rates")
    tasks.start(budgets.run(), "budgets")
    deployment = _deployment()
    limited = _Subject(
        Admission(rates, budgets, end_users, TokenMeter(), gateway=_limits(GATEWAY)), deployment, _call(limited=True)
    )
    unlimited = _Subject(Admission(rates, budgets, end_users, TokenMeter()), deployment, _call(limited=False))
    taken, given_back, free = [], [], []
    for _ in range(_ROUNDS):
        await asyncio.sleep(0.02)  # so that what runs beside it has its turn now
        one, other = await limited.round()
        taken.append(one)
        given_back.append(other)
        free.append(sum(await unlimited.round()))
    await tasks.cancel()
    return Cost(spread_of(taken), spread_of(given_back), spread_of(free))


class _Subject:
    """Calls of one kind."""

    def __init__(self, admission: Admission, deployment: Deployment, call: Call) -> None:
        self._admission = admission
        self._deployment = deployment
        self._price = deployment.prices.at(time.time())
        self._call = call

    async def round(self) -> tuple[float, float]:
        """Microseconds for a call to be admitted, and to end. All calls of a round run at the same time."""
        await self._admit()
        self._end(self._call.admitted, None)
        began_s = time.thread_time()
        open_ = [await self._admit() for _ in range(_CALLS)]
        between_s = time.thread_time()
        for admitted, hold in open_:
            self._end(admitted, hold)
        ended_s = time.thread_time()
        return (between_s - began_s) / _CALLS * 1e6, (ended_s - between_s) / _CALLS * 1e6

    async def _admit(self) -> tuple[Admitted, BudgetHold | None]:
        """As `gateway.chat` does it."""
        call, admission = self._call, self._admission
        call.admitted = admission.at_once(call, self._deployment) or await admission.in_turn(call, self._deployment)
        return call.admitted, await admission.hold(call, self._deployment, self._price)

    def _end(self, admitted: Admitted, hold: BudgetHold | None) -> None:
        if hold is not None:
            hold.settle(_COST)
        admitted.settle(self._call.chat, _USAGE, Evidence.PROVIDER)
        admitted.end()


def _call(*, limited: bool) -> Call:
    body = msgspec.json.encode(
        {
            "model": "model",
            "messages": [{"role": "user", "content": "How are the books?" * 20}],
            "max_tokens": 500,
            "user": "e" if limited else "",
        }
    )
    request = Request(
        method="POST",
        path="/v1/chat/completions",
        query="",
        headers=[],
        fields={},
        body=body,
        client_host="",
        received_s=0.0,
    )
    chat = decode_request(body)
    scopes = [
        Scope(ScopeKind.KEY, _KEY),
        Scope(ScopeKind.USER, "u"),
        Scope(ScopeKind.TEAM, "t"),
        member_scope("t", "u"),
        Scope(ScopeKind.ORGANIZATION, "o"),
    ]
    of_key, *others = map(_limits, scopes)
    of_key = msgspec.structs.replace(of_key, models={"model": _limits(model_scope(of_key.scope, "model"))})
    principal = Principal(role=Role.INTERNAL_USER, api_key=_KEY, limits=(of_key, *others) if limited else ())
    id_ = CallId("c")
    return Call(
        id=id_,
        request=request,
        reply=cast(Reply, None),  # nobody is answered
        principal=principal,
        chat=chat,
        attribution=attribute(request, chat, principal, call_id=id_, rules=AttributionRules()),
        group="model",
        started_us=0,
    )


def _deployment() -> Deployment:
    config = Config(
        deployments=(
            DeploymentConfig(
                id=DeploymentId("d"),
                model_name="model",
                model="openai/model",
                prices={"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6},
            ),
        )
    )
    builder = ModelBuilder(config, load_book(), {}, demo_base=None)
    (deployment,) = builder.table(builder.of_file()).find("model").serving
    return deployment


def _limits(scope: Scope) -> Limits:
    return Limits(
        scope=scope,
        budget=Budget(NanoUsd(1_000_000 * NANO_PER_USD), "1mo"),
        requests_per_minute=_PLENTY,
        tokens_per_minute=_PLENTY * 1000,
        parallel_calls=_PLENTY,
    )


if __name__ == "__main__":
    for line in told(measure()):
        print(line)
