"""What a call has been given of the limits that apply to it, and how it gives it back."""

from dataclasses import dataclass
from typing import NamedTuple

from bursar.domain.accounting import Evidence
from bursar.domain.limits import Limits
from bursar.domain.rate_limits import Hold, Plan
from bursar.domain.usage import Usage
from bursar.gateway.rate_headers import RateLines
from bursar.gateway.token_meter import TokenMeter
from bursar.ports.budgets import BudgetAccount
from bursar.wire.http import FieldLines, RawHeaders
from bursar.wire.openai_chat import ChatRequest


@dataclass(slots=True, frozen=True)
class Applied:
    """What applies to one kind of call: a caller, a model, a deployment, an end user, tags."""

    limits: tuple[Limits, ...] = ()
    """All of them, of rates and money."""
    plan: Plan | None = None
    """Of rates; None: none is limited."""
    lines: RateLines | None = None
    account: BudgetAccount | None = None
    """Of money; None: there is no budget."""


class HeldTokens(NamedTuple):
    """What tokens are counted by."""

    meter: TokenMeter
    model: str
    size_bytes: int


class Admitted:
    """Ended once, however the call ends; ending it again changes nothing."""

    __slots__ = ("_applied", "_hold", "_tokens")

    def __init__(self, applied: Applied, hold: Hold | None = None, tokens: HeldTokens | None = None) -> None:
        """`tokens`: None where none are limited."""
        self._applied = applied
        self._hold = hold
        self._tokens = tokens

    @property
    def limits(self) -> tuple[Limits, ...]:
        """All limits that apply to the call, of rates and money."""
        return self._applied.limits

    @property
    def account(self) -> BudgetAccount | None:
        """The budgets that apply to the call; None: there are none."""
        return self._applied.account

    def settle(self, chat: ChatRequest, usage: Usage, evidence: Evidence) -> None:
        """The call has used this: the tokens held for it are exchanged for these."""
        tokens = self._tokens
        if self._hold is not None and tokens is not None:
            self._hold.settle(tokens.meter.used(usage))
            tokens.meter.learn(tokens.model, tokens.size_bytes, choices=chat.choices, usage=usage, evidence=evidence)

    def end(self) -> None:
        """The call is over. Tokens that were not settled were not used."""
        if self._hold is not None:
            self._hold.end()

    def withdraw(self) -> None:
        """Nothing was sent, for a reason that is no limit of rates: the call's request does not count either."""
        if self._hold is not None:
            self._hold.withdraw()

    def lines(self, upstream: RawHeaders) -> FieldLines:
        """What its answer tells of rate limits. `upstream`: the provider's headers."""
        lines = self._applied.lines
        return b"" if lines is None else lines.lines(upstream)


UNLIMITED = Admitted(Applied())
"""Nothing is limited."""
