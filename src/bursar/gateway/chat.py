"""Chat completions: one call from its request to its books.

A call runs in a task of the server's. When its client leaves, the task goes on: it reads the provider's answer to its
end, within a bound, so that the true usage is known, and writes to nobody. Every way out of an attempt passes through
`Books`, which is synchronous: also a call that is cancelled at shutdown is booked.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import msgspec

from bursar.domain.accounting import Evidence
from bursar.domain.accounting import Failure as LoggedFailure
from bursar.domain.errors import BudgetExceeded, InvalidRequest, JournalError, NotBuilt, Refusal, Unavailable
from bursar.domain.ids import CallId
from bursar.domain.money import NanoUsd, usd_float
from bursar.domain.outcomes import Outcome
from bursar.domain.permissions import LLM_ROUTES, check_route
from bursar.domain.principals import Principal, Role
from bursar.domain.routing import shuffle
from bursar.gateway.access import check_enforced, check_fallbacks, check_model
from bursar.gateway.admit import Admission
from bursar.gateway.attribution import AttributionRules, attribute
from bursar.gateway.books import Books
from bursar.gateway.call import Attempt, Call, Charge, Estimate
from bursar.gateway.charging import Charger, reported
from bursar.gateway.deadlines import Deadlines
from bursar.gateway.failures import (
    AttemptFailure,
    Stop,
    broken_answer,
    stopped,
    transport_failure,
    upstream_failure,
)
from bursar.gateway.headers import HeaderWriter
from bursar.gateway.kept_text import TextKeeper
from bursar.gateway.key_spend import KeySpend
from bursar.gateway.models import Deployment, LiveModels
from bursar.gateway.stream import StreamRelay
from bursar.ports.budgets import BudgetHold
from bursar.ports.http import Reply
from bursar.ports.upstream import FailureKind, Timeouts, Transport, TransportError, UpstreamRequest, UpstreamResponse
from bursar.ports.users import Authenticator
from bursar.wire.content_encoding import ContentEncodingError, StreamDecoder, decoded
from bursar.wire.forbidden import forbidden_member
from bursar.wire.http import RawHeaders, Request, header
from bursar.wire.openai_answer import AnswerUnreadable, decode_answer, render_answer
from bursar.wire.openai_assembly import StreamAssembly
from bursar.wire.openai_chat import ChatRequest, decode_request
from bursar.wire.openai_error import UpstreamError, error_body, read_error
from bursar.wire.openai_usage import MISSING, UsageReading
from bursar.wire.refusals import refusal_answer, status_of

log = logging.getLogger(__name__)

_ERROR_BODY_MAX_BYTES = 256 * 1024
_NO_DEPLOYMENT = 429
"""No budget of the caller's: another call, later, may find one that has money left."""


@dataclass(slots=True, frozen=True)
class ChatSettings:
    """What the configuration says about calls."""

    attribution: AttributionRules
    drain_s: float = 30.0
    """How long an answer whose client has left is read on; 0: not at all (`on_disconnect: cancel`)."""
    max_response_bytes: int = 256 * 1024 * 1024
    refuse_unpriced: bool = False
    budget_exceeded_status: int = 422
    default_model: str | None = None
    """`general_settings.completion_model`: wins over what the request says."""
    usage_for_all: bool = False
    """Streams end with the usage chunk, asked for or not."""
    enforced_params: tuple[str, ...] = ()
    """What every call has to say, but for those of administrators, which may be probes; see `access.check_enforced`."""
    forward_headers: Callable[[RawHeaders], RawHeaders] = lambda _: []
    """Client headers that the configuration lets through to providers."""


