"""Changes that are based on a row which somebody else has changed since: refused wherever one can say what they are
based on."""

from typing import Any

import pytest

from tests.gateway.running import Gateway
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
    ],
)
async def test_a_team(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    fields = {"team_id": "t", "models": ["a", "c"], "members_with_roles": [{"user_id": "u"}]}
    made = await does(gateway, "POST", "/team/new", fields)
    changed = await does(gateway, "POST", "/team/update", {"team_id": "t", "team_alias": "second"})
    said = {"team_id": "t", **body}
    await refused(
        gateway, "POST", path, said | {"updated_at": made["updated_at"]}, status=409, word="changed by somebody else"
    )
    assert (await does(gateway, "GET", "/team/info?team_id=t"))["team_info"]["updated_at"] == (
        changed["data"]["updated_at"]
    )
    await does(gateway, "POST", path, said | {"updated_at": changed["data"]["updated_at"]})


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
