"""Limits, from LiteLLM's columns to what a call has to fit into."""

import json
from datetime import UTC, datetime
from math import inf, nan

import pytest

from bursar.domain.ids import KeyHash
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind, member_scope, model_scope
from bursar.store.database import Database
from bursar.store.keys import PostgresKeys
from bursar.store.limits import model_limits, nano_of, tag_limits

RESET = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        (None, None),
        (1.0, 1_000_000_000),
        (0.1 + 0.2, 300_000_000),
        (0.0, 0),
        (-3.0, 0),
        (nan, 0),
        (inf, None),
        (1e18, None),
    ],
)
def test_money_of_a_column(usd: float | None, nano: int | None) -> None:
    assert nano_of(usd) == nano


async def test_a_key_brings_the_limits_of_all_it_belongs_to(database: Database) -> None:
    async with database.connection() as connection:
        for number, budget in enumerate(("kb", "mb", "ob")):
            await connection.execute(
                """INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, soft_budget, budget_duration,
                budget_reset_at, rpm_limit, created_by, updated_by) VALUES ($1, $2, 0.5, '1d', $3, $4, 'x', 'x')""",
                budget,
                number + 1.0,
                RESET.replace(tzinfo=None),
                number + 1,
            )
        await connection.execute(
            """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by,
            updated_by) VALUES ('o', 'Org', 'ob', 'x', 'x')"""
        )
        await connection.execute(
            """INSERT INTO "LiteLLM_TeamTable" (team_id, organization_id, max_budget, soft_budget, updated_at)
            VALUES ('t', 'o', 7, 6, now())"""
        )
        await connection.execute(
            """INSERT INTO "LiteLLM_UserTable" (user_id, tpm_limit, max_parallel_requests) VALUES ('u', 500, 3)"""
        )
        await connection.execute(
            """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id) VALUES ('u', 't', 'mb')"""
        )
        await connection.execute(
            """INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, team_id, user_id, budget_id,
            rpm_limit, model_max_budget, metadata) VALUES ('k', 'sk-...abcd', 'ci', 't', 'u', 'kb', 9,
            '{"gpt-4o": {"budget_limit": 2, "time_period": "1d"}, "bare": 5}',
            '{"model_tpm_limit": {"gpt-4o": 100}}')"""
        )
        await connection.execute("""INSERT INTO "LiteLLM_VerificationToken" (token) VALUES ('free')""")
    keys = PostgresKeys(database)
    found = await keys.find(KeyHash("k"))
    assert found is not None
    reset_s = RESET.timestamp()
    assert found.limits == (
        Limits(
            scope=Scope(ScopeKind.KEY, "k"),
            name="ci (sk-...abcd)",
            budget=Budget(nano_of(1.0), "1d", reset_s),  # type: ignore[arg-type]
            soft_budget=nano_of(0.5),
            requests_per_minute=9,
            models={
                "gpt-4o": Limits(
                    scope=model_scope(Scope(ScopeKind.KEY, "k"), "gpt-4o"),
                    budget=Budget(nano_of(2.0), "1d"),  # type: ignore[arg-type]
                    tokens_per_minute=100,
                )
            },
        ),
        Limits(scope=Scope(ScopeKind.USER, "u"), tokens_per_minute=500, parallel_calls=3),
        Limits(
            scope=Scope(ScopeKind.TEAM, "t"),
            budget=Budget(nano_of(7.0)),  # type: ignore[arg-type]
            soft_budget=nano_of(6.0),
        ),
        Limits(
            scope=member_scope("t", "u"),
            name="u in Team=t",
            budget=Budget(nano_of(2.0), "1d", reset_s),  # type: ignore[arg-type]
            soft_budget=nano_of(0.5),
            requests_per_minute=2,
        ),
        Limits(
            scope=Scope(ScopeKind.ORGANIZATION, "o"),
            budget=Budget(nano_of(3.0), "1d", reset_s),  # type: ignore[arg-type]
            soft_budget=nano_of(0.5),
            requests_per_minute=3,
        ),
    )
    free = await keys.find(KeyHash("free"))
    assert free is not None
    assert free.limits == ()


async def test_a_team_limits_single_models(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            """INSERT INTO "LiteLLM_TeamTable" (team_id, updated_at, model_max_budget, metadata) VALUES ('a/b', now(),
            '{"gpt-4o": {"max_budget": 2, "rpm_limit": 3}}',
            '{"model_rpm_limit": {"o1": 4, "gpt-4o": 9}, "model_tpm_limit": {"o1": 5}}')"""
        )
        await connection.execute("""INSERT INTO "LiteLLM_VerificationToken" (token, team_id) VALUES ('k', 'a/b')""")
    found = await PostgresKeys(database).find(KeyHash("k"))
    assert found is not None
    team = Scope(ScopeKind.TEAM, "a/b")
    budget = Budget(nano_of(2.0))  # type: ignore[arg-type]
    assert found.limits == (
        Limits(
            scope=team,
            models={
                "gpt-4o": Limits(
                    scope=Scope(ScopeKind.TEAM_MODEL, "a%2Fb/gpt-4o"), budget=budget, requests_per_minute=3
                ),
                "o1": Limits(scope=model_scope(team, "o1"), requests_per_minute=4, tokens_per_minute=5),
            },
        ),
    )


def test_limits_of_models_that_say_nothing() -> None:
    stated: dict[str, object] = {"a": {}, "b": {"budget_limit": "5"}, "c": {"budget_limit": True}, "d": None}
    key = Scope(ScopeKind.KEY, "k")
    assert model_limits(key, json.dumps(stated), {"model_rpm_limit": {"e": None}, "model_tpm_limit": 7}) == {}
    assert model_limits(key, None, {}) == model_limits(key, "[5]", {}) == {}


def test_limits_of_tags() -> None:
    stated: dict[str, object] = {"tag_rpm_limit": {"a": 1, "b/c": 0}, "tag_tpm_limit": {"a": 5, "d": None, "e": "7"}}
    assert tag_limits("k", stated) == {
        "a": Limits(scope=Scope(ScopeKind.KEY_TAG, "k/a"), requests_per_minute=1, tokens_per_minute=5),
        "b/c": Limits(scope=Scope(ScopeKind.KEY_TAG, "k/b/c"), requests_per_minute=0),
    }
    assert tag_limits("k", {"tag_rpm_limit": 5}) == {}