class ChatCompletions:
    """Implements `ports.http.Handler` for `/v1/chat/completions` and its other paths."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        models: LiveModels,
        admission: Admission,
        transport: Transport,
        books: Books,
        headers: HeaderWriter,
        key_spend: KeySpend,
        deadlines: Deadlines,
        settings: ChatSettings,
        texts: TextKeeper | None = None,
    ) -> None:
        """`texts`: where prompts are stored; None: they are not."""
        self._authenticator = authenticator
        self._models = models
        self._admission = admission
        self._transport = transport
        self._books = books
        self._headers = headers
        self._key_spend = key_spend
        self._deadlines = deadlines
        self._settings = settings
        self._texts = texts
        self._charger = Charger()

    async def __call__(self, request: Request, reply: Reply, *, model: str | None = None) -> None:
        """Answer one call. `model` comes from the path, where the path names one."""
        call_id = self._books.new_call_id()
        principal: Principal | None = None
        call: Call | None = None
        try:
            principal = self._authenticator.recognise(request) or await self._authenticator.authenticate(request)
            check_route(principal, request.path, LLM_ROUTES)
            chat = self._read(request, model)
            call = self._begin(request, reply, principal, chat, call_id)
            serving = self._serving(call)
            while True:
                deployment = self._route(call, serving)
                call.admitted = self._admission.at_once(call, deployment) or await self._admission.in_turn(
                    call, deployment
                )
                try:
                    await self._serve(call, deployment)
                    break
                except BudgetExceeded as exceeded:
                    serving = [one for one in serving if one is not deployment]
                    if not exceeded.of_deployment or not serving:
                        raise
                finally:
                    if call.attempt is None:
                        call.admitted.withdraw()
                    call.admitted.end()
        except Refusal as refusal:
            if isinstance(refusal, BudgetExceeded):
                refusal.status = _NO_DEPLOYMENT if refusal.of_deployment else self._settings.budget_exceeded_status
            if call is not None and call.attempt is None:
                self._books.refuse(call, _logged(refusal))
                self._books.flush()
            self._send_refusal(reply, refusal, call_id if call is None else call.attribution.litellm_call_id, principal)

    def _read(self, request: Request, model: str | None) -> ChatRequest:
        """Decode the body. Raises InvalidRequest: unreadable, or it names what no caller may choose."""
        chat = decode_request(request.body, model=self._settings.default_model or model)
        if (name := forbidden_member(request.body, chat)) is not None:
            raise InvalidRequest(
                f"Rejected Request: {name} is not allowed in request body. "
                "Where calls go and with whose credentials is configured in the gateway.",
                param=name,
            )
        return chat

    def _begin(self, request: Request, reply: Reply, principal: Principal, chat: ChatRequest, call_id: CallId) -> Call:
        return Call(
            id=call_id,
            request=request,
            reply=reply,
            principal=principal,
            chat=chat,
            attribution=attribute(request, chat, principal, call_id=call_id, rules=self._settings.attribution),
            group=self._models.table.meant(self._named(principal, chat.model)),
            started_us=self._books.now_us() - int((perf_counter() - request.received_s) * 1e6),
        )

    def _named(self, principal: Principal, model: str) -> str:
        """What the key's and its team's aliases make of a name; where the configuration chooses the model, nothing."""
        if not principal.aliases or self._settings.default_model is not None:
            return model
        return principal.aliases.get(model, model)

    def _serving(self, call: Call) -> Sequence[Deployment]:
        """The deployments that may serve the call, at least one. Raises Refusal."""
        principal, chat, models = call.principal, call.chat, self._models.table
        group = models.find(call.group)
        check_model(principal, call.group, group, mapped=self._named(principal, chat.model))
        if chat.options.fallbacks or chat.options.context_window_fallbacks:
            check_fallbacks(principal, chat, models)
        if principal.enforced_params:
            check_enforced(principal.enforced_params, chat.members)
        if self._settings.enforced_params and principal.role is not Role.PROXY_ADMIN:
            check_enforced(self._settings.enforced_params, chat.members)
        return group.serving

    def _route(self, call: Call, serving: Sequence[Deployment]) -> Deployment:
        """The one of them that does. Raises Refusal."""
        if len(serving) > 1:
            serving = self._admission.with_room(serving)
        deployment = shuffle(serving, draw=random.random())
        if deployment.upstream is None:
            raise NotBuilt(f"Models of the provider {deployment.provider} are not served by this release yet.")
        if self._settings.refuse_unpriced and deployment.prices.at(self._books.now_us() / 1e6) is None:
            raise InvalidRequest(
                f"No price is known for the model {call.group}, and calls without a price are refused here. "
                "Set input_cost_per_token and output_cost_per_token for it.",
                kind="model_cost_map_missing",
                param="model",
            )
        return deployment

    async def _serve(self, call: Call, deployment: Deployment) -> None:
        """One attempt, from its promise to its end."""
        assert deployment.upstream is not None
        timeouts = _timeouts(call, deployment)
        attempt, upstream_request = await self._open(call, deployment, timeouts)
        relay = self._relay(call, attempt) if call.chat.stream else None
        response: UpstreamResponse | None = None
        try:
            with self._deadlines.limit(timeouts.response_s) as limit:
                # Without a client, read on for a while, so that the true usage is known.
                call.reply.when_ended(lambda: limit.shorten(self._settings.drain_s))
                attempt.timeout_s = timeouts.response_s
                attempt.sent_s = perf_counter()
                response = deployment.upstream.canned(call.chat) or await self._transport.send(upstream_request)
                attempt.status, attempt.upstream_headers = response.status, response.headers
                if not 200 <= response.status < 300:
                    await self._answer_upstream_error(call, attempt, response)
                elif relay is not None and _is_event_stream(response.headers):
                    await self._relay_stream(call, attempt, response, relay)
                else:
                    await self._relay_answer(call, attempt, response)
        except ContentEncodingError as error:
            broken = broken_answer(deployment.provider, str(error), status=attempt.status, output=_produced(relay))
            self._fail(call, attempt, broken, relay)
        except TransportError as error:
            self._fail(call, attempt, transport_failure(deployment.provider, error, output=_produced(relay)), relay)
        except TimeoutError:
            why = Stop.CLIENT_GONE if call.reply.ended else Stop.OUT_OF_TIME
            self._fail(call, attempt, _stopped(attempt, why, relay, sent=upstream_request.sent), relay)
        except asyncio.CancelledError:
            self._fail(call, attempt, _stopped(attempt, Stop.SHUTDOWN, relay, sent=upstream_request.sent), relay)
            raise
        except Exception as error:  # a mistake of ours: the call was made all the same, and has to be booked
            if attempt.booked:
                raise
            log.exception("attempt.broken call_id=%s", call.id)
            detail = type(error).__name__
            broken = broken_answer(deployment.provider, detail, status=attempt.status, output=_produced(relay))
            self._fail(call, attempt, broken, relay)
        finally:
            call.reply.when_ended(_nothing)
            if response is not None:
                response.close()

    async def _open(self, call: Call, deployment: Deployment, timeouts: Timeouts) -> tuple[Attempt, UpstreamRequest]:
        """Hold what the attempt may cost and put it on record: from here on it may be sent. Raises Refusal."""
        assert deployment.upstream is not None
        hold = await self._admission.hold(call, deployment, deployment.prices.at(self._books.now_us() / 1e6))
        try:
            if hold is not None and hold.bound is not None:
                call.chat = deployment.upstream.bounded(call.chat, hold.bound)
            extra = [*call.chat.options.extra_headers, *self._settings.forward_headers(call.request.headers)]
            request = deployment.upstream.request(call.chat, extra_headers=extra, timeouts=timeouts)
            estimate = self._estimate(call, deployment, hold)
            return await self._books.open(call, deployment, estimate=estimate, hold=hold), request
        except BaseException as error:
            if hold is not None:
                hold.void()
            if not isinstance(error, JournalError):
                raise
            log.error("call.refused reason=%s", error)
            raise Unavailable("The gateway cannot record calls at the moment, and so makes none.") from error

    def _estimate(self, call: Call, deployment: Deployment, hold: BudgetHold | None) -> Estimate:
        size, model = len(call.request.body), deployment.upstream_model
        if hold is not None:
            return Estimate(NanoUsd(hold.amount), self._charger.expected_prompt(model, size))
        price = deployment.prices.at(self._books.now_us() / 1e6)
        return self._charger.expected(price, model=model, request_bytes=size, chat=call.chat)

    def _relay(self, call: Call, attempt: Attempt) -> StreamRelay:
        assembly = None if self._texts is None else StreamAssembly()
        return StreamRelay(
            call,
            attempt,
            self._price_of_usage(attempt),
            usage_wanted=self._settings.usage_for_all or call.chat.include_usage,
            assembly=assembly,
        )

    # Answers

    async def _relay_answer(self, call: Call, attempt: Attempt, response: UpstreamResponse) -> None:
        """A whole answer: read, booked, then sent."""
        provider = attempt.deployment.provider
        body = await self._read_body(response, self._settings.max_response_bytes)
        attempt.body_s = perf_counter()
        if body is None:
            self._fail(call, attempt, broken_answer(provider, "the answer is too large", status=200, output=True))
            return
        assert attempt.deployment.upstream is not None
        rules = attempt.deployment.upstream.answers
        try:
            body = decoded(body, header(response.headers, b"content-encoding"), self._settings.max_response_bytes)
            answer = decode_answer(body, rules)
        except (AnswerUnreadable, ContentEncodingError) as error:
            self._fail(call, attempt, broken_answer(provider, str(error), status=response.status))
            return
        attempt.provider_id = answer.id
        if answer.error is not None:
            self._fail(call, attempt, _complaint(attempt, answer.error))
            return
        call.drained = call.reply.gone
        charge = self._charge(call, attempt, answer.usage, answer.output_bytes, answer.service_tier)
        rendered = render_answer(body, answer, model=call.chat.model, rules=rules)
        self._settle(call, attempt, charge)
        await self._on_disk()
        if not call.reply.gone:
            call.reply.send(200, self._headers.answer(call, attempt, charge), rendered)
        if self._texts is not None:
            self._texts.keep(call, rendered)

    async def _relay_stream(self, call: Call, attempt: Attempt, response: UpstreamResponse, relay: StreamRelay) -> None:
        """A stream: passed on as it comes, booked when its end is there, ended after that."""
        reply = call.reply
        decoder = StreamDecoder(header(response.headers, b"content-encoding"))
        out = b""
        while data := await response.read():
            if not attempt.first_s:
                attempt.first_s = perf_counter()
            out = relay.feed(decoder.feed(data))
            if relay.error is not None or relay.done:
                break
            if out:
                if not reply.started:
                    call.first_token_us = self._books.now_us()
                    reply.start(200, self._headers.stream(call, attempt))
                reply.write(out)
                await reply.drained()
        else:
            out = relay.finish()
        attempt.body_s = perf_counter()
        attempt.provider_id = relay.provider_id
        if (error := relay.error) is not None:
            reply.write(out if reply.started else b"")
            self._fail(call, attempt, _complaint(attempt, error, output=relay.produced_output), relay)
            return
        if not relay.complete:
            raise TransportError(FailureKind.TRUNCATED, "the stream ended without its end", sent=True)
        call.drained = reply.gone
        charge = self._charge(call, attempt, relay.usage, relay.output_bytes, relay.service_tier)
        self._settle(call, attempt, charge)
        await self._on_disk()
        if not reply.started:
            reply.start(200, self._headers.stream(call, attempt))
        reply.write(out + relay.ending(charge, created_s=self._books.now_us() // 1_000_000))
        reply.finish()
        if self._texts is not None:
            self._texts.keep(call, relay.assembled)

    async def _answer_upstream_error(self, call: Call, attempt: Attempt, response: UpstreamResponse) -> None:
        body = await self._read_body(response, _ERROR_BODY_MAX_BYTES)
        attempt.body_s = perf_counter()
        try:
            body = decoded(body or b"", header(response.headers, b"content-encoding"), _ERROR_BODY_MAX_BYTES)
        except ContentEncodingError:
            body = b""
        self._fail(call, attempt, _complaint(attempt, read_error(body)))

    async def _read_body(self, response: UpstreamResponse, max_bytes: int) -> bytes | None:
        """All of it; None when there is more than allowed."""
        first = await response.read()
        if not first:
            return b""
        pieces, size = [first], len(first)
        while piece := await response.read():
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                return None
        return first if len(pieces) == 1 else b"".join(pieces)

    # Money

    def _charge(
        self, call: Call, attempt: Attempt, usage: UsageReading, output_bytes: int, service_tier: str | None
    ) -> Charge:
        return self._charger.charge(
            usage,
            attempt.price,
            model=attempt.deployment.upstream_model,
            chat=call.chat,
            output_bytes=output_bytes,
            service_tier=service_tier,
            drained=call.drained,
        )

    def _price_of_usage(self, attempt: Attempt) -> Callable[[UsageReading], float | None]:
        """For `usage.cost` in a stream's usage chunk."""

        def cost(reading: UsageReading) -> float | None:
            if reading.missing:
                return None
            charge = reported(reading, attempt.price, Evidence.PROVIDER)
            return usd_float(charge.cost) if charge.priced else None

        return cost

    def _settle(self, call: Call, attempt: Attempt, charge: Charge, failure: LoggedFailure | None = None) -> None:
        self._books.settle(call, attempt, charge, failure=failure)
        call.admitted.settle(call.chat, charge.usage, charge.evidence)
        self._key_spend.add(call.principal, charge.cost)

    async def _on_disk(self) -> None:
        """Until what was settled is on disk. Nothing comes between: a call that is booked as answered is answered."""
        try:
            await self._books.written()
        except asyncio.CancelledError:
            self._books.flush()  # and go on: what is left to do does not wait

    def _fail(self, call: Call, attempt: Attempt, failure: AttemptFailure, relay: StreamRelay | None = None) -> None:
        """Book a failed attempt, then tell the client."""
        if attempt.booked:
            return  # only its answer was stopped
        call.drained = call.reply.gone
        log.warning(
            "attempt.failed call_id=%s deployment=%s class=%s status=%d outcome=%s detail=%s",
            call.id,
            attempt.deployment.id,
            failure.error_class,
            attempt.status,
            failure.outcome,
            failure.detail,
        )
        if failure.outcome is Outcome.VOID:
            self._books.void(call, attempt, failure.logged)
        else:
            self._settle(call, attempt, self._charge_of_failure(call, attempt, failure, relay), failure.logged)
        self._books.flush()
        if self._texts is not None:
            self._texts.keep(call, None if relay is None else relay.assembled)
        self._tell(call, attempt, failure)

    def _charge_of_failure(
        self, call: Call, attempt: Attempt, failure: AttemptFailure, relay: StreamRelay | None
    ) -> Charge:
        usage = MISSING if relay is None else relay.usage
        if not usage.missing:
            return self._charge(call, attempt, usage, 0, relay.service_tier if relay else None)
        relayed = 0 if relay is None or failure.outcome is Outcome.SETTLE_INPUT else relay.output_bytes
        charge = self._charger.estimate(
            attempt.price,
            model=attempt.deployment.upstream_model,
            chat=call.chat,
            output_bytes=relayed,
            flags=("attempt_failed",),
        )
        if failure.outcome is Outcome.UNKNOWN and not relayed and attempt.hold is not None:
            # It may have answered at any length, and the budget must not take that for nothing.
            charge.cost, charge.parts = NanoUsd(attempt.hold.amount), None
            charge.flags = (*charge.flags, "unknown_at_hold")
        return charge

    # Errors

    def _tell(self, call: Call, attempt: Attempt, failure: AttemptFailure) -> None:
        reply = call.reply
        answer = failure.answer
        body = error_body(
            failure.message,
            answer.type,
            failure.param,
            str(answer.status),
            provider_fields=failure.provider_fields,
        )
        if reply.started:
            reply.write(b"data: " + body + b"\n\n")
            reply.finish()
        elif not reply.gone:
            reply.send(answer.status, self._headers.failure(call, attempt), body)

    def _send_refusal(self, reply: Reply, refusal: Refusal, call_id: str, principal: Principal | None) -> None:
        if not reply.gone and not reply.started:
            status, fields, body = refusal_answer(refusal)
            reply.send(status, fields + self._headers.refusal(call_id, principal), body)


