"""A stream of chunks put together again as the answer it would have been: for logs that keep text."""

import json

_MAX_BYTES = 2 * 1024 * 1024
"""What is kept of one stream. Beyond it the answer is a beginning, and says so."""
_REPLACED = frozenset({"index", "id", "type", "role", "finish_reason"})
"""Text that a later chunk repeats or corrects; all other text goes on where the earlier one ended."""


class StreamAssembly:
    """Feed it each chunk's JSON; `answer` is what came of them."""

    def __init__(self) -> None:
        self._bytes = 0
        self._answer: dict[str, object] = {}
        self._choices: dict[int, dict[str, object]] = {}

    def feed(self, payload: bytes) -> None:
        """One chunk. What is no JSON object is passed over."""
        self._bytes += len(payload)
        if self._bytes > _MAX_BYTES:
            self._answer["truncated"] = True
            return
        try:
            chunk = json.loads(payload)
        except (ValueError, RecursionError):
            return
        if not isinstance(chunk, dict):
            return
        choices = chunk.pop("choices", None)
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._merge_choice(choice)
        self._answer |= {name: value for name, value in chunk.items() if value is not None}

    def _merge_choice(self, choice: dict[str, object]) -> None:
        index = choice.get("index")
        position = index if isinstance(index, int) else 0
        known = self._choices.setdefault(position, {"index": position, "message": {}, "finish_reason": None})
        delta = choice.pop("delta", None)
        if isinstance(delta, dict):
            known["message"] = _merged(known["message"], delta)
        for name, value in choice.items():
            if value is not None:
                known[name] = _merged(known.get(name), value, name)

    def answer(self) -> dict[str, object]:
        """The chat completion so far."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        return {**self._answer, "object": "chat.completion", "choices": choices}


def _merged(known: object, new: object, name: str = "") -> object:
    """`known` continued by `new`, a piece of the same thing."""
    if new is None:
        return known
    if isinstance(known, str) and isinstance(new, str) and name not in _REPLACED:
        return known + new
    if isinstance(known, dict) and isinstance(new, dict):
        return known | {key: _merged(known.get(key), value, str(key)) for key, value in new.items()}
    if isinstance(known, list) and isinstance(new, list):
        return _merged_lists(known, new)
    if known is None and isinstance(new, list):
        return _merged_lists([], new)
    return new


def _merged_lists(known: list[object], new: list[object]) -> list[object]:
    """Items with an index are pieces of the item with the same index; others are added."""
    items = list(known)
    for piece in new:
        index = piece.get("index") if isinstance(piece, dict) else None
        same = [i for i, item in enumerate(items) if isinstance(item, dict) and item.get("index") == index]
        if index is not None and same:
            items[same[0]] = _merged(items[same[0]], piece)
        else:
            items.append(piece)
    return items
