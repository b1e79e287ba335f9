"""Which route a request means, and how its parts arrive."""

import inspect
import typing
from collections.abc import Sequence
from types import NoneType

import msgspec
import pytest

from bursar.domain.authority import Reach, Standing
from bursar.domain.principals import MASTER_KEY_NAME, Principal, Role
from bursar.management.route import Asked, Route, RouteTable
from bursar.server.connection import _split_target
from bursar.wire.http import Request
from tests.management.matrix import registered_routes


def request(target: str, *, headers: dict[bytes, bytes] | None = None) -> Request:
    """As the server hands it over."""
    path, query, raw_path = _split_target(target.encode())
    return Request(
        method="GET",
        path=path,
        query=query,
        headers=[],
        fields=headers or {},
        body=b"",
        client_host="",
        received_s=0.0,
        raw_path=raw_path,
    )


async def answer(_: Asked[None, None]) -> object:
    return None


def a_route(method: str, path: str, *aliases: str) -> Route:
    return Route(method=method, path=path, tag="t", summary="s", endpoint=answer, aliases=aliases)


class TestRoom:
    """Some routes."""

    __test__ = False

    def __init__(self, *routes: Route) -> None:
        self.routes: Sequence[Route] = routes


TABLE = RouteTable(
    [
        TestRoom(
            a_route("GET", "/key/info"),
            a_route("POST", "/key/{key}/regenerate"),
            a_route("GET", "/credentials/{credential_name}"),
            a_route("DELETE", "/credentials/{credential_name}"),
            a_route("GET", "/credentials/by_model/{model_id}"),
            a_route("POST", "/team/{team_id}/member/{user_id}/reset_spend"),
            a_route("POST", "/customer/new", "/end_user/new"),
        )
    ]
)


@pytest.mark.parametrize(
    ("target", "parameters"),
    [
        ("/key/info", {}),
        ("/key/info/", {}),
        ("/key/info?key=/x/y", {}),
        ("/end_user/new", {}),
        ("/key/sk-1/regenerate", {"key": "sk-1"}),
        ("/key/a%2Fb/regenerate", {"key": "a/b"}),
        ("/key/a%2fb+c%3D%25d%2525/regenerate", {"key": "a/b+c=%d%25"}),
        ("/key/info/regenerate", {"key": "info"}),
        ("/credentials/by_model", {"credential_name": "by_model"}),
        ("/credentials/by_model/m", {"model_id": "m"}),
        ("/credentials/by_model%2Fm", {"credential_name": "by_model/m"}),
        ("/credentials/%E2%98%83%2F", {"credential_name": "☃/"}),
        ("/credentials/a%5Cb", {"credential_name": "a\\b"}),
        ("/credentials/a%5c..%5cb", {"credential_name": "a\\..\\b"}),
        ("/team/t%2F1/member/u%2F2/reset_spend", {"team_id": "t/1", "user_id": "u/2"}),
    ],
)
def test_paths(target: str, parameters: dict[str, str]) -> None:
    found = TABLE.find(request(target))
    assert found is not None
    assert found.path == parameters


@pytest.mark.parametrize(
    "target",
    [
        "/key",
        "/key//regenerate",
        "/key/a/b/regenerate",
        "/key/x",
        "/credentials/",
        "/credentials%2Fx",
        "/key%5Cinfo",
        "/Key/info",
        "/",
    ],
)
def test_paths_to_nothing(target: str) -> None:
    assert TABLE.find(request(target)) is None


@pytest.mark.parametrize("target", ["/key\\info", "/credentials/a\\b", "/credentials/a%5Cb\\c", "/a/%2e%2e/b", "/a%00"])
def test_paths_that_could_be_read_in_two_ways(target: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        request(target)


def test_methods_of_a_path() -> None:
    found = TABLE.find(request("/credentials/x"))
    assert found is not None
    assert set(found.methods) == {"GET", "DELETE"}


def test_what_is_not_in_the_table_of_permissions_cannot_be_served() -> None:
    for route in (a_route("GET", "/key/steal"), a_route("PUT", "/key/info")):
        with pytest.raises(ValueError, match="not in the table of permissions"):
            RouteTable([TestRoom(route)])


def test_one_route_for_each_method_and_path() -> None:
    with pytest.raises(ValueError, match="two routes"):
        RouteTable([TestRoom(a_route("POST", "/tag/new")), TestRoom(a_route("POST", "/budget/new", "/tag/new"))])


@pytest.mark.parametrize("route", registered_routes(), ids=lambda route: f"{route.method} {route.path}")
def test_endpoints_take_what_their_route_decodes(route: Route) -> None:
    """The type checker cannot see this through the table."""
    first = next(iter(inspect.signature(route.endpoint).parameters))
    body, query = typing.get_args(typing.get_type_hints(route.endpoint)[first])
    assert body is (route.body or NoneType)
    assert query is (route.query or NoneType)
    for kind in (route.body, route.query):
        assert kind is None or issubclass(kind, msgspec.Struct)


def asked(role: Role, user_id: str | None, *, header: bytes | None) -> Asked[None, None]:
    headers = {} if header is None else {b"litellm-changed-by": header}
    caller = Principal(role=role, api_key=MASTER_KEY_NAME, user_id=user_id)
    return Asked(request("/x", headers=headers), Standing(caller=caller, reach=Reach.ALL), {}, None, None)


@pytest.mark.parametrize(
    ("role", "user_id", "header", "name"),
    [
        (Role.PROXY_ADMIN, "u", None, "u"),
        (Role.PROXY_ADMIN, "u", b"alice", "alice"),
        (Role.PROXY_ADMIN, "u", b"  ", "u"),
        (Role.INTERNAL_USER, "u", b"alice", "u"),
        (Role.KEY, None, b"alice", MASTER_KEY_NAME),
    ],
)
def test_whom_changes_are_put_down_to(role: Role, user_id: str | None, header: bytes | None, name: str) -> None:
    assert asked(role, user_id, header=header).actor.name == name
