"""The management API as one handler: finds the route, asks who calls and whether he may, decodes, answers."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Never, TypeVar, cast

import msgspec

from bursar.domain.authority import Permission, Reach, Standing, may_any, needs_memberships, standing
from bursar.domain.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Refusal,
    StoreConflict,
    StoreRefused,
    StoreUnavailable,
    Unavailable,
)
from bursar.domain.permissions import check_route, route_groups
from bursar.domain.principals import Memberships, Principal, Role
from bursar.management.answers import encoded
from bursar.management.body import Decoded, decode_body, decode_query
from bursar.management.route import Asked, Found, Plain, Room, Route, RouteTable
from bursar.ports.http import Reply
from bursar.ports.users import Authenticator, MembershipLookup
from bursar.wire.http import JSON, FieldLines, Request, field_lines
from bursar.wire.refusals import refusal_answer

_NOT_ADMIN = (
    "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. "
    "Route={route}. Your role={role}. Your user_id={user_id}"
)
_VIEWER = "user not allowed to access this route, role= {role}. Trying to access: {route}"
_MASTER_ONLY = "Virtual keys are not allowed to call this route: it takes the master key. Route={route}"
_REPLACED = "This secret of the key was replaced: until it ends it calls models, and changes nothing. Use the new one."
_LARGE_BYTES = 32 * 1024
T = TypeVar("T")
_NOTHING: Decoded[None] = Decoded(None)
_FIELD_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
_TOLD_MAX = 50
_NOBODY = Standing(caller=Principal(role=Role.NOBODY, api_key=""), reach=Reach.NONE)


class ManagementApi:
    """Implements `ports.http.RoutedHandler`."""

    def __init__(self, authenticator: Authenticator, memberships: MembershipLookup, rooms: Iterable[Room]) -> None:
        """Raises ValueError: see `RouteTable`."""
        self._authenticator = authenticator
        self._memberships = memberships
        self._table = RouteTable(rooms)

    def answers(self, request: Request) -> bool:
        """See `ports.http.RoutedHandler.answers`."""
        return self._table.find(request) is not None

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer `request`."""
        reply.send(*await self.answer(request))

    async def answer(self, request: Request) -> tuple[int, FieldLines, bytes]:
        """Status, header fields and body of the answer to `request`."""
        try:
            return await self._answer(request)
        except StoreUnavailable:
            return refusal_answer(Unavailable("The database does not answer. Try again.", kind="no_db_connection"))
        except StoreConflict as error:
            return refusal_answer(Conflict(str(error), param="updated_at"))
        except StoreRefused as error:
            return refusal_answer(InvalidRequest(str(error)))
        except Refusal as refusal:
            return refusal_answer(refusal)

    async def _answer(self, request: Request) -> tuple[int, FieldLines, bytes]:
        found = self._table.find(request)
        if found is None:
            raise NotFound(f"There is nothing at {request.path}.")
        route, row = _method(request, found)
        stands = _NOBODY if row.public else await self._standing(request, row)
        body = _NOTHING if route.body is None else await _decoded(request, route.body, form=route.form)
        query = _NOTHING if route.query is None else decode_query(request, route.query)
        asked = Asked(request, stands, found.path, body.value, query.value)
        answer = await route.endpoint(cast("Asked[Never, Never]", asked))
        told = _told((*body.passed_over, *query.passed_over))
        if isinstance(answer, Plain):
            return answer.status, field_lines(answer.headers) + told, answer.body
        return 200, JSON + told, await encoded(answer) if route.written_freely else msgspec.json.encode(answer)

    async def _standing(self, request: Request, row: Permission) -> Standing:
        """How the caller stands on this route. Raises Refusal: unknown, or not allowed."""
        caller = await self._authenticator.authenticate(request)
        if caller.replaced and not row.reading:
            raise Forbidden(_REPLACED)
        check_route(caller, _unambiguous(request), route_groups(row.path, reading=row.reading))
        if not may_any(row, caller):
            raise _forbidden(request, caller)
        known = needs_memberships(caller)
        memberships = await self._memberships.find(str(caller.user_id)) if known else Memberships()
        stands = standing(row, caller, memberships)
        if stands.reach is Reach.NONE:
            master_only = row.master_only and caller.role is Role.PROXY_ADMIN
            raise Forbidden(_MASTER_ONLY.format(route=request.path)) if master_only else _forbidden(request, caller)
        return stands


def _method(request: Request, found: Found) -> tuple[Route, Permission]:
    """HEAD is GET, whose body the server leaves out."""
    method = "GET" if request.method == "HEAD" else request.method
    if (chosen := found.methods.get(method)) is None:
        allow = tuple(sorted(found.methods))
        raise MethodNotAllowed(f"Method Not Allowed: {request.path} takes {', '.join(allow)}.", allow=allow)
    return chosen


async def _decoded(request: Request, kind: type[T], *, form: bool) -> Decoded[T]:
    """A large body takes longer than the calls that the same process serves may wait. Raises as `decode_body`."""
    if len(request.body) > _LARGE_BYTES:
        return await asyncio.to_thread(decode_body, request, kind, form=form)
    return decode_body(request, kind, form=form)


def _told(passed_over: Sequence[str]) -> FieldLines:
    """Tells who sent these fields that they did nothing, and nobody else: not every text in their place is a name."""
    names = [name for name in passed_over if _FIELD_NAME.fullmatch(name)][:_TOLD_MAX]
    return field_lines([(b"x-bursar-ignored-fields", ", ".join(names).encode())]) if names else b""


def _forbidden(request: Request, caller: Principal) -> Forbidden:
    words = _VIEWER if caller.role is Role.PROXY_ADMIN_VIEWER else _NOT_ADMIN
    return Forbidden(words.format(route=request.path, role=caller.role.value, user_id=caller.user_id))


def _unambiguous(request: Request) -> str:
    """The path as lists of allowed routes name it; a slash inside a segment is none between two."""
    return "/" + "/".join(segment.replace("/", "%2F") for segment in request.segments())
