"""Children of multiprocessing that make asynchronous calls: `children <start method>`, of a parent that makes none."""

import asyncio
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import litellm

import bursar.sdk

litellm.callbacks = ["bursar"]


async def call(user: str, *, stream: bool = False) -> None:
    answer = await litellm.acompletion(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hello"}],
        user=user,
        mock_response="Hello, hello, hello",
        stream=stream,
    )
    if stream:
        async for _ in answer:
            break


async def calls(user: str) -> None:
    await asyncio.gather(*[call(user) for _ in range(5)])


async def streams(user: str) -> None:
    for _ in range(5):
        await call(user, stream=True)


def answered(user: str) -> None:
    asyncio.run(calls(user))


def left(user: str) -> None:
    asyncio.run(streams(user))


def main(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    for target in (answered, left):
        child = context.Process(target=target, args=(target.__name__,))
        child.start()
        child.join()
        assert child.exitcode == 0
    with context.Pool(2) as pool:
        pool.map(answered, ["pool"] * 6, chunksize=1)
        pool.close()
        pool.join()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(answered, ["executor"] * 6))


if __name__ == "__main__":
    main(sys.argv[1])
    assert bursar.sdk.health().posted == 0
