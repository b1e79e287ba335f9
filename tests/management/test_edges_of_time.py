"""Dates and durations at the edge of what there is, wherever they are said: never a 500, and nothing is left broken."""

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from bursar.management.route import Route
from tests.gateway.running import Books, Gateway
from tests.management.matrix import furnish, registered_routes
from tests.management.test_foreign_objects import furnish_foreign, parameters
from tests.management.test_matrix import name_of

DATES = (
    *("0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31", "2024-02-29", "1970-01-01", "2026-11-27"),
    *("2026-11-27 12:00:00", "2026-11-27T12:00:00Z", "2026-11-27T12:00:00.123456Z", "2026-11-27T12:00:00+23:59"),
    *("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999Z"),
)
NO_DATES = (
    *("2023-02-29", "1900-02-29", "0000-01-01", "10000-01-01", "-0001-01-01", "2026-13-01", "2026-00-10", "2026-02-30"),
    *("01/02/2026", "20260101", "2026-W01-1", "2026-1-1", "2026-01-01T24:00:00", "2026-01-01T23:59:60"),
    *("now", "infinity", "-infinity", "epoch", "1e9", "NaN", "null", "", "2026-01-01\x00", "٢٠٢٦-٠١-٠١", "2026−01−01"),
    *("99999999999999999999-01-01", "4713-01-01 BC", "2026-01-01T00:00:00+24:00"),
)
DURATIONS = (
    *("1s", "30d", "1mo", "12000mo", "12167mo", "99999mo", "999999mo", "365000d", "999999d", "999999w", "999999h"),
    *("0s", "-5d", "1.5d", "1y", "30", "30dd", "٣d", "9999999999d", "99999999999999999999mo", ""),
)
DATED = [route for route in registered_routes() if route.method == "GET" and "start_date" in parameters(route)]
WORDS = {
    "duration": DURATIONS,
    "budget_duration": DURATIONS,
    "team_member_budget_duration": DURATIONS,
    "team_member_key_duration": DURATIONS,
    "budget_reset_at": (*DATES, *NO_DATES),
    "temp_budget_expiry": (*DATES, *NO_DATES),
    "updated_at": (*DATES, *NO_DATES),
}
"""What is said in these fields of bodies."""
BODIES: dict[str, dict[str, object]] = {
    "/key/generate": {"max_budget": 1},
    "/key/update": {"key": "sk-object-of-member-0001", "max_budget": 1},
    "/user/new": {"max_budget": 1},
    "/user/update": {"user_id": "member", "max_budget": 1},
    "/team/new": {"max_budget": 2, "team_member_budget": 1},
    "/team/update": {"team_id": "away-team", "max_budget": 2, "team_member_budget": 1},
    "/team/member_update": {"team_id": "away-team", "user_id": "stranger", "max_budget_in_team": 1},
    "/organization/new": {"organization_alias": "o", "max_budget": 1},
    "/customer/update": {"user_id": "a-customer", "max_budget": 1},
    "/budget/update": {"budget_id": "a-budget", "max_budget": 1},
    "/tag/update": {"name": "a-tag", "max_budget": 1},
}
DATES_ASIDE = ("/spend/logs/ui/{request_id}",)
"""Where the id is enough, and no date is looked at."""
READ = ("/key/list?return_full_object=true", "/user/list", "/team/list", "/organization/list", "/budget/list")


def spans(route: Route) -> Iterator[dict[str, str]]:
    for date in (*DATES, *NO_DATES):
        yield {"start_date": date}
        if "end_date" in parameters(route):
            yield {"start_date": date, "end_date": date}
            yield {"start_date": "2026-01-01", "end_date": date}
            yield {"start_date": date, "end_date": "2026-12-31"}


@pytest.mark.parametrize("route", DATED, ids=name_of)
async def test_reports_of_any_days(gateway: Gateway, books: Books, route: Route) -> None:
    await furnish_foreign(books)
    path = route.path.replace("{request_id}", "home-request")
    answered: Counter[int] = Counter()
    for query in spans(route):
        for more in ({}, {"summarize": "false"}) if "summarize" in parameters(route) else ({},):
            answer = await gateway.request("GET", f"{path}?{urlencode(query | more)}")
            answered[answer.status] += 1
            assert answer.status in (200, 400, 422), f"{query}: {answer.status} {answer.body!r}"
    assert answered[200] > 0, answered
    assert route.path in DATES_ASIDE or answered[400] + answered[422] > 0, answered


@pytest.mark.parametrize("path", BODIES)
async def test_terms_at_the_edge(gateway: Gateway, books: Books, path: str) -> None:
    """What was taken can be read, and changed again."""
    await furnish(books)
    answered: Counter[int] = Counter()
    for field, words in WORDS.items():
        for word in words:
            more = {"temp_budget_increase": 1.0} if field == "temp_budget_expiry" else {}
            answer = await gateway.request("POST", path, BODIES[path] | more | {field: word})
            answered[answer.status] += 1
            assert answer.status < 500, f"{field}={word!r}: {answer.status} {answer.body!r}"
    for target in READ:
        assert (await gateway.request("GET", target)).status == 200, target
    assert answered[200] > 0, answered
    assert answered[400] + answered[422] > 0, answered


async def test_periods_of_several_budgets(gateway: Gateway) -> None:
    """They count from the first call, and no period may stop it."""
    for duration in DURATIONS:
        for limits in (
            {"budget_limits": [{"budget_duration": duration, "max_budget": 5}]},
            {"model_max_budget": {"oracle": {"budget_limit": 5.0, "time_period": duration}}},
        ):
            made = await gateway.request("POST", "/key/generate", limits)
            assert made.status in (200, 400), made.body
            if made.status == 200:
                answer = await gateway.chat("oracle", key=made.json["key"])
                assert answer.status == 200, f"{limits}: {answer.body!r}"