def _complaint(attempt: Attempt, error: UpstreamError, *, output: bool = False) -> AttemptFailure:
    """The provider says that it failed."""
    deployment = attempt.deployment
    assert deployment.upstream is not None
    conceal = deployment.upstream.conceal
    error = msgspec.structs.replace(
        error,
        message=conceal(error.message),
        type=error.type and conceal(error.type),
        code=error.code and conceal(error.code),
        param=error.param and conceal(error.param),
    )
    return upstream_failure(deployment.provider, error, status=attempt.status, output=output)


def _stopped(attempt: Attempt, why: Stop, relay: StreamRelay | None, *, sent: bool) -> AttemptFailure:
    """We ended the attempt ourselves."""
    provider = attempt.deployment.provider
    answered = attempt.status != 0
    return stopped(provider, why, sent=sent or answered, answered=answered, output=_produced(relay))


def _logged(refusal: Refusal) -> LoggedFailure:
    """A refusal as its log row tells it."""
    return LoggedFailure(type(refusal).__name__, str(status_of(refusal)), refusal.message)


def _produced(relay: StreamRelay | None) -> bool:
    return relay is not None and relay.produced_output


def _timeouts(call: Call, deployment: Deployment) -> Timeouts:
    """The deployment's, unless the call asks for others."""
    configured = deployment.stream_timeouts if call.chat.stream else deployment.timeouts
    options = call.chat.options
    asked = options.stream_timeout_s if call.chat.stream and options.stream_timeout_s is not None else options.timeout_s
    for name in (b"x-litellm-stream-timeout" if call.chat.stream else b"x-litellm-timeout", b"x-litellm-timeout"):
        if (value := call.request.header(name)) is not None:
            asked = _seconds(value, name)
            break
    if asked is None or asked <= 0:
        return configured
    return Timeouts(connect_s=min(configured.connect_s, asked), response_s=asked, idle_s=min(configured.idle_s, asked))


def _seconds(value: bytes, name: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 86_400:
        raise InvalidRequest(f"The header {name.decode()} must hold a number of seconds above 0.", param=name.decode())
    return seconds


def _is_event_stream(headers: RawHeaders) -> bool:
    content_type = header(headers, b"content-type")
    return content_type is None or not content_type.strip().lower().startswith(b"application/json")


def _nothing() -> None:
    """No longer interested."""
