"""The record that travels a call's way. Each step adds its own facts to it, and nobody else's.

Structs rather than dataclasses: they are made for every call, and cost a third.
"""

import msgspec

from bursar.domain.accounting import Evidence, Pins
from bursar.domain.ids import AttemptId, CallId
from bursar.domain.money import NanoUsd
from bursar.domain.prices import CostParts, Price
from bursar.domain.principals import Principal
from bursar.domain.usage import Usage
from bursar.gateway.admitted import UNLIMITED, Admitted
from bursar.gateway.models import Deployment
from bursar.ports.budgets import BudgetHold
from bursar.ports.http import Reply
from bursar.wire.http import RawHeaders, Request
from bursar.wire.openai_chat import ChatRequest


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """To whom a call is put down, as its request says; all of it fit to be stored."""

    litellm_call_id: str
    """What the client sees as the call's id; its own, if it sent one. Never our key."""
    user: str
    """The body's `user`."""
    end_user: str
    tags: list[str]
    session_id: str | None
    metadata: dict[str, msgspec.Raw]
    """The caller's metadata, by member."""
    dropped: list[str]
    """Members of it that were too large to keep."""
    logs_metadata: dict[str, object]
    """`spend_logs_metadata`, from team, key and request."""
    client_host: str
    user_agent: str
    redact_text: bool
    """The text of this call is not to be stored."""


class Charge(msgspec.Struct):
    """What an attempt cost, and how that is known."""

    cost: NanoUsd
    usage: Usage
    evidence: Evidence
    flags: tuple[str, ...] = ()
    provider_usage: bytes = b""
    parts: CostParts | None = None
    """None: there is no price, or the provider stated the charge itself."""
    priced: bool = True

    @property
    def estimated(self) -> bool:
        """Its usage is ours, not the provider's, whatever it costs: free and unpriced ones have their own evidence."""
        return "usage_estimated" in self.flags


class Estimate(msgspec.Struct, frozen=True):
    """What an attempt is booked at if nobody ever learns what it cost."""

    cost: NanoUsd
    prompt_tokens: int


class Attempt(msgspec.Struct, kw_only=True):
    """One try at one deployment."""

    id: AttemptId
    deployment: Deployment
    price: Price | None
    opened_us: int
    sent_s: float = 0.0
    """`perf_counter` when the request was handed to the transport."""
    timeout_s: float = 0.0
    """What it may take, for the header that says so."""
    first_s: float = 0.0
    """… when the first piece of a stream was there."""
    body_s: float = 0.0
    """… when the last byte of the answer was there."""
    status: int = 0
    upstream_headers: RawHeaders = []
    provider_id: str | None = None
    charge: Charge | None = None
    hold: BudgetHold | None = None
    """What it holds of its budgets."""
    pins: Pins | None = None
    """The same, as its entries say it."""
    booked: bool = False
    """Its end is on record."""


class Call(msgspec.Struct, kw_only=True):
    """One client request."""

    id: CallId
    request: Request
    reply: Reply
    principal: Principal
    chat: ChatRequest
    attribution: Attribution
    group: str
    """The public model name the client asked for."""
    started_us: int
    admitted: Admitted = UNLIMITED
    """What it was given of the limits that apply to it."""
    attempt: Attempt | None = None
    first_token_us: int = 0
    attempts: int = 0
    drained: bool = False
    """The client left before its answer was complete."""
