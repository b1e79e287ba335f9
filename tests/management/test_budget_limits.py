"""`budget_limits`: budgets for several periods at once, of keys and of teams."""

import pytest

from tests.gateway.conftest import StartGateway
from tests.gateway.running import Books, Gateway
from tests.management.admin import does, refused
from tests.management.test_caps_of_new_secrets import CENTS, IMPATIENT, statuses


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    return await start_gateway(models=CENTS, settings=IMPATIENT)


def limits(**by_period: float) -> list[dict[str, object]]:
    """`d1=5` is five dollars a day."""
    return [{"budget_duration": f"{name[1:]}{name[0]}", "max_budget": usd} for name, usd in by_period.items()]


async def test_a_key_has_to_fit_into_all(gateway: Gateway, books: Books) -> None:
    """Also under its next secret."""
    key = await gateway.new_key(max_budget=1, budget_limits=limits(d1=0.02, d30=0.05))
    assert sorted(await statuses(gateway, "cent", key, key, key)) == [200, 200, 422]
    answer = await gateway.chat("cent", key=key, max_tokens=100)
    assert answer.json["error"]["message"].startswith("ExceededBudget: Key over 1d budget. Spend=$0.02, Limit=$0.02.")
    await does(gateway, "POST", "/key/update", {"key": key, "budget_limits": limits(d1=0.2, d30=0.03)})
    key = (await does(gateway, "POST", "/key/regenerate", {"key": key}))["key"]
    assert sorted(await statuses(gateway, "cent", key, key)) == [200, 422]
    answer = await gateway.chat("cent", key=key, max_tokens=100)
    assert "Key over 30d budget. Spend=$0.0" in answer.json["error"]["message"]
    await books.posted()
    windows = await books.fetch("SELECT scope_kind, spent_nano_usd AS spent FROM bursar.windows ORDER BY 1")
    assert [tuple(window.values()) for window in windows] == [
        ("key", 30_000_000),
        ("key_period", 30_000_000),
        ("key_period", 30_000_000),
    ]


async def test_what_is_spent_of_them_can_be_seen(gateway: Gateway, books: Books) -> None:
    """As of single models; also under the next secret, and with nothing spent yet. Other keys say nothing of it."""
    by_model = {"cent": {"budget_limit": 0.05, "time_period": "1d"}, "other": {"max_budget": 1}}
    key = await gateway.new_key(budget_limits=limits(d1=0.2, d30=0.3), model_max_budget=by_model)
    unused = (await does(gateway, "GET", f"/key/info?key={key}"))["info"]
    assert unused["budget_limits_usage"] == {"1d": {"current_spend": 0.0}, "30d": {"current_spend": 0.0}}
    assert await statuses(gateway, "cent", key, key) == [200, 200]
    key = (await does(gateway, "POST", "/key/regenerate", {"key": key}))["key"]
    await books.posted()
    info = (await does(gateway, "GET", f"/key/info?key={key}"))["info"]
    assert info["budget_limits_usage"] == {"1d": {"current_spend": 0.02}, "30d": {"current_spend": 0.02}}
    [window] = await books.fetch("SELECT ends_at FROM bursar.windows WHERE scope_kind = 'key_model'")
    ends = window["ends_at"].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert info["model_max_budget_usage"] == {
        "cent": {"current_spend": 0.02, "budget_limit": 0.05, "time_period": "1d", "budget_reset_at": ends},
        "other": {"current_spend": 0.0, "budget_limit": 1, "time_period": None, "budget_reset_at": None},
    }
    assert (await does(gateway, "POST", "/v2/key/info", {"keys": [key]}))["info"] == [info]
    plain = (await does(gateway, "GET", f"/key/info?key={await gateway.new_key(max_budget=1)}"))["info"]
    assert not plain.keys() & {"budget_limits_usage", "model_max_budget_usage"}


async def test_two_periods_that_end_together_are_two(gateway: Gateway, books: Books) -> None:
    same = [{"budget_duration": "30d", "max_budget": 0.02}, {"budget_duration": "1mo", "max_budget": 0.01}]
    key = await gateway.new_key(budget_limits=same)
    assert sorted(await statuses(gateway, "cent", key, key)) == [200, 422]
    assert len(await books.fetch("SELECT DISTINCT ends_at FROM bursar.windows")) == 1


async def test_keys_of_a_team_share_those_of_the_team(gateway: Gateway) -> None:
    """And a team that is made anew begins anew."""
    team = {"team_id": "a/b", "budget_limits": limits(d1=0.02)}
    for _ in range(2):
        await does(gateway, "POST", "/team/new", team)
        keys = [await gateway.new_key(team_id="a/b") for _ in range(3)]
        assert sorted(await statuses(gateway, "cent", *keys)) == [200, 200, 422]
        answer = await gateway.chat("cent", key=keys[0], max_tokens=100)
        assert "Team over 1d budget" in answer.json["error"]["message"]
        await does(gateway, "POST", "/team/delete", {"team_ids": ["a/b"]})


@pytest.mark.parametrize(
    ("path", "more"), [("/key/generate", {}), ("/team/new", {"team_id": "t"})], ids=["key", "team"]
)
@pytest.mark.parametrize(
    "stated",
    [limits(y1=5), limits(d1=-5), [*limits(d1=5), *limits(d1=6)]],
    ids=["no period", "negative", "twice"],
)
async def test_what_cannot_be(gateway: Gateway, path: str, more: dict[str, object], stated: list[object]) -> None:
    answer = await gateway.request("POST", path, {**more, "budget_limits": stated})
    assert answer.status in (400, 422)
    assert "budget_limits" in answer.body.decode()


@pytest.mark.parametrize("stated", [[5], [{"max_budget": 5}], [{"budget_duration": "1d"}]], ids=str)
async def test_what_is_no_budget(gateway: Gateway, stated: list[object]) -> None:
    body = {"team_id": "t", "budget_limits": stated}
    answer = await gateway.request("POST", "/team/new", body)
    assert answer.status in (400, 422)
    assert "budget_limits" in answer.body.decode()


async def test_nobody_widens_his_own(gateway: Gateway) -> None:
    """Not those of his key, of another key that he gets with it, or of the team that he administers."""
    await does(gateway, "POST", "/user/new", {"user_id": "u", "user_role": "internal_user", "auto_create_key": False})
    key = await gateway.new_key(user_id="u", budget_limits=limits(d1=0.01))
    other = await gateway.new_key(user_id="u")
    wider = {"budget_limits": limits(d1=5)}
    body = {"key": key, **wider}
    await refused(gateway, "POST", "/key/update", body, status=403, word="budget_limits", key=key)
    await refused(gateway, "POST", "/key/generate", {}, status=403, word="makes no keys", key=key)
    await refused(gateway, "POST", "/key/regenerate", {"key": other}, status=403, word="makes no keys", key=key)
    roster = [{"role": "admin", "user_id": "u"}]
    await does(
        gateway, "POST", "/team/new", {"team_id": "t", "members_with_roles": roster, "budget_limits": limits(d1=1)}
    )
    body = {"team_id": "t", **wider}
    await refused(gateway, "POST", "/team/update", body, status=403, word="budget_limits", key=other)
