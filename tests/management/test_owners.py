"""Organizations, customers, budgets and tags: LiteLLM's shapes and errors, and whose budgets are whose."""

import asyncio
from typing import Any

import pytest

from tests.gateway.running import Books, Gateway
from tests.management.admin import does, error_of, refused, soon
from tests.management.matrix import AWAY, HOME, furnish, key_of

BOSS = key_of("org-admin")


async def organization(gateway: Gateway, **fields: object) -> Any:
    return await does(gateway, "POST", "/organization/new", {"organization_alias": "Org"} | fields)


async def budgets(gateway: Gateway) -> dict[str, Any]:
    return {row["budget_id"]: row for row in await does(gateway, "GET", "/budget/list")}


# --- organizations ---


async def test_an_organization(gateway: Gateway) -> None:
    made = await organization(gateway, models=["oracle"], max_budget=5, rpm_limit=6, model_rpm_limit={"oracle": 1})
    assert (made["organization_alias"], made["models"], made["spend"]) == ("Org", ["oracle"], 0)
    assert (made["members"], made["teams"]) == ([], [])
    assert (made["litellm_budget_table"]["max_budget"], made["metadata"]) == (5, {"model_rpm_limit": {"oracle": 1}})
    name = made["organization_id"]
    changed = await does(
        gateway, "PATCH", "/organization/update", {"organization_id": name, "max_budget": None, "models": None}
    )
    assert changed["litellm_budget_table"]["max_budget"] is None
    assert (changed["litellm_budget_table"]["rpm_limit"], changed["models"]) == (6, [])
    assert changed["budget_id"] == made["budget_id"]
    assert await does(gateway, "GET", f"/organization/info?organization_id={name}") == changed
    assert await does(gateway, "GET", "/organization/list?org_alias=RG") == [changed]
    assert [
        row["organization_id"]
        for row in await does(gateway, "DELETE", "/organization/delete", {"organization_ids": [name]})
    ] == [name]
    assert await budgets(gateway) == {}
    await refused(gateway, "GET", f"/organization/info?organization_id={name}", status=404, word="not found")


async def test_an_organization_without_limits_has_a_budget_all_the_same(gateway: Gateway) -> None:
    made = await organization(gateway, organization_id="o")
    assert made["litellm_budget_table"]["max_budget"] is None
    body = {"organization_id": "o", "organization_alias": "again"}
    await refused(gateway, "POST", "/organization/new", body, status=400, word="already exists")
    await refused(gateway, "POST", "/organization/new", {}, status=422, word="organization_alias")
    assert len(await budgets(gateway)) == 1


async def test_a_budget_that_others_share_is_not_changed_for_one_of_them(gateway: Gateway) -> None:
    await does(gateway, "POST", "/budget/new", {"budget_id": "shared", "max_budget": 1, "rpm_limit": 5})
    await organization(gateway, organization_id="o", budget_id="shared")
    await does(gateway, "POST", "/customer/new", {"user_id": "c", "budget_id": "shared"})
    await does(gateway, "POST", "/tag/new", {"name": "t", "budget_id": "shared"})
    await does(gateway, "PATCH", "/organization/update", {"organization_id": "o", "max_budget": 2})
    await does(gateway, "POST", "/customer/update", {"user_id": "c", "max_budget": 3})
    await does(gateway, "POST", "/tag/update", {"name": "t", "max_budget": 4})
    found = await budgets(gateway)
    assert sorted((row["max_budget"], row["rpm_limit"]) for row in found.values()) == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert found["shared"]["max_budget"] == 1
    await does(gateway, "POST", "/customer/update", {"user_id": "c", "budget_id": "shared"})
    await does(gateway, "POST", "/tag/update", {"name": "t", "budget_id": None})
    await does(gateway, "PATCH", "/organization/update", {"organization_id": "o", "budget_id": "shared"})
    assert list(await budgets(gateway)) == ["shared"], "those of their own have gone"


