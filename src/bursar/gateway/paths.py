"""Which handler answers which path. Paths of LiteLLM's contract that are not built yet say so; others do not exist."""

import re
from collections.abc import Coroutine, Mapping

from bursar.domain.errors import MethodNotAllowed, NotBuilt, NotFound, Refusal
from bursar.gateway.chat import ChatCompletions
from bursar.gateway.health import Health
from bursar.gateway.model_list import ModelList
from bursar.ports.http import Handler, Reply, RoutedHandler
from bursar.wire.http import FieldLines, Request
from bursar.wire.refusals import refusal_answer

_CHAT = frozenset({"/v1/chat/completions", "/chat/completions"})
_CHAT_OF_MODEL = re.compile(r"/(?:openai/deployments|engines)/(?P<model>.+)/chat/completions")
_MODELS = frozenset({"/v1/models", "/models"})
_MODEL = re.compile(r"(?:/v1)?/models/(?P<model>.+)")
_HEALTH = frozenset({"/health", "/health/liveliness", "/health/liveness", "/health/readiness"})

_PREFLIGHT: FieldLines = (
    b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    b"access-control-allow-headers: *\r\n"
    b"access-control-max-age: 600\r\n"
)

_NOT_BUILT = re.compile(
    r"(?:/v1|/openai/v1)?/(?:completions|embeddings|moderations|responses(?:/.*)?|images/(?:generations|edits|variations)"
    r"|audio/(?:speech|transcriptions|translations)|messages(?:/count_tokens)?|files(?:/.*)?|batches(?:/.*)?"
    r"|fine_tuning/.*|assistants(?:/.*)?|threads(?:/.*)?|vector_stores(?:/.*)?|containers(?:/.*)?|videos(?:/.*)?"
    r"|realtime(?:/.*)?|ocr|search(?:/.*)?|rag/.*|evals(?:/.*)?)"
    r"|/(?:v1/|v2/)?rerank"
    r"|/(?:openai/deployments|engines)/.+/(?:completions|embeddings|images/.*|audio/.*)"
    r"|/v1beta/models/.+|/models/.+:(?:generateContent|streamGenerateContent|countTokens)"
    r"|/(?:openai|openai_passthrough|anthropic|azure|azure_ai|bedrock|vertex_ai|vertex-ai|gemini|cohere|mistral|vllm"
    r"|langfuse|assemblyai)/.+"
    # the management API's, by families where the contract leaves open what is in them
    r"|/team/[^/]+/(?:callback|disable_logging)|/tag/user-agent/.+"
    r"|(?:/v1)?/access_group(?:/.*)?|/v1/(?:mcp|agents)(?:/.*)?|/(?:mcp|a2a|scim|sso|invitation|onboarding)(?:/.*)?"
    r"|/(?:prompts|guardrails|policies|search_tools|project|fallback|vector_store|cloudzero|vantage)(?:/.*)?"
    r"|/(?:claude-code/plugins|email/event_settings|jwt/key/mapping|alerting/settings)(?:/.*)?"
    r"|/model/(?:metrics(?:/.*)?|streaming_metrics|settings|cost_map/reload)|/model_group/make_public"
    r"|/global/activity/(?:cache_hits|exceptions)(?:/.*)?|/provider/budgets|/cost/estimate"
    r"|/cache/(?:redis/info|settings(?:/.*)?)|/router/(?:settings|fields)|/utils/.+"
    r"|/health/(?:readiness/details|history|latest|shared-status|backlog|drain|license|test_connection)"
    r"|/config/(?:field/(?:update|delete)|callback/delete|pass_through_endpoint(?:/.*)?|cost_(?:discount|margin)_config)"
    r"|/(?:active/callbacks|callbacks/list|settings|redoc)|/(?:ui|public|\.well-known)(?:/.*)?"
    r"|/(?:get|update|reload|schedule)/.+|/(?:add|delete)/allowed_ip"
)
"""Paths that LiteLLM's contract names."""


class Paths:
    """Implements `ports.http.Handler`: the front of everything a worker serves."""

    def __init__(
        self,
        *,
        chat: ChatCompletions,
        models: ModelList,
        health: Health,
        others: Mapping[str, Handler],
        management: RoutedHandler,
    ) -> None:
        """`others`: exact paths of other rooms; `management`: has paths with parameters."""
        self._chat = chat
        self._models = models
        self._health = health
        self._others = others
        self._management = management

    def __call__(self, request: Request, reply: Reply) -> Coroutine[object, object, None]:
        """Answer `request` by its path."""
        if request.path in _CHAT and request.method == "POST":
            return self._chat(request, reply)  # as it is: one coroutine less to go through on the busiest way
        return self._answer(request, reply)

    async def _answer(self, request: Request, reply: Reply) -> None:
        try:
            await self._answer_other(request, reply, request.path)
        except Refusal as refusal:
            reply.send(*refusal_answer(refusal))

    async def _answer_other(self, request: Request, reply: Reply, path: str) -> None:
        if request.method == "OPTIONS" and request.header(b"access-control-request-method") is not None:
            reply.send(204, _PREFLIGHT, b"")
        elif path in _CHAT:
            raise MethodNotAllowed("Method Not Allowed")
        elif (named := _CHAT_OF_MODEL.fullmatch(path)) is not None:
            if request.method != "POST":
                raise MethodNotAllowed("Method Not Allowed")
            await self._chat(request, reply, model=named["model"])
        elif path in self._others:
            await self._others[path](request, reply)
        elif path in _MODELS:
            await self._models(request, reply)
        elif (found := _MODEL.fullmatch(path)) is not None and ":" not in path:
            await self._models(request, reply, model=found["model"])
        elif path in _HEALTH:
            await self._health(request, reply)
        elif self._management.answers(request):
            await self._management(request, reply)
        elif path == "/":
            reply.send(200, b"content-type: text/plain; charset=utf-8\r\n", _WELCOME)
        elif _NOT_BUILT.fullmatch(path) is not None:
            raise NotBuilt(f"{request.method} {path} is part of the contract and not in this release yet.")
        else:
            raise NotFound(f"There is nothing at {path}.")


_WELCOME = b"""This is Bursar, an LLM gateway that keeps the books.

Point an OpenAI client at this address followed by /v1, with a virtual key.
GET /v1/models lists what the key may call, GET /health/readiness says how we are.
"""
