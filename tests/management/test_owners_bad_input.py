"""What nobody should send about teams, organizations, customers, budgets and tags: clear refusals, never a 500."""

import copy
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bursar.management.route import Route
from tests.gateway.running import Books, Gateway
from tests.management.admin import does
from tests.management.matrix import EXAMPLES, HOME, filled, furnish, registered_routes, send

CHAPTERS = {"teams", "organizations", "customers", "budgets", "tags"}
ROUTES = [route for route in registered_routes() if route.tag in CHAPTERS and "activity" not in route.path]
BODIES = [route for route in ROUTES if route.body is not None]
QUERIES = [route for route in ROUTES if route.query is not None]

INJECTIONS = (
    '\'; DROP TABLE "LiteLLM_TeamTable"; --',
    "$1",
    "%s %(x)s {0} {x}",
    "\\x00\\'\\\"",
    "../../etc/passwd",
    "</script><script>",
    "a/b+c=d%e%2Fé☃\u202e",
    "\ud7ff\ue000\U0010ffff",
    "NULL",
    "x" * 10_000,
)
WRONG: tuple[Any, ...] = (None, True, -1, 1.5, 10**30, 1e308, "", "x", "\0", [], [[]], [None], {}, {"a": {"b": "\0"}})
OBJECTS = {**HOME, "user": "member", "key": "sk-object-of-member-0001", "hash": "0" * 64}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def fields_of(route: Route) -> Iterator[str]:
    assert route.body is not None
    info = msgspec.inspect.type_info(route.body)
    assert isinstance(info, msgspec.inspect.StructType)
    return (field.encode_name for field in info.fields)


async def ask(gateway: Gateway, route: Route, body: object) -> tuple[int, str]:
    path = route.path
    for name, value in EXAMPLES[name_of(route)].path.items():
        path = path.replace(f"{{{name}}}", quote(filled(value, OBJECTS), safe=""))
    answer = await gateway.request(route.method, path, body)
    text = answer.body.decode()
    assert answer.status < 500, (body, text)
    assert "Traceback" not in text
    assert "object at 0x" not in text
    if answer.status not in (200, 422):
        assert answer.json["error"].keys() == {"message", "type", "param", "code"}
    return answer.status, text


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_wrong_types_in_every_field(gateway: Gateway, books: Books, route: Route) -> None:
    await furnish(books)
    example = filled(EXAMPLES[name_of(route)].body, OBJECTS)
    for field in fields_of(route):
        for wrong in WRONG:
            body = copy.deepcopy(example) | {field: wrong}
            status, text = await ask(gateway, route, body)
            if status == 200:
                await furnish(books)
            if status == 422:
                assert msgspec.json.decode(text)["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_injections_in_every_string(gateway: Gateway, books: Books, route: Route) -> None:
    """They are text like any other: refused as unknown, or stored as they are."""
    await furnish(books)
    example = filled(EXAMPLES[name_of(route)].body, OBJECTS)
    for field in fields_of(route):
        for text in INJECTIONS:
            status, _ = await ask(gateway, route, copy.deepcopy(example) | {field: text})
            if status == 200:
                assert len(await books.fetch('SELECT FROM "LiteLLM_BudgetTable"')) >= 1
                await furnish(books)


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_bodies_that_are_none(gateway: Gateway, route: Route) -> None:
    for body in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a":' * 5000, b"{}" * 2):
        await ask(gateway, route, body)


@pytest.mark.parametrize("route", BODIES, ids=name_of)
async def test_fields_nobody_knows(gateway: Gateway, books: Books, route: Route) -> None:
    await furnish(books)
    example = EXAMPLES[name_of(route)]
    body = filled(example.body, OBJECTS) | {"no_such_field": {"a": [1]}, "spend": -5, "created_by": "me"}
    status, text = await ask(gateway, route, body)
    assert status == example.status, text


@pytest.mark.parametrize("route", QUERIES, ids=name_of)
async def test_queries_that_are_none(gateway: Gateway, books: Books, route: Route) -> None:
    await furnish(books)
    assert route.query is not None
    info = msgspec.inspect.type_info(route.query)
    assert isinstance(info, msgspec.inspect.StructType)
    names = [field.encode_name for field in info.fields]
    for name in names:
        for value in ("", "%00", "%ff", "-1", "0", "1e9", "99999999999999999999", "a,b", "%27%3B--", "%25", "[]", "_"):
            answer = await gateway.request("GET", f"{route.path}?{name}={value}")
            assert answer.status < 500, (name, value, answer.body)
    example = EXAMPLES[name_of(route)]
    assert (await send(gateway, route, example, caller="master", objects=OBJECTS)).status == example.status


LONG = [f"item-{number}" for number in range(10_000)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/team/new", {"models": LONG}, 200),
        ("/team/update", {"team_id": HOME["team"], "models": LONG}, 200),
        ("/team/delete", {"team_ids": LONG}, 404),
        ("/team/model/add", {"team_id": HOME["team"], "models": LONG}, 200),
        ("/customer/block", {"user_ids": LONG}, 200),
        ("/customer/unblock", {"user_ids": LONG}, 200),
        ("/customer/delete", {"user_ids": LONG}, 404),
        ("/budget/info", {"budgets": LONG}, 200),
        ("/tag/info", {"names": LONG}, 404),
        ("/tag/new", {"name": "t", "models": LONG}, 200),
        ("/organization/new", {"organization_alias": "o", "models": LONG}, 200),
    ],
)
async def test_long_lists(gateway: Gateway, books: Books, path: str, body: dict[str, Any], status: int) -> None:
    await furnish(books)
    answer = await gateway.request("POST", path, body)
    assert answer.status == status, answer.body[:500]
    [name] = [name for name, value in body.items() if value is LONG]
    answer = await gateway.request("POST", path, body | {name: [*LONG, "one more"]})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", name])


LIMITED: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/team/new", {}),
    ("POST", "/team/update", {"team_id": HOME["team"]}),
    ("POST", "/organization/new", {"organization_alias": "o"}),
    ("PATCH", "/organization/update", {"organization_id": HOME["organization"]}),
    ("POST", "/customer/new", {"user_id": "c"}),
    ("POST", "/customer/update", {"user_id": HOME["customer"]}),
    ("POST", "/budget/new", {}),
    ("POST", "/budget/update", {"budget_id": HOME["budget"]}),
    ("POST", "/tag/new", {"name": "t"}),
    ("POST", "/tag/update", {"name": HOME["tag"]}),
]


@pytest.mark.parametrize(("method", "path", "body"), LIMITED)
async def test_limits_that_are_none(
    gateway: Gateway, books: Books, method: str, path: str, body: dict[str, Any]
) -> None:
    await furnish(books)
    for terms, status, param in (
        ({"max_budget": -1}, 400, "max_budget"),
        ({"soft_budget": -1}, 400, "soft_budget"),
        ({"max_budget": 1, "soft_budget": 1}, 400, "soft_budget"),
        ({"budget_duration": "fortnight"}, 400, "budget_duration"),
        ({"budget_duration": "0d"}, 400, "budget_duration"),
        ({"model_max_budget": {"m": {"budget_limit": -1}}}, 400, "model_max_budget"),
        ({"rpm_limit": -1}, 422, None),
        ({"tpm_limit": 1.5}, 422, None),
        ({"max_parallel_requests": 2**31}, 422, None),
    ):
        answer = await gateway.request(method, path, body | terms)
        assert answer.status == status, (terms, answer.body)
        if param is not None:
            assert answer.json["error"]["param"] == param
    assert len(await does(gateway, "GET", "/budget/list")) == 2, "nothing is left of what was refused"
