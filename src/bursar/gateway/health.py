"""`/health*`: alive, ready, and, for those with a key, a real call to every deployment they may use.

A probe goes the way of every other call, under the caller's own key, so it is permitted, counted and booked like one.
Where a deployment is, is for administrators to know.
"""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

import msgspec

from bursar.domain.errors import MethodNotAllowed, Refusal, Unauthenticated
from bursar.domain.permissions import INFO_ROUTES, LLM_ROUTES, check_route, may_use_model
from bursar.domain.principals import Principal, Role
from bursar.gateway.models import Deployment, LiveModels
from bursar.ports.http import Handler, Reply
from bursar.ports.users import Authenticator
from bursar.wire.http import JSON, FieldLines, Request
from bursar.wire.refusals import refusal_answer

_PROBES_AT_ONCE = 8
_SEE_ADDRESSES = frozenset({Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER})


class Health:
    """Implements `ports.http.Handler` for the health paths."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        models: LiveModels,
        chat: Handler,
        database_connected: Callable[[], bool],
        journal_accepts: Callable[[], bool],
        shutting_down: Callable[[], bool],
    ) -> None:
        self._authenticator = authenticator
        self._models = models
        self._chat = chat
        self._database_connected = database_connected
        self._journal_accepts = journal_accepts
        self._shutting_down = shutting_down

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer a health path."""
        try:
            if request.method not in ("GET", "HEAD", "OPTIONS"):
                raise MethodNotAllowed("Method Not Allowed")
            if request.path in ("/health/liveliness", "/health/liveness"):
                reply.send(200, JSON, b'"I\'m alive!"')
            elif request.path == "/health/readiness":
                self._send_readiness(reply)
            else:
                await self._send_health(request, reply)
        except Refusal as refusal:
            reply.send(*refusal_answer(refusal))

    def _send_readiness(self, reply: Reply) -> None:
        """200 while calls are recorded, also without the database: no orchestrator shall remove all replicas for it."""
        if self._shutting_down():
            reply.send(503, JSON, b'{"status":"shutting down"}')
        elif not self._journal_accepts():
            reply.send(503, JSON, b'{"status":"calls cannot be recorded"}')
        else:
            connected = self._database_connected()
            state = {"status": "healthy", "db": "connected" if connected else "Not connected"}
            reply.send(200, JSON, msgspec.json.encode(state))

    async def _send_health(self, request: Request, reply: Reply) -> None:
        """Status alone without a key; with one, the result of a probe of each deployment."""
        try:
            principal = await self._authenticator.authenticate(request)
        except Unauthenticated:
            if any(name in (b"authorization", b"x-litellm-api-key", b"api-key") for name, _ in request.headers):
                raise
            reply.send(200, JSON, b'{"status":"healthy"}')
            return
        check_route(principal, request.path, LLM_ROUTES | INFO_ROUTES)
        query = dict(parse_qsl(request.query))
        chosen = self._chosen(query, principal)
        answers = await self._probe_all(chosen, request)
        entries = [_entry(deployment, with_address=principal.role in _SEE_ADDRESSES) for deployment in chosen]
        probed = [entry | answer for entry, answer in zip(entries, answers, strict=True)]
        healthy = [entry for entry in probed if "error" not in entry]
        unhealthy = [entry for entry in probed if "error" in entry]
        answer = {
            "healthy_endpoints": healthy,
            "unhealthy_endpoints": unhealthy,
            "healthy_count": len(healthy),
            "unhealthy_count": len(unhealthy),
        }
        reply.send(200, JSON, msgspec.json.encode(answer))

    def _chosen(self, query: dict[str, str], principal: Principal) -> list[Deployment]:
        lists = (principal.models, principal.team_models, *(allowed for _, allowed in principal.model_lists))
        return [
            deployment
            for group in self._models.table.groups
            if query.get("model") in (None, group.name)
            and all(may_use_model(allowed, {group.name}, group.access_groups, group.providers) for allowed in lists)
            for deployment in group.deployments
            if query.get("model_id") in (None, deployment.id)
        ]

    async def _probe_all(self, deployments: Sequence[Deployment], request: Request) -> list[dict[str, str]]:
        gate = asyncio.Semaphore(_PROBES_AT_ONCE)

        async def probe(deployment: Deployment) -> dict[str, str]:
            async with gate:
                return await self._probe(deployment, request)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(probe(deployment)) for deployment in deployments]
        return [task.result() for task in tasks]

    async def _probe(self, deployment: Deployment, request: Request) -> dict[str, str]:
        """Its `error`, if there is one."""
        body = {"model": deployment.id, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        call = Request(
            method="POST",
            path="/v1/chat/completions",
            query="",
            headers=request.headers,
            fields=request.fields,
            body=msgspec.json.encode(body),
            client_host=request.client_host,
            received_s=request.received_s,
        )
        kept = _KeptReply()
        await self._chat(call, kept)
        return {} if kept.status == 200 else {"error": kept.error_message()}


def _entry(deployment: Deployment, *, with_address: bool) -> dict[str, str]:
    entry = {"model": deployment.qualified_model, "model_group": deployment.group, "model_id": deployment.id}
    if with_address:
        entry["api_base"] = "" if deployment.upstream is None else deployment.upstream.api_base
    return entry


class _KeptReply:
    """A `ports.http.Reply` that keeps the answer."""

    gone = ended = False

    def __init__(self) -> None:
        self.status = 0
        self._body = b""

    @property
    def started(self) -> bool:
        return self.status != 0

    def send(self, status: int, fields: FieldLines, body: bytes) -> None:  # noqa: ARG002
        self.status, self._body = status, body

    def start(self, status: int, fields: FieldLines) -> None:  # noqa: ARG002
        self.status = status

    def write(self, data: bytes) -> None:
        self._body += data

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        self.status = 0

    async def drained(self) -> None:
        pass

    def when_ended(self, callback: Callable[[], None]) -> None:
        pass

    def error_message(self) -> str:
        """The message of the error envelope."""
        try:
            return str(msgspec.json.decode(self._body)["error"]["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            return f"status {self.status}"