async def test_two_who_change_the_same_organization(gateway: Gateway) -> None:
    made = await organization(gateway, organization_id="o")
    body = {"organization_id": "o", "organization_alias": "second", "updated_at": made["updated_at"]}
    await does(gateway, "PATCH", "/organization/update", body)
    await refused(gateway, "PATCH", "/organization/update", body, status=409, word="somebody else")
    await does(gateway, "PATCH", "/organization/update", body | {"updated_at": None})
    page = await does(gateway, "GET", "/audit?table_name=LiteLLM_OrganizationTable&sort_order=asc")
    assert [entry["action"] for entry in page["audit_logs"]] == ["created", "updated", "updated"]


async def test_two_who_change_the_same_customer(gateway: Gateway, books: Books) -> None:
    made = await does(gateway, "POST", "/customer/new", {"user_id": "c"})
    body = {"user_id": "c", "alias": "second", "updated_at": made["updated_at"]}
    answers = await asyncio.gather(*(gateway.request("POST", "/customer/update", body) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    await does(gateway, "POST", "/customer/block", {"user_ids": ["c"]})
    shown = await does(gateway, "GET", "/customer/info?end_user_id=c")
    changed = await does(gateway, "POST", "/end_user/update", body | {"updated_at": shown["updated_at"]})
    assert changed["updated_at"] > shown["updated_at"]
    await does(gateway, "POST", "/customer/update", body | {"updated_at": None})
    await books.fetch("INSERT INTO \"LiteLLM_EndUserTable\" (user_id) VALUES ('spent')")
    body["user_id"] = "spent"
    await refused(gateway, "POST", "/customer/update", body, status=409, word="updated_at is never")
    await does(gateway, "POST", "/customer/delete", {"user_ids": ["c"]})
    assert await books.fetch("SELECT user_id FROM bursar.customer_changes") == []


async def test_two_who_change_the_same_membership(gateway: Gateway) -> None:
    await organization(gateway, organization_id="o")
    member = {"organization_id": "o", "member": {"user_id": "u"}}
    added = await does(gateway, "POST", "/organization/member_add", member)
    [membership] = added["updated_organization_memberships"]
    body = {"organization_id": "o", "user_id": "u", "role": "org_admin", "updated_at": membership["updated_at"]}
    changed = await does(gateway, "PATCH", "/organization/member_update", body)
    await refused(gateway, "PATCH", "/organization/member_update", body, status=409, word="somebody else")
    await does(gateway, "PATCH", "/organization/member_update", body | {"updated_at": changed["updated_at"]})


async def test_members_of_organizations(gateway: Gateway) -> None:
    await organization(gateway, organization_id="o")
    body: dict[str, Any] = {"organization_id": "o", "member": [{"user_id": "u", "role": "org_admin"}]}
    added = await does(gateway, "POST", "/organization/member_add", body | {"max_budget_in_organization": 5})
    [membership] = added["updated_organization_memberships"]
    assert (membership["user_role"], membership["litellm_budget_table"]["max_budget"]) == ("org_admin", 5)
    await refused(gateway, "POST", "/organization/member_add", body, status=400, word="already in organization")
    body = {"organization_id": "o", "user_id": "u", "role": "internal_user", "max_budget_in_organization": 6}
    changed = await does(gateway, "PATCH", "/organization/member_update", body)
    assert (changed["user_role"], changed["litellm_budget_table"]["max_budget"]) == ("internal_user", 6)
    shown = await does(gateway, "GET", "/organization/info?organization_id=o")
    assert [member["user_id"] for member in shown["members"]] == ["u"]
    await does(gateway, "DELETE", "/organization/member_delete", {"organization_id": "o", "user_id": "u"})
    body = {"organization_id": "o", "user_id": "u"}
    await refused(gateway, "DELETE", "/organization/member_delete", body, status=400, word="is not in organization")
    assert len(await budgets(gateway)) == 1


async def test_what_is_in_use_is_not_deleted(gateway: Gateway) -> None:
    await organization(gateway, organization_id="o")
    await does(gateway, "POST", "/team/new", {"team_id": "t", "organization_id": "o"})
    await gateway.new_key(organization_id="o")
    body = {"organization_ids": ["o"]}
    await refused(gateway, "DELETE", "/organization/delete", body, status=400, word="1 teams, 1 keys")
    await refused(gateway, "DELETE", "/organization/delete", {"organization_ids": []}, status=400, word="Name")


async def test_an_organizations_admin(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    home = HOME["organization"]
    await does(gateway, "PATCH", "/organization/update", {"organization_id": home, "max_budget": 5, "models": ["a"]})
    own: dict[str, object] = {"organization_id": home}
    lowered = await does(gateway, "PATCH", "/organization/update", own | {"max_budget": 4}, key=BOSS)
    assert lowered["litellm_budget_table"]["max_budget"] == 4
    raises: tuple[dict[str, object], ...] = (
        {"max_budget": 5},
        {"max_budget": None},
        {"models": []},
        {"models": ["b"]},
        {"budget_id": "b-budget"},
    )
    for more in raises:
        await refused(gateway, "PATCH", "/organization/update", own | more, key=BOSS, status=403, word="proxy admin")
    body: dict[str, Any] = {"organization_id": home, "member": {"user_id": "stranger"}}
    await refused(gateway, "POST", "/organization/member_add", body, key=BOSS, status=403, word="exist already")
    body["member"] = {"user_id": "admin"}
    await refused(gateway, "POST", "/organization/member_add", body, key=BOSS, status=403, word="exist already")
    body["member"] = {"user_id": "fresh"}
    await does(gateway, "POST", "/organization/member_add", body, key=BOSS)


async def test_what_members_see_of_an_organization(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    [shown] = await does(gateway, "GET", "/organization/list", key=key_of("member"))
    assert shown["organization_id"] == HOME["organization"]
    assert [member["user_id"] for member in shown["members"]] == ["member"]
    path = f"/organization/info?organization_id={AWAY['organization']}"
    there = await gateway.request("GET", path, key=key_of("member"))
    none = await gateway.request("GET", "/organization/info?organization_id=none", key=key_of("member"))
    assert (there.status, there.body) == (403, none.body)


# --- customers ---


async def test_a_customer(gateway: Gateway) -> None:
    made = await does(gateway, "POST", "/customer/new", {"user_id": "c/1", "alias": "C", "max_budget": 2, "models": []})
    assert (made["user_id"], made["alias"], made["spend"], made["blocked"]) == ("c/1", "C", 0, False)
    assert made["litellm_budget_table"]["max_budget"] == 2
    answer = await gateway.request("POST", "/end_user/new", {"user_id": "c/1"})
    assert error_of(answer) == (400, "bad_request")
    assert "Customer already exists, passed user_id=c/1" in answer.json["error"]["message"]
    assert await does(gateway, "GET", "/end_user/info?end_user_id=c%2F1") == made
    changed = await does(gateway, "POST", "/end_user/update", {"user_id": "c/1", "max_budget": 3, "alias": None})
    assert (changed["litellm_budget_table"]["max_budget"], changed["alias"]) == (3, None)
    assert await does(gateway, "GET", "/customer/list") == [changed]
    gone = await does(gateway, "POST", "/customer/delete", {"user_ids": ["c/1"]})
    assert gone == {"deleted_customers": 1, "message": 'Successfully deleted customers with ids: ["c/1"]'}
    assert await budgets(gateway) == {}
    await refused(gateway, "GET", "/customer/info?end_user_id=c", status=404, word="End User Id=c does not exist in db")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 422, "user_id"),
        ({"user_id": ""}, 422, "user_id"),
        ({"user_id": "c", "max_budget": 1, "budget_id": "b"}, 422, "not both"),
        ({"user_id": "c", "allowed_model_region": "eu"}, 422, "default_model"),
        ({"user_id": "c", "allowed_model_region": "mars", "default_model": "m"}, 422, "allowed_model_region"),
        ({"user_id": "c", "budget_id": "none"}, 400, "does not exist"),
        ({"user_id": "c", "max_budget": -1}, 400, "negative"),
    ],
)
async def test_customers_that_cannot_be(gateway: Gateway, body: object, status: int, word: str) -> None:
    await refused(gateway, "POST", "/customer/new", body, status=status, word=word)
    assert await does(gateway, "GET", "/customer/list") == []
    assert await budgets(gateway) == {}


async def test_blocking_customers(gateway: Gateway) -> None:
    """Also those nobody has heard of; at once."""
    key = await gateway.new_key()
    assert (await gateway.chat(key=key, user="c")).status == 200
    blocked = await does(gateway, "POST", "/customer/block", {"user_ids": ["c", "d", "c"]})
    assert [row["user_id"] for row in blocked["blocked_users"]] == ["c", "d"]
    for name in ("c", "d"):
        await soon(lambda name=name: gateway.chat(key=key, user=name), 401, "is blocked")  # type: ignore[misc]
    free = await does(gateway, "POST", "/customer/unblock", {"user_ids": ["c", "nobody"]})
    assert [(row["user_id"], row["blocked"]) for row in free["blocked_users"]] == [("c", False)]
    await soon(lambda: gateway.chat(key=key, user="c"), 200)
    page = await does(gateway, "GET", "/audit?table_name=LiteLLM_EndUserTable&object_id=c&sort_order=asc")
    assert [entry["action"] for entry in page["audit_logs"]] == ["blocked", "unblocked"]


async def test_deleting_customers_is_all_or_nothing(gateway: Gateway) -> None:
    await does(gateway, "POST", "/customer/new", {"user_id": "c"})
    await refused(gateway, "POST", "/customer/delete", {"user_ids": ["c", "d"]}, status=404, word="Id=d")
    await refused(gateway, "POST", "/customer/delete", {"user_ids": []}, status=400, word="user_ids")
    assert len(await does(gateway, "GET", "/customer/list")) == 1


# --- budgets ---


async def test_a_budget(gateway: Gateway) -> None:
    made = await does(
        gateway,
        "POST",
        "/budget/new",
        {"budget_id": "b/%+=", "max_budget": 5, "soft_budget": 4, "budget_duration": "1d"},
    )
    assert (made["max_budget"], made["soft_budget"], made["created_by"]) == (5, 4, "default_user_id")
    assert made["budget_reset_at"].endswith("T00:00:00Z")
    body = {"budget_id": "b/%+="}
    await refused(gateway, "POST", "/budget/new", body, status=400, word="already exists")
    await refused(gateway, "POST", "/budget/update", body | {"max_budget": 4}, status=400, word="must be lower")
    changed = await does(gateway, "POST", "/budget/update", body | {"max_budget": 9, "budget_duration": None})
    assert (changed["max_budget"], changed["budget_duration"], changed["budget_reset_at"]) == (9, None, None)
    stale = body | {"max_budget": 1, "updated_at": made["updated_at"]}
    await refused(gateway, "POST", "/budget/update", stale, status=409, word="somebody else")
    assert await does(gateway, "POST", "/budget/info", {"budgets": ["b/%+=", "none"]}) == [changed]
    await refused(gateway, "POST", "/budget/info", {"budgets": []}, status=400, word="Specify list")
    settings = await does(gateway, "GET", "/budget/settings?budget_id=b%2F%25%2B%3D")
    assert {field["field_name"]: field["field_value"] for field in settings}["max_budget"] == 9
    await does(gateway, "POST", "/budget/delete", {"id": "b/%+="})
    await refused(gateway, "POST", "/budget/delete", {"id": "b/%+="}, status=404, word="not found")
    await refused(gateway, "POST", "/budget/update", body, status=404, word="not found")
    page = await does(gateway, "GET", "/audit?table_name=LiteLLM_BudgetTable&sort_order=asc")
    assert [entry["action"] for entry in page["audit_logs"]] == ["created", "updated", "deleted"]


async def test_a_budget_that_somebody_has_stays(gateway: Gateway, books: Books) -> None:
    await does(gateway, "POST", "/budget/new", {"budget_id": "b"})
    key = await gateway.new_key(key_alias="k")
    assert key
    await books.fetch("UPDATE \"LiteLLM_VerificationToken\" SET budget_id = 'b'")
    await does(gateway, "POST", "/customer/new", {"user_id": "c", "budget_id": "b"})
    await refused(gateway, "POST", "/budget/delete", {"id": "b"}, status=400, word="1 keys, 1 customers")


async def test_a_budget_reaches_whoever_has_it(gateway: Gateway, books: Books) -> None:
    await does(gateway, "POST", "/budget/new", {"budget_id": "b"})
    key = await gateway.new_key()
    await books.fetch("UPDATE \"LiteLLM_VerificationToken\" SET budget_id = 'b'")
    await does(gateway, "POST", "/customer/new", {"user_id": "c", "budget_id": "b"})
    other = await gateway.new_key()
    await soon(lambda: gateway.chat(key=key, max_tokens=10), 200)
    assert (await gateway.chat(key=other, user="c", max_tokens=10)).status == 200
    await does(gateway, "POST", "/budget/update", {"budget_id": "b", "max_budget": 0})
    await soon(lambda: gateway.chat(key=key, max_tokens=10), 422)
    await soon(lambda: gateway.chat(key=other, user="c", max_tokens=10), 422)
    assert (await gateway.chat(key=other, max_tokens=10)).status == 200


# --- tags ---


async def test_a_tag(gateway: Gateway) -> None:
    made = await does(gateway, "POST", "/tag/new", {"name": "a/b c", "description": "D", "max_budget": 1})
    assert made["message"] == "Tag a/b c created successfully"
    assert (made["tag"]["name"], made["tag"]["description"], made["tag"]["models"]) == ("a/b c", "D", [])
    await refused(gateway, "POST", "/tag/new", {"name": "a/b c"}, status=400, word="already exists")
    changed = await does(gateway, "POST", "/tag/update", {"name": "a/b c", "models": ["m"], "max_budget": 2})
    assert changed["tag"]["litellm_budget_table"]["max_budget"] == 2
    assert await does(gateway, "POST", "/tag/info", {"names": ["a/b c"]}) == {"a/b c": changed["tag"]}
    assert await does(gateway, "POST", "/tag/info", {"names": ["x", "a/b c"]}) == {"a/b c": changed["tag"]}
    await refused(gateway, "POST", "/tag/info", {"names": ["x"]}, status=404, word="not found")
    stale = {"name": "a/b c", "updated_at": made["tag"]["updated_at"]}
    await refused(gateway, "POST", "/tag/update", stale, status=409, word="somebody else")
    await does(gateway, "POST", "/tag/delete", {"name": "a/b c"})
    await refused(gateway, "POST", "/tag/delete", {"name": "a/b c"}, status=404, word="not found")
    assert await budgets(gateway) == {}


async def test_tags_that_requests_carry(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key()
    await gateway.chat(key=key, metadata={"tags": ["seen"]}, headers={"user-agent": "curl/8"})
    await books.posted()
    listed = {tag["name"]: tag for tag in await does(gateway, "GET", "/tag/list")}
    assert {"seen", "User-Agent: curl"} <= listed.keys()
    made = await does(gateway, "POST", "/tag/new", {"name": "seen", "max_budget": 0})
    assert made["tag"]["spend"] > 0, "what it has spent stays"
    await soon(lambda: gateway.chat(key=key, metadata={"tags": ["seen"]}, max_tokens=5), 422, "Tag=seen")
    await does(gateway, "POST", "/tag/delete", {"name": "seen"})
    await soon(lambda: gateway.chat(key=key, metadata={"tags": ["seen"]}, max_tokens=5), 200)


# --- all of them at once ---


async def test_the_same_id_at_the_same_time(gateway: Gateway) -> None:
    for path, body in (
        ("/organization/new", {"organization_id": "x", "organization_alias": "x", "max_budget": 1}),
        ("/customer/new", {"user_id": "x", "max_budget": 1}),
        ("/budget/new", {"budget_id": "x"}),
        ("/tag/new", {"name": "x", "max_budget": 1}),
        ("/team/new", {"team_id": "x", "team_member_budget": 1}),
    ):
        answers = await asyncio.gather(*(gateway.request("POST", path, body) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 400, 400, 400], [a.body for a in answers]
    assert len(await budgets(gateway)) == 5, "one for each, and the one that was made"


async def test_several_organizations_at_once(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    path, home, away = "/organization/info", HOME["organization"], AWAY["organization"]
    shown = await does(gateway, "POST", path, {"organizations": [home, away, "none"]})
    assert {row["organization_id"] for row in shown} == {home, away}
    [own] = await does(gateway, "POST", path, {"organizations": [home]}, key=key_of("member"))
    assert own == await does(gateway, "GET", f"{path}?organization_id={home}", key=key_of("member"))
    for other in (away, "none"):
        body = {"organizations": [home, other]}
        await refused(gateway, "POST", path, body, key=key_of("member"), status=403, word="all of these organizations")
    await refused(gateway, "POST", path, {"organizations": []}, status=422, word="organizations")
