"""`/key/generate`, `/key/delete`, `/key/info`: LiteLLM's shapes and errors, and never a 500."""

import asyncio
import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.oracle.raw_client import Answer

GENERATE, DELETE, INFO = "/key/generate", "/key/delete", "/key/info"
MINE = "sk-a-key-of-my-own-0001"


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def generate(gateway: Gateway, body: object = None, *, key: str = MASTER_KEY) -> Answer:
    return await gateway.request("POST", GENERATE, {} if body is None else body, key=key)


async def delete(gateway: Gateway, body: object, *, key: str = MASTER_KEY) -> Answer:
    return await gateway.request("POST", DELETE, body, key=key)


async def info(gateway: Gateway, query: str = "", *, key: str = MASTER_KEY) -> Answer:
    return await gateway.request("GET", INFO + query, key=key)


def check_error(answer: Answer, status: int, word: str, *, error_type: str | None = None) -> None:
    """The envelope; `code` is text."""
    assert answer.status == status, answer.body
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == str(status)
    assert word in error["message"]
    assert error_type is None or error["type"] == error_type


# --- generate ---


async def test_a_key_with_nothing_said(gateway: Gateway) -> None:
    made = (await generate(gateway)).json
    key = made["key"]
    assert key.startswith("sk-")
    assert len(key) >= 40
    now = datetime.now(UTC)
    for name in ("created_at", "updated_at"):
        assert abs(datetime.fromisoformat(made[name]) - now) < timedelta(seconds=10)
        assert made[name].endswith(("+00:00", "Z"))
    expected: dict[str, Any] = {
        "key_name": f"sk-...{key[-4:]}",
        "token": hash_of(key),
        "token_id": hash_of(key),
        "key_alias": None,
        "expires": None,
        "user_id": None,
        "team_id": None,
        "organization_id": None,
        "models": [],
        "aliases": {},
        "config": {},
        "permissions": {},
        "metadata": {},
        "spend": 0.0,
        "max_budget": None,
        "budget_duration": None,
        "tpm_limit": None,
        "rpm_limit": None,
        "max_parallel_requests": None,
        "allowed_routes": [],
        "blocked": None,
        "created_by": "default_user_id",
        "updated_by": "default_user_id",
        "litellm_budget_table": None,
    }
    assert {name: made[name] for name in expected} == expected
    assert (await gateway.chat(key=key)).status == 200


async def test_a_key_with_everything_said(gateway: Gateway, books: Books) -> None:
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, updated_at) VALUES ('t-1', now())")
    asked = {
        "key": MINE,
        "key_alias": "ci-bot ☃",
        "user_id": "u-1",
        "team_id": "t-1",
        "models": ["oracle", "at/*"],
        "aliases": {"a": "oracle"},
        "config": {"x": [1, None]},
        "permissions": {"p": True},
        "metadata": {"note": "été", "nested": {"a": [1]}},
        "spend": 1.25,
        "max_budget": 5.5,
        "budget_duration": "30d",
        "tpm_limit": 100_000,
        "rpm_limit": 60,
        "max_parallel_requests": 3,
        "allowed_routes": ["llm_api_routes"],
        "blocked": False,
    }
    made = await generate(gateway, asked | {"duration": "1mo", "tags": ["a"], "no_such_field": 1})
    assert made.status == 200, made.body
    assert {name: made.json[name] for name in asked} == asked | {"metadata": {**asked["metadata"], "tags": ["a"]}}  # type: ignore[dict-item]
    shown = (await info(gateway, f"?key={MINE}")).json
    assert shown["key"] == MINE
    assert {name: value for name, value in shown["info"].items() if name in asked} == {
        name: made.json[name] for name in asked if name != "key"
    }
    assert (await gateway.chat(key=MINE)).status == 200


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("30s", 30), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("1w", 604_800), (" 2d ", 172_800)],
)
async def test_durations(gateway: Gateway, duration: str, seconds: int) -> None:
    made = (await generate(gateway, {"duration": duration})).json
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert seconds - 10 < left.total_seconds() <= seconds


@pytest.mark.parametrize("duration", [None, "", "-1"])
async def test_keys_for_ever(gateway: Gateway, duration: str | None) -> None:
    assert (await generate(gateway, {"duration": duration})).json["expires"] is None


