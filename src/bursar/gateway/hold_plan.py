"""The most a call can cost at a deployment: what its budgets have to hold. See `domain.holds` for the rules."""

import re

import msgspec

from bursar.domain.errors import InvalidRequest, UnboundedCost
from bursar.domain.holds import Extent, HoldPlan, ceiling_of, most_prompt_tokens
from bursar.domain.prices import Price
from bursar.gateway.models import Deployment
from bursar.wire.http import Request
from bursar.wire.openai_chat import ChatRequest, Members

_TYPE = re.compile(rb'"type"\s*:\s*"(\w+)"')
_TEXT_TYPES = frozenset(
    {b"text", b"function", b"refusal", b"thinking", b"redacted_thinking", b"ephemeral", b"tool_result", b"tool_use"}
)
_REFERRING = frozenset({"audio", "prediction", "previous_response_id", "prompt", "file_ids", "attachments"})
"""Members that bring something along whose size the request does not show."""
_HIDDEN_TYPE = re.compile(rb"\\u00(?:74|79|70|65)")
"""A letter of the word written as its number: the same to the provider, and no ordinary encoder does it."""
_PAID_TOOLS = frozenset({"web_search_options", "plugins", "search_parameters"})
"""Members by which the provider does more than the model, at prices of their own."""
_TELLING = _REFERRING | _PAID_TOOLS | {"service_tier", "tools"}
_CLIENT_TOOLS = frozenset({"function", "custom"})
"""Tools that the client runs. Others the provider runs, and charges for."""
_DEAR_TIER = "priority"
"""The service tier above the standard price."""


class _Tool(msgspec.Struct):
    type: str = "function"


_decode_tools = msgspec.json.Decoder(list[_Tool]).decode


def hold_plan(request: Request, chat: ChatRequest, deployment: Deployment, price: Price | None) -> HoldPlan | None:
    """What the call has to hold; None: it is known to be free.

    Raises InvalidRequest: no price is known, so nothing can be held; UnboundedCost: nothing bounds what it can cost.
    """
    if price is None or not (price.states_prompt and price.states_completion):
        raise InvalidRequest(
            f"No price is known for the model {chat.model}, and a budget applies to this call. "
            "Set input_cost_per_token and output_cost_per_token for it.",
            kind="model_cost_map_missing",
            param="model",
        )
    if price.free:
        return None
    members = chat.members
    messages = bytes(members["messages"])
    only_text = (_TELLING.isdisjoint(members) or not _refers(members)) and _is_text(messages)
    prompt_tokens = most_prompt_tokens(
        Extent(
            body_bytes=len(request.body),
            messages=messages.count(b'"role"'),
            tools="tools" in members or "functions" in members,
            only_text=only_text,
        ),
        context_window=_count(deployment, "max_input_tokens"),
    )
    if prompt_tokens is None:
        raise UnboundedCost(
            f"The request refers to what is no text, and the context window of {chat.model} is not known: nothing "
            "bounds what it costs, and a budget applies. Set max_input_tokens in the deployment's model_info.",
            param="messages",
        )
    assert deployment.upstream is not None
    return HoldPlan(
        ceiling=ceiling_of(price, prompt_tokens, only_text=only_text),
        choices=chat.choices,
        output=deployment.upstream.output_limit(chat),
        most=_count(deployment, "max_output_tokens"),
    )


def _refers(members: Members) -> bool:
    """Whether some member brings something along that does not stand in the request.

    Raises UnboundedCost: one that is paid for by itself.
    """
    if paid := _PAID_TOOLS & members.keys():
        raise _paid_apart(min(paid))
    if "service_tier" in members and msgspec.json.decode(members["service_tier"]) == _DEAR_TIER:
        raise _paid_apart("service_tier")
    if (tools := members.get("tools")) is not None and not _run_by_client(tools):
        raise _paid_apart("tools")
    return not _REFERRING.isdisjoint(members)


def _run_by_client(tools: msgspec.Raw) -> bool:
    try:
        return all(tool.type in _CLIENT_TOOLS for tool in _decode_tools(tools))
    except msgspec.MsgspecError:  # whatever it is, the provider refuses it
        return True


def _paid_apart(name: str) -> UnboundedCost:
    return UnboundedCost(
        f"{name} lets the provider charge for more than tokens at their price, which no budget can hold. Leave it out, "
        "or use a key without a budget.",
        param=name,
    )


def _is_text(messages: bytes) -> bool:
    """Whether all parts of the messages are text. An unknown kind of part is not."""
    if b"\\u00" in messages and _HIDDEN_TYPE.search(messages):
        return False
    if b'"type"' not in messages:
        return True
    return all(kind in _TEXT_TYPES for kind in _TYPE.findall(messages))


def _count(deployment: Deployment, name: str) -> int | None:
    value = deployment.info.get(name)
    return value if isinstance(value, int) and value > 0 else None
