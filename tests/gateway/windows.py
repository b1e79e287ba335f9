"""The minutes that rate limits count in, for tests that must not meet the end of one."""

import asyncio
import time


async def within_one_minute(seconds: float) -> None:
    """Wait for the next minute, if this one ends in less than `seconds`."""
    left_s = 60 - time.time() % 60
    if left_s < seconds:
        await asyncio.sleep(left_s + 0.1)
