"""What a caller may ask for: which models, by which names, and what every call has to say."""

from collections.abc import Iterable

import msgspec

from bursar.domain.errors import Forbidden, InvalidRequest
from bursar.domain.permissions import may_use_model
from bursar.domain.principals import Principal
from bursar.gateway.models import Group, ModelTable
from bursar.wire.openai_chat import ChatRequest, Members


def check_model(principal: Principal, name: str, group: Group, *, mapped: str | None = None) -> None:
    """Raises Forbidden unless key, team, owner and organization may all use `name`. Aliases are resolved before.

    `mapped`: of which name the configuration's map made this one; its owner is who gives rights, so either will do.
    """
    if not principal.models and not principal.team_models and not principal.model_lists:
        return
    if not principal.team_models and not principal.model_lists and name in principal.models:
        return
    names, providers = {name, group.name}, group.providers
    if mapped is not None:
        names.add(mapped)
    for scope, allowed in (("key", principal.models), ("team", principal.team_models), *principal.model_lists):
        if not may_use_model(allowed, names, group.access_groups, providers):
            raise Forbidden(
                f"The requested model '{name}' is not available for this API key, or the model name is invalid. "
                "Check the models available to you and try again.",
                kind=f"{scope}_model_access_denied",
                param="model",
            )


def check_fallbacks(principal: Principal, chat: ChatRequest, models: ModelTable) -> None:
    """Of the groups that the request itself names for the case of a failure. Raises Forbidden: see `check_model`."""
    options = chat.options
    for fallback in (*(options.fallbacks or ()), *options.context_window_fallbacks.values()):
        named = fallback if isinstance(fallback, str) else _text(fallback.get("model"))
        if named is None:  # the same model, asked otherwise
            continue
        asked = principal.aliases.get(named, named)
        name = models.meant(asked)
        try:
            group = models.find(name)
        except InvalidRequest:
            group = Group(name, ())
        check_model(principal, name, group, mapped=asked)


def check_enforced(params: Iterable[str], members: Members) -> None:
    """Raises InvalidRequest: a member that every call has to have is missing. `a.b`: the member `b` of `a`."""
    for param in params:
        name, dot, inner = param.partition(".")
        found = members.get(name)
        if found is None or found == _NULL or (dot and inner not in _object(found)):
            shown = f"[{name}][{inner}]" if dot else name
            raise InvalidRequest(
                f"BadRequest please pass param={shown} in request. This is a required param", param=param
            )


_NULL = msgspec.Raw(b"null")


def _object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return {}


def _text(raw: msgspec.Raw | None) -> str | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        raise InvalidRequest("Invalid type for 'fallbacks': a model is a string.", param="fallbacks") from None
