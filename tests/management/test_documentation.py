"""`/openapi.json` and `/docs` say what there is."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bursar.domain.authority import PERMISSIONS, ROLES, Permission, Reach, permission
from bursar.gateway.own_routes import OWN_ROUTES
from tests.gateway.running import Gateway
from tests.management.contract import CONTRACT
from tests.management.matrix import registered_routes

ROUTES = registered_routes()
MANAGEMENT = {(route.method, path) for route in ROUTES for path in (route.path, *route.aliases)}
OWN = {(route.method, path) for route in OWN_ROUTES for path in (route.path, *route.aliases)}
ALL = MANAGEMENT | OWN
API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
async def described(gateway: Gateway) -> dict[str, Any]:
    answer = await gateway.request("GET", "/openapi.json", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    described: dict[str, Any] = answer.json
    return described


async def test_documentation_and_routes_are_equal(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    documented = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert documented == ALL
    assert all(permission(route.method, route.path) for route in ROUTES)
    ids = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


async def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    named = set(re.findall(r"'#/components/schemas/([^']+)'", str(described)))
    assert named <= set(described["components"]["schemas"])
    assert {"Error", "FieldErrors", "GenerateKey"} <= named


async def test_operations_say_what_goes_in_and_comes_out(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert operation["tags"]
            assert {"200", "405"} <= operation["responses"].keys()
            assert "401" in operation["responses"] or "security" in operation
            if (method.upper(), path) in MANAGEMENT:
                assert {"400", "422", "503"} <= operation["responses"].keys()
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    page_size = next(p for p in described["paths"]["/audit"]["get"]["parameters"] if p["name"] == "page_size")
    assert page_size["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    body = described["paths"]["/key/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/GenerateKey"}
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


async def test_choices_in_queries_may_be_empty(described: dict[str, Any], gateway: Gateway) -> None:
    """As LiteLLM's UI sends what was not chosen."""
    parameters = described["paths"]["/user/list"]["get"]["parameters"]
    role = next(parameter for parameter in parameters if parameter["name"] == "role")
    assert {"enum": [""]} in role["schema"]["anyOf"]
    everybody = await gateway.request("GET", "/user/list")
    assert (await gateway.request("GET", "/user/list?role=")).json == everybody.json


async def test_lists_in_queries_may_be_written_as_texts(described: dict[str, Any]) -> None:
    """As LiteLLM takes them (`tags=a,b`)."""
    parameters = {p["name"]: p["schema"] for p in described["paths"]["/global/spend/tags"]["get"]["parameters"]}
    assert parameters["tags"] == {
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "null"},
            {"type": "string", "description": "Several are parted by commas."},
        ],
        "default": None,
    }
    expand = next(p for p in described["paths"]["/key/list"]["get"]["parameters"] if p["name"] == "expand")
    assert expand["schema"]["items"] == {"enum": ["user"]}


async def test_the_page_shows_every_route(gateway: Gateway) -> None:
    answer = await gateway.request("GET", "/docs", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    shown = re.findall(r'<span class="method">(\w+)</span><code class="path">([^<]+)</code>', page)
    assert {(method, unescape(path)) for method, path in shown} == ALL
    assert "Until it expires; none: never. For example: 30d, 24h." in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"?(https?:)?//", page), "nothing is loaded from elsewhere"
    assert "default-src 'none'" in page


async def test_all_paths_are_listed_and_answered(gateway: Gateway) -> None:
    listed = (await gateway.request("GET", "/routes", key=None)).json["routes"]
    methods = {entry["path"]: sorted(entry["methods"]) for entry in listed}
    assert len(methods) == len(listed)
    assert {(method, path) for path, given in methods.items() for method in given} >= ALL
    assert methods["/credentials"] == ["GET", "POST"]
    assert methods["/v1/chat/completions"] == ["POST"]
    for path in methods:
        answer = await gateway.request("GET", path.replace("{", "").replace("}", ""), key=None)
        assert answer.status not in (404, 501), path


async def test_somebody_answers(gateway: Gateway) -> None:
    answer = await gateway.request("GET", "/test", key=None)
    assert (answer.status, answer.json) == (200, {"route": "/test"})


