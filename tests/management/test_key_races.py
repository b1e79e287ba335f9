"""Keys that are made and moved while their team changes: as if one came after the other, whichever it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from bursar.store.named_sql import load_named_sql
from tests.gateway.running import Books, Gateway
from tests.management.admin import does

ROUNDS = 25
TEAM = {"team_id": "t", "team_member_permissions": ["/key/generate"]}
MEMBER = {"role": "user", "user_id": "u"}


async def furnish(gateway: Gateway) -> str:
    """A team, and the key of somebody who becomes a member of it."""
    await does(gateway, "POST", "/user/new", {"user_id": "u", "user_role": "internal_user", "auto_create_key": False})
    await does(gateway, "POST", "/team/new", TEAM)
    return await gateway.new_key(user_id="u")


async def later(after_s: float, gateway: Gateway, path: str, body: object) -> None:
    await asyncio.sleep(after_s)
    await does(gateway, "POST", path, body)


async def team_keys(books: Books) -> int:
    return len(await books.fetch("SELECT token FROM \"LiteLLM_VerificationToken\" WHERE team_id = 't'"))


async def test_keys_of_a_member_who_leaves(gateway: Gateway, books: Books) -> None:
    """His keys go with him: none is made when he is gone, and none stays that was made before."""
    key = await furnish(gateway)
    made = 0
    for number in range(ROUNDS):
        await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": MEMBER})

        leaving = asyncio.create_task(
            later(0.001 * (number % 8), gateway, "/team/member_delete", {"team_id": "t", "user_id": "u"})
        )
        answers = await asyncio.gather(
            *(gateway.request("POST", "/key/generate", {"team_id": "t"}, key=key) for _ in range(4))
        )
        await leaving
        assert {answer.status for answer in answers} <= {200, 403}
        made += sum(answer.status == 200 for answer in answers)
        assert await team_keys(books) == 0
    assert 0 < made < 4 * ROUNDS


async def test_keys_in_a_team_that_is_deleted(gateway: Gateway, books: Books) -> None:
    """Made in it, and moved into it."""
    await does(gateway, "POST", "/team/new", TEAM)
    roaming = [await gateway.new_key() for _ in range(3)]
    for number in range(ROUNDS):
        deleting = asyncio.create_task(later(0.001 * (number % 8), gateway, "/team/delete", {"team_ids": ["t"]}))
        answers = await asyncio.gather(
            gateway.request("POST", "/key/generate", {"team_id": "t"}),
            *(gateway.request("POST", "/key/update", {"key": key, "team_id": "t"}) for key in roaming),
        )
        await deleting
        assert {answer.status for answer in answers} <= {200, 400}
        assert await team_keys(books) == 0
        await does(gateway, "POST", "/team/new", TEAM)
        gone = [key for key, answer in zip(roaming, answers[1:], strict=True) if answer.status == 200]
        roaming = [key for key in roaming if key not in gone] + [await gateway.new_key() for _ in gone]


async def test_nothing_waits_for_each_other(gateway: Gateway, books: Books) -> None:
    """Keys, their team, their user and the books at once: all of it goes through."""
    key = await furnish(gateway)
    await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": MEMBER})
    own = [await gateway.new_key(user_id="u", team_id="t", max_budget=5) for _ in range(4)]
    for number in range(ROUNDS):
        answers = await asyncio.gather(
            gateway.request("POST", "/key/generate", {"team_id": "t"}, key=key),
            gateway.request("POST", "/team/update", {"team_id": "t", "rpm_limit": 1000 + number}),
            gateway.request("POST", "/user/update", {"user_id": "u", "spend": 0.0}),
            gateway.request("POST", "/user/update", {"user_id": "u", "rpm_limit": 1000 + number}),
            gateway.request("POST", "/user/new", {"user_id": f"u{number}", "teams": ["t"]}),
            *(gateway.request("POST", "/key/update", {"key": one, "spend": 0.0}) for one in own[:2]),
            *(gateway.request("POST", "/key/update", {"key": one, "rpm_limit": 1000}) for one in own[2:]),
            *(gateway.chat(key=one) for one in own),
        )
        assert [answer.status for answer in answers] == [200] * len(answers), [answer.body for answer in answers]
        own[0] = (await does(gateway, "POST", "/key/regenerate", {"key": own[0]}))["key"]
    await books.posted()


async def test_a_permission_that_is_taken_away_meanwhile(gateway: Gateway, database_url: str) -> None:
    """Whoever waits for his turn is judged by what his team allows when it comes."""
    key = await furnish(gateway)
    await does(gateway, "POST", "/team/member_add", {"team_id": "t", "member": MEMBER})
    permissions = {"team_id": "t", "team_member_permissions": ["/key/block"]}
    await does(gateway, "POST", "/team/permissions_update", permissions)
    teams = {"key": await gateway.new_key(team_id="t")}
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.execute(load_named_sql("totals")["lock_totals"])
        blocking = asyncio.create_task(gateway.request("POST", "/key/block", teams, key=key))
        await asyncio.sleep(0.3)
        assert not blocking.done()
        await connection.execute("UPDATE \"LiteLLM_TeamTable\" SET team_member_permissions = '{/key/info}'")
    await connection.close()
    assert (await blocking).status == 403


async def test_one_name_and_one_alias_for_many(gateway: Gateway, books: Books) -> None:
    """Users and keys of the same names, made in several ways: one comes first, and none wait in a circle."""
    await does(gateway, "POST", "/organization/new", {"organization_id": "o", "organization_alias": "o"})
    for number in range(ROUNDS):
        new = {"user_id": f"u{number}", "key_alias": f"a{number}"}
        other = {"user_id": new["user_id"], "organization_id": "o"}
        member = {"organization_id": "o", "member": {"user_id": new["user_id"]}}
        moving = await gateway.new_key()
        answers = await asyncio.gather(
            *(gateway.request("POST", "/key/generate", body) for body in (new, other, new, other)),
            *(gateway.request("POST", "/user/new", new | {"organizations": ["o"]}) for _ in range(3)),
            gateway.request("POST", "/key/update", {"key": moving, **new}),
            gateway.request("POST", "/key/update", {"key": moving, **other}),
            gateway.request("POST", "/organization/member_add", member),
        )
        assert {answer.status for answer in answers} <= {200, 400, 409}, [answer.body for answer in answers]
        keys = await books.fetch('SELECT FROM "LiteLLM_VerificationToken" WHERE key_alias = $1', new["key_alias"])
        assert len(keys) == 1
    assert len(await books.fetch("SELECT FROM \"LiteLLM_UserTable\" WHERE user_id LIKE 'u%'")) == ROUNDS


ORGANIZATION = {"organization_id": "o", "user_id": "boss"}
BY_BOSS = [
    ("/key/generate", {"user_id": "theirs"}),
    ("/user/new", {"organizations": ["o"]}),
    ("/user/new", {"organizations": ["o"], "auto_create_key": False}),
]


@asynccontextmanager
async def holding(database_url: str, statement: str) -> AsyncIterator[Any]:
    """A connection within a transaction that has what `statement` locks."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield connection
    finally:
        await connection.close()


