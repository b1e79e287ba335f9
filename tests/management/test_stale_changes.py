"""Changes that are based on a row which somebody else has changed since: refused wherever one can say what they are
based on."""

from typing import Any

import pytest

from tests.gateway.running import Books, Gateway
from tests.management.admin import does, refused

STALE = "2020-01-01T00:00:00Z"
KEY = "sk-of-the-stale-0001"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/team/model/add", {"models": ["b"]}),
        ("/team/model/delete", {"models": ["a"]}),
        ("/team/member_add", {"member": {"user_id": "v"}}),
        ("/team/member_delete", {"user_id": "u"}),
        ("/team/bulk_member_add", {"members": [{"user_id": "v"}, {"user_id": "w"}]}),
        ("/team/bulk_member_add", {"all_users": True}),
        ("/team/t/member/u/reset_spend", {}),
    ],
)
async def test_a_team(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    fields = {"team_id": "t", "models": ["a", "c"], "members_with_roles": [{"user_id": "u"}]}
    await does(gateway, "POST", "/user/new", {"user_id": "someone", "auto_create_key": False})
    made = await does(gateway, "POST", "/team/new", fields)
    changed = await does(gateway, "POST", "/team/update", {"team_id": "t", "team_alias": "second"})
    said = body if path.endswith("/reset_spend") else {"team_id": "t", **body}
    await refused(
        gateway, "POST", path, said | {"updated_at": made["updated_at"]}, status=409, word="changed by somebody else"
    )
    assert (await does(gateway, "GET", "/team/info?team_id=t"))["team_info"]["updated_at"] == (
        changed["data"]["updated_at"]
    )
    await does(gateway, "POST", path, said | {"updated_at": changed["data"]["updated_at"]})


async def test_many_members_are_all_added_to_the_team_that_was_meant(gateway: Gateway) -> None:
    made = await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"user_id": "a"}]})
    members = [{"user_id": user} for user in ("a", "b", "c", "d")]
    body = {"team_id": "t", "members": members, "updated_at": made["updated_at"]}
    added = await does(gateway, "POST", "/team/bulk_member_add", body)
    assert [result["success"] for result in added["results"]] == [False, True, True, True]
    await refused(gateway, "POST", "/team/bulk_member_add", body, status=409, word="changed by somebody else")


async def test_who_is_left_when_the_team_changes_half_way_is_not_added(gateway: Gateway, books: Books) -> None:
    """A trigger stands for somebody who is faster than the second member."""
    made = await does(gateway, "POST", "/team/new", {"team_id": "t"})
    members = [{"user_id": user} for user in ("a", "b", "c")]
    body = {"team_id": "t", "members": members, "updated_at": made["updated_at"]}
    await books.fetch(_SOMEBODY_FASTER)
    await books.fetch(_AFTER_THE_FIRST)
    added = await does(gateway, "POST", "/team/bulk_member_add", body)
    await books.fetch("DROP FUNCTION bursar.faster CASCADE")
    assert [result["success"] for result in added["results"]] == [True, False, False]
    assert "changed by somebody else" in added["results"][1]["error"]
    team = await does(gateway, "GET", "/team/info?team_id=t")
    assert [member["user_id"] for member in team["team_info"]["members_with_roles"]] == ["a"]


_SOMEBODY_FASTER = """
CREATE FUNCTION bursar.faster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE "LiteLLM_TeamTable" SET updated_at = updated_at + interval '1 hour' WHERE team_id = 't';
    RETURN NULL;
END
$$
"""
_AFTER_THE_FIRST = """
CREATE CONSTRAINT TRIGGER faster AFTER INSERT ON "LiteLLM_TeamMembership" DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION bursar.faster()
"""


async def test_what_a_key_has_spent(gateway: Gateway) -> None:
    made = await does(gateway, "POST", "/key/generate", {"key": KEY})
    changed = await does(gateway, "POST", "/key/update", {"key": KEY, "rpm_limit": 5})
    path = f"/key/{KEY}/reset_spend"
    said = {"reset_to": 0, "updated_at": made["updated_at"]}
    await refused(gateway, "POST", path, said, status=409, word="changed by somebody else")
    await does(gateway, "POST", path, said | {"updated_at": changed["updated_at"]})


async def test_members_of_an_organization(gateway: Gateway) -> None:
    made = await does(gateway, "POST", "/organization/new", {"organization_alias": "o", "organization_id": "o"})
    body = {"organization_id": "o", "organization_alias": "second"}
    changed = await does(gateway, "PATCH", "/organization/update", body)
    said = {"organization_id": "o", "member": {"user_id": "u"}}
    stale = said | {"updated_at": made["updated_at"]}
    await refused(gateway, "POST", "/organization/member_add", stale, status=409, word="changed by somebody else")
    assert (await does(gateway, "GET", "/organization/info?organization_id=o"))["members"] == []
    await does(gateway, "POST", "/organization/member_add", said | {"updated_at": changed["updated_at"]})


@pytest.mark.parametrize("path", ["/key/block", "/key/unblock"])
async def test_a_key(gateway: Gateway, path: str) -> None:
    made = await does(gateway, "POST", "/key/generate", {"key": KEY})
    changed = await does(gateway, "POST", "/key/update", {"key": KEY, "rpm_limit": 5})
    said = {"key": KEY, "updated_at": made["updated_at"]}
    await refused(gateway, "POST", path, said, status=409, word="changed by somebody else")
    row = await does(gateway, "POST", path, said | {"updated_at": changed["updated_at"]})
    assert row["blocked"] is (path == "/key/block")


@pytest.mark.parametrize("path", ["/customer/block", "/customer/unblock"])
async def test_a_customer(gateway: Gateway, path: str) -> None:
    made = await does(gateway, "POST", "/customer/new", {"user_id": "c"})
    changed = await does(gateway, "POST", "/customer/update", {"user_id": "c", "alias": "second"})
    said = {"user_ids": ["c"], "updated_at": made["updated_at"]}
    await refused(gateway, "POST", path, said, status=409, word="changed by somebody else")
    await refused(gateway, "POST", path, said | {"user_ids": ["nobody"]}, status=409, word="updated_at is never")
    await refused(gateway, "POST", path, said | {"user_ids": ["c", "d"]}, status=400, word="name one with it")
    await does(gateway, "POST", path, said | {"updated_at": changed["updated_at"]})


async def test_a_membership(gateway: Gateway) -> None:
    await does(gateway, "POST", "/organization/new", {"organization_alias": "o", "organization_id": "o"})
    body = {"organization_id": "o", "member": {"user_id": "u"}}
    added = await does(gateway, "POST", "/organization/member_add", body)
    [membership] = added["updated_organization_memberships"]
    said = {"organization_id": "o", "user_id": "u"}
    changed = await does(gateway, "PATCH", "/organization/member_update", said | {"role": "org_admin"})
    stale = said | {"updated_at": membership["updated_at"]}
    await refused(gateway, "DELETE", "/organization/member_delete", stale, status=409, word="changed by somebody else")
    await does(gateway, "DELETE", "/organization/member_delete", said | {"updated_at": changed["updated_at"]})


async def test_settings_have_none(gateway: Gateway) -> None:
    body = {"litellm_settings": {"drop_params": True}, "updated_at": STALE}
    await refused(gateway, "POST", "/config/update", body, status=400, word="Settings have no updated_at")
