"""`/model/info`, `/v2/model/info`, `/model_group/info`: the models on offer, bounded by what the caller may use."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.authority import Reach
from bursar.domain.errors import InvalidRequest
from bursar.domain.permissions import may_use_model
from bursar.domain.principals import Principal
from bursar.management.route import Asked, Route
from bursar.ports.models import ModelCatalogue, ModelEntry

JsonObject = dict[str, object]


class NamedModel(msgspec.Struct, kw_only=True):
    """The query of `/model/info`."""

    litellm_model_id: str | None = None


class NamedGroup(msgspec.Struct, kw_only=True):
    """The query of `/model_group/info`."""

    model_group: str | None = None


class ModelPageQuery(
    msgspec.Struct, kw_only=True, rename={"model_id": "modelId", "sort_by": "sortBy", "sort_order": "sortOrder"}
):
    """Which models, and which page of them."""

    page: Annotated[int, Meta(ge=1, le=100_000)] = 1
    size: Annotated[int, Meta(ge=1, le=1000)] = 50
    search: Annotated[str, Meta(description="A part of the name.")] | None = None
    model: str | None = None
    model_id: str | None = None
    sort_by: Literal["model_name", "created_at", "updated_at"] = "model_name"
    sort_order: Literal["asc", "desc"] = "asc"


class ModelDescription(msgspec.Struct, kw_only=True):
    """One deployment."""

    model_name: str
    litellm_params: JsonObject
    """Without anything secret; the address is for administrators."""
    model_info: JsonObject


class ModelDescriptions(msgspec.Struct, kw_only=True):
    """The answer of `/model/info`."""

    data: list[ModelDescription]


class ModelPage(msgspec.Struct, kw_only=True):
    """The answer of `/v2/model/info`."""

    data: list[ModelDescription]
    total_count: int
    current_page: int
    total_pages: int
    size: int


class ModelGroups(msgspec.Struct, kw_only=True):
    """The answer of `/model_group/info`."""

    data: list[JsonObject]


class ModelInfoEndpoints:
    """Looking at models."""

    def __init__(self, catalogue: ModelCatalogue) -> None:
        self._catalogue = catalogue

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="GET",
                path="/model/info",
                aliases=("/v1/model/info",),
                tag="models",
                summary="The deployments you may use",
                endpoint=self.info,
                query=NamedModel,
                answer=ModelDescriptions,
            ),
            Route(
                method="GET",
                path="/v2/model/info",
                tag="models",
                summary="The same, in pages",
                endpoint=self.page,
                query=ModelPageQuery,
                answer=ModelPage,
            ),
            Route(
                method="GET",
                path="/model_group/info",
                tag="models",
                summary="The names you may call, with what their deployments can do at most",
                endpoint=self.groups,
                query=NamedGroup,
                answer=ModelGroups,
            ),
        )

    async def info(self, asked: Asked[None, NamedModel]) -> object:
        """Whom a model is not for does not learn whether it exists."""
        wanted = asked.query.litellm_model_id
        found = [entry for entry in self._visible(asked) if wanted in (None, entry.id)]
        if wanted is not None and not found:
            raise InvalidRequest(f"Model id = {wanted} not found on litellm proxy", param="litellm_model_id")
        return ModelDescriptions(data=[_described(entry, asked) for entry in found])

    async def page(self, asked: Asked[None, ModelPageQuery]) -> object:
        """In the order that was asked for."""
        query = asked.query
        found = [
            entry
            for entry in self._visible(asked)
            if query.model_id in (None, entry.id)
            and query.model in (None, entry.model_name)
            and (query.search is None or query.search.lower() in entry.model_name.lower())
        ]
        by = query.sort_by
        key = {entry.id: entry.model_name if by == "model_name" else str(entry.info.get(by, "")) for entry in found}
        found.sort(key=lambda entry: (key[entry.id], entry.id), reverse=query.sort_order == "desc")
        start = (query.page - 1) * query.size
        return ModelPage(
            data=[_described(entry, asked) for entry in found[start : start + query.size]],
            total_count=len(found),
            current_page=query.page,
            total_pages=-(-len(found) // query.size),
            size=query.size,
        )

    async def groups(self, asked: Asked[None, NamedGroup]) -> object:
        """One entry for each name."""
        groups: dict[str, list[ModelEntry]] = {}
        for entry in self._visible(asked):
            if entry.error is None and asked.query.model_group in (None, entry.model_name):
                groups.setdefault(entry.model_name, []).append(entry)
        return ModelGroups(data=[_group(name, entries) for name, entries in sorted(groups.items())])

    def _visible(self, asked: Asked[None, object]) -> list[ModelEntry]:
        everything = asked.reach is Reach.ALL
        return [entry for entry in self._catalogue.entries() if everything or may_see(asked.caller, entry)]


def may_see(caller: Principal, entry: ModelEntry) -> bool:
    """Whoever may call it."""
    lists = (caller.models, caller.team_models, *(allowed for _, allowed in caller.model_lists))
    providers = () if entry.provider is None else (entry.provider,)
    return all(may_use_model(allowed, {entry.model_name}, entry.access_groups, providers) for allowed in lists)


def _described(entry: ModelEntry, asked: Asked[None, object]) -> ModelDescription:
    parameters, info = dict(entry.parameters), dict(entry.info)
    if asked.reach is Reach.ALL:
        if entry.api_base is not None:
            parameters["api_base"] = entry.api_base
        if entry.error is not None:
            info["error"] = entry.error
    return ModelDescription(model_name=entry.model_name, litellm_params=parameters, model_info=info)


_LARGEST = (
    "max_input_tokens",
    "max_output_tokens",
    "input_cost_per_token",
    "output_cost_per_token",
    "tpm",
    "rpm",
)
_ABILITIES = (
    "supports_vision",
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_reasoning",
    "supports_web_search",
)


def _group(name: str, entries: Sequence[ModelEntry]) -> JsonObject:
    infos = [entry.info for entry in entries]
    return {
        "model_group": name,
        "providers": sorted({entry.provider for entry in entries if entry.provider is not None}),
        "mode": next((info["mode"] for info in infos if info.get("mode") is not None), None),
        **{key: _largest(info.get(key) for info in infos) for key in _LARGEST},
        **{key: any(info.get(key) is True for info in infos) for key in _ABILITIES},
        "supported_openai_params": sorted({name for info in infos for name in _parameters(info)}),
        "configurable_clientside_auth_params": None,  # no client may set any
        "is_public_model_group": False,
    }


def _parameters(info: Mapping[str, object]) -> list[str]:
    named = info.get("supported_openai_params")
    return [str(name) for name in named] if isinstance(named, list | tuple) else []


def _largest(values: Iterable[object]) -> float | None:
    return max((value for value in values if isinstance(value, int | float)), default=None)
