"""Usage as apps have it, a mapping or some client's object, brought into the JSON that is read and kept: in the words
of OpenAI, or of Anthropic."""

from collections.abc import Iterator, Mapping

import msgspec

_NOTHING: Mapping[str, object] = {}
_GOOGLE = frozenset({"promptTokenCount", "prompt_token_count", "candidatesTokenCount", "candidates_token_count"})
_BEDROCK = frozenset({"inputTokens", "outputTokens"})


def encoded_report(report: object) -> bytes | None:
    """What of `report` counts something, as JSON; None: nothing does."""
    counts = dict(_counts(members(report)))
    for names, into in ((_GOOGLE, _from_google), (_BEDROCK, _from_bedrock)):
        if not names.isdisjoint(counts):
            counts = into(counts)
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


def _from_google(counts: Mapping[str, object]) -> dict[str, object]:
    """Google's, whose client says them in snake case: thinking, and what tools put in, stand beside."""

    def count(name: str) -> int:
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        found = counts.get(name, counts.get(snake))
        return found if isinstance(found, int) else 0

    thoughts = count("thoughtsTokenCount")
    return {
        "prompt_tokens": count("promptTokenCount") + count("toolUsePromptTokenCount"),
        "completion_tokens": count("candidatesTokenCount") + thoughts,
        "prompt_tokens_details": {"cached_tokens": count("cachedContentTokenCount")},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }


def _from_bedrock(counts: Mapping[str, object]) -> dict[str, object]:
    """Amazon's, of its Converse interface: what is cached stands beside, as with Anthropic."""
    names = {
        "inputTokens": "input_tokens",
        "outputTokens": "output_tokens",
        "cacheReadInputTokens": "cache_read_input_tokens",
        "cacheWriteInputTokens": "cache_creation_input_tokens",
    }
    return {known: counts[name] for name, known in names.items() if name in counts}
