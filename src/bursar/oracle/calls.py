"""Calls being served: their identifiers, the fault they meet, and what is billed when they end."""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, Protocol

from bursar.domain.usage import Usage
from bursar.oracle.answer import NOTHING, Generated
from bursar.oracle.bill import Biller, Ending, Fingerprints, Invoice
from bursar.oracle.faults import Fault, Share
from bursar.oracle.scenario import Scenario
from bursar.wire.http import FieldLines, Request


class Bare(Protocol):
    """What is needed of a connection of one's own (asyncio's and uvloop's transports have no common type)."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str) -> object: ...


class RawReply(Protocol):
    """`ports.http.Reply`, and a way around it for answers that break HTTP."""

    @property
    def gone(self) -> bool: ...

    def send(self, status: int, fields: FieldLines, body: bytes) -> None: ...

    def start(self, status: int, fields: FieldLines) -> None: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    async def drained(self) -> None: ...

    def when_ended(self, callback: Callable[[], None]) -> None: ...

    def take_over(self) -> Bare:
        """The connection itself; it is closed, after all that was written is out, when the handler returns."""


@dataclass(slots=True)
class Served:
    """One call on its way."""

    reply: RawReply
    scenario: Scenario
    fault: Fault | None
    invoice: Invoice
    biller: Biller
    prompt_tokens: int
    full: Generated = NOTHING
    """What the whole answer takes."""
    _full_usage: Usage | None = None

    @property
    def full_usage(self) -> Usage:
        """What the call has consumed once all of its answer is there."""
        if self._full_usage is None:
            self._full_usage = self.usage(self.full)
        return self._full_usage

    def usage(self, generated: Generated) -> Usage:
        """What the call has consumed once `generated` is there. Parts of the prompt never exceed it."""
        scenario = self.scenario
        prompt = self.prompt_tokens
        cached = min(scenario.cached, prompt)
        written = min(scenario.cache_write, prompt - cached)
        audio = min(scenario.audio_in, prompt - cached - written)
        return Usage(
            uncached_prompt_tokens=prompt - cached - written - audio,
            cached_prompt_tokens=cached,
            cache_write_5m_tokens=written,
            audio_prompt_tokens=audio,
            answer_tokens=generated.answer,
            reasoning_tokens=generated.reasoning,
            audio_completion_tokens=generated.audio,
        )

    def complete(self) -> None:
        """All of the answer is about to leave: bill it."""
        self._close(Ending.COMPLETE, "full", NOTHING)

    def client_left(self, generated: Generated = NOTHING) -> None:
        """Nobody waits any more. The rest is generated, and billed at once, unless the scenario says `hangup=stop`."""
        share: Share = "full" if self.scenario.hangup == "finish" else "generated"
        if self.fault is not None and self.scenario.bill is not None:
            share = self.scenario.bill
        self._close(Ending.CLIENT_GONE, share, generated)

    def met_fault(
        self, generated: Generated = NOTHING, *, ending: Literal[Ending.CUT, Ending.ERROR, Ending.COMPLETE]
    ) -> None:
        """The fault is about to happen: bill what its rule says."""
        assert self.fault is not None, "only a call with a fault meets it"
        share = self.scenario.bill or self.fault.share(streamed=self.invoice.streamed)
        self._close(ending, share, generated)

    def shut_down(self, generated: Generated) -> None:
        """The oracle itself is being ended in the middle of the answer."""
        self._close(Ending.CUT, "generated", generated)

    def _close(self, ending: Ending, share: Share, generated: Generated) -> None:
        usage: Usage | None
        match share:
            case "none":
                usage = None
            case "input":
                usage = self.usage(NOTHING)
            case "generated":
                usage = self.usage(generated)
            case "full":
                usage = self.full_usage
        self.biller.close(self.invoice, usage, ending=ending, client_there=not self.reply.gone)


@dataclass(slots=True)
class Calls:
    """Opens calls: the one place with state. Made after any fork, so that no two workers give the same id."""

    biller: Biller
    process: str = field(default_factory=lambda: secrets.token_hex(6))
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _met: Counter[str] = field(default_factory=Counter)
    _fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def name(self, prefix: str) -> str:
        """An identifier that nobody else gives, always of the same length."""
        return f"{prefix}{self.process}{next(self._numbers):016x}"

    def fault_of(self, scenario: Scenario, text: str) -> Fault | None:
        """The fault that this call meets; counts the calls of scenarios that ask for it, by their `text`."""
        if scenario.fault is None or (scenario.times is None and scenario.every is None):
            return scenario.fault
        self._met[text] += 1
        return scenario.fault_at(self._met[text])

    def invoice(
        self,
        request: Request,
        *,
        dialect: str,
        call_id: str | None,
        model: str,
        billed_model: str,
        streamed: bool,
    ) -> Invoice:
        """The invoice of a call that begins."""
        authorization = attempt = client_id = x_request_id = None
        for name, value in request.headers:
            if name == b"authorization":
                authorization = value
            elif name == b"x-bursar-attempt-id":
                attempt = value
            elif name == b"x-client-request-id":
                client_id = value
            elif name == b"x-request-id":
                x_request_id = value
        mark = attempt or client_id
        return Invoice(
            dialect=dialect,
            id=call_id,
            provider_request_id=self.name("req_"),
            attempt=None if mark is None else mark.decode("latin-1"),
            x_request_id=None if x_request_id is None else x_request_id.decode("latin-1"),
            key=self._fingerprints.of(authorization),
            model=model,
            billed_model=billed_model,
            streamed=streamed,
        )
