"""What a refusal for a budget says."""

import pytest

from bursar.domain.limits import Limits, Scope, ScopeKind, model_scope
from bursar.quotas.budget_words import budget_exceeded

TEAM = Scope(ScopeKind.TEAM, "t")
CENT = 10_000_000


@pytest.mark.parametrize("scope", [TEAM, model_scope(TEAM, "gpt-4o"), Scope(ScopeKind.END_USER, "t")])
def test_limit_and_what_is_spent(scope: Scope) -> None:
    refusal = budget_exceeded(
        Limits(scope=scope), limit=5 * CENT, spent=3 * CENT, held=CENT, needed=2 * CENT, ends_at_s=1000.0, now_s=0.0
    )
    assert "=0.03, Budget=0.05" in refusal.message or "Current cost: 0.03, Max budget: 0.05. " in refusal.message
    assert "may cost up to 0.02; 0.01 is held by calls under way; the budget resets at 1970-01-01 00:16:40 UTC." in (
        refusal.message
    )


@pytest.mark.parametrize(
    ("needed", "ends_at_s", "retry_after_s"),
    [
        pytest.param(3, 60.0, 61, id="when the period ends"),
        pytest.param(3, None, None, id="never: the period does not end"),
        pytest.param(6, 60.0, None, id="never: it is more than the limit"),
        pytest.param(2, 60.0, 1, id="at any moment: what it lacks is only held"),
        pytest.param(2, None, 1, id="the same of a period that does not end"),
    ],
)
def test_when_to_try_again(needed: int, ends_at_s: float | None, retry_after_s: int | None) -> None:
    refusal = budget_exceeded(
        Limits(scope=TEAM), limit=5, spent=3, held=2, needed=needed, ends_at_s=ends_at_s, now_s=0.0
    )
    assert refusal.retry_after_s == retry_after_s
