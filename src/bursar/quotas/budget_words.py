"""What a client is told when a budget is used up: LiteLLM's sentence, which tools look for, and what it leaves out."""

from datetime import UTC, datetime

from bursar.domain.errors import BudgetExceeded
from bursar.domain.limits import Limits, ScopeKind, parts_of
from bursar.domain.money import usd_text

_TOTAL = "Budget has been exceeded! {who}Current cost: {spent}, Max budget: {limit}"
_OVER = "ExceededBudget: {who} over budget. Spend={spent}, Budget={limit}"
_DEPLOYMENT = (
    "No deployments available - crossed budget: Exceeded budget for deployment model_id: {who}, "
    "spend: {spent} >= {limit}"
)
_MODEL = "LiteLLM {who}: {first}, exceeded budget for model={second}. Current cost: {spent}, Max budget: {limit}"
_PERIOD = "ExceededBudget: {who} over {second} budget. Spend=${spent}, Limit=${limit}"
_SENTENCES: dict[ScopeKind, tuple[str, str]] = {
    ScopeKind.GATEWAY: (_TOTAL, ""),
    ScopeKind.KEY: (_TOTAL, "Key={name} "),
    ScopeKind.KEY_MODEL: (_MODEL, "Virtual Key"),
    ScopeKind.KEY_PERIOD: (_PERIOD, "Key"),
    ScopeKind.USER: (_OVER, "User={name}"),
    ScopeKind.USER_MODEL: (_MODEL, "User"),
    ScopeKind.TEAM: (_TOTAL, "Team={name} "),
    ScopeKind.TEAM_MODEL: (_MODEL, "Team"),
    ScopeKind.TEAM_PERIOD: (_PERIOD, "Team"),
    ScopeKind.TEAM_MEMBER: (_TOTAL, "User={name} "),
    ScopeKind.ORGANIZATION: (_TOTAL, "Organization={name} "),
    ScopeKind.ORGANIZATION_MODEL: (_MODEL, "Organization"),
    ScopeKind.END_USER: (_OVER, "End User={name}"),
    ScopeKind.END_USER_MODEL: (_MODEL, "End User"),
    ScopeKind.TAG: (_TOTAL, "Tag={name} "),
    ScopeKind.DEPLOYMENT: (_DEPLOYMENT, "{name}"),
}


def budget_exceeded(
    limits: Limits, *, limit: int, spent: int, held: int, needed: int, ends_at_s: float | None, now_s: float
) -> BudgetExceeded:
    """The refusal of a call that would hold `needed`. Amounts in nano-dollars, times in seconds since 1970."""
    sentence, who = _SENTENCES[limits.scope.kind]
    first, second = parts_of(limits.scope)
    said = sentence.format(
        who=who.format(name=limits.name or limits.scope.id),
        first=first,
        second=second,
        spent=usd_text(spent),
        limit=usd_text(limit),
    )
    details = [f"The call may cost up to {usd_text(needed)}"]
    left_s = None if ends_at_s is None else max(1, int(ends_at_s - now_s) + 1)
    if held > 0:
        details.append(f"{usd_text(held)} is held by calls under way")
    if ends_at_s is not None:
        details.append(f"the budget resets at {datetime.fromtimestamp(ends_at_s, UTC):%Y-%m-%d %H:%M:%S} UTC")
    return BudgetExceeded(
        f"{said}. {'; '.join(details)}.",
        retry_after_s=_retry_after_s(limit=limit, spent=spent, needed=needed, left_s=left_s),
        of_deployment=limits.scope.kind is ScopeKind.DEPLOYMENT,
    )


def _retry_after_s(*, limit: int, spent: int, needed: int, left_s: int | None) -> int | None:
    """When the same call may fit; None: not by waiting. `left_s`: of the period."""
    if needed > limit:
        return None
    return 1 if spent + needed <= limit else left_s  # what is only held may be free at any moment
