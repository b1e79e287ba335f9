"""What apps tell, for tests of the recorder."""

from bursar.domain.accounting import Evidence, Failure
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage
from bursar.wire.spend import Charge, Spend, Void

START_US = 1_790_000_000_000_000


def charge(cost: int = 1_000_000) -> Charge:
    return Charge(
        cost=NanoUsd(cost),
        evidence=Evidence.PROVIDER,
        usage=Usage(uncached_prompt_tokens=10, answer_tokens=20),
        price_version="test",
    )


def spend(told_id: str, **changes: object) -> Spend:
    facts: dict[str, object] = {
        "told_id": told_id,
        "request_id": f"chatcmpl-{told_id}",
        "call_type": "acompletion",
        "provider": "openai",
        "model": "gpt-4o",
        "model_group": "gpt-4o",
        "start_us": START_US,
        "end_us": START_US + 1_000_000,
        "outcome": charge(),
        "user": "alice",
    }
    return Spend(**(facts | changes))  # type: ignore[arg-type]


def failed(told_id: str, **changes: object) -> Spend:
    failure = Failure("RateLimitError", "429", "too many beans", "openai")
    return spend(told_id, **({"outcome": Void(status=429), "failure": failure} | changes))