async def organization(gateway: Gateway) -> str:
    """One with an admin and a user; the admin's key."""
    await does(gateway, "POST", "/organization/new", {"organization_id": "o", "organization_alias": "o"})
    await does(gateway, "POST", "/user/new", {"user_id": "theirs", "organizations": ["o"], "auto_create_key": False})
    admin = {"organization_id": "o", "member": {"role": "org_admin", "user_id": "boss"}}
    await does(gateway, "POST", "/organization/member_add", admin)
    return await gateway.new_key(user_id="boss")


@pytest.mark.parametrize(("path", "body"), BY_BOSS)
async def test_an_organizations_admin_who_is_removed_first(
    gateway: Gateway, database_url: str, path: str, body: dict[str, object]
) -> None:
    key = await organization(gateway)
    lock = "SELECT FROM \"LiteLLM_OrganizationTable\" WHERE organization_id = 'o' FOR UPDATE"
    async with holding(database_url, lock) as connection:
        making = asyncio.create_task(gateway.request("POST", path, body, key=key))
        await asyncio.sleep(0.3)
        assert not making.done()
        await connection.execute("DELETE FROM \"LiteLLM_OrganizationMembership\" WHERE user_id = 'boss'")
    assert (await making).status == 403


@pytest.mark.parametrize(("path", "body"), BY_BOSS[:2])
async def test_an_organizations_admin_who_is_removed_afterwards(
    gateway: Gateway, database_url: str, path: str, body: dict[str, object]
) -> None:
    """He is there until what he makes is stored."""
    key = await organization(gateway)
    async with holding(database_url, load_named_sql("keys")["lock_aliases"]):
        making = asyncio.create_task(gateway.request("POST", path, body | {"key_alias": "a"}, key=key))
        await asyncio.sleep(0.3)
        removing = asyncio.create_task(gateway.request("DELETE", "/organization/member_delete", ORGANIZATION))
        await asyncio.sleep(0.3)
        assert not making.done()
        assert not removing.done()
    assert [(await making).status, (await removing).status] == [200, 200]
