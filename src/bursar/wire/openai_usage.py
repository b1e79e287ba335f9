"""Usage as OpenAI-compatible servers report it, read into classes that do not overlap.

The same word means different things: cached tokens stand inside the prompt (OpenAI) or beside it (servers that speak
Anthropic's words), reasoning inside the completion or beside it (xAI), thinking in the total alone (Google). Where the
numbers prove which reading is meant, they decide; where they contradict each other, the reading that books more is
taken and the contradiction is flagged. A provider's own total is evidence, never the sum itself.

An object that comes later replaces an earlier one: servers that report while they stream report running totals.
"""

import json
import math
from enum import StrEnum
from typing import Annotated

import msgspec

from bursar.domain.errors import ConfigError
from bursar.domain.money import NanoUsd, nano_from_usd
from bursar.domain.usage import Usage

MAX_TOKENS = 100_000_000
"""No call can use more: ten times the largest context window on sale. Larger counts are broken, and say nothing."""


class UsageFlag(StrEnum):
    """What was wrong with a report; on record with the charge."""

    MISSING = "missing"
    """No usage, or none that counts tokens: the charge must be estimated."""
    PARTIAL = "partial"
    """One side was not reported and is derived from the total, or taken as 0."""
    COERCED = "coerced"
    """A count was text, a fraction or a boolean."""
    NEGATIVE = "negative"
    ABSURD = "absurd"
    """A count was above MAX_TOKENS."""
    CONTRADICTORY = "contradictory"
    """The parts do not fit into the whole, or the total is not their sum."""


_BROKEN = frozenset({UsageFlag.NEGATIVE, UsageFlag.ABSURD})


class UsageRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a provider's way of counting."""

    reasoning_beside: bool = False
    """Reasoning is not part of `completion_tokens`, unless the total proves that it is (xAI)."""
    hidden_output_in_total: bool = False
    """What the total has beyond prompt and completion is thinking, and is billed as output (Google)."""
    states_cost: bool = False
    """`usage.cost` is what the provider charges, in US dollars (OpenRouter)."""


OPENAI_USAGE = UsageRules()


class UsageReading(msgspec.Struct, frozen=True, kw_only=True):
    """One report of usage, understood."""

    usage: Usage = Usage()
    raw: bytes = b""
    """The object as it came, for the record: a charge can be computed anew from it."""
    flags: frozenset[UsageFlag] = frozenset()
    stated_cost: NanoUsd | None = None
    """The charge itself, where the provider states it and it can be believed."""

    @property
    def missing(self) -> bool:
        """There is nothing to charge by; the usage must be estimated."""
        return UsageFlag.MISSING in self.flags


MISSING = UsageReading(flags=frozenset({UsageFlag.MISSING}))

_decode = msgspec.json.Decoder().decode
_NO_DETAILS: dict[str, object] = {}


def usage_from(raw: msgspec.Raw | bytes | None, rules: UsageRules = OPENAI_USAGE) -> UsageReading:
    """Read a `usage` object. Never fails: whatever is unreadable is flagged, and no count is ever negative."""
    if not raw:
        return MISSING
    plain = _read_plainly(raw) if not rules.states_cost else None
    if plain is not None:
        return plain
    try:
        report = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        report = _decode_leniently(bytes(raw))
    if not isinstance(report, dict):
        return MISSING
    return _Reader(report, bytes(raw), rules).reading()


def _decode_leniently(raw: bytes) -> object:
    """Whatever else is wrong with it, the counts may be right: half characters, numbers without end."""
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class _PromptDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None


