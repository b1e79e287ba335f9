"""Budgets, from a key's limit to the refusal and the books, over one worker and over four."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, Books, Gateway, config_text, running_gateway
from tests.gateway.windows import within_one_minute
from tests.management.admin import does, refused, soon
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

CENT = """
- model_name: cent
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
- model_name: unbounded
  litellm_params:
    model: openai/oracle?tokens=20
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
  model_info: {{max_output_tokens: 1000000}}
- model_name: free
  litellm_params:
    {{model: openai/oracle, api_base: '{base}', api_key: '{key}', input_cost_per_token: 0, output_cost_per_token: 0}}
- model_name: unpriced
  litellm_params: {{model: openai/nobody-knows-it, api_base: '{base}', api_key: '{key}'}}
"""
"""`cent` costs and holds exactly a cent when it is asked for 100 tokens."""


async def cent(gateway: Gateway, key: str, **more: Any) -> Answer:
    return await gateway.chat("cent", key=key, max_tokens=100, **more)


async def spend_of(books: Books, key_alias: str) -> float:
    await books.posted()
    [row] = await books.fetch('SELECT spend FROM "LiteLLM_VerificationToken" WHERE key_alias = $1', key_alias)
    return float(row["spend"])


async def test_a_budget_is_spent_to_its_last_cent(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.03, key_alias="ci")
    answers = [await cent(gateway, key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 422]
    error = answers[-1].json["error"]
    assert (error["type"], error["code"], error["param"]) == ("budget_exceeded", "422", None)
    assert error["message"].startswith("Budget has been exceeded! Key=ci (sk-...")
    assert "Current cost: 0.03, Max budget: 0.03. The call may cost up to 0.01" in error["message"]
    assert await spend_of(books, "ci") == pytest.approx(0.03)
    rows = await books.rows()
    assert [row["status"] for row in rows] == ["success"] * 3 + ["failure"]
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["leased_nano_usd"], window["spent_nano_usd"]) == (30_000_000, 30_000_000)


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_thousand_at_once(
    oracle: RunningOracle, database_url: str, books: Books, tmp_path: Path, workers: int
) -> None:
    """Exactly a hundred are served, whoever asks where."""
    patient = "bursar_settings: {budget_wait_s: 20}"  # a busy machine must not turn a turn that is late into a refusal
    config = config_text(oracle.base_url, models=CENT, settings=patient)
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(
                running_gateway(config, database_url=database_url, directory=tmp_path / f"w{number}")
            )
            for number in range(workers)
        ]
        key = await gateways[0].new_key(max_budget=1.0, key_alias="race")
        answers = await asyncio.gather(*(cent(gateways[n % workers], key) for n in range(1000)))
        statuses = [answer.status for answer in answers]
        assert (statuses.count(200), statuses.count(422)) == (100, 900)
        assert len(oracle.bill()) == 100
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["leased_nano_usd"], window["spent_nano_usd"]) == (10**9, 10**9)


async def test_without_max_tokens_the_answer_is_bounded_by_what_is_left(
    start_gateway: StartGateway, books: Books
) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.05, key_alias="u")
    answer = await gateway.chat("unbounded", key=key)
    assert answer.status == 200
    bound = int(answer.headers["x-bursar-max-tokens"])
    assert 20 <= bound <= 500
    served = 1
    while (answer := await gateway.chat("unbounded", key=key)).status == 200:
        served += 1
        assert served < 100
    assert answer.status == 422
    assert await spend_of(books, "u") <= 0.05
    assert served >= 0.9 * 25


async def test_what_is_free_needs_no_budget(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0)
    assert (await gateway.chat("free", key=key)).status == 200
    assert (await cent(gateway, key)).status == 422


async def test_what_nothing_bounds_is_refused(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=100)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.invalid/i.png"}}]}]
    answer = await gateway.chat("cent", key=key, messages=image)
    assert (answer.status, answer.json["error"]["type"]) == (400, "unbounded_cost")
    assert "max_input_tokens" in answer.json["error"]["message"]
    answer = await gateway.chat("cent", key=key, web_search_options={})
    assert (answer.status, answer.json["error"]["param"]) == (400, "web_search_options")
    answer = await gateway.chat("unpriced", key=key)
    assert (answer.status, answer.json["error"]["type"]) == (400, "model_cost_map_missing")


PAID_APART: list[dict[str, Any]] = [
    {"web_search_options": {}},
    {"search_parameters": {"mode": "on"}},
    {"service_tier": "priority"},
    {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}]},
]
MENTIONED: list[dict[str, Any]] = [
    {"service_tier": "auto"},
    {"service_tier": ["priority"]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "web_search"}}}]},
    {"tools": "web_search"},
]


@pytest.mark.parametrize("members", PAID_APART, ids=str)
async def test_what_is_paid_apart_is_refused_under_a_budget(
    start_gateway: StartGateway, members: dict[str, Any]
) -> None:
    gateway = await start_gateway(models=CENT)
    limited, free = await gateway.new_key(max_budget=100), await gateway.new_key()
    answer = await gateway.chat("cent", key=limited, max_tokens=9, **members)
    assert (answer.status, answer.json["error"]["type"]) == (400, "unbounded_cost")
    assert answer.json["error"]["param"] == next(iter(members))
    assert (await gateway.chat("cent", key=free, max_tokens=9, **members)).status == 200


@pytest.mark.parametrize("members", MENTIONED, ids=str)
async def test_what_only_looks_like_it_is_the_providers_to_refuse(
    start_gateway: StartGateway, members: dict[str, Any]
) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=100)
    answer = await gateway.chat("cent", key=key, max_tokens=9, **members)
    assert answer.status == 200 or b"OpenAIException" in answer.body


async def test_a_type_in_other_letters_is_no_text(start_gateway: StartGateway) -> None:
    """To the provider it is the same image."""
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=100)
    body = (
        b'{"model":"cent","max_tokens":9,"messages":[{"role":"user","content":'
        b'[{"t\\u0079pe":"image_url","image_url":{"url":"https://x.invalid/i.png"}}]}]}'
    )
    answer = await gateway.request("POST", "/v1/chat/completions", body, key=key)
    assert (answer.status, answer.json["error"]["type"]) == (400, "unbounded_cost")


async def test_failures_give_back_what_they_held(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.01)
    for _ in range(3):
        assert (await gateway.chat("at/fault=status:429", key=key, max_tokens=10)).status == 429
    assert (await cent(gateway, key)).status == 200
    assert (await cent(gateway, key)).status == 422
    await books.posted()
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["leased_nano_usd"], window["spent_nano_usd"]) == (10_000_000, 10_000_000)


async def test_a_team_a_user_and_a_member_have_budgets_of_their_own(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(models=CENT)
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, max_budget, updated_at) VALUES ('t', 0.02, now())")
    first, second = [await gateway.new_key(team_id="t") for _ in range(2)]
    statuses = [(await cent(gateway, key)).status for key in (first, second, first)]
    assert statuses == [200, 200, 422]
    answer = await cent(gateway, second)
    assert "Team=t Current cost: 0.02, Max budget: 0.02" in answer.json["error"]["message"]


async def test_nobody_spends_from_the_budget_of_whom_he_names(start_gateway: StartGateway, books: Books) -> None:
    """Be it with a key that is nobody's, or with the master key. LiteLLM's tables say it of him all the same."""
    gateway = await start_gateway(models=CENT)
    await books.fetch("INSERT INTO \"LiteLLM_UserTable\" (user_id, max_budget) VALUES ('u', 0.01)")
    nobodys, own = await gateway.new_key(), await gateway.new_key(user_id="u")
    for key in (nobodys, MASTER_KEY):
        for named in ("u", "customer", "litellm-proxy-budget"):
            assert (await cent(gateway, key, user=named)).status == 200
    await books.posted()
    users = await books.fetch("SELECT user_id, spend FROM \"LiteLLM_UserTable\" WHERE user_id <> 'default_user_id'")
    assert {row["user_id"]: row["spend"] for row in users} == {
        "u": 0.02,
        "customer": 0.02,
        "litellm-proxy-budget": 0.02,
    }
    assert [(await cent(gateway, own)).status for _ in range(2)] == [200, 422]
    window = "SELECT spent_nano_usd FROM bursar.windows WHERE scope_kind = 'user' AND scope_id = 'u'"
    await books.posted()
    assert await books.fetch(window) == [{"spent_nano_usd": 10_000_000}]


SCOPES = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by) VALUES ('b', 0.02, 'x', 'x');
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
    VALUES ('org', 'Org', 'b', 'x', 'x');
INSERT INTO "LiteLLM_TeamTable" (team_id, max_budget, updated_at) VALUES ('limited', 0.02, now());
INSERT INTO "LiteLLM_TeamTable" (team_id, updated_at) VALUES ('free', now());
INSERT INTO "LiteLLM_TeamTable" (team_id, organization_id, updated_at) VALUES ('of-org', 'org', now());
INSERT INTO "LiteLLM_UserTable" (user_id, max_budget) VALUES ('owner', 0.02);
INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('member');
INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id) VALUES ('member', 'free', 'b');
INSERT INTO "LiteLLM_EndUserTable" (user_id, blocked, budget_id) VALUES ('customer', false, 'b');
INSERT INTO "LiteLLM_TagTable" (tag_name, models, budget_id, created_by, updated_at)
    VALUES ('tagged', '{}', 'b', 'x', now())
"""
MODEL_BUDGET = """
UPDATE "LiteLLM_VerificationToken" SET model_max_budget = '{"cent": {"budget_limit": 0.02, "time_period": "1d"}}'
WHERE key_alias = 'with models'
"""


