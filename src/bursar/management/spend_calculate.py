"""`/spend/calculate`: what a call would cost, or has cost, at the prices of now."""

from collections.abc import Sequence

import msgspec

from bursar.domain.errors import InvalidRequest
from bursar.domain.money import usd_float
from bursar.management.route import Asked, Route
from bursar.ports.models import CostQuotes

_NEITHER = "Bad Request - Either 'model' or 'completion_response' must be provided"


class CompletionResponse(msgspec.Struct, kw_only=True):
    """What is looked at of an answer."""

    model: str | None = None
    usage: object = None


class CalculateSpend(msgspec.Struct, kw_only=True):
    """The body of `/spend/calculate`."""

    model: str | None = None
    messages: list[dict[str, object]] | None = None
    completion_response: CompletionResponse | None = None


class CalculatedSpend(msgspec.Struct):
    """US dollars."""

    cost: float


class SpendCalculateEndpoints:
    """Its method answers one route."""

    def __init__(self, quotes: CostQuotes) -> None:
        self._quotes = quotes

    @property
    def routes(self) -> Sequence[Route]:
        """See `route.Room`."""
        return (
            Route(
                method="POST",
                path="/spend/calculate",
                tag="Spend reports",
                summary="What messages would cost, about, or what an answer did",
                endpoint=self.calculate,
                body=CalculateSpend,
                answer=CalculatedSpend,
                errors=(400,),
            ),
        )

    async def calculate(self, asked: Asked[CalculateSpend, None]) -> object:
        """POST /spend/calculate"""
        body = asked.body
        if body.completion_response is not None:
            model = body.model or body.completion_response.model
            if not model:
                raise InvalidRequest("completion_response: `model` is missing.", param="completion_response")
            usage = msgspec.json.encode(body.completion_response.usage)
            return CalculatedSpend(usd_float(self._quotes.of_usage(model, usage)))
        if not body.model:
            raise InvalidRequest(_NEITHER, param="model")
        if not body.messages:
            raise InvalidRequest("messages: give the messages whose cost is asked for.", param="messages")
        encoded = msgspec.json.encode(body.messages)
        return CalculatedSpend(usd_float(self._quotes.of_messages(body.model, len(encoded))))
