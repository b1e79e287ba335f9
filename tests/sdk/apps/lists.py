"""An app that does with LiteLLM's lists what apps do; the seed's recipes among it. Prints the ids of what is to be
booked."""

import asyncio
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.thread_pool_executor import executor

import bursar.sdk
from bursar.sdk import SpendCallback

litellm_lists: Any = litellm
MESSAGES = [{"role": "user", "content": "Hello"}]
seen: list[str] = []


class Other(CustomLogger):  # type: ignore[misc]  # stands for OpenTelemetry, Langfuse …
    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        seen.append(kwargs["litellm_call_id"])


def call(tag: str, *, fails: bool = False) -> None:
    answer: Any = Exception("no") if fails else "Hello"
    told = {"model": "gpt-4o", "messages": MESSAGES, "metadata": {"tags": [tag]}}
    try:
        litellm.completion(mock_response=answer, **told)
    except litellm.InternalServerError:
        pass
    asyncio.run(acall(told, answer))


async def acall(told: dict[str, Any], answer: Any) -> None:
    try:
        await litellm.acompletion(mock_response=answer, **told)
    except litellm.InternalServerError:
        pass
    await asyncio.sleep(0.05)


submitted: list[object] = []
submit = executor.submit


def submitting(function: Any, *arguments: Any, **named: Any) -> Any:
    submitted.append(function)
    return submit(function, *arguments, **named)


executor.submit = submitting
call("no name")
litellm.success_callback = ["prisma_proxy"]
call("by name")
litellm.success_callback.append("langfuse_of_our_own")
in_threads = len(submitted)
asyncio.run(
    acall({"model": "gpt-4o", "messages": MESSAGES, "metadata": {"tags": ["no name"]}, "no-log": True}, "Hello")
)
assert len(submitted) > in_threads, "a name that LiteLLM does not know has it work in a thread"
litellm.success_callback = litellm.success_callback[:1]
in_threads = len(submitted)
asyncio.run(
    acall({"model": "gpt-4o", "messages": MESSAGES, "metadata": {"tags": ["no name"]}, "no-log": True}, "Hello")
)
assert len(submitted) == in_threads, "ours does not"
call("failures not named", fails=True)
litellm.failure_callback = ["bursar"]
call("failures named", fails=True)
litellm.success_callback = ["prisma_proxy", "queue_proxy", "bursar"]
call("all names")
litellm.callbacks = [Other()]
call("callbacks overwritten")
litellm.success_callback = ["bursar"]
litellm.callbacks = []
call("callbacks emptied")
litellm.success_callback, litellm.failure_callback = [], []
call("names gone")
litellm.callbacks = ["prisma_proxy", Other()]
call("name in callbacks")
call("name in callbacks, failed", fails=True)
bursar.sdk.install()
litellm.callbacks = []

from litellm.integrations.prisma_proxy import PrismaProxyLogger  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

assert PrismaProxyLogger is SpendCallback is bursar.sdk.PrismaProxyLogger
logger = PrismaProxyLogger()
litellm.callbacks = [logger]
litellm.success_callback = [logger.async_log_success_event]
call("the advanced recipe")
litellm.success_callback = ["prisma_proxy", logger.async_log_success_event]
call("the advanced recipe, and the name")
assert len(seen) >= 2, "other callbacks go on beside ours"
assert asyncio.run(logger.aclose())
assert logger.health().queued == 0
