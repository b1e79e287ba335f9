"""Whatever is sent to the routes of keys and users: done, or refused in words; and no secret comes out by it."""

import asyncio
import json
import random
from urllib.parse import quote

import msgspec
import pytest

from bursar.management.route import Route
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.admin import does, refused
from tests.management.matrix import furnish, hash_of, key_of, registered_routes
from tests.management.test_key_endpoints import STRANGE

ROUTES = [route for route in registered_routes() if route.tag in ("keys", "users")]
EXPECTED = (200, 400, 401, 403, 404, 409, 422, 501)
IDS = ["a/b+=%", "%00", "..", "sk-%0d", "'; DROP TABLE x; --", "x" * 5000, "☃", "$user", "0"]


def fields_of(kind: type) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


async def ask_all(gateway: Gateway, asked: list[tuple[str, str, object, str]]) -> None:
    gate = asyncio.Semaphore(8)

    async def send(method: str, path: str, body: object, key: str) -> None:
        async with gate:
            answer = await gateway.request(method, path, body, key=key)
        assert answer.status in EXPECTED, (method, path, body, answer.body)
        json.loads(answer.body)

    await asyncio.gather(*(send(*one) for one in asked))


@pytest.mark.parametrize("route", [r for r in ROUTES if r.body is not None], ids=lambda route: str(route.path))
async def test_bodies(gateway: Gateway, books: Books, route: Route) -> None:
    """Each field with everything, alone and together, by an administrator and by somebody who is none."""
    assert route.body is not None
    await furnish(books)
    dice = random.Random(route.path)
    names = fields_of(route.body)
    known = {"key": "sk-object-of-member-0001", "keys": ["sk-object-of-member-0001"], "user_id": "member"}
    if route.path in ("/key/bulk_update", "/user/bulk_update"):
        names = ["key", "user_id", "models", "max_budget", "metadata", "duration", "team_id"]
    bodies: list[dict[str, object]] = [{dice.choice(names): value} for value in STRANGE]
    for _ in range(80):
        body = {name: dice.choice(STRANGE) for name in dice.sample(names, min(len(names), dice.randint(1, 4)))}
        bodies.append({**{name: value for name, value in known.items() if name in names}, **body})
    if route.path in ("/key/bulk_update", "/user/bulk_update"):
        bodies = [{"keys": [body], "users": [body]} for body in bodies]
    path = route.path.replace("{key}", hash_of("sk-object-of-member-0001"))
    callers = (MASTER_KEY, key_of("member"), key_of("team-admin"), key_of("org-admin"))
    await ask_all(gateway, [(route.method, path, body, dice.choice(callers)) for body in bodies])


@pytest.mark.parametrize("route", [r for r in ROUTES if r.query is not None], ids=lambda route: str(route.path))
async def test_queries(gateway: Gateway, books: Books, route: Route) -> None:
    assert route.query is not None
    await furnish(books)
    values = [*IDS, "", "-1", "1e9", "null", "true", ",", "9" * 30, "\x00"]
    targets = [f"{route.path}?{name}={quote(value, safe='')}" for name in fields_of(route.query) for value in values]
    await ask_all(gateway, [("GET", target, None, key) for target in targets for key in (MASTER_KEY, key_of("member"))])


@pytest.mark.parametrize("route", [r for r in ROUTES if "{" in r.path], ids=lambda route: str(route.path))
async def test_ids_in_paths(gateway: Gateway, route: Route) -> None:
    body = {"reset_to": 0} if "reset" in route.path else {}
    paths = [route.path.replace("{key}", quote(value, safe="")) for value in IDS]
    await ask_all(gateway, [("POST", path, body, MASTER_KEY) for path in paths])


async def test_no_secret_comes_out(gateway: Gateway, books: Books, caplog: pytest.LogCaptureFixture) -> None:
    """Keys are in the answer that makes them and nowhere else: no other answer, no log, no row."""
    mine = "sk-canary-of-mine-000000000001"
    made = await gateway.new_key(key=mine, key_alias="canary")
    new = (await gateway.request("POST", "/key/regenerate", {"key": mine, "grace_period": "1h"})).json["key"]
    user = (await gateway.request("POST", "/user/new", {"user_id": "u", "password": "canary-password"})).json["key"]
    answers = [
        await gateway.request("GET", "/key/list?return_full_object=true"),
        await gateway.request("GET", f"/key/info?key={hash_of(new)}"),
        await gateway.request("GET", "/user/info?user_id=u"),
        await gateway.request("GET", "/audit?page_size=100"),
        await gateway.request("POST", "/key/update", {"key": hash_of(new), "max_budget": -1}),
        await gateway.request("POST", "/key/generate", {"key": mine}),
        await gateway.request("POST", "/key/generate", {"key_alias": "canary"}),
        await gateway.request("POST", "/key/update", {"key_alias": [mine]}),
        await gateway.request("POST", "/key/block", {"key": hash_of(new)}),
        await gateway.request("POST", "/user/new", {"user_id": "u", "password": "canary-password"}),
        await gateway.request("POST", "/user/update", {"user_id": "u", "password": {"x": "canary-password"}}),
    ]
    tables = await books.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'bursar')"
    )
    rows = [str(await books.fetch(f"SELECT t::text FROM {table['name']} AS t")) for table in tables]
    for secret in (made, new, user, "canary-password"):
        assert not [text for text in rows if secret in text]
        assert secret not in caplog.text
        assert not [answer.body for answer in answers if secret in answer.body.decode()]


@pytest.mark.parametrize("beyond", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
async def test_moments_at_the_edge_of_time(gateway: Gateway, beyond: str) -> None:
    made = await does(gateway, "POST", "/key/generate", {})
    for path, body in (
        ("/key/update", {"key": made["key"], "updated_at": beyond}),
        ("/budget/new", {"budget_id": "b", "budget_reset_at": beyond}),
        ("/customer/new", {"user_id": "c", "budget_reset_at": beyond}),
    ):
        await refused(gateway, "POST", path, body, status=400, word="outside of the years")


async def test_days_and_amounts_at_the_edge(gateway: Gateway) -> None:
    assert await does(gateway, "GET", "/spend/logs?start_date=0001-01-01&end_date=0001-01-01") == []
    assert len(await does(gateway, "GET", "/spend/logs?start_date=0001-01-01&end_date=0001-01-02")) == 1
    for spend in (1e300, 9.3e9):
        await refused(gateway, "POST", "/key/generate", {"spend": spend}, status=400, word="at most")
