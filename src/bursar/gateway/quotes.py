"""What a call would cost, at the prices that calls are charged at now: implements `ports.models.CostQuotes`."""

from collections.abc import Callable

from bursar.domain.accounting import Evidence
from bursar.domain.errors import InvalidRequest
from bursar.domain.estimates import TokenForecast
from bursar.domain.money import NanoUsd
from bursar.domain.prices import Price, cost_of
from bursar.domain.usage import Usage
from bursar.gateway.charging import reported
from bursar.gateway.models import LiveModels
from bursar.wire.openai_usage import usage_from


class Quotes:
    """Of the models on offer, by any of their names, and else of those that the price book lists."""

    def __init__(
        self,
        models: LiveModels,
        *,
        listed: Callable[[str, float], Price | None],
        wall_clock: Callable[[], float],
    ) -> None:
        """`listed`: the book's price for a model at a time. `wall_clock`: seconds since 1970."""
        self._models = models
        self._listed = listed
        self._wall_clock = wall_clock
        self._forecast = TokenForecast()

    def of_messages(self, model: str, encoded_bytes: int) -> NanoUsd:
        """See `ports.models.CostQuotes.of_messages`."""
        tokens = self._forecast.input(model, encoded_bytes)
        return cost_of(Usage(uncached_prompt_tokens=tokens), self._price(model))

    def of_usage(self, model: str, usage: bytes) -> NanoUsd:
        """See `ports.models.CostQuotes.of_usage`."""
        reading = usage_from(usage)
        if reading.missing:
            raise InvalidRequest(
                "completion_response: its `usage` reports no tokens, so nothing can be priced.",
                param="completion_response",
            )
        charge = reported(reading, self._price(model), Evidence.PROVIDER)
        if not charge.priced:
            raise _unknown(model)
        return charge.cost

    def _price(self, model: str) -> Price:
        now = self._wall_clock()
        try:
            table = self._models.table
            price = table.find(table.meant(model)).deployments[0].prices.at(now)
        except InvalidRequest:  # not on offer
            price = self._listed(model, now)
        if price is None:
            raise _unknown(model)
        return price


def _unknown(model: str) -> InvalidRequest:
    return InvalidRequest(
        f"No price is known for model={model}. Give its deployment one (`input_cost_per_token`, "
        "`output_cost_per_token`), or name another model.",
        param="model",
    )
