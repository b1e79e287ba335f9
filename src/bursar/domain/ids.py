"""Identifiers. Each kind has its own type, so that two of them cannot be swapped silently."""

from typing import NewType

from bursar.domain.errors import InvalidRequest

CallId = NewType("CallId", str)
"""One client request: a UUIDv7 made here, never taken from a client or a provider."""

AttemptId = NewType("AttemptId", str)
"""One upstream try inside a call: a UUIDv7 made here before anything is sent."""

JournalId = NewType("JournalId", str)
"""One journal directory, which is one life of one process."""

DeploymentId = NewType("DeploymentId", str)
"""`model_info.id`, or the SHA-256 hex of the deployment's parameters."""

KeyHash = NewType("KeyHash", str)
"""Lower-case SHA-256 hex of a virtual key: how LiteLLM's tables name it. It is never a credential."""


def check_new_id(text: str, *, param: str) -> None:
    """Of what routes name in their paths. Raises InvalidRequest: the server takes no path that says so, or takes it
    only where nobody on the way makes a slash of a backslash."""
    if "\\" in text or not text.isprintable() or not {".", ".."}.isdisjoint(text.split("/")):
        raise InvalidRequest(
            f"{param}: not every path could name this: leave out backslashes, control characters, and '.' or '..' "
            "alone or between slashes.",
            param=param,
        )


def attempt_id(call: CallId, number: int) -> AttemptId:
    """The id of a call's attempt, numbered from 1: the call's own, with the number in its last eight bits."""
    return AttemptId(f"{call[:-2]}{number:02x}")


def call_id(unix_ms: int, random_bits: int) -> CallId:
    """A call's id, whose last eight bits are 0; `random_bits`: at least 66 random bits."""
    return CallId(uuid7(unix_ms, random_bits << 8))


def uuid7(unix_ms: int, random_bits: int) -> str:
    """A time-ordered UUID, version 7 (RFC 9562, 5.7).

    `unix_ms`: milliseconds since 1970; `random_bits`: at least 74 random bits (more are cut off).
    """
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random_bits >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random_bits & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
