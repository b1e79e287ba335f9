"""`/utils/token_counter` and `/health/services`."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.authority import Reach
from bursar.domain.errors import InvalidRequest
from bursar.domain.estimates import TokenForecast
from bursar.management.model_info import may_see
from bursar.management.route import Asked, Route
from bursar.ports.models import ModelCatalogue

JsonObject = dict[str, object]


class CountTokens(msgspec.Struct, kw_only=True):
    """The body of `/utils/token_counter`."""

    model: Annotated[str, Meta(min_length=1, examples=["gpt-4o"])]
    prompt: str | None = None
    messages: Annotated[list[JsonObject], Meta(examples=[[{"role": "user", "content": "Hello"}]])] | None = None


class TokenCount(msgspec.Struct, kw_only=True):
    """The answer of `/utils/token_counter`."""

    total_tokens: int
    request_model: str
    model_used: str
    """The provider's name for it, where the gateway has such a model."""
    tokenizer_type: Literal["estimate"]
    """No tokenizer is at hand: the number is an estimate from the size of the text."""


class ServiceQuery(msgspec.Struct, kw_only=True):
    """The query of `/health/services`."""

    service: Literal[
        "slack_budget_alerts",
        "langfuse",
        "langfuse_otel",
        "slack",
        "openmeter",
        "webhook",
        "email",
        "braintrust",
        "datadog",
        "generic_api",
        "arize",
        "sqs",
    ]


class ToolEndpoints:
    """Small things that need nothing of the database."""

    def __init__(self, catalogue: ModelCatalogue) -> None:
        self._catalogue = catalogue
        self._forecast = TokenForecast()

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/utils/token_counter",
                tag="tools",
                summary="Estimate the tokens of a prompt",
                endpoint=self.count,
                body=CountTokens,
                answer=TokenCount,
            ),
            Route(
                method="GET",
                path="/health/services",
                tag="tools",
                summary="Send a test event to an integration",
                endpoint=self.service,
                query=ServiceQuery,
                answer={"type": "object"},
            ),
        )

    async def count(self, asked: Asked[CountTokens, None]) -> object:
        """Of the prompt, or of the messages with what surrounds them."""
        body = asked.body
        if (body.prompt is None) == (body.messages is None):
            raise InvalidRequest("Give either `prompt` or `messages`.", param="prompt")
        text = body.prompt.encode("utf-8", "replace") if body.prompt is not None else msgspec.json.encode(body.messages)
        return TokenCount(
            total_tokens=self._forecast.input(body.model, len(text)),
            request_model=body.model,
            model_used=self._used(asked, body.model),
            tokenizer_type="estimate",
        )

    async def service(self, asked: Asked[None, ServiceQuery]) -> object:
        """No integration is built yet, so there is nothing to send."""
        raise InvalidRequest(
            f"{asked.query.service} is not set up: this release sends nothing to integrations.", param="service"
        )

    def _used(self, asked: Asked[CountTokens, None], model: str) -> str:
        for entry in self._catalogue.entries():
            mine = asked.reach is Reach.ALL or may_see(asked.caller, entry)
            if entry.model_name == model and mine and entry.error is None:
                return str(entry.parameters["model"])
        return model
