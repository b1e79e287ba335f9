"""Something secret in every field of every body and query, in every path and header, of every route.

Errors, the log, metrics and the log of changes repeat none of it. What stands where a secret belongs is in no other
answer and no row either, but for the answer that shows a new key for once.
"""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from bursar.management.route import Route
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.gateway.test_secrecy import journals, whole_database
from tests.management.matrix import EXAMPLES, filled, furnish, key_of, objects_of, registered_routes, send
from tests.oracle.raw_client import Answer

CANARY = re.compile(r"sk-canary-\d{5}-of-the-tests")
SECRET_FIELDS = frozenset({"key", "keys", "new_key", "new_master_key", "password", "credential_values"})
SHOWN_ONCE = ("key", "token")
"""Members of the answers that make a key, which may be one that the caller has chosen."""
SENT_AS_KEYS = ("authorization", "x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key", "cookie")
SENT_BESIDE = (
    "litellm-changed-by",
    "x-litellm-tags",
    "x-litellm-end-user-id",
    "user-agent",
    "x-forwarded-for",
    "x-any",
)


class Aviary:
    """Hands out canaries, sends them somewhere, and looks where they turn up."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._flown: dict[str, tuple[str, bool]] = {}
        self.leaks: list[str] = []
        self.succeeded = 0

    def canary(self, place: str, *, secret: bool = False) -> str:
        """A new one; `secret`: it stands where a secret belongs."""
        name = f"sk-canary-{len(self._flown):05d}-of-the-tests"
        self._flown[name] = place, secret
        return name

    def shapes(self, place: str, *, secret: bool) -> Iterator[object]:
        """What a field may take, with canaries in it."""

        def one() -> str:
            return self.canary(place, secret=secret)

        yield one()
        yield [one()]
        yield {"password": one(), "some": {"deep": [one()]}, self.canary(place): 1}
        yield [{"key": one(), "user_id": self.canary(place), "role": one(), "password": one()}]

    async def ask(self, method: str, target: str, body: object, key: str | None, headers: dict[str, str]) -> None:
        """Send it, and look through the answer."""
        answer = await self._gateway.request(method, target, body, key=key, headers=headers)
        self.look_at(f"{method} {target.split('?')[0]} {answer.status}", answer)

    def look_at(self, where: str, answer: Answer) -> None:
        """Through an answer: an error has none, a success no secret but a new key."""
        assert answer.status < 500 or answer.status in (501, 503), (where, answer.body)
        text = answer.raw.decode("latin-1") + answer.body.decode()
        if answer.status < 300:
            self.succeeded += 1
            if isinstance(shown := _json(answer), dict):
                text = json.dumps({name: value for name, value in shown.items() if name not in SHOWN_ONCE})
        self.look(where, text, secrets_only=answer.status < 300)

    def look(self, where: str, text: str, *, secrets_only: bool) -> None:
        """Note whichever is in `text`."""
        for name in CANARY.findall(text):
            place, secret = self._flown[name]
            if secret or not secrets_only:
                at = text.index(name)
                self.leaks.append(f"{place} in {where}: …{text[max(0, at - 80) : at + 20]}…")


def _json(answer: Answer) -> Any:
    return answer.json if answer.headers.get("content-type", "").startswith("application/json") else None


@pytest.fixture
def aviary(gateway: Gateway) -> Aviary:
    return Aviary(gateway)


def _fields(kind: type | None) -> list[str]:
    return [] if kind is None else [field.encode_name for field in msgspec.structs.fields(kind)]


async def plant(aviary: Aviary, route: Route, caller: str) -> None:
    """In all there is about one route."""
    objects = objects_of(caller)
    example = EXAMPLES[f"{route.method} {route.path}"]
    name = f"{route.method} {route.path}"
    path = route.path
    for parameter, value in example.path.items():
        path = path.replace(f"{{{parameter}}}", quote(filled(value, objects), safe=""))
    key = MASTER_KEY if caller == "master" else key_of(caller)
    query = "&".join(
        f"{pair.split('=')[0]}={quote(filled(pair.split('=')[1], objects), safe='')}"
        for pair in example.query.split("&")
        if pair
    )
    example_body: Any = example.body if isinstance(example.body, dict) else {}
    for field in _fields(route.body):
        secret = field in SECRET_FIELDS
        for shape in aviary.shapes(f"{name} {field}", secret=secret):
            body = filled(example_body, objects) | {field: shape}
            await aviary.ask(route.method, f"{path}?{query}", body, key, {})
    for field in _fields(route.query):
        canary = aviary.canary(f"{name} ?{field}")
        await aviary.ask(route.method, f"{path}?{query}&{field}={canary}", filled(example.body, objects), key, {})
    if "{" in route.path:
        target = re.sub(r"\{\w+\}", lambda _: aviary.canary(f"{name} path", secret=True), route.path)
        await aviary.ask(route.method, target, filled(example.body, objects), key, {})
        await aviary.ask("PUT", target, None, key, {})
    unknown = {aviary.canary(f"{name} unknown"): 1, "unknown": aviary.canary(f"{name} unknown")}
    await aviary.ask(route.method, path, filled(example_body, objects) | unknown, key, {})
    await aviary.ask(route.method, path, f'{{"a": "{aviary.canary(f"{name} bad JSON")}'.encode(), key, {})


@pytest.mark.parametrize("caller", ["master", "member"])
async def test_nothing_that_is_secret_comes_out(
    gateway: Gateway, books: Books, aviary: Aviary, caplog: pytest.LogCaptureFixture, caller: str
) -> None:
    caplog.set_level(logging.DEBUG)
    routes = registered_routes()
    for route in routes:
        await furnish(books)
        await plant(aviary, route, caller)
    await furnish(books)
    for header in SENT_AS_KEYS:
        for scheme in ("", "Bearer ", "Basic "):
            for method, path in (("GET", "/key/info"), ("POST", "/v1/chat/completions"), ("GET", "/metrics")):
                await aviary.ask(method, path, None, None, {header: scheme + aviary.canary(header, secret=True)})
    for header in SENT_BESIDE:
        for method, path, body in (
            ("POST", "/key/generate", {}),
            ("POST", "/v1/chat/completions", {"model": "nobody", "messages": []}),
        ):
            await aviary.ask(method, path, body, MASTER_KEY, {header: aviary.canary(header)})
    for member in ("model", "messages", "user", "metadata", "tags", "fallbacks", "api_key", "api_base", "user_config"):
        for shape in aviary.shapes(f"chat {member}", secret=False):
            await aviary.ask("POST", "/v1/chat/completions", {"messages": [], member: shape}, MASTER_KEY, {})
    for route in routes:
        if route.method == "GET":
            answer = await send(
                gateway, route, EXAMPLES[f"GET {route.path}"], caller="master", objects=objects_of("master")
            )
            aviary.look_at(f"GET {route.path} at last", answer)
    assert aviary.succeeded > 100, "some of them were stored"
    metrics = await gateway.request("GET", "/metrics")
    aviary.look("metrics", metrics.body.decode(), secrets_only=False)
    aviary.look("the log", caplog.text, secrets_only=False)
    audit = await books.fetch('SELECT * FROM "LiteLLM_AuditLog"')
    assert audit
    aviary.look("the log of changes", str([dict(row) for row in audit]), secrets_only=False)
    aviary.look("the database", await whole_database(books), secrets_only=True)
    aviary.look("the journal", journals(gateway), secrets_only=True)
    server_log = Path((await books.fetch("SHOW data_directory"))[0]["data_directory"]).with_name("pg.log")
    aviary.look("the database server's log", server_log.read_text(errors="replace"), secrets_only=False)
    assert sorted(set(aviary.leaks)) == []
