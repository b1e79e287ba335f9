"""The adapter for every provider that speaks OpenAI's dialect.

A request keeps the caller's bytes but for the few members that the provider's row in `dialects` names. Where the row is
empty and the operator configured nothing, only the model's name and the gateway's own members change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from bursar.domain.errors import InvalidRequest
from bursar.providers import message_edits as messages
from bursar.providers.dialects import Allows, dialect_of, native_name, text_of
from bursar.providers.drop_paths import drop_path
from bursar.providers.message_edits import MessageEdit
from bursar.providers.upstream import Upstream
from bursar.wire.openai_answer import AnswerRules
from bursar.wire.openai_chat import ChatRequest, Members, encode_members, upstream_members
from bursar.wire.raw_json import NULL

_INTERNAL_MEMBER: Final = re.compile(
    rb'_(?:blocks"(?<="thinking_blocks")|content"(?<="reasoning_content")'
    rb'|specific_fields"(?<="provider_specific_fields"))'
)
"""Finds them by their underscores, which are rare in prose."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator decides for one deployment."""

    drop_params: bool = False
    """Leave unsupported parameters out instead of refusing the request; a request may say so itself."""
    additional_drop_params: tuple[str, ...] = ()
    allowed_openai_params: tuple[str, ...] = ()
    defaults: Mapping[str, Raw] | None = None
    """Members added where the caller gives none, `extra_body`'s among them."""
    supports_vision: bool | None = None
    asks_usage: bool | None = None
    """Overrides whether streams ask for their usage."""


class OpenAICompatible:
    """Writes requests for one deployment of an OpenAI-compatible provider, and knows how to read its answers."""

    def __init__(self, upstream: Upstream, settings: Settings = Settings()) -> None:
        self.upstream = upstream
        self._settings = settings
        self._dialect = dialect_of(upstream, supports_vision=settings.supports_vision)
        self._model = native_name(upstream)
        self._asks_usage = self._dialect.asks_usage if settings.asks_usage is None else settings.asks_usage
        self._drops = self._dialect.drops.difference(settings.allowed_openai_params)
        self._defaults = {name: raw for name, raw in (settings.defaults or {}).items() if name not in _CALLERS_OWN}

    @property
    def refused(self) -> frozenset[str]:
        """Parameters that the provider does not have, or takes one value of alone."""
        return self._drops.union(self._dialect.unsupported or ())

    @property
    def answers(self) -> AnswerRules:
        """How to read this provider's answers and streams."""
        return self._dialect.answers

    def body(self, request: ChatRequest) -> bytes:
        """The body for the upstream.

        Raises InvalidRequest: a parameter that the provider does not have and nobody said to drop, or a body that is
        nested too deeply to be changed.
        """
        dialect = self._dialect
        members = upstream_members(
            request,
            model=self._model,
            drop=self._drops.difference(request.options.allowed_openai_params) if self._drops else self._drops,
            defaults=self._defaults_beside(request.members),
            set_members=dialect.sets,
            ask_usage=self._asks_usage,
        )
        for name in dialect.forwards:
            if name in request.members:
                members[name] = request.members[name]
        try:
            members = self._edited(members, request)
        except RecursionError:
            raise InvalidRequest("Invalid JSON payload: nested too deeply.", param="request_body") from None
        return encode_members(members)

    def output_limit(self, request: ChatRequest) -> int | None:
        """The bound on the tokens of one answer that `body` will hold; None: none."""
        dropped = {*self._drops, *self._settings.additional_drop_params, *request.options.additional_drop_params}
        if not _LIMITS.isdisjoint(dropped):
            return None
        if request.max_tokens is not None:
            return request.max_tokens
        for name in ("max_completion_tokens", "max_tokens"):
            raw = self._defaults_beside(request.members).get(name)
            if raw is not None and raw != NULL:
                try:
                    return msgspec.json.decode(raw, type=int)
                except msgspec.ValidationError:
                    return None
        return None

    def _defaults_beside(self, given: Members) -> Mapping[str, Raw]:
        """The deployment's defaults; its output limit only where the caller gives none under either name."""
        defaults = self._defaults
        if defaults and not given.keys().isdisjoint(_LIMITS) and not defaults.keys().isdisjoint(_LIMITS):
            return {name: value for name, value in defaults.items() if name not in _LIMITS}
        return defaults

    def _edited(self, members: Members, request: ChatRequest) -> Members:
        dialect = self._dialect
        for path in (*self._settings.additional_drop_params, *request.options.additional_drop_params):
            if path not in _NEEDED:
                drop_path(members, path)
        for edit_body in dialect.whole_body:
            edit_body(members)
        if dialect.unsupported and not members.keys().isdisjoint(dialect.unsupported):
            unless = dialect.unsupported_unless
            if unless is None or (text_of(members, unless[0]) or unless[1]) != unless[1]:
                self._check_support(members, dialect.unsupported, request)
        if dialect.renames and not members.keys().isdisjoint(dialect.renames):
            members = _renamed(members, dialect.renames)
        for name, edit in (dialect.members or {}).items():
            value = members.get(name)
            if value is not None and value != NULL:
                edited = edit(value)
                if edited is None:
                    del members[name]
                else:
                    members[name] = edited
        edits = self._message_edits(members["messages"])
        if edits:
            members["messages"] = messages.edit_messages(members["messages"], edits)
        return members

    def _check_support(self, members: Members, unsupported: Mapping[str, Allows], request: ChatRequest) -> None:
        allowed = {*self._settings.allowed_openai_params, *request.options.allowed_openai_params}
        refused = [
            name
            for name, allows in unsupported.items()
            if (value := members.get(name, NULL)) != NULL and name not in allowed and not allows(value)
        ]
        if not refused:
            return
        drop = request.options.drop_params
        if not (self._settings.drop_params if drop is None else drop):
            raise InvalidRequest(
                f"{self.upstream.provider.name} does not support parameters: {refused}, for model="
                f"{self.upstream.model}. To leave them out, set `drop_params: true` in litellm_settings, in the "
                "deployment's litellm_params or in the request.",
                param=refused[0],
            )
        for name in refused:
            del members[name]

    def _message_edits(self, raw: Raw) -> tuple[MessageEdit, ...]:
        """The edits these messages may need: those every request needs, and those whose words occur in them."""
        dialect = self._dialect
        edits = dialect.messages
        body = bytes(raw)
        if not dialect.knows_developer and b'"developer"' in body:
            edits = (*edits, messages.developer_to_system)
        if dialect.message_drops and _INTERNAL_MEMBER.search(body) is not None:
            edits = (*edits, messages.without(dialect.message_drops))
        return edits


_NEEDED = frozenset({"model", "messages"})
_CALLERS_OWN = frozenset({"model", "messages", "stream", "stream_options"})
"""Members no default may add: the answer's form is the caller's choice."""
_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})


def _renamed(members: Members, renames: Mapping[str, str]) -> Members:
    """`members` in their order under their new names.

    Of a pair, one that is given under the provider's own name already stays, but for the output limit: there OpenAI's
    newer name counts, as it does for the hold.
    """
    renamed: Members = {}
    newer = members.get("max_completion_tokens", NULL) != NULL
    for name, value in members.items():
        new = renames.get(name)
        if new is None:
            if not (newer and name == "max_tokens" and renames.get("max_completion_tokens") == name):
                renamed[name] = value
        elif value != NULL and (name == "max_completion_tokens" or new not in members):
            renamed[new] = value
    return renamed
