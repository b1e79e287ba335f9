"""An app that makes one call of each kind, each with the kind as its tag."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import litellm
from litellm.caching.caching import Cache

from bursar.sdk import SpendCallback

MESSAGES = [{"role": "user", "content": "How many beans make five?"}]
ANSWER = "Two in each hand and one in the mouth."


def told(kind: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": MESSAGES, "metadata": {"tags": [kind]}, "mock_response": ANSWER, **more}


def synchronous() -> None:
    litellm.completion(**told("completion"))
    for _ in litellm.completion(**told("completion, streamed", stream=True)):
        pass
    left("completion, left", lambda stream: stream)
    left("completion, left, watched", callback.watch)
    try:
        litellm.completion(**told("completion, failed", mock_response=Exception("no beans")))
    except litellm.InternalServerError:
        pass
    litellm.completion(**told("unpriced", model="openai/nobody-sells-this"))
    litellm.completion(**told("silenced", **{"no-log": True}))
    litellm.embedding(
        model="text-embedding-3-small", input=["x"], mock_response=[[0.1, 0.2]], metadata={"tags": ["embedding"]}
    )
    litellm.text_completion(
        model="gpt-3.5-turbo-instruct", prompt="beans", mock_response=ANSWER, metadata={"tags": ["text_completion"]}
    )


async def asynchronous() -> None:
    litellm.completion(**told("completion, in a loop"))
    await litellm.acompletion(**told("acompletion"))
    async for _ in await litellm.acompletion(**told("acompletion, streamed", stream=True)):
        pass
    try:
        await litellm.acompletion(**told("acompletion, failed", mock_response=Exception("no beans")))
    except litellm.InternalServerError:
        pass
    await litellm.aembedding(
        model="text-embedding-3-small", input=["x"], mock_response=[[0.1, 0.2]], metadata={"tags": ["aembedding"]}
    )
    await litellm.acompletion(
        **told(
            "fallback",
            mock_response="litellm.RateLimitError",
            fallbacks=[{"model": "gpt-4o-mini", "mock_response": ANSWER}],
        )
    )
    await litellm.acompletion(**told("fallbacks, none", fallbacks=[]))
    litellm.cache = Cache()
    for kind in ("asked", "cached"):
        await litellm.acompletion(**told(kind, caching=True, messages=[{"role": "user", "content": "cache this"}]))
        await asyncio.sleep(0.1)
    litellm.cache = None
    failing = {"model": "gpt-4o", "mock_response": "litellm.RateLimitError"}
    router = litellm.Router(
        model_list=[{"model_name": "beans", "litellm_params": failing}], num_retries=2, retry_after=0
    )
    try:
        await router.acompletion(model="beans", messages=MESSAGES, metadata={"tags": ["router"]})
    except litellm.RateLimitError:
        pass
    await abandoned("abandoned", lambda stream: stream)
    await abandoned("abandoned, watched", callback.watch)
    gc.collect()
    await litellm.acompletion(**told("acompletion, the last"))


def left(kind: str, watch: Callable[[Any], Any]) -> None:
    stream = litellm.completion(**told(kind, stream=True, mock_response=ANSWER * 10))
    for _, _ in zip(range(5), watch(stream), strict=False):
        pass


async def abandoned(kind: str, watch: Callable[[Any], Any]) -> None:
    stream = await litellm.acompletion(**told(kind, stream=True, mock_response=ANSWER * 10))
    seen = 0
    async for _ in watch(stream):
        seen += 1
        if seen == 5:
            break


callback = SpendCallback()
litellm.callbacks = [callback]
synchronous()
asyncio.run(asynchronous())
