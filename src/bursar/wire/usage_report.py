"""Usage as apps have it, a mapping or some client's object, brought into the JSON that is read and kept."""

from collections.abc import Iterator, Mapping

import msgspec

_NOTHING: Mapping[str, object] = {}


def encoded_report(report: object) -> bytes | None:
    """What of `report` counts something, as JSON; None: nothing does."""
    counts = dict(_counts(members(report)))
    return msgspec.json.encode(counts) if counts else None


def members(value: object) -> Mapping[str, object]:
    """Those of a mapping, or of some client's object."""
    if value is None or isinstance(value, str | int | float | list):
        return _NOTHING
    if isinstance(value, Mapping):
        return value
    found = getattr(value, "__dict__", None)
    return found if isinstance(found, dict) else _NOTHING


def _counts(report: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in report.items():
        if isinstance(value, int) and not isinstance(value, bool):
            if value or name != "total_tokens":  # LiteLLM leaves it at 0 where it counts the prompt alone
                yield name, value
        elif nested := dict(_counts(members(value))):
            yield name, nested