NAMED = """
- model_name: named
  litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: '{key}', output_cost_per_token: 0}}
  model_info: {{id: number-one}}
"""


async def test_no_other_name_of_a_model_leads_past_its_limits(start_gateway: StartGateway) -> None:
    """Neither an alias of the router's or the key's, nor a deployment's id."""
    gateway = await start_gateway(models=NAMED, settings="router_settings: {model_group_alias: {alias: named}}")
    key = await gateway.new_key(metadata={"model_rpm_limit": {"named": 1}}, aliases={"mine": "number-one"})
    await within_one_minute(10)
    names = ("named", "named", "alias", "number-one", "mine")
    assert [(await gateway.chat(name, key=key)).status for name in names] == [200, 429, 429, 429, 429]


@pytest.mark.parametrize(
    ("key_settings", "call", "scope", "said"),
    [
        ({"user_id": "owner"}, {}, "user", "ExceededBudget: User=owner over budget."),
        ({"team_id": "limited"}, {}, "team", "Team=limited "),
        ({"team_id": "free", "user_id": "member"}, {}, "team_member", "User=member in Team=free "),
        ({"team_id": "of-org"}, {}, "organization", "Organization=org "),
        ({"key_alias": "with models"}, {}, "key_model", ", exceeded budget for model=cent"),
        ({}, {"user": "customer"}, "end_user", "ExceededBudget: End User=customer over budget."),
        ({}, {"metadata": {"tags": ["other", "tagged"]}}, "tag", "Tag=tagged "),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
async def test_each_scope(
    start_gateway: StartGateway,
    books: Books,
    key_settings: dict[str, Any],
    call: dict[str, Any],
    scope: str,
    said: str,
) -> None:
    for statement in SCOPES.split(";"):
        await books.fetch(statement)
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(**key_settings)
    await books.fetch(MODEL_BUDGET)
    for _ in range(2):
        answer = await cent(gateway, key, **call)
        assert answer.status == 200, answer.body
    await books.posted()  # so that it is known at once that nothing comes back
    answer = await cent(gateway, key, **call)
    assert answer.status == 422, answer.body
    assert said in answer.json["error"]["message"]
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["scope_kind"], window["leased_nano_usd"]) == (scope, 20_000_000)
    assert (await cent(gateway, await gateway.new_key())).status == 200, "whoever is in none of this is not limited"


@pytest.mark.parametrize("settings", ["max_end_user_budget: 0.01", "max_end_user_budget_id: d"])
async def test_end_users_without_a_budget_have_the_default_one(
    start_gateway: StartGateway, books: Books, settings: str
) -> None:
    """Whether they are known or not; what they spent before counts where the budget is for ever."""
    await books.fetch(
        'INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by)'
        " VALUES ('d', 0.01, 'x', 'x'), ('more', 0.02, 'x', 'x')"
    )
    await books.fetch(
        'INSERT INTO "LiteLLM_EndUserTable" (user_id, blocked, spend, budget_id)'
        " VALUES ('known', false, 0, NULL), ('poor', false, 0.01, NULL), ('rich', false, 0, 'more')"
    )
    gateway = await start_gateway(models=CENT, settings=f"litellm_settings: {{{settings}}}")
    for user, served in (("new", 1), ("known", 1), ("poor", 0), ("rich", 2)):
        for _ in range(served):
            answer = await cent(gateway, MASTER_KEY, user=user)
            assert answer.status == 200, (user, answer.body)
        await books.posted()  # so that it is known at once that nothing comes back
        answer = await cent(gateway, MASTER_KEY, user=user)
        assert answer.status == 422, (user, answer.body)
    assert (await cent(gateway, MASTER_KEY)).status == 200


async def test_end_users_without_a_budget_have_that_which_the_key_names(
    start_gateway: StartGateway, books: Books
) -> None:
    """In place of the configured one; it follows what is said of it."""
    gateway = await start_gateway(models=CENT, settings="litellm_settings: {max_end_user_budget: 0.03}")
    await does(gateway, "POST", "/budget/new", {"budget_id": "b", "max_budget": 0.01})
    await does(gateway, "POST", "/customer/new", {"user_id": "rich", "max_budget": 0.02})
    await does(gateway, "POST", "/customer/new", {"user_id": "known"})
    key, other = await gateway.new_key(end_user_budget_id="b"), await gateway.new_key()
    for user, served in (("new", 1), ("known", 1), ("rich", 2)):
        for _ in range(served):
            assert (await cent(gateway, key, user=user)).status == 200, user
        await books.posted()
        answer = await cent(gateway, key, user=user)
        assert (answer.status, f"End User={user} over budget" in answer.body.decode()) == (422, True), answer.body
    assert (await cent(gateway, key)).status == 200
    assert (await cent(gateway, other, user="new")).status == 200
    await does(gateway, "POST", "/budget/update", {"budget_id": "b", "max_budget": 0.03})
    await soon(lambda: cent(gateway, key, user="known"), 200)
    await refused(gateway, "POST", "/budget/delete", {"id": "b"}, status=400, word="1 keys, for their end users")
    answer = await gateway.request("POST", "/key/generate", {"end_user_budget_id": "nobody's"})
    assert (answer.status, "budget of end users" in answer.body.decode()) == (400, True), answer.body


async def test_a_call_that_does_not_fit_takes_nothing_of_rates(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.01, rpm_limit=10, tpm_limit=10_000, max_parallel_requests=2)
    await within_one_minute(5)
    for _ in range(3):
        assert (await gateway.chat("cent", key=key, max_tokens=200)).status == 422
    assert (await gateway.chat("unpriced", key=key)).status == 400
    answer = await cent(gateway, key)
    assert answer.status == 200
    assert answer.headers["x-ratelimit-api_key-remaining-requests"] == "9"
    assert answer.headers["x-ratelimit-api_key-remaining-max_parallel_requests"] == "1"
    assert int(answer.headers["x-ratelimit-api_key-remaining-tokens"]) > 9000


async def test_a_call_that_no_rate_has_room_for_holds_no_money(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=1.0, rpm_limit=0)
    assert (await cent(gateway, key)).status == 429
    assert await books.fetch("SELECT FROM bursar.windows") == []


async def test_a_period_says_when_it_ends(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.01, budget_duration="1d")
    assert (await cent(gateway, key)).status == 200
    answer = await cent(gateway, key)
    assert "the budget resets at " in answer.json["error"]["message"]
    assert " 00:00:00 UTC" in answer.json["error"]["message"]


_A_DAY = {"max_budget": 0.03, "budget_duration": "1d"}
_LENGTHS = ({"budget_duration": "30d"}, {"budget_duration": "1d"})
_BUDGETS = ({"budget_id": "m"}, {"budget_id": "d"})


@pytest.mark.parametrize(
    ("made", "key", "call", "edit", "periods"),
    [
        (None, _A_DAY, {}, ("POST", "/key/update", ""), _LENGTHS),
        (None, {"budget_id": "d"}, {}, ("POST", "/key/update", ""), _BUDGETS),
        (
            ("/user/new", {"user_id": "x", **_A_DAY}),
            {"user_id": "x"},
            {},
            ("POST", "/user/update", "user_id"),
            _LENGTHS,
        ),
        (
            ("/team/new", {"team_id": "x", **_A_DAY}),
            {"team_id": "x"},
            {},
            ("POST", "/team/update", "team_id"),
            _LENGTHS,
        ),
        (
            ("/organization/new", {"organization_id": "x", "organization_alias": "X", "budget_id": "d"}),
            *({"organization_id": "x"}, {}, ("PATCH", "/organization/update", "organization_id"), _BUDGETS),
        ),
        (
            ("/customer/new", {"user_id": "x", "budget_id": "d"}),
            *({}, {"user": "x"}, ("POST", "/customer/update", "user_id"), _BUDGETS),
        ),
        (("/tag/new", {"name": "x", "budget_id": "d"}), {}, {"tags": ["x"]}, ("POST", "/tag/update", "name"), _BUDGETS),
        (None, {"budget_id": "d"}, {}, ("POST", "/budget/update", "budget_id"), _LENGTHS),
        (
            ("/customer/new", {"user_id": "x", "budget_id": "d"}),
            *({}, {"user": "x"}, ("POST", "/budget/update", "budget_id"), _LENGTHS),
        ),
    ],
    ids=["key", "key's budget", "user", "team", "organization", "customer", "tag", "budget", "customers' budget"],
)
async def test_a_period_that_comes_back_counts_what_was_spent_meanwhile(
    start_gateway: StartGateway,
    books: Books,
    made: tuple[str, dict[str, object]] | None,
    key: dict[str, object],
    call: dict[str, object],
    edit: tuple[str, str, str],
    periods: tuple[dict[str, object], ...],
) -> None:
    """From a day to a month and back: the day's budget is not had twice."""
    gateway = await start_gateway(models=CENT)
    for name, length in (("m", "30d"), ("d", "1d")):
        budget = {"budget_id": name, "max_budget": 0.03, "budget_duration": length}
        await does(gateway, "POST", "/budget/new", budget)
    if made is not None:
        await does(gateway, "POST", *made)
    secret = await gateway.new_key(**key)
    method, path, id_name = edit
    named = {"": {"key": secret}, "budget_id": {"budget_id": "d"}}.get(id_name, {id_name: "x"})
    for period in periods:
        assert (await cent(gateway, secret, **call)).status == 200
        await books.posted()
        await does(gateway, method, path, {**named, **period})
    await asyncio.sleep(0.1)  # until it is heard of
    assert [(await cent(gateway, secret, **call)).status for _ in range(2)] == [200, 422]


async def test_an_ended_period_is_not_counted_into_the_next(start_gateway: StartGateway, books: Books) -> None:
    """Between a period's end and the moment at which its row is set back, somebody raises the limit."""
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.03, budget_duration="1d", key_alias="k")
    await books.fetch(
        """UPDATE "LiteLLM_VerificationToken"
        SET spend = 0.03, budget_reset_at = now() AT TIME ZONE 'UTC' - interval '1 second' WHERE key_alias = 'k'"""
    )
    assert (await cent(gateway, key)).status == 200
    await books.posted()
    await does(gateway, "POST", "/key/update", {"key": key, "max_budget": 0.04})
    await asyncio.sleep(0.1)  # until it is heard of
    assert [(await cent(gateway, key)).status for _ in range(4)] == [200, 200, 200, 422]


