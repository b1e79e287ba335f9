"""An app that makes calls until it is killed: it prints the id of each call whose callback has returned."""

import asyncio
import os
from typing import Any

import litellm

from bursar.sdk import SpendCallback


class Telling(SpendCallback):
    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        await super().async_log_success_event(kwargs, response_obj, start_time, end_time)
        os.write(1, f"{kwargs['litellm_call_id']}\n".encode())


async def main() -> None:
    for _ in range(400):
        calls = [
            litellm.acompletion(
                model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], user="alice", mock_response="Hello"
            )
            for _ in range(50)
        ]
        await asyncio.gather(*calls)


litellm.callbacks = [Telling()]
asyncio.run(main())
