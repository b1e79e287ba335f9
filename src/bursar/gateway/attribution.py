"""To whom a call is put down: end user, tags, session and metadata, from body and headers in LiteLLM's order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import msgspec

from bursar.domain.client_address import Network, client_address
from bursar.domain.errors import InvalidRequest
from bursar.domain.ids import CallId
from bursar.domain.masking import masked_kept
from bursar.domain.principals import Principal
from bursar.domain.storable import storable_list, storable_members, storable_text
from bursar.gateway.call import Attribution
from bursar.wire.gateway_options import NO_OPTIONS
from bursar.wire.http import Request
from bursar.wire.openai_chat import ChatRequest

END_USER_HEADERS = (b"x-litellm-customer-id", b"x-litellm-end-user-id")
_HEADERS = (
    b"x-litellm-call-id",
    b"x-litellm-enable-message-redaction",
    b"x-litellm-session-id",
    b"x-litellm-spend-logs-metadata",
    b"x-litellm-tags",
    b"x-litellm-trace-id",
)
_CALL_ID_MAX = 256
_USER_AGENT_MAX = 256
_TRUE = frozenset({"true", "1", "yes"})

Said = Mapping[bytes, str]
"""What the request's headers say, by name: only those that say something here."""


@dataclass(frozen=True)
class AttributionRules:
    """What the configuration says about it."""

    end_user_headers: tuple[bytes, ...] = END_USER_HEADERS
    """Headers that name the end user: LiteLLM's, then configured ones (`user_header_name`, `user_header_mappings`)."""
    tag_headers: tuple[bytes, ...] = ()
    """`extra_spend_tag_headers`: become tags as `name: value`."""
    user_agent_tags: bool = True
    track_end_users: bool = True
    metadata_max_bytes: int = 65_536
    """Of the caller's metadata; of tags as much again."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed."""

    @cached_property
    def headers(self) -> frozenset[bytes]:
        """All headers that say something here."""
        return frozenset((*self.end_user_headers, *self.tag_headers, *_HEADERS))


def attribute(
    request: Request, chat: ChatRequest, principal: Principal, *, call_id: CallId, rules: AttributionRules
) -> Attribution:
    """Read the attribution of a call.

    Raises InvalidRequest: a header that should hold JSON does not; metadata is nested beyond reason.
    """
    fields = request.fields
    said: Said = {}
    if not rules.headers.isdisjoint(fields):
        said = {name: fields[name].decode("utf-8", "replace") for name in rules.headers & fields.keys()}
    options = chat.options
    metadata = options.metadata
    user = storable_text(chat.user) if chat.user else ""
    user_agent, agent_tags = _user_agent(fields.get(b"user-agent", b""))
    tags, tags_dropped = _tags(said, chat, principal, rules)
    if rules.user_agent_tags:
        tags.extend(tag for tag in agent_tags if tag not in tags)
    kept, dropped = _recordable(metadata, rules.metadata_max_bytes) if metadata else ({}, [])
    if tags_dropped:
        dropped.append(f"{tags_dropped} tags")
    return Attribution(
        litellm_call_id=_call_id(said.get(b"x-litellm-call-id") or options.call_id, call_id),
        user=user,
        end_user=_end_user(said, chat, user, rules) if rules.track_end_users else "",
        tags=tags,
        session_id=_session_id(said, chat),
        metadata=kept,
        dropped=dropped,
        logs_metadata=_logs_metadata(said, metadata, principal),
        client_host=client_of(request, rules.trusted_proxies),
        user_agent=user_agent,
        redact_text=options.no_log or said.get(b"x-litellm-enable-message-redaction", "").lower() in _TRUE,
    )


def _recordable(metadata: Mapping[str, object], max_bytes: int) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """What is kept of it, without secrets, which have no place on record; and the names of what is not."""
    try:
        kept, dropped = storable_members(metadata, max_bytes=max_bytes)
        return masked_kept(kept), dropped
    except RecursionError:
        raise InvalidRequest("metadata is nested too deeply.", param="metadata") from None


