"""An app that calls a provider, and a gateway: `upstreams <provider's base> <gateway's base> <gateway's key>`."""

import asyncio
import sys
from typing import Any

import litellm

import bursar.sdk

PROVIDER, GATEWAY, KEY = sys.argv[1:]
MESSAGES = [{"role": "user", "content": "Say something about beans."}]
litellm.callbacks = ["bursar"]


def told(tag: str, base: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o",
        "messages": MESSAGES,
        "api_base": base,
        "api_key": KEY,
        "max_retries": 0,
        "metadata": {"tags": [tag]},
        **more,
    }


async def main() -> None:
    for where, base in (("provider", PROVIDER), ("gateway", GATEWAY)):
        try:
            await litellm.acompletion(**told(f"{where}, failed", base, model="openai/gpt-4o?fault=status:429"))
        except litellm.RateLimitError:
            pass
        litellm.completion(**told(f"{where}, sync", base))
        await litellm.acompletion(**told(f"{where}, async", base))
        for kind, more in (("stream", {}), ("stream, usage", {"stream_options": {"include_usage": True}})):
            async for _ in await litellm.acompletion(**told(f"{where}, {kind}", base, stream=True, **more)):
                pass


asyncio.run(main())
assert asyncio.run(bursar.sdk.aclose())