async def test_a_stream_holds_and_settles(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.02, key_alias="s")
    for _ in range(2):
        answer = await gateway.chat("cent", key=key, max_tokens=100, stream=True)
        assert answer.status == 200
        assert b"[DONE]" in answer.body
    assert (await gateway.chat("cent", key=key, max_tokens=100, stream=True)).status == 422
    assert await spend_of(books, "s") == pytest.approx(0.02)


async def test_the_official_client_does_not_retry(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateway = await start_gateway(models=CENT)
    key = await gateway.new_key(max_budget=0.0)
    async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=key) as client:
        with pytest.raises(openai.UnprocessableEntityError, match="Budget has been exceeded"):
            await client.chat.completions.create(
                model="cent", messages=[{"role": "user", "content": "hello"}], max_tokens=100
            )
    assert oracle.bill() == []


async def test_the_status_is_configurable(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT, settings="litellm_settings: {budget_exceeded_status_code: 400}")
    key = await gateway.new_key(max_budget=0.0)
    answer = await cent(gateway, key)
    assert (answer.status, answer.json["error"]["code"]) == (400, "400")


async def test_the_whole_gateways_budget(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=CENT, settings="litellm_settings: {max_budget: 0.02, budget_duration: 30d}")
    statuses = [(await gateway.chat("cent", max_tokens=100)).status for _ in range(3)]
    assert statuses == [200, 200, 422]