class _PlainReport(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's own report and nothing else: what nearly every answer has."""

    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decode_plain = msgspec.json.Decoder(_PlainReport).decode
_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()


def _read_plainly(raw: msgspec.Raw | bytes) -> UsageReading | None:
    """The quick way, for a report without anything to interpret; None for every other, which `_Reader` reads."""
    try:
        report = _decode_plain(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    prompt, completion = report.prompt_tokens, report.completion_tokens
    inputs = report.prompt_tokens_details or _NO_PROMPT_DETAILS
    outputs = report.completion_tokens_details or _NO_COMPLETION_DETAILS
    cached, audio_in = inputs.cached_tokens or 0, inputs.audio_tokens or 0
    reasoning, audio_out = outputs.reasoning_tokens or 0, outputs.audio_tokens or 0
    if report.total_tokens != prompt + completion or cached + audio_in > prompt or reasoning + audio_out > completion:
        return None
    usage = Usage(
        uncached_prompt_tokens=prompt - cached - audio_in,
        cached_prompt_tokens=cached,
        audio_prompt_tokens=audio_in,
        answer_tokens=completion - reasoning - audio_out,
        reasoning_tokens=reasoning,
        audio_completion_tokens=audio_out,
    )
    return UsageReading(usage=usage, raw=bytes(raw))


class _Reader:
    """One pass over one report; collects flags on the way."""

    __slots__ = ("_flags", "_raw", "_report", "_rules")

    def __init__(self, report: dict[str, object], raw: bytes, rules: UsageRules) -> None:
        self._report = report
        self._raw = raw
        self._rules = rules
        self._flags: set[UsageFlag] = set()

    def reading(self) -> UsageReading:
        prompt, completion, total = self._sides()
        stated_cost = self._stated_cost() if self._rules.states_cost else None
        if prompt is None or completion is None:
            flags = frozenset({*self._flags, UsageFlag.MISSING})
            return UsageReading(raw=self._raw, flags=flags, stated_cost=stated_cost)
        input_classes = self._input_classes(prompt, completion, total)
        output_classes = self._output_classes(sum(input_classes), completion, total)
        uncached, cached, write_5m, write_1h, audio_prompt = input_classes
        answer, reasoning, audio_completion = output_classes
        usage = Usage(
            uncached_prompt_tokens=uncached,
            cached_prompt_tokens=cached,
            cache_write_5m_tokens=write_5m,
            cache_write_1h_tokens=write_1h,
            audio_prompt_tokens=audio_prompt,
            answer_tokens=answer,
            reasoning_tokens=reasoning,
            audio_completion_tokens=audio_completion,
        )
        if total is not None and total != usage.total_tokens:
            self._flags.add(UsageFlag.CONTRADICTORY)
        return UsageReading(usage=usage, raw=self._raw, flags=frozenset(self._flags), stated_cost=stated_cost)

    def _sides(self) -> tuple[int | None, int | None, int | None]:
        """Prompt, completion and total as reported; a missing side is derived where the others allow it."""
        prompt = self._first("prompt_tokens", "input_tokens")
        completion = self._first("completion_tokens", "output_tokens")
        if not self._flags.isdisjoint(_BROKEN):
            return None, None, None  # such a report says nothing: it books neither nothing nor a fortune
        total = self._count(self._report.get("total_tokens"))
        if prompt is None:
            hit, miss = self._first("prompt_cache_hit_tokens"), self._first("prompt_cache_miss_tokens")
            if hit is not None and miss is not None:
                prompt = hit + miss
        if (prompt is None or completion is None) and not self._flags.isdisjoint(_BROKEN):
            return None, None, None  # nor does a broken total say what the other side was
        if prompt is None and completion is not None:
            self._flags.add(UsageFlag.PARTIAL)
            prompt = 0 if total is None else max(0, total - completion)
        elif completion is None and prompt is not None:
            self._flags.add(UsageFlag.PARTIAL)
            completion = 0 if total is None else max(0, total - prompt)
        return prompt, completion, total

    def _input_classes(self, prompt: int, completion: int, total: int | None) -> tuple[int, int, int, int, int]:
        """Uncached, cached, written for 5 minutes, written for an hour, audio."""
        details = self._details("prompt_tokens_details", "input_tokens_details")
        anthropic_read = self._first("cache_read_input_tokens")
        cached = self._count(details.get("cached_tokens"))
        if cached is None:
            cached = anthropic_read
        if cached is None:
            cached = self._first("prompt_cache_hit_tokens", "cached_tokens") or 0
        write_5m, write_1h = self._cache_writes(details)
        beside = cached + write_5m + write_1h
        if beside and self._is_beside(beside, prompt, completion, total, anthropic=anthropic_read is not None):
            prompt += beside
        audio = min(self._count(details.get("audio_tokens")) or 0, prompt - write_5m - write_1h)
        # Cached audio is counted in both places; audio is the dearer class.
        cached = min(cached, prompt - write_5m - write_1h - audio)
        return prompt - cached - write_5m - write_1h - audio, cached, write_5m, write_1h, audio

    def _is_beside(self, parts: int, prompt: int, completion: int, total: int | None, *, anthropic: bool) -> bool:
        """Whether cache reads and writes come on top of the prompt instead of being part of it."""
        if anthropic and "prompt_tokens" not in self._report:
            return True  # Anthropic's own words: `input_tokens` leaves out both
        if total == prompt + completion + parts:
            return True
        if parts > prompt:
            self._flags.add(UsageFlag.CONTRADICTORY)
            return True
        return False

    def _cache_writes(self, details: dict[str, object]) -> tuple[int, int]:
        """Tokens written to the cache for 5 minutes and for an hour; what is not split is the former."""
        written = self._first("cache_creation_input_tokens")
        for name in ("cache_creation_tokens", "cache_write_tokens"):
            if written is None:
                written = self._count(details.get(name))
        split = self._details("cache_creation")
        if not split:
            nested = details.get("cache_creation_token_details")
            split = nested if isinstance(nested, dict) else _NO_DETAILS
        short = self._count(split.get("ephemeral_5m_input_tokens")) or 0
        long = self._count(split.get("ephemeral_1h_input_tokens")) or 0
        return max(short, (written or 0) - long), long

    def _output_classes(self, prompt: int, completion: int, total: int | None) -> tuple[int, int, int]:
        """Answer, reasoning, audio."""
        details = self._details("completion_tokens_details", "output_tokens_details")
        reasoning = self._count(details.get("reasoning_tokens"))
        if reasoning is None:
            reasoning = self._first("reasoning_tokens") or 0
        audio = self._count(details.get("audio_tokens")) or 0
        if reasoning and self._reasoning_is_beside(reasoning, prompt, completion, total):
            completion += reasoning
        if self._rules.hidden_output_in_total and total is not None and total > prompt + completion:
            reasoning += total - prompt - completion
            completion = total - prompt
        if audio + reasoning > completion:
            self._flags.add(UsageFlag.CONTRADICTORY)
            audio = min(audio, completion - reasoning)
        return completion - reasoning - audio, reasoning, audio

    def _reasoning_is_beside(self, reasoning: int, prompt: int, completion: int, total: int | None) -> bool:
        """Whether reasoning comes on top of the completion. Idempotent: a corrected report is not corrected again."""
        if total is not None and total == prompt + completion + reasoning:
            return True
        if reasoning > completion:
            if not self._rules.reasoning_beside:
                self._flags.add(UsageFlag.CONTRADICTORY)
            return True
        return self._rules.reasoning_beside and total != prompt + completion

    def _stated_cost(self) -> NanoUsd | None:
        """OpenRouter's charge; with the caller's own provider key the provider's bill comes on top of its fee."""
        amounts = [self._report.get("cost")]
        if self._report.get("is_byok") is True:
            amounts.append(self._details("cost_details").get("upstream_inference_cost") or 0)
        cost = 0
        for amount in amounts:
            if isinstance(amount, bool) or not isinstance(amount, (int, float, str)):
                return None
            try:
                cost += nano_from_usd(amount)
            except ConfigError:
                return None
        if cost < 0:
            self._flags.add(UsageFlag.NEGATIVE)
            return None
        return NanoUsd(cost)

    def _details(self, *names: str) -> dict[str, object]:
        for name in names:
            details = self._report.get(name)
            if isinstance(details, dict):
                return details
        return _NO_DETAILS

    def _first(self, *names: str) -> int | None:
        for name in names:
            count = self._count(self._report.get(name))
            if count is not None:
                return count
        return None

    def _count(self, value: object) -> int | None:
        """A token count made safe: None if there is none that can be believed, else between 0 and MAX_TOKENS."""
        count = value if type(value) is int else None if value is None else self._coerced(value)
        if count is None:
            return None
        if count < 0:
            self._flags.add(UsageFlag.NEGATIVE)
            return 0
        if count > MAX_TOKENS:
            self._flags.add(UsageFlag.ABSURD)
            return None
        return count

    def _coerced(self, value: object) -> int | None:
        """A count written as text or as a fraction; a fraction of a token is a token."""
        number: object = value
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = None
        if not isinstance(number, float) or math.isnan(number):
            self._flags.add(UsageFlag.COERCED)
            return None
        if number is not value or not number.is_integer():
            self._flags.add(UsageFlag.COERCED)
        return math.ceil(min(max(number, -1.0), MAX_TOKENS + 1.0))
