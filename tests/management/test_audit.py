"""`/audit`: every change is on record with it, whole, without secrets."""

import asyncio
import hashlib
from typing import Any

import asyncpg
import pytest

from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.admin import does
from tests.oracle.raw_client import Answer

TABLE = "LiteLLM_VerificationToken"
CANARY = "sk-canary-0123456789abcdef"


async def audit(gateway: Gateway, query: str = "") -> Answer:
    return await gateway.request("GET", f"/audit{query}")


async def test_making_and_deleting_a_key(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(key_alias="ci", max_budget=1.5)
    token = hashlib.sha256(key.encode()).hexdigest()
    answer = await gateway.request(
        "POST", "/key/delete", {"key_aliases": ["ci"]}, headers={"litellm-changed-by": "alice"}
    )
    assert answer.status == 200
    page = (await audit(gateway)).json
    assert {name: page[name] for name in page if name != "audit_logs"} == {
        "total": 2,
        "page": 1,
        "page_size": 10,
        "total_pages": 1,
    }
    deleted, created = page["audit_logs"]
    for entry, action, by in ((created, "created", "default_user_id"), (deleted, "deleted", "alice")):
        assert (entry["action"], entry["changed_by"], entry["table_name"]) == (action, by, TABLE)
        assert (entry["object_id"], entry["changed_by_api_key"]) == (token, "litellm_proxy_master_key")
    assert created["before_value"] is None
    assert created["updated_values"].items() >= {"token": token, "key_alias": "ci", "max_budget": 1.5}.items()
    assert deleted["updated_values"] is None
    assert deleted["before_value"] == created["updated_values"]
    assert key not in str(page)
    [row] = await books.fetch('SELECT changed_by FROM "LiteLLM_AuditLog" WHERE action = $1', "deleted")
    assert row["changed_by"] == "alice"
    one = await gateway.request("GET", f"/audit/{created['id']}")
    assert one.json == created


async def test_secrets_do_not_get_there(gateway: Gateway, books: Books) -> None:
    body = {
        "key": CANARY,
        "key_alias": f"alias of {CANARY}",
        "metadata": {"logging": [{"callback_vars": {"langfuse_secret_key": "canary-1"}}], "note": CANARY},
        "config": {"api_key": "canary-2"},
    }
    answer = await gateway.request("POST", "/key/generate", body, headers={"litellm-changed-by": f"me, {CANARY}"})
    assert answer.status == 200
    rows = await books.fetch('SELECT a::text AS text FROM "LiteLLM_AuditLog" AS a')
    assert len(rows) == 1
    assert "canary" not in rows[0]["text"]


async def test_what_is_refused_is_no_change(gateway: Gateway) -> None:
    for body in ({"team_id": "nobody's"}, {"max_budget": -1}, {"metadata": {"a": "\x00"}}):
        assert (await gateway.request("POST", "/key/generate", body)).status == 400
    assert (await audit(gateway)).json["total"] == 0


async def test_no_record_no_change(gateway: Gateway, books: Books, database_url: str) -> None:
    """Both are one transaction: while the log cannot be written, nothing is made."""
    connection = await asyncpg.connect(database_url)
    await connection.execute('ALTER TABLE "LiteLLM_AuditLog" RENAME TO elsewhere')
    try:
        assert (await gateway.request("POST", "/key/generate", {})).status == 500
    finally:
        await connection.execute('ALTER TABLE elsewhere RENAME TO "LiteLLM_AuditLog"')
        await connection.close()
    assert not await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')


@pytest.fixture
async def three(gateway: Gateway) -> Gateway:
    """A gateway on which three keys were made and one deleted, by different people."""
    for name in ("alice", "bob", "carol"):
        answer = await gateway.request(
            "POST", "/key/generate", {"key_alias": name}, headers={"litellm-changed-by": name}
        )
        assert answer.status == 200
        await asyncio.sleep(0.002)  # the column holds milliseconds
    await gateway.request("POST", "/key/delete", {"key_aliases": ["bob"]}, headers={"litellm-changed-by": "alice"})
    return gateway


@pytest.mark.parametrize(
    ("query", "entries"),
    [
        ("", ["alice deleted", "carol created", "bob created", "alice created"]),
        ("sort_order=asc", ["alice created", "bob created", "carol created", "alice deleted"]),
        ("sort_by=changed_by&sort_order=asc", ["alice created", "alice deleted", "bob created", "carol created"]),
        ("sort_by=action", ["alice deleted", "carol created", "bob created", "alice created"]),
        ("changed_by=alice", ["alice deleted", "alice created"]),
        ("action=deleted", ["alice deleted"]),
        (f"table_name={TABLE}&changed_by=bob", ["bob created"]),
        ("changed_by_api_key=somebody", []),
        ("object_id=x", []),
        ("page=2&page_size=3", ["alice created"]),
        ("page=3&page_size=3", []),
        ("start_date=2020-01-01&end_date=2020-12-31", []),
        ("start_date=2020-01-01T00:00:00Z&action=deleted", ["alice deleted"]),
        ("end_date=2020-01-01", []),
        ("end_date=9999-12-31&action=deleted", ["alice deleted"]),
        ("start_date=9999-12-31&end_date=9999-12-31", []),
        ("changed_by=x' OR '1'='1", []),
    ],
)
async def test_filters_order_and_pages(three: Gateway, query: str, entries: list[str]) -> None:
    answer = await audit(three, "?" + query.replace(" ", "%20").replace("'", "%27"))
    assert answer.status == 200, answer.body
    assert [f"{entry['changed_by']} {entry['action']}" for entry in answer.json["audit_logs"]] == entries


async def test_today_includes_today(three: Gateway) -> None:
    entry = (await audit(three)).json["audit_logs"][0]
    today = entry["updated_at"][:10]
    assert (await audit(three, f"?start_date={today}&end_date={today}")).json["total"] == 4


@pytest.mark.parametrize(
    "query",
    [
        *("page=0", "page=-1", "page=x", "page_size=0", "page_size=101", "page_size=1000000000", "page=99999999999999"),
        *("action=burned", "sort_by=id%20desc", "sort_order=up", "start_date=soon", "end_date=2026-13-01"),
        *("start_date=2026-01-01T00:00:00%2B99:00", "end_date=9999-12-32"),
    ],
)
async def test_filters_that_are_none(gateway: Gateway, query: str) -> None:
    answer = await audit(gateway, f"?{query}")
    assert answer.status == 422, answer.body
    [detail] = answer.json["detail"]
    assert detail["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.parametrize("name", ["changed_by", "object_id", "table_name"])
async def test_filters_nothing_fits(gateway: Gateway, name: str) -> None:
    for value in ("%00", "%ff", "x" * 10_000, "%F0%9F%92%B8"):
        assert (await audit(gateway, f"?{name}={value}")).status in (200, 400)


async def test_an_entry_that_does_not_exist(gateway: Gateway) -> None:
    for entry in ("nobody", "a%2Fb", "%25%2B%3D", "x" * 3000):
        answer = await gateway.request("GET", f"/audit/{entry}")
        assert (answer.status, answer.json["error"]["message"]) == (404, "Audit log not found")


async def entries(gateway: Gateway, table: str) -> list[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]]:
    """What was done, to which row, before and after; the oldest first."""
    page = (await audit(gateway, f"?table_name={table}&page_size=100")).json["audit_logs"]
    return [(e["action"], e["object_id"], e["before_value"], e["updated_values"]) for e in reversed(page)]


async def test_whom_a_key_makes_and_its_soft_budget(gateway: Gateway) -> None:
    key = await gateway.new_key(user_id="made", soft_budget=1.5)
    await does(gateway, "POST", "/key/update", {"key": key, "user_id": "moved", "soft_budget": 2.5})
    await does(gateway, "POST", "/key/generate", {"user_id": "made"})
    users = await entries(gateway, "LiteLLM_UserTable")
    assert [entry[:3] for entry in users] == [("created", "made", None), ("created", "moved", None)]
    assert [entry[3]["soft_budget"] for entry in await entries(gateway, "LiteLLM_BudgetTable") if entry[3]] == [
        1.5,
        2.5,
    ]


async def test_what_a_user_joins_and_leaves(gateway: Gateway) -> None:
    await does(gateway, "POST", "/organization/new", {"organization_id": "o", "organization_alias": "o"})
    await does(gateway, "POST", "/team/new", {"team_id": "t"})
    await does(gateway, "POST", "/user/new", {"user_id": "u", "teams": ["t"], "organizations": ["o"]})
    await does(gateway, "POST", "/user/delete", {"user_ids": ["u"]})
    _, joined, left = await entries(gateway, "LiteLLM_TeamTable")
    assert (joined[:2], left[:2]) == (("updated", "t"), ("updated", "t"))
    rosters = [row["members_with_roles"] for entry in (joined, left) for row in entry[2:] if row is not None]
    member = {"user_id": "u", "user_email": None, "role": "user"}
    assert rosters == [[], [member], [member], []]
    memberships = await entries(gateway, "LiteLLM_OrganizationMembership")
    assert [entry[:2] for entry in memberships] == [("created", "o/u"), ("deleted", "o/u")]


async def test_a_login_that_makes_an_administrator(gateway: Gateway, books: Books) -> None:
    login = {"username": "admin", "password": MASTER_KEY}
    await does(gateway, "POST", "/v2/login", login)
    await does(gateway, "POST", "/v2/login", login)
    await books.fetch("UPDATE \"LiteLLM_UserTable\" SET user_role = 'internal_user', password = 'canary'")
    await does(gateway, "POST", "/v2/login", login)
    made, raised = await entries(gateway, "LiteLLM_UserTable")
    assert made[:3] == ("created", "default_user_id", None)
    assert raised[:2] == ("updated", "default_user_id")
    assert [row["user_role"] for row in raised[2:] if row is not None] == ["internal_user", "proxy_admin"]
    assert "canary" not in str(raised)
