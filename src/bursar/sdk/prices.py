"""The price book, for calls that LiteLLM knows no price of. Read at the first of them."""

from datetime import UTC, datetime
from functools import cached_property

from bursar.domain.price_book import PriceBook
from bursar.domain.prices import Price


class BookPrices:
    """Prices by provider and model."""

    @cached_property
    def _book(self) -> PriceBook:
        from bursar.prices import load_book

        return load_book()

    def find(self, provider: str, model: str, at_s: float) -> Price | None:
        """The price at a time, in seconds since 1970; None: none is known."""
        quote = self._book.find(provider, model, at=datetime.fromtimestamp(at_s, UTC))
        return None if quote is None else quote.price