def roles_table() -> str:
    """The table of permissions in brief: for each chapter and role, how far looking and changing reach at most."""
    chapters: dict[str, list[Permission]] = {}
    for row in PERMISSIONS:
        if not row.public:
            chapters.setdefault(re.sub(r"^/(v\d/)?(\w+).*", r"/\2", row.path), []).append(row)
    lines = [f"| | {' | '.join(f'`{role}`' for role in ROLES)} |", "| --- |" + " --- |" * len(ROLES)]
    for chapter, rows in chapters.items():
        cells = []
        for role in ROLES:
            looking = max((row.rights[role] for row in rows if row.reading), key=list(Reach).index, default=Reach.NONE)
            changing = max(
                (row.rights[role] for row in rows if not row.reading), key=list(Reach).index, default=Reach.NONE
            )
            words = [word.value.replace("none", "–").replace("organization", "org") for word in (looking, changing)]
            cells.append(" / ".join(words))
        lines.append(f"| `{chapter}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_roles_in_the_documentation_are_those_of_the_table() -> None:
    """When it fails, put what `roles_table` gives into docs/api.md."""
    assert roles_table() in API_PAGE.read_text()


def not_built() -> str:
    """What of the contract answers 501, by chapter."""
    chapters: dict[str, list[str]] = {}
    for method, path in sorted(CONTRACT - ALL, key=lambda route: (route[1], route[0])):
        chapters.setdefault(re.sub(r"^/(\w+).*", r"/\1", path), []).append(f"`{method} {path}`")
    return "\n".join(f"- {', '.join(routes)}" for routes in chapters.values())


def test_what_is_not_built_is_in_the_documentation() -> None:
    """When it fails, put what `not_built` gives into docs/api.md."""
    assert not_built() in API_PAGE.read_text()


SHAPELESS = {"/openapi.json", "/docs", "/login", "/user/available_roles", "/health/services"}
"""Described elsewhere; a page; nothing; by the roles' names; nothing but refusals in this release, as of `/cache/*`."""


async def test_every_answer_has_a_shape(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if path not in SHAPELESS and not path.startswith("/cache/"):
                for answer in operation["responses"]["200"]["content"].values():
                    assert answer["schema"] not in ({}, {"type": "object"}), f"{method} {path}"


async def test_every_body_has_an_example(described: dict[str, Any]) -> None:
    """One that its type takes, with nothing that is passed over."""
    for route in ROUTES:
        if route.body is None:
            continue
        for path in (route.path, *route.aliases):
            operation = described["paths"][path][route.method.lower()]
            for content in operation["requestBody"]["content"].values():
                example = content["example"]
                assert example, path
                assert example.keys() <= {field.encode_name for field in msgspec.structs.fields(route.body)}
                assert isinstance(msgspec.convert(example, route.body), route.body)
    for own in OWN_ROUTES:
        assert own.method == "GET" or own.example


async def test_examples_work(gateway: Gateway, described: dict[str, Any]) -> None:
    """Each after those that it builds on."""
    for path in (
        *("/budget/new", "/budget/info", "/organization/new", "/user/new", "/team/new", "/team/member_delete"),
        *(
            "/team/member_add",
            "/key/generate",
            "/key/update",
            "/key/block",
            "/key/unblock",
            "/v2/key/info",
            "/customer/new",
            "/tag/new",
        ),
        *("/customer/update", "/customer/block", "/tag/update", "/tag/info", "/team/update", "/team/member_update"),
        *("/user/update", "/team/block", "/team/unblock", "/team/permissions_update", "/global/spend/end_users"),
        *("/key/delete", "/team/member_delete", "/user/delete", "/team/delete", "/customer/delete", "/tag/delete"),
    ):
        body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        answer = await gateway.request("POST", path, body)
        assert answer.status == 200, (path, body, answer.body)
        assert "x-bursar-ignored-fields" not in answer.headers, path


async def test_the_gateways_own_routes_are_there(gateway: Gateway) -> None:
    """And of each no other method."""
    for method, path in sorted(OWN):
        there = path.replace("{model}", "oracle")
        answer = await gateway.request(method, there, {} if method == "POST" else None)
        assert answer.status == (400 if method == "POST" else 200), (path, answer.body)
        other = await gateway.request("GET" if method == "POST" else "POST", there, {})
        assert other.status == 405, path
