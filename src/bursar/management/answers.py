"""What leaves in answers: JSON in which the secrets are masked that people put into objects of their own making.

Masked for everybody, administrators included: who stored a secret has it, and a mask that comes back stands for what is
stored (`domain.masking.unmasked`). What has a field of its own is shown or not by its endpoint.
"""

import asyncio

import msgspec

from bursar.domain.masking import masked

_FREE = frozenset({"metadata", "config", "permissions", "router_settings", "model_info", "credential_info"})
"""Members that hold what somebody wrote as he liked."""
_CONTAINERS = (dict, list)
_NAMED = tuple(f'"{name}":'.encode() for name in _FREE)


_ROWS_AT_A_TIME = 200
"""Between which calls have their turn."""


async def encoded(answer: object) -> bytes:
    """`answer` as it is sent."""
    body = msgspec.json.encode(answer)
    if not any(name in body for name in _NAMED):
        return body
    decoded = msgspec.json.decode(body)
    if isinstance(decoded, list):
        return msgspec.json.encode(await _rows(decoded))
    assert isinstance(decoded, dict), "it has members"
    lists = {name: item for name, item in decoded.items() if isinstance(item, list) and name not in _FREE}
    shown = _members({name: item for name, item in decoded.items() if name not in lists})
    shown |= {name: await _rows(rows) for name, rows in lists.items()}
    return msgspec.json.encode({name: shown[name] for name in decoded})


async def _rows(rows: list[object]) -> list[object]:
    shown: list[object] = []
    for row in rows:
        shown.append(_shown(row))
        if len(shown) % _ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return shown


def _shown(value: object) -> object:
    if isinstance(value, dict):
        return _members(value)
    return [_shown(item) for item in value] if isinstance(value, list) else value


def _members(members: dict[str, object]) -> dict[str, object]:
    """Most are neither: they cost no call."""
    return {
        name: masked(item) if name in _FREE else _shown(item) if item.__class__ in _CONTAINERS else item
        for name, item in members.items()
    }
