"""An app whose first model is busy, and another one answers: `fallbacks <calls> <end>`, where the end is `returns` (at
once), `closes` (its books, and returns), `goes on` (after it has closed them), or `synchronous`."""

import asyncio
import logging
import sys
from typing import Any

import litellm

import bursar.sdk

CALLS, END = int(sys.argv[1]), sys.argv[2]
litellm.callbacks = ["bursar"]
logging.getLogger("LiteLLM").disabled = True  # it shouts of every attempt that failed


def told() -> dict[str, Any]:
    return {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello"}],
        "user": "alice",
        "mock_response": "litellm.RateLimitError",
        "fallbacks": [{"model": "gpt-4o-mini", "mock_response": "Hello"}],
    }


async def main() -> None:
    await asyncio.gather(*[litellm.acompletion(**told()) for _ in range(CALLS)])
    if END != "returns":
        await bursar.sdk.aclose()
    if END == "goes on":
        await asyncio.sleep(1)


if END == "synchronous":
    for _ in range(CALLS):
        litellm.completion(**told())
else:
    asyncio.run(main())
