"""Routes of the management API: what one is, and which one a request means."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Never, Protocol, TypeVar

from bursar.domain.audit import Actor
from bursar.domain.authority import Permission, Reach, Standing, permission
from bursar.domain.masking import masked
from bursar.domain.principals import Principal, Role
from bursar.wire.http import RawHeaders, Request

B = TypeVar("B", covariant=True)
Q = TypeVar("Q", covariant=True)


@dataclass(slots=True, frozen=True)
class Asked(Generic[B, Q]):
    """A request that its caller may make, with its parts decoded."""

    request: Request
    standing: Standing
    path: Mapping[str, str]
    """The path's parameters."""
    body: B
    query: Q

    @property
    def caller(self) -> Principal:
        """Who asks; on public routes nobody."""
        return self.standing.caller

    @property
    def reach(self) -> Reach:
        """How far his rights go on this route."""
        return self.standing.reach

    @property
    def actor(self) -> Actor:
        """Whom changes are put down to. Administrators may name somebody else in `litellm-changed-by`."""
        caller = self.caller
        named = self.request.header(b"litellm-changed-by") if caller.role is Role.PROXY_ADMIN else None
        behalf = str(masked(named.decode("utf-8", "replace").strip())) if named is not None else ""
        return Actor(user_id=caller.user_id, api_key=str(caller.api_key), on_behalf_of=behalf or None)


@dataclass(slots=True, frozen=True)
class Plain:
    """An answer in a form other than JSON."""

    status: int
    headers: RawHeaders
    body: bytes


@dataclass(slots=True, frozen=True, kw_only=True)
class Route:
    """One method of one path, with all that its documentation says."""

    method: str
    path: str
    """`{name}` is one segment, whatever characters it holds."""
    tag: str
    """The chapter of the documentation."""
    summary: str
    endpoint: Callable[[Asked[Never, Never]], Awaitable[object]]
    """Takes `Asked[body, query]`; gives what is sent as JSON, or a `Plain`."""
    body: type | None = None
    """A msgspec Struct; None: no body is looked at."""
    form: bool = False
    """The body may also come as a form."""
    query: type | None = None
    """A msgspec Struct."""
    answer: type | Mapping[str, object] | None = None
    """A type, or a JSON schema."""
    media_type: str = "application/json"
    """Of the answer."""
    written_freely: bool = True
    """The answer may hold objects that people fill as they like, secrets in them; not so of long reports of our own."""
    errors: tuple[int, ...] = ()
    """Statuses it answers beside those that every route does."""
    aliases: tuple[str, ...] = ()
    """Further paths."""


class Room(Protocol):
    """Endpoints that belong together."""

    @property
    def routes(self) -> Sequence[Route]:
        """All of them."""


@dataclass(slots=True, frozen=True)
class Found:
    """What a path leads to."""

    methods: Mapping[str, tuple[Route, Permission]]
    path: Mapping[str, str]
    """Its parameters."""


@dataclass(slots=True)
class _Pattern:
    segments: tuple[str, ...]
    methods: dict[str, tuple[Route, Permission]] = field(default_factory=dict)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        found = {}
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted.startswith("{"):
                if not given:
                    return None
                found[wanted[1:-1]] = given
            elif wanted != given:
                return None
        return found


class RouteTable:
    """All routes by path. Exact paths go before those with parameters, and more segments in common before fewer."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        """Raises ValueError: two routes for one method and path, or a route that the table of permissions lacks."""
        self._exact: dict[str, dict[str, tuple[Route, Permission]]] = {}
        patterns: dict[str, _Pattern] = {}
        for room in rooms:
            for route in room.routes:
                row = permission(route.method, route.path)
                if row is None:
                    raise ValueError(f"{route.method} {route.path} is not in the table of permissions")
                for path in (route.path, *route.aliases):
                    if "{" in path:
                        pattern = patterns.setdefault(path, _Pattern(tuple(path.split("/")[1:])))
                        methods = pattern.methods
                    else:
                        methods = self._exact.setdefault(path, {})
                    if route.method in methods:
                        raise ValueError(f"{route.method} {path} has two routes")
                    methods[route.method] = route, row
        self._patterns: dict[int, list[_Pattern]] = {}
        for pattern in sorted(patterns.values(), key=lambda p: sum(s.startswith("{") for s in p.segments)):
            self._patterns.setdefault(len(pattern.segments), []).append(pattern)

    def find(self, request: Request) -> Found | None:
        """What the request's path leads to; None: nothing."""
        if (exact := self._exact.get(request.path)) is not None:
            return Found(exact, {})
        segments = request.segments()
        for pattern in self._patterns.get(len(segments), ()):
            if (path := pattern.match(segments)) is not None:
                return Found(pattern.methods, path)
        return None