@pytest.mark.parametrize("duration", ["soon", "1y", "-5d", "1.5h", "d", "999999999mo", "999999999w", "١d", "1d\n1d"])
async def test_durations_that_are_none(gateway: Gateway, duration: str) -> None:
    check_error(await generate(gateway, {"duration": duration}), 400, "uration")
    check_error(await generate(gateway, {"budget_duration": duration}), 400, "uration")


@pytest.mark.parametrize("period", ["hourly", "daily", "weekly", "monthly", "1mo", "24h"])
async def test_budget_periods(gateway: Gateway, period: str) -> None:
    assert (await generate(gateway, {"budget_duration": period, "max_budget": 1})).json["budget_duration"] == period


@pytest.mark.parametrize(
    ("kind", "routes"),
    [
        ("default", []),
        ("llm_api", ["llm_api_routes"]),
        ("management", ["management_routes"]),
        ("read_only", ["info_routes"]),
    ],
)
async def test_kinds_of_keys(gateway: Gateway, kind: str, routes: list[str]) -> None:
    assert (await generate(gateway, {"key_type": kind})).json["allowed_routes"] == routes


@pytest.mark.parametrize(
    "own", ["sk-short", "no-prefix-but-long-enough", "", "sk-with blank in the middle", "sk-ümlaut-ümlaut-ü"]
)
async def test_keys_of_ones_own_that_cannot_be(gateway: Gateway, own: str) -> None:
    check_error(await generate(gateway, {"key": own}), 400, "must start with 'sk-'")


async def test_a_key_that_exists_is_not_made_again(gateway: Gateway, books: Books) -> None:
    assert (await generate(gateway, {"key": MINE, "max_budget": 5})).status == 200
    check_error(await generate(gateway, {"key": MINE, "max_budget": 500}), 400, "exists already")
    assert (await info(gateway, f"?key={MINE}")).json["info"]["max_budget"] == 5


async def test_an_alias_that_is_taken(gateway: Gateway, books: Books) -> None:
    assert (await generate(gateway, {"key_alias": "ci"})).status == 200
    word = "Key with alias 'ci' already exists. Unique key aliases across all keys are required."
    check_error(await generate(gateway, {"key_alias": "ci"}), 400, word)
    assert len(await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')) == 1


async def test_one_alias_for_many_at_once(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(generate(gateway, {"key_alias": "ci"}) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 11


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ({"team_id": "nobody's"}, "team"),
        ({"organization_id": "nobody's"}, "organization"),
        ({"max_budget": -1}, "max_budget"),
        ({"spend": -0.01}, "spend"),
    ],
)
async def test_what_cannot_be(gateway: Gateway, books: Books, field: dict[str, Any], word: str) -> None:
    check_error(await generate(gateway, field), 400, word)
    assert not await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("models", "gpt-4o"),
        ("models", [1]),
        ("metadata", "x"),
        ("metadata", []),
        ("tpm_limit", "many"),
        ("tpm_limit", 1.5),
        ("tpm_limit", -1),
        ("rpm_limit", 2**63),
        ("max_parallel_requests", 2**31),
        ("max_budget", "five"),
        ("spend", {}),
        ("key", 7),
        ("key_alias", ["a"]),
        ("blocked", "yes"),
        ("duration", 30),
        ("key_type", "admin"),
        ("allowed_routes", "x"),
        ("tags", "a,b"),
        ("aliases", [1]),
    ],
)
async def test_fields_of_the_wrong_type(gateway: Gateway, field: str, value: object) -> None:
    """As FastAPI says it, which scripts look into."""
    answer = await generate(gateway, {field: value})
    assert answer.status == 422, answer.body
    [detail] = answer.json["detail"]
    assert detail.keys() == {"type", "loc", "msg", "input"}
    assert detail["loc"][:2] == ["body", field]
    assert detail["msg"]


