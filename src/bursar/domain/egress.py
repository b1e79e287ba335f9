"""Which addresses calls may be sent to, where somebody else than the operator's file names them.

Whoever adds models through the API chooses where the gateway connects to from inside its network. Clouds hand out the
credentials of their machines at link-local addresses to whoever asks from within, so those are never an upstream;
whether private ones are is the operator's choice, because many run models of their own. What is judged is the address
that is connected to: a host name can lead anywhere, and somewhere else the next time.
"""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address


class Egress(StrEnum):
    """Where connections may go."""

    ANY = "any"
    """Anywhere: the operator's file says where."""
    NO_METADATA = "no_metadata"
    """Not where clouds keep the credentials of their machines."""
    PUBLIC = "public"
    """Only to addresses of the Internet."""


_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_METADATA = tuple(
    ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local: AWS, Google Cloud, Azure, Oracle Cloud, DigitalOcean, OpenStack …
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google Cloud
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud
    )
)
_EMBEDDING = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("::/96"))
"""NAT64 and IPv4-compatible: an IPv4 address in the last 32 bits."""
_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")


def forbidden_host(host: str, egress: Egress) -> str | None:
    """Why `host`, a name or an address, may not be connected to, as far as it shows without asking who it is."""
    if egress is Egress.ANY:
        return None
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES:
        return f"{host} is a metadata service of a cloud"
    if egress is Egress.PUBLIC and (name == "localhost" or name.endswith(".localhost")):
        return f"{host} is this machine"
    address = _address(name)
    return None if address is None else forbidden_address(str(address), egress)


def forbidden_address(address: str, egress: Egress) -> str | None:
    """Why an IP address, with or without its zone, may not be connected to; None: it may."""
    if egress is Egress.ANY:
        return None
    given = ip_address(address.partition("%")[0])
    for one in (given, *_embedded(given)):
        if any(one in network for network in _METADATA):
            return f"{given} is an address at which clouds keep the credentials of their machines"
        if egress is Egress.PUBLIC and (not one.is_global or one.is_multicast):
            return f"{given} is not an address of the Internet"
    return None


def _embedded(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, IPv6Address):
        return []
    found = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    if address.teredo is not None:
        found += address.teredo
    if any(address in network for network in _EMBEDDING) and int(address) > 1:
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def _address(name: str) -> Address | None:
    """The address that `name` is written as, also in the forms that resolvers take from the days of inet_aton."""
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        return _old_form(name)


def _old_form(name: str) -> IPv4Address | None:
    """`0x7f.1`, `0177.0.0.1`, `2130706433`: each part one byte, and the last all that are left."""
    if not _NUMBERS.fullmatch(name):
        return None
    try:
        *heads, tail = (int(part, _base(part)) for part in name.split("."))
    except ValueError:
        return None
    left = 4 - len(heads)
    if any(head > 0xFF for head in heads) or tail >= 256**left:
        return None
    return IPv4Address(sum(head << (24 - 8 * index) for index, head in enumerate(heads)) + tail)


def _base(part: str) -> int:
    if part.startswith("0x"):
        return 16
    return 8 if part.startswith("0") and part != "0" else 10
