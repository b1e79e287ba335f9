"""What leaves in answers: JSON in which the secrets are masked that people put into objects of their own making.

Masked for everybody, administrators included: who stored a secret has it, and a mask that comes back stands for what is
stored (`domain.masking.unmasked`). What has a field of its own is shown or not by its endpoint.
"""

from collections.abc import Mapping

import msgspec

from bursar.domain.masking import masked

_FREE = frozenset({"metadata", "config", "permissions", "router_settings", "model_info", "credential_info"})
"""Members that hold what somebody wrote as he liked."""
_NAMED = tuple(f'"{name}":'.encode() for name in _FREE)


def encoded(answer: object) -> bytes:
    """`answer` as it is sent."""
    body = msgspec.json.encode(answer)
    if not any(name in body for name in _NAMED):
        return body
    return msgspec.json.encode(_shown(msgspec.json.decode(body)))


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: masked(item) if name in _FREE else _shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value
