"""An app that makes many calls at once and returns: `at_once <calls> [stream]`."""

import asyncio
import sys

import litellm

import bursar.sdk

litellm.success_callback = ["prisma_proxy"]


async def call(number: int) -> None:
    answer = await litellm.acompletion(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hello"}],
        user=f"user-{number % 10}",
        mock_response="Hello",
        stream="stream" in sys.argv,
    )
    if "stream" in sys.argv:
        async for _ in answer:
            pass


async def main() -> None:
    await asyncio.gather(*[call(number) for number in range(int(sys.argv[1]))])


asyncio.run(main())
assert bursar.sdk.health().lost == 0
