"""An app that makes its share of calls: `split <base> <key> <seed> <calls>`; failures and fallbacks among them."""

import asyncio
import random
import sys
from typing import Any

import litellm

import bursar.sdk

BASE, KEY, SEED, CALLS = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
draw = random.Random(SEED)
litellm.callbacks = ["bursar"]


async def call(kind: str) -> None:
    told: dict[str, Any] = {
        "model": "openai/gpt-4o",
        "messages": [{"role": "user", "content": "Say something about beans."}],
        "api_base": BASE,
        "api_key": KEY,
        "max_retries": 0,
        "user": "alice",
    }
    match kind:
        case "failed":
            told["model"] = "openai/gpt-4o?fault=status:429"
        case "fallback":
            told["model"] = "openai/gpt-4o?fault=status:500"
            told["fallbacks"] = [{"model": "openai/gpt-4o"}]
        case "stream":
            told |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        answer = await litellm.acompletion(**told)
        if kind == "stream":
            async for _ in answer:
                pass
    except (litellm.RateLimitError, litellm.InternalServerError):
        pass


async def main() -> None:
    kinds = draw.choices(["plain", "stream", "failed", "fallback"], weights=[6, 3, 1, 1], k=CALLS)
    for first in range(0, CALLS, 10):
        await asyncio.gather(*map(call, kinds[first : first + 10]))


asyncio.run(main())
assert asyncio.run(bursar.sdk.aclose())