SHARED = """
- model_name: shared
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
    max_budget: 0.02
    budget_duration: 1d
  model_info: {{id: poor}}
- model_name: shared
  litellm_params:
    model: openai/oracle?tokens=100
    api_base: {base}
    api_key: {key}
    input_cost_per_token: 0
    output_cost_per_token: 0.0001
    max_budget: 0.03
    budget_duration: 1d
  model_info: {{id: rich}}
"""


async def test_deployments_have_budgets_of_their_own(start_gateway: StartGateway, books: Books) -> None:
    """While another deployment of the group has money left, it serves the call."""
    gateway = await start_gateway(models=SHARED)
    key = await gateway.new_key()
    answers = [await gateway.chat("shared", key=key, max_tokens=100) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    served = [answer.headers["x-litellm-model-id"] for answer in answers[:5]]
    assert (served.count("poor"), served.count("rich")) == (2, 3)
    error = answers[-1].json["error"]
    assert (error["type"], error["code"]) == ("budget_exceeded", "429")
    assert error["message"].startswith("No deployments available - crossed budget: Exceeded budget for deployment")
    await books.posted()
    rows = await books.fetch("SELECT spent_nano_usd FROM bursar.windows ORDER BY 1")
    assert [row["spent_nano_usd"] for row in rows] == [20_000_000, 30_000_000]


async def test_an_ended_worker_gives_back_what_it_did_not_spend(
    oracle: RunningOracle, database_url: str, books: Books, tmp_path: Path
) -> None:
    config = config_text(oracle.base_url, models=CENT)
    async with running_gateway(config, database_url=database_url, directory=tmp_path / "a") as gateway:
        key = await gateway.new_key(max_budget=1.0)
        assert (await cent(gateway, key)).status == 200
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert (window["leased_nano_usd"], window["spent_nano_usd"]) == (10_000_000, 10_000_000)
    assert json.dumps(await books.fetch("SELECT FROM bursar.heartbeats")) == "[]"


@pytest.mark.parametrize(
    ("made", "key"),
    [
        (None, {"soft_budget": 0.015, "max_budget": 1.0}),
        (("/budget/new", {"budget_id": "b", "soft_budget": 0.015}), {"budget_id": "b"}),
        (("/team/new", {"team_id": "x", "soft_budget": 0.015}), {"team_id": "x"}),
        (
            ("/organization/new", {"organization_id": "x", "organization_alias": "X", "soft_budget": 0.015}),
            {"organization_id": "x"},
        ),
    ],
    ids=["key", "budget", "team", "organization"],
)
async def test_a_soft_budget_is_told_about_once_and_refuses_nothing(
    start_gateway: StartGateway,
    books: Books,
    caplog: pytest.LogCaptureFixture,
    made: tuple[str, dict[str, object]] | None,
    key: dict[str, object],
) -> None:
    gateway = await start_gateway(models=CENT)
    if made is not None:
        await does(gateway, "POST", *made)
    secret = await gateway.new_key(**key)

    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if "budget.soft_limit_passed" in one.getMessage()]

    for passed in (False, True, True):
        assert (await cent(gateway, secret)).status == 200
        await books.posted()
        async with asyncio.timeout(PATIENCE_S):  # it is said after what is posted can be seen
            while passed and not told():
                await asyncio.sleep(0.01)
        assert len(told()) == passed
    [message] = told()
    assert "limit_usd=0.015 spent_usd=0.02" in message