def client_of(request: Request, trusted: Sequence[Network]) -> str:
    """The address of the client: the peer's, or what a proxy of `trusted` says."""
    if not trusted:
        return request.client_host
    # A proxy may add a field of its own instead of appending to the one that came: together they are one list.
    hops = b",".join(value for name, value in request.headers if name == b"x-forwarded-for")
    return client_address(request.client_host, hops.decode("latin-1") or None, trusted)


def _call_id(asked: str | None, own: CallId) -> str:
    if asked and len(asked) <= _CALL_ID_MAX and asked.isprintable():
        return storable_text(asked)
    return own


def _end_user(said: Said, chat: ChatRequest, user: str, rules: AttributionRules) -> str:
    if said:
        for name in rules.end_user_headers:
            if value := said.get(name):
                return storable_text(value)
    if user:
        return user
    options = chat.options
    for named in (
        options.litellm_metadata.get("user"),
        options.metadata.get("user_id"),
        _text_member(chat, "safety_identifier"),
    ):
        if isinstance(named, str) and named:
            return storable_text(named)
    return ""


def _text_member(chat: ChatRequest, name: str) -> str | None:
    raw = chat.members.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        return None


def _tags(said: Said, chat: ChatRequest, principal: Principal, rules: AttributionRules) -> tuple[list[str], int]:
    """The caller's and the key's, each once, and how many were left out because there are too many."""
    tags = dict.fromkeys(chat.options.tags)
    if listed := said.get(b"x-litellm-tags"):
        tags |= dict.fromkeys(tag.strip() for tag in listed.split(",") if tag.strip())
    if principal.tags:
        tags |= dict.fromkeys(principal.tags)
    for name in rules.tag_headers:
        if value := said.get(name):
            tags[f"{name.decode()}: {value}"] = None
    if not tags:
        return [], 0
    kept, dropped = storable_list(tags, max_bytes=rules.metadata_max_bytes)
    if dropped and principal.tags:  # the caller's may not take the place of the key's, which limits hang on
        return storable_list(dict.fromkeys((*principal.tags, *tags)), max_bytes=rules.metadata_max_bytes)
    return kept, dropped


@lru_cache(maxsize=1000)
def _user_agent(sent: bytes) -> tuple[str, tuple[str, ...]]:
    """The client's name for itself, and the tags made of it."""
    text = storable_text(sent.decode("utf-8", "replace"), _USER_AGENT_MAX)
    if not text:
        return "", ()
    product, slash, version = text.split(" ", 1)[0].partition("/")
    short = f"User-Agent: {product}"
    return text, (short, f"{short}/{version}") if slash else (short,)


def _session_id(said: Said, chat: ChatRequest) -> str | None:
    options = chat.options
    if not said and options is NO_OPTIONS:
        return None
    for value in (
        options.session_id,
        options.trace_id,
        options.metadata.get("session_id"),
        options.metadata.get("trace_id"),
        said.get(b"x-litellm-trace-id"),
        said.get(b"x-litellm-session-id"),
    ):
        if isinstance(value, str) and value:
            return storable_text(value)
    return None


def _logs_metadata(said: Said, metadata: Mapping[str, object], principal: Principal) -> dict[str, object]:
    """`spend_logs_metadata`: the key's (with its team's), then the body's, then the header's."""
    found = dict(principal.spend_logs_metadata)
    if isinstance(from_body := metadata.get("spend_logs_metadata"), dict):
        found |= from_body
    if text := said.get(b"x-litellm-spend-logs-metadata"):
        try:
            found |= msgspec.json.decode(text, type=dict[str, object])
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(
                "The header x-litellm-spend-logs-metadata must hold a JSON object.",
                param="x-litellm-spend-logs-metadata",
            ) from error
    return found
