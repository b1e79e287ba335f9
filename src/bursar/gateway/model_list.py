"""`GET /v1/models`: what the caller may use, in LiteLLM's shape."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec

from bursar.domain.errors import MethodNotAllowed, NotFound, Refusal
from bursar.domain.permissions import INFO_ROUTES, LLM_ROUTES, check_route, may_use_model
from bursar.domain.principals import Principal
from bursar.gateway.models import Group, LiveModels
from bursar.ports.http import Reply
from bursar.ports.users import Authenticator
from bursar.wire.http import JSON, Request
from bursar.wire.refusals import refusal_answer

_CREATED = 1677610602
"""The constant LiteLLM answers."""
_GROUPS_ONLY = "only_model_access_groups"
_WITH_GROUPS = frozenset({"include_model_access_groups", _GROUPS_ONLY})
_SHOWN = ("mode", "max_input_tokens", "max_output_tokens")


class ModelList:
    """Implements `ports.http.Handler` for the list and for one model."""

    def __init__(self, authenticator: Authenticator, models: LiveModels) -> None:
        self._authenticator = authenticator
        self._models = models

    async def __call__(self, request: Request, reply: Reply, *, model: str | None = None) -> None:
        """Answer the list, or the entry of `model`."""
        try:
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed("Method Not Allowed")
            principal = await self._authenticator.authenticate(request)
            check_route(principal, request.path, LLM_ROUTES | INFO_ROUTES)
            answer = self._list(request, principal) if model is None else self._one(model, principal)
            reply.send(200, JSON, msgspec.json.encode(answer))
        except Refusal as refusal:
            reply.send(*refusal_answer(refusal))

    def _list(self, request: Request, principal: Principal) -> object:
        asked = {name for name, value in parse_qsl(request.query) if value.lower() in ("true", "1")}
        names = self._models.table.listed(wildcards="return_wildcard_routes" in asked)
        data = [_entry(name, group) for name, group in names if self._allowed(name, group, principal)]
        if not asked.isdisjoint(_WITH_GROUPS):
            groups = [_entry(name, None) for name in self._access_groups(principal)]
            data = groups if _GROUPS_ONLY in asked else data + groups
        return {"data": data, "object": "list"}

    def _access_groups(self, principal: Principal) -> list[str]:
        """Those that the caller's lists of models name, or all."""
        lists = _lists(principal)
        names = self._models.table.all_access_groups()
        return [name for name in names if all(may_use_model(allowed, (), {name}) for allowed in lists)]

    def _one(self, name: str, principal: Principal) -> object:
        for known, group in self._models.table.listed(wildcards=False):
            if known == name and self._allowed(name, group, principal):
                return _entry(name, group)
        raise NotFound(f"The model `{name}` does not exist or is not accessible", param="model")

    def _allowed(self, name: str, group: Group | None, principal: Principal) -> bool:
        providers = () if group is None else group.providers
        groups = self._models.table.access_groups_of(name)
        return all(may_use_model(allowed, {name}, groups, providers) for allowed in _lists(principal))


def _lists(principal: Principal) -> list[Sequence[str]]:
    return [principal.models, principal.team_models, *(allowed for _, allowed in principal.model_lists)]


def _entry(name: str, group: Group | None) -> dict[str, object]:
    entry: dict[str, object] = {"id": name, "object": "model", "created": _CREATED, "owned_by": "openai"}
    if group is not None and group.deployments:
        info = group.deployments[0].info
        entry |= {key: info[key] for key in _SHOWN if info.get(key) is not None}
    return entry
