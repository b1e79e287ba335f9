"""What a caller may use. Empty lists mean everything, as in LiteLLM."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from bursar.domain.errors import Forbidden
from bursar.domain.principals import Principal

_EVERYTHING = frozenset({"*", "all-proxy-models", "all-team-models"})

LLM_ROUTES = frozenset({"llm_api_routes", "openai_routes"})
INFO_ROUTES = frozenset({"info_routes"})
MANAGEMENT_ROUTES = frozenset({"management_routes"})

SPEND_ROUTES = frozenset({"spend_tracking_routes"})
GLOBAL_SPEND_ROUTES = frozenset({"global_spend_tracking_routes"})


def route_groups(path: str, *, reading: bool) -> frozenset[str]:
    """The groups of a management route. Looking is in two: a key for reading may, and one for managing may too."""
    groups = MANAGEMENT_ROUTES | INFO_ROUTES if reading else MANAGEMENT_ROUTES
    if path.startswith("/spend/") or path.endswith("/daily/activity"):
        groups |= SPEND_ROUTES
    return groups | GLOBAL_SPEND_ROUTES if path.startswith("/global/") else groups


@lru_cache(maxsize=4096)
def _pattern(wildcard: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in wildcard.split("*")))


def matches_wildcard(wildcard: str, name: str) -> bool:
    """Whether `name` fits `wildcard`, in which `*` stands for any characters."""
    return _pattern(wildcard).fullmatch(name) is not None


def may_use_model(
    allowed: Sequence[str], names: Iterable[str], access_groups: Iterable[str] = (), providers: Iterable[str] = ()
) -> bool:
    """Whether a list of allowed models covers a model known by the public `names`.

    `access_groups`: the groups any of its deployments is in; a list may name those instead. `providers`: those of its
    deployments; `openai/*` covers the names of what openai serves. A name without a wildcard means itself alone,
    whatever is called so at a provider.
    """
    if not allowed or not _EVERYTHING.isdisjoint(allowed):
        return True
    known = set(names)
    if not known.isdisjoint(allowed) or not set(access_groups).isdisjoint(allowed):
        return True
    wildcards = [entry for entry in allowed if "*" in entry]
    if not wildcards:
        return False
    known |= {f"{provider}/{name}" for provider in providers for name in names}
    return any(matches_wildcard(entry, name) for entry in wildcards for name in known)


def may_use_route(allowed: Sequence[str], path: str, groups: frozenset[str]) -> bool:
    """Whether a key restricted to `allowed` routes may call `path`, which belongs to the route groups `groups`."""
    if not allowed or not groups.isdisjoint(allowed) or path in allowed:
        return True
    return any(entry.endswith("/*") and path.startswith(entry[:-1]) for entry in allowed)


def check_route(principal: Principal, path: str, groups: frozenset[str]) -> None:
    """Raises Forbidden when the key is restricted to routes that do not cover `path`."""
    if principal.allowed_routes and not may_use_route(principal.allowed_routes, path, groups):
        raise Forbidden(
            "Virtual key is not allowed to call this route. Only allowed to call routes: "
            f"[{', '.join(principal.allowed_routes)}]. Tried to call route: {path}"
        )
