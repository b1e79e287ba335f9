"""`/cache/*`: the cache of answers. This release has none, and says so as LiteLLM does where none is set up."""

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from bursar.domain.errors import Unavailable
from bursar.management.route import Asked, Route


class CacheKeys(msgspec.Struct, kw_only=True):
    """The body of `/cache/delete`."""

    keys: list[str] = []
    """As `x-litellm-cache-key` shows them."""


class CacheEndpoints:
    """Looking at the cache, and emptying it."""

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        done = {"type": "object"}
        return (
            Route(
                method="GET",
                path="/cache/ping",
                tag="cache",
                summary="Check the cache",
                endpoint=self.ping,
                answer=done,
            ),
            Route(
                method="POST",
                path="/cache/delete",
                tag="cache",
                summary="Forget answers",
                endpoint=self.delete,
                body=CacheKeys,
                answer=done,
            ),
            Route(
                method="POST",
                path="/cache/flushall",
                tag="cache",
                summary="Forget all answers",
                endpoint=self.flush,
                answer=done,
            ),
        )

    async def ping(self, _: Asked[None, None]) -> object:
        """This release caches no answers: always 503."""
        _refuse("Service Unhealthy", "cache_ping")

    async def delete(self, _: Asked[CacheKeys, None]) -> object:
        """This release caches no answers: always 503."""
        _refuse("Cache Delete Failed", "cache_delete")

    async def flush(self, _: Asked[None, None]) -> object:
        """This release caches no answers: always 503."""
        _refuse("Cache Flush Failed", "cache_flushall")


def _refuse(what: str, param: str) -> NoReturn:
    raise Unavailable(
        f"{what} (Cache not initialized: this release caches no answers)",
        kind="cache_ping_error",
        param=param,
        retry_after_s=None,
    )
