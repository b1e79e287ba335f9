"""An app that splits its calls at random between a provider, a gateway, and LiteLLM through that gateway; failures and
fallbacks among them: `split <provider's base> <gateway's origin> <seed> <calls>`, and on its input who calls, as JSON.

Prints of each call its mark (`<number of the caller>-<number of the call>`), its way, and its kind.
"""

import asyncio
import json
import random
import sys
from typing import Any

import litellm
import openai

import bursar.sdk

PROVIDER, GATEWAY, SEED, CALLS = sys.argv[1], f"{sys.argv[2]}/v1", *map(int, sys.argv[3:])
CALLERS: list[dict[str, str]] = json.load(sys.stdin)
KINDS = {"plain": 6, "stream": 3, "failed": 1, "fallback": 1}
WORDS = "Say something about beans. "
draw = random.Random(SEED)
client = openai.AsyncOpenAI(base_url=GATEWAY, api_key="of each call", max_retries=0)
litellm.suppress_debug_info = True
litellm.callbacks = ["bursar"]


async def call(number: int) -> None:
    who = draw.randrange(len(CALLERS))
    way = draw.choice(["gateway", "sdk", "sdk through gateway"])
    [kind] = draw.choices(list(KINDS), weights=list(KINDS.values()))
    told: dict[str, Any] = {
        "model": draw.choice(["gpt-4o", "gpt-4o-mini"]),
        "messages": [{"role": "user", "content": WORDS * draw.randrange(1, 9)}],
        "user": CALLERS[who]["user"],
        "max_tokens": draw.randrange(1, 17),
        "extra_headers": {"x-client-request-id": f"{who}-{number}"},
    }
    if kind == "stream":
        told |= {"stream": True, "stream_options": {"include_usage": True}}
    print(f"{who}-{number}", way, kind, sep="\t")
    try:
        answer = await WAYS[way](kind, CALLERS[who], told)
        if kind == "stream":
            async for _ in answer:
                pass
    except (openai.RateLimitError, openai.InternalServerError):  # which LiteLLM's are kinds of
        pass


async def by_gateway(kind: str, who: dict[str, str], told: dict[str, Any]) -> Any:
    if kind in ("failed", "fallback"):
        told["model"] = {"failed": "busy", "fallback": "frail"}[kind]
    told["extra_headers"]["authorization"] = f"Bearer {who['key']}"
    return await client.chat.completions.create(**told, extra_body={"metadata": {"tags": [who["tag"]]}})


async def by_sdk(kind: str, who: dict[str, str], told: dict[str, Any]) -> Any:
    told |= {"api_base": PROVIDER, "api_key": "anything"}
    return await by_litellm(
        kind, who, told, failed="openai/gpt-4o?fault=status:429", broken="openai/gpt-4o?fault=status:500"
    )


async def by_sdk_through_gateway(kind: str, who: dict[str, str], told: dict[str, Any]) -> Any:
    body = {"user": who["user"], "metadata": {"tags": [who["tag"]]}}  # LiteLLM names no user to models it does not know
    told |= {"api_base": GATEWAY, "api_key": who["key"], "extra_body": body}
    return await by_litellm(kind, who, told, failed="openai/busy", broken="openai/broken")


async def by_litellm(kind: str, who: dict[str, str], told: dict[str, Any], *, failed: str, broken: str) -> Any:
    told["model"] = f"openai/{told['model']}"
    if kind == "failed":
        told["model"] = failed
    elif kind == "fallback":
        told |= {"model": broken, "fallbacks": [{"model": told["model"]}]}
    return await litellm.acompletion(
        **told,
        max_retries=0,
        metadata={"user_api_key": who["key"], "team_id": who["team"], "tags": [who["tag"]]},
    )


WAYS = {"gateway": by_gateway, "sdk": by_sdk, "sdk through gateway": by_sdk_through_gateway}


async def main() -> None:
    for first in range(0, CALLS, 10):
        await asyncio.gather(*map(call, range(first, min(first + 10, CALLS))))


asyncio.run(main())
assert asyncio.run(bursar.sdk.aclose(30))
