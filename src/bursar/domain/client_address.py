"""Who the client is behind proxies: addresses handed on by a proxy are believed only where that proxy is trusted."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The nearest address that no trusted proxy stands behind.

    `forwarded_for`: the X-Forwarded-For field, to which each proxy appends the address it saw. Read from the right, so
    that what a client wrote into it itself is never reached while a proxy before it is not trusted.
    """
    if not trusted or forwarded_for is None or not lies_within(peer, trusted):
        return peer
    client = peer
    for hop in reversed(forwarded_for.split(",")):
        address = _parsed(hop.strip())
        if address is None:
            break
        client = str(address)
        if not lies_within(client, trusted):
            break
    return client


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def lies_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether `address` is in one of them; what is no address is in none."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed.version == network.version and parsed in network for network in networks)