@pytest.mark.parametrize("body", [b"{", b"nope", b"\xff", b'{"a":' * 5000, b"[" * 100_000])
async def test_bodies_that_are_no_json(gateway: Gateway, body: bytes) -> None:
    for path in (GENERATE, DELETE):
        check_error(await gateway.request("POST", path, body), 400, "Invalid JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"'])
async def test_bodies_that_are_no_objects(gateway: Gateway, body: bytes) -> None:
    for path in (GENERATE, DELETE):
        answer = await gateway.request("POST", path, body)
        assert answer.status == 422
        assert answer.json["detail"][0]["loc"] == ["body"]


async def test_no_body_is_a_key_without_limits(gateway: Gateway) -> None:
    assert (await gateway.request("POST", GENERATE)).status == 200


STRANGE: list[object] = [
    *(None, True, 0, -1, 1.5, 1e308, -1e308, 2**31, 2**53, 2**63, 2**70, "", "x", "\x00", "a\x00b", "💸" * 300),
    *("x" * 100_000, "'; DROP TABLE x; --", "null", [], [None], [[]], ["\x00"], ["x"] * 3000, {}, {"\x00": 1}),
    *({"a": "\x00"}, {"a": {"b": [1.5, None, "\x00"]}}, {"a": 2**70}, {"": ""}),
]


async def test_never_a_500(gateway: Gateway, books: Books) -> None:
    """Any JSON in any field, alone and together: made, or refused in words."""
    [columns] = await books.fetch(
        "SELECT array_agg(column_name::text) AS names FROM information_schema.columns"
        " WHERE table_name = 'LiteLLM_VerificationToken'"
    )
    fields = sorted(
        {*columns["names"], "key", "duration", "tags", "key_type", "keys", "key_aliases", "model_rpm_limit"}
    )
    bodies: list[dict[str, object]] = [{field: value} for field in fields for value in STRANGE]
    dice = random.Random(1)
    bodies += [{field: dice.choice(STRANGE) for field in dice.sample(fields, 6)} for _ in range(150)]
    gate = asyncio.Semaphore(16)

    async def send(body: dict[str, object]) -> None:
        async with gate:
            for path in (GENERATE, DELETE):
                answer = await gateway.request("POST", path, body)
                assert answer.status in (200, 400, 404, 422), (path, body, answer.body)
                json.loads(answer.body)

    await asyncio.gather(*(send(body) for body in bodies))


@pytest.mark.parametrize(
    "query",
    ["?key=%00", "?key=%ff", "?key=" + "x" * 30_000, "?key=&key=", "?key", "?%00=1", "?key=sk-%0d%0a", "?&&&=="],
)
async def test_strange_queries(gateway: Gateway, query: str) -> None:
    answer = await info(gateway, query)
    assert answer.status in (200, 400, 404), answer.body
    assert "error" in answer.json or "info" in answer.json


# --- delete ---


async def test_deleting_by_every_name(gateway: Gateway, books: Books) -> None:
    keys = [await gateway.new_key(key_alias=f"k{number}") for number in range(4)]
    answer = await delete(gateway, {"keys": [keys[0], hash_of(keys[1])]})
    assert sorted(answer.json["deleted_keys"]) == sorted([keys[0], hash_of(keys[1])]), "each as it was given"
    assert (await delete(gateway, {"key_aliases": ["k2", "nobody"]})).json == {"deleted_keys": ["k2"]}
    assert [(await info(gateway, f"?key={key}")).status for key in keys] == [404, 404, 404, 200]
    gone = await books.fetch(
        'SELECT token, key_alias, deleted_by, deleted_by_api_key FROM "LiteLLM_DeletedVerificationToken"'
    )
    assert {row["token"] for row in gone} == {hash_of(key) for key in keys[:3]}
    assert {(row["deleted_by"], row["deleted_by_api_key"]) for row in gone} == {
        ("default_user_id", "litellm_proxy_master_key")
    }


@pytest.mark.parametrize("body", [{}, {"keys": []}, {"keys": None, "key_aliases": []}])
async def test_deleting_nothing(gateway: Gateway, body: object) -> None:
    check_error(await delete(gateway, body), 400, "`keys`")


@pytest.mark.parametrize("body", [{"keys": ["sk-unknown-0000000000"]}, {"key_aliases": ["nobody"]}, {"keys": ["%"]}])
async def test_deleting_what_is_not_there(gateway: Gateway, body: object) -> None:
    await gateway.new_key(key_alias="stays")
    check_error(await delete(gateway, body), 404, "No keys found")


async def test_an_alias_is_free_again(gateway: Gateway) -> None:
    await gateway.new_key(key_alias="ci")
    assert (await delete(gateway, {"key_aliases": ["ci"]})).status == 200
    assert (await generate(gateway, {"key_alias": "ci"})).status == 200


async def test_a_key_can_be_made_again_with_its_books(gateway: Gateway, books: Books) -> None:
    """Deleted and made anew under the same name: it starts from nothing, and what it did stays on the books."""
    await generate(gateway, {"key": MINE})
    assert (await gateway.chat(key=MINE)).status == 200
    await books.posted()
    await delete(gateway, {"keys": [MINE]})
    assert (await generate(gateway, {"key": MINE})).json["spend"] == 0.0
    assert (await books.row())["api_key"] == hash_of(MINE)


# --- info ---


async def test_a_key_looks_at_itself(gateway: Gateway) -> None:
    key = await gateway.new_key(key_alias="me")
    for answer in (await info(gateway, key=key), await info(gateway, f"?key={key}", key=key)):
        assert answer.status == 200
        assert answer.json["info"]["key_alias"] == "me"
        assert "token" not in answer.json["info"]
    assert (await info(gateway, key=key)).json["key"] == hash_of(key)


async def test_by_hash(gateway: Gateway) -> None:
    key = await gateway.new_key(key_alias="me")
    answer = await info(gateway, f"?key={hash_of(key)}")
    assert (answer.json["key"], answer.json["info"]["key_alias"]) == (hash_of(key), "me")


async def test_a_key_that_is_not_there(gateway: Gateway) -> None:
    check_error(await info(gateway, "?key=sk-unknown-0000000000"), 404, "Key not found in database")
    check_error(await info(gateway), 404, "Key not found in database")  # the master key is in no table


async def test_what_a_key_has_spent(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key()
    await gateway.chat(key=key)
    spend = (await books.row())["spend"]
    shown = (await info(gateway, key=key)).json["info"]
    assert shown["spend"] == spend
    assert shown["last_active"] is not None


# --- who may ---


async def test_who_may_not(gateway: Gateway) -> None:
    key, other = await gateway.new_key(user_id="u-1"), await gateway.new_key()
    word = "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route=/key/"
    check_error(await generate(gateway, key=other), 403, word)
    check_error(await delete(gateway, {"keys": [other]}, key=other), 403, word)
    check_error(await delete(gateway, {"keys": [other]}, key=key), 403, "not allowed to change this key")
    check_error(await generate(gateway, b"{", key=other), 403, "Your user_id=None")
    check_error(await info(gateway, f"?key={other}", key=key), 403, "not allowed to access this key's info")
    check_error(await info(gateway, "?key=sk-unknown-0000000000", key=key), 403, "not allowed")
    for strange in ("sk-nobody-0000000000", "", "nobody"):
        for answer in (
            await generate(gateway, key=strange),
            await delete(gateway, {"keys": [other]}, key=strange),
            await info(gateway, key=strange),
        ):
            check_error(answer, 401, "Authentication Error")
    assert (await info(gateway, f"?key={other}")).status == 200


async def test_an_administrators_own_key(gateway: Gateway, books: Books) -> None:
    """A key whose owner is an administrator may do what the master key may, within its routes."""
    await books.fetch("INSERT INTO \"LiteLLM_UserTable\" (user_id, user_role) VALUES ('root', 'proxy_admin')")
    admin = await gateway.new_key(user_id="root")
    made = await generate(gateway, key=admin)
    assert (made.status, made.json["created_by"]) == (200, "root")
    assert (await delete(gateway, {"keys": [made.json["key"]]}, key=admin)).status == 200
    narrow = await gateway.new_key(user_id="root", key_type="llm_api")
    check_error(await generate(gateway, key=narrow), 403, "not allowed to call this route")
    reading = await gateway.new_key(user_id="root", key_type="read_only")
    assert (await info(gateway, f"?key={admin}", key=reading)).status == 200
    check_error(await generate(gateway, key=reading), 403, "not allowed to call this route")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", GENERATE), ("PUT", GENERATE), ("GET", DELETE), ("DELETE", DELETE), ("POST", INFO)]
)
async def test_other_methods(gateway: Gateway, method: str, path: str) -> None:
    check_error(await gateway.request(method, path), 405, "Method Not Allowed")
