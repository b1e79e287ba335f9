"""What is changed on one gateway binds on another within a second, for many keys as for one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bursar.oracle.serving import RunningOracle
from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.running import Books, Gateway, config_text, running_gateway
from tests.management.admin import does, soon
from tests.oracle.raw_client import Answer

ORGANIZATION = "/organization/update"


@pytest.fixture
async def two(oracle: RunningOracle, database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways on one database."""
    config = config_text(oracle.base_url)
    async with (
        running_gateway(config, database_url=database_url, directory=tmp_path / "1") as one,
        running_gateway(config, database_url=database_url, directory=tmp_path / "2") as other,
    ):
        yield one, other


@pytest.fixture
async def look(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


async def test_blocked_lowered_and_free_again(two: tuple[Gateway, Gateway]) -> None:
    here, there = two
    await does(here, "POST", "/organization/new", {"organization_id": "o", "organization_alias": "o"})
    await does(here, "POST", "/team/new", {"team_id": "t", "organization_id": "o"})
    key = await here.new_key(team_id="t", user_id="u")

    async def asked() -> Answer:
        return await there.chat(key=key, user="c", max_tokens=10, metadata={"tags": ["x"]})

    await soon(asked, 200)
    team, organization, customer = {"team_id": "t"}, {"organization_id": "o"}, {"user_ids": ["c"]}
    for method, path, change, back, undo, status in (
        ("POST", "/team/block", team, "/team/unblock", team, 401),
        ("POST", "/team/update", team | {"max_budget": 0}, "/team/update", team | {"max_budget": None}, 422),
        ("POST", "/team/update", team | {"models": ["gone"]}, "/team/update", team | {"models": []}, 403),
        (
            "PATCH",
            ORGANIZATION,
            organization | {"max_budget": 0},
            ORGANIZATION,
            organization | {"max_budget": None},
            422,
        ),
        ("POST", "/customer/block", customer, "/customer/unblock", customer, 401),
        ("POST", "/customer/update", {"user_id": "c", "max_budget": 0}, "/customer/delete", customer, 422),
        ("POST", "/tag/new", {"name": "x", "max_budget": 0}, "/tag/delete", {"name": "x"}, 422),
    ):
        await does(here, method, path, change)
        await soon(asked, status)
        await does(here, method, back, undo)
        await soon(asked, 200)


async def test_changes_while_calls_are_booked(two: tuple[Gateway, Gateway], database_url: str, look: Database) -> None:
    """Administrators and posters touch the same rows, in every order: nobody fails, and the books close."""
    here, there = two
    await does(here, "POST", "/organization/new", {"organization_id": "o", "organization_alias": "o", "max_budget": 9})
    await does(here, "POST", "/team/new", {"team_id": "t", "organization_id": "o", "team_member_budget": 5})
    await does(here, "POST", "/team/member_add", {"team_id": "t", "member": [{"user_id": "u"}, {"user_id": "v"}]})
    await does(here, "POST", "/customer/new", {"user_id": "c", "max_budget": 5})
    await does(here, "POST", "/tag/new", {"name": "x", "max_budget": 5})
    keys = [await here.new_key(team_id="t", user_id=user) for user in ("u", "v")]

    async def calls(gateway: Gateway, key: str) -> None:
        for _ in range(60):
            answer = await gateway.chat(key=key, user="c", max_tokens=10, metadata={"tags": ["x"]})
            assert answer.status == 200, answer.body

    async def changes(gateway: Gateway, number: int) -> None:
        for turn in range(12):
            budget, joiner = 5 + turn, {"team_id": "t", "user_id": f"w{number}"}
            for method, path, body in (
                ("POST", "/team/member_add", {"team_id": "t", "member": {"user_id": f"w{number}"}}),
                ("POST", "/team/member_update", {"team_id": "t", "user_id": "u", "max_budget_in_team": budget}),
                ("POST", "/team/t/member/v/reset_spend", {}),
                ("POST", "/team/update", {"team_id": "t", "team_member_budget": budget}),
                ("PATCH", ORGANIZATION, {"organization_id": "o", "max_budget": 2 * budget}),
                ("POST", "/customer/update", {"user_id": "c", "max_budget": budget}),
                ("POST", "/tag/update", {"name": "x", "max_budget": budget}),
                ("POST", "/team/member_delete", joiner),
            ):
                await does(gateway, method, path, body)

    await asyncio.gather(*(calls(gateway, key) for gateway in two for key in keys), changes(here, 1), changes(there, 2))
    for gateway in two:
        looking = Books(database_url, gateway.journals)
        await looking.posted()
        await looking.close()
    assert (await audit(look, lambda *_: None)).differences == []


async def test_a_team_of_many_keys(two: tuple[Gateway, Gateway]) -> None:
    here, there = two
    await does(here, "POST", "/team/new", {"team_id": "t"})
    keys = [await here.new_key(team_id="t") for _ in range(150)]
    for key in keys[::50]:
        assert (await there.request("GET", "/v1/models", key=key)).status == 200
    await does(here, "POST", "/team/block", {"team_id": "t"})
    for key in keys[::50]:
        await soon(lambda key=key: there.request("GET", "/v1/models", key=key), 401)  # type: ignore[misc]
