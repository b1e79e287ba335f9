"""Parts of a call, for tests of the modules it passes through."""

import json
from collections.abc import Callable, Sequence

from bursar.domain.ids import AttemptId, CallId, DeploymentId, KeyHash
from bursar.domain.prices import Price
from bursar.domain.principals import Principal, Role
from bursar.gateway.attribution import AttributionRules, attribute
from bursar.gateway.call import Attempt, Call
from bursar.gateway.models import Deployment
from bursar.ports.upstream import Timeouts
from bursar.providers.catalogue import resolve
from bursar.providers.chat_upstream import ProviderChat
from bursar.providers.openai_compatible import OpenAICompatible, Settings
from bursar.providers.upstream import build_upstream
from bursar.wire.http import FieldLines, RawHeaders, Request
from bursar.wire.openai_chat import decode_request

CALL_ID = CallId("01900000-0000-7000-8000-000000000000")
BODY: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PRINCIPAL = Principal(role=Role.INTERNAL_USER, api_key=KeyHash("0" * 64))
_PATIENT = Timeouts(connect_s=10, response_s=10, idle_s=10)


class NoPrice:
    """Of nothing."""

    def at(self, unix_s: float) -> Price | None:
        return None


class NullReply:
    """A client that is there and keeps nothing."""

    gone = ended = started = False

    def send(self, status: int, fields: FieldLines, body: bytes) -> None: ...

    def start(self, status: int, fields: FieldLines) -> None: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...

    async def drained(self) -> None: ...

    def when_ended(self, callback: Callable[[], None]) -> None: ...


def a_request(body: object = None, headers: Sequence[tuple[bytes, bytes]] = (), *, host: str = "192.0.2.1") -> Request:
    """A chat request as the server hands it over; `body` as JSON unless it is bytes."""
    raw: RawHeaders = list(headers)
    return Request(
        method="POST",
        path="/v1/chat/completions",
        query="",
        headers=raw,
        fields=dict(reversed(raw)),
        body=body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode(),
        client_host=host,
        received_s=0.0,
    )


def a_call(body: object = None, headers: Sequence[tuple[bytes, bytes]] = ()) -> Call:
    """A call that has been read and attributed."""
    request = a_request(body, headers)
    chat = decode_request(request.body)
    return Call(
        id=CALL_ID,
        request=request,
        reply=NullReply(),
        principal=PRINCIPAL,
        chat=chat,
        attribution=attribute(request, chat, PRINCIPAL, call_id=CALL_ID, rules=AttributionRules()),
        group=chat.model,
        started_us=0,
    )


def a_deployment(model: str = "openai/gpt-x") -> Deployment:
    """One that nothing is sent to."""
    resolved = resolve(model, custom_llm_provider=None, api_base=None, is_known_model=lambda _: None)
    upstream = build_upstream(resolved, environ={}, api_key="sk-provider", api_base="http://127.0.0.1:9/v1")
    return Deployment(
        id=DeploymentId("d"),
        group="m",
        provider=resolved.provider.name,
        upstream_model=resolved.upstream_model,
        upstream=ProviderChat(OpenAICompatible(upstream, Settings()), mock_response=None),
        prices=NoPrice(),
        timeouts=_PATIENT,
        stream_timeouts=_PATIENT,
    )


def an_attempt(deployment: Deployment) -> Attempt:
    return Attempt(id=AttemptId("a"), deployment=deployment, price=None, opened_us=0)
