"""Teams of ten thousand members: whoever makes one holds up nobody who calls beside him."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.gateway.running import Gateway
from tests.management.admin import does

MEMBERS = [{"user_id": f"user-{n}", "user_email": f"user-{n}@example.com", "role": "user"} for n in range(10_000)]
MOST = 25
"""Times the seconds that reading the request's JSON takes; twice what it is."""


@contextmanager
def longest_step() -> Iterator[list[float]]:
    """How long the event loop's thread computed at a stretch, at most: its only item, at the end."""
    found = [0.0]

    async def look() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            found[0] = max(found[0], now - before)
            before = now

    looking = asyncio.create_task(look())
    yield found
    looking.cancel()


MADE = pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/team/new", {"team_id": "large", "members_with_roles": MEMBERS}),
        ("/team/member_add", {"team_id": "t", "member": MEMBERS}),
        ("/team/member_add", {"team_id": "t", "member": MEMBERS, "max_budget_in_team": 1}),
    ],
    ids=["new", "added", "added with budgets"],
)


async def make(gateway: Gateway, path: str, body: dict[str, Any]) -> list[float]:
    """A team of so many, then two members more: the longest step of each."""
    await does(gateway, "POST", "/team/new", {"team_id": "t"})
    sent = json.dumps(body).encode()
    with longest_step() as step:
        answer = await gateway.request("POST", path, sent)
    assert answer.status == 200, answer.body[:1000]
    assert len(answer.json["members_with_roles"]) == len(MEMBERS)
    steps = step
    more: tuple[dict[str, Any], ...] = (
        {"member": {"user_id": "one-more"}},
        {"member": {"user_id": "another"}, "max_budget_in_team": 2},
    )
    for change in more:
        with longest_step() as step:
            added = await does(gateway, "POST", "/team/member_add", {"team_id": body["team_id"], **change})
        assert change["member"]["user_id"] in {member["user_id"] for member in added["members_with_roles"]}
        steps += step
    return steps


@MADE
async def test_many_members_at_once(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    await make(gateway, path, body)


@pytest.mark.long
@MADE
async def test_many_members_at_once_hold_nobody_up(gateway: Gateway, path: str, body: dict[str, Any]) -> None:
    sent = json.dumps(body).encode()
    tries = []
    for _ in range(5):
        began = time.thread_time()
        json.loads(sent)
        tries.append(time.thread_time() - began)
    steps = [step / min(tries) for step in await make(gateway, path, body)]
    print(min(tries), steps)
    assert max(steps) < MOST


async def test_each_of_many_has_a_budget_of_his_own(gateway: Gateway) -> None:
    await does(gateway, "POST", "/team/new", {"team_id": "t"})
    body = {"team_id": "t", "member": MEMBERS[:1200], "max_budget_in_team": 1}
    added = await does(gateway, "POST", "/team/member_add", body)
    memberships = added["updated_team_memberships"]
    assert {membership["user_id"] for membership in memberships} == {member["user_id"] for member in MEMBERS[:1200]}
    assert len({membership["budget_id"] for membership in memberships}) == 1200
    assert {membership["litellm_budget_table"]["max_budget"] for membership in memberships} == {1}
