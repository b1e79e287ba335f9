"""What an attempt cost: from the provider's report, or from what passed through where it reports nothing."""

from bursar.domain.accounting import Evidence
from bursar.domain.estimates import TokenRatios
from bursar.domain.money import NanoUsd
from bursar.domain.prices import Price, cost_of, cost_parts, covers
from bursar.domain.usage import Usage
from bursar.gateway.call import Charge, Estimate
from bursar.wire.openai_chat import ChatRequest, prompt_text_bytes
from bursar.wire.openai_usage import UsageReading

FREE = NanoUsd(0)
_PRICED_APART = frozenset({"flex", "priority", "batch"})
"""Service tiers with prices of their own. Those are not charged yet: the standard price is, and the charge says so."""


_REPORT_MAX_BYTES = 16_384
"""A provider's report is kept as it came, unless it is so large, or the database would not take it."""


class Charger:
    """Turns usage reports into charges, and learns from them how many bytes make a token."""

    def __init__(self) -> None:
        self._ratios = TokenRatios()

    def charge(
        self,
        reading: UsageReading,
        price: Price | None,
        *,
        model: str,
        chat: ChatRequest,
        output_bytes: int,
        service_tier: str | None = None,
        drained: bool = False,
    ) -> Charge:
        """The charge for a complete answer. Missing usage is estimated and flagged, never taken for nothing."""
        if reading.missing and reading.stated_cost is None:
            flags = tuple(sorted(reading.flags))
            return self.estimate(price, model=model, chat=chat, output_bytes=output_bytes, flags=flags)
        self._ratios.learn_answer(model, reading.usage.completion_tokens)
        if output_bytes:
            self._ratios.learn(model, text_bytes=output_bytes, tokens=reading.usage.answer_tokens)
        charge = reported(reading, price, Evidence.DRAINED if drained else Evidence.PROVIDER)
        if service_tier in _PRICED_APART and reading.stated_cost is None:
            charge.flags = (*charge.flags, f"standard_price_for_{service_tier}")
        return charge

    def expected_prompt(self, model: str, request_bytes: int) -> int:
        """About how many tokens a request of this size has."""
        return self._ratios.tokens(model, request_bytes)

    def expected(self, price: Price | None, *, model: str, request_bytes: int, chat: ChatRequest) -> Estimate:
        """What a call like this one costs as a rule. On the way of every call: it looks at nothing but sizes."""
        prompt = self._ratios.tokens(model, request_bytes)
        if price is None:
            return Estimate(FREE, prompt)
        answer = self._ratios.usual_answer(model)
        if chat.max_tokens is not None:
            answer = min(answer, chat.max_tokens)
        usage = Usage(uncached_prompt_tokens=prompt, answer_tokens=answer * chat.choices)
        return Estimate(cost_of(usage, price), prompt)

    def estimate(
        self, price: Price | None, *, model: str, chat: ChatRequest, output_bytes: int, flags: tuple[str, ...]
    ) -> Charge:
        """The charge for an attempt whose usage nobody reported: its input, and what came of its output."""
        usage = Usage(
            uncached_prompt_tokens=self._ratios.tokens(model, prompt_text_bytes(chat)),
            answer_tokens=self._ratios.tokens(model, output_bytes),
        )
        return priced(usage, price, Evidence.ESTIMATED, (*flags, "usage_estimated"), b"")


def reported(reading: UsageReading, price: Price | None, evidence: Evidence) -> Charge:
    """What a usage report costs: the provider's own figure where it states one, else by the price."""
    flags: tuple[str, ...] = tuple(sorted(reading.flags)) if reading.flags else ()
    raw = reading.raw
    if len(raw) > _REPORT_MAX_BYTES or rb"\u0000" in raw:
        raw, flags = b"", (*flags, "report_not_kept")
    if reading.stated_cost is not None:
        return Charge(reading.stated_cost, reading.usage, evidence, flags, raw)
    return priced(reading.usage, price, evidence, flags, raw)


def priced(
    usage: Usage, price: Price | None, evidence: Evidence, flags: tuple[str, ...], provider_usage: bytes
) -> Charge:
    """`usage` at `price`; an unknown price is booked as 0 and flagged, since it is not the same as a price of 0."""
    if price is None or not covers(price, usage):
        evidence = evidence if price is not None else Evidence.UNPRICED
        cost = FREE if price is None else cost_of(usage, price)
        return Charge(cost, usage, evidence, (*flags, "price_unknown"), provider_usage, priced=False)
    parts = cost_parts(usage, price)
    cost = parts.nano_usd
    if cost == 0 and price.free:
        evidence = Evidence.FREE
    return Charge(cost, usage, evidence, flags, provider_usage, parts=parts)
