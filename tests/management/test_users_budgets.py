"""The budget of a user, over all keys that are his."""

import asyncio

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Gateway
from tests.gateway.windows import within_one_minute
from tests.management.admin import does, refused
from tests.management.test_caps_of_new_secrets import CENTS, IMPATIENT, statuses

TEAM_KEYS_TOO = IMPATIENT + "\ngeneral_settings: {apply_user_budget_to_team_keys: true}"


async def furnish(gateway: Gateway, **limits: object) -> tuple[str, str]:
    """A user with `limits`, his own key, and his key in a team."""
    user = {"user_id": "u", "user_role": "internal_user", "auto_create_key": False, **limits}
    await does(gateway, "POST", "/user/new", user)
    await does(gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "u"}]})
    return await gateway.new_key(user_id="u"), await gateway.new_key(user_id="u", team_id="t")


@pytest.mark.parametrize(("settings", "last"), [(IMPATIENT, 200), (TEAM_KEYS_TOO, 422)])
async def test_it_is_about_keys_outside_of_teams(start_gateway: StartGateway, settings: str, last: int) -> None:
    """Unless the configuration says otherwise. What is spent in teams counts, and is not refused there."""
    gateway = await start_gateway(models=CENTS, settings=settings)
    own, in_team = await furnish(gateway, max_budget=0.02)
    assert await statuses(gateway, "cent", own) == [200]
    assert await statuses(gateway, "cent", in_team) == [200]
    await asyncio.sleep(1)  # until what was called in the team is booked
    assert await statuses(gateway, "cent", own) == [422]
    assert await statuses(gateway, "cent", in_team) == [last]


async def test_his_rate_limits_are_about_all(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENTS)
    await within_one_minute(10)
    own, in_team = await furnish(gateway, rpm_limit=2)
    assert await statuses(gateway, "cent", own, in_team) == [200, 200]
    assert await statuses(gateway, "cent", own) == await statuses(gateway, "cent", in_team) == [429]


async def test_keys_that_he_makes_share_it(start_gateway: StartGateway) -> None:
    """However many there are, and with whichever of them others are made."""
    gateway = await start_gateway(models=CENTS, settings=IMPATIENT)
    own, _ = await furnish(gateway, max_budget=0.03)
    first = (await does(gateway, "POST", "/key/generate", {}, key=own))["key"]
    second = (await does(gateway, "POST", "/key/generate", {"max_budget": 5}, key=first))["key"]
    assert sorted(await statuses(gateway, "cent", *[own, first, second] * 2)) == [200] * 3 + [422] * 3


async def test_a_key_for_calls_makes_no_others(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENTS)
    await furnish(gateway)
    key = await gateway.new_key(user_id="u", max_budget=1, key_type="llm_api")
    await refused(gateway, "POST", "/key/generate", {}, status=403, word="not allowed", key=key)
