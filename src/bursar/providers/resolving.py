"""Looking up host names where not every address will do."""

import asyncio
import socket
from collections.abc import Sequence

from bursar.domain.egress import forbidden_address, forbidden_host
from bursar.wire.http import Origin


class ForbiddenAddress(OSError):
    """A host is, or leads to, an address that may not be connected to."""


async def resolved(origin: Origin) -> Sequence[str]:
    """The addresses of an origin's host, all of which may be connected to.

    Raises ForbiddenAddress: one of them may not, so that none is tried; OSError: there are none.
    """
    if (reason := forbidden_host(origin.host, origin.egress)) is not None:
        raise ForbiddenAddress(reason)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    for address in addresses:
        if (reason := forbidden_address(address, origin.egress)) is not None:
            raise ForbiddenAddress(f"the host leads to where it may not: {reason}")
    return addresses
