"""What answers and refusals tell of rate limits."""

import pytest

from bursar.domain.limits import Limits, Scope, ScopeKind, member_scope, model_scope
from bursar.domain.rate_limits import LimitKind, Need, RateBook, stated_limits
from bursar.gateway.rate_headers import RateLines, refusal
from bursar.ports.limits import RateLimitReached


def lines_of(*limits: Limits, model: str = "m", upstream: tuple[tuple[bytes, bytes], ...] = ()) -> list[str]:
    """After one call."""
    book = RateBook()
    plan = book.plan(stated_limits(limits))
    for bucket in plan.buckets:
        bucket.share = bucket.limit
    assert book.admit(plan, Need(10, 0)) is not None
    lines = RateLines(plan.buckets, model=model, until_reset_s=lambda: 37)
    return lines.lines(list(upstream)).decode().split("\r\n")[:-1]


WORDS = [
    (ScopeKind.KEY, "api_key"),
    (ScopeKind.USER, "user"),
    (ScopeKind.TEAM, "team"),
    (ScopeKind.TEAM_MEMBER, "team_member"),
    (ScopeKind.ORGANIZATION, "organization"),
    (ScopeKind.END_USER, "end_user"),
    (ScopeKind.TAG, "tag"),
    (ScopeKind.KEY_MODEL, "model_per_key"),
    (ScopeKind.KEY_TAG, "tag_per_key"),
    (ScopeKind.TEAM_MODEL, "model_per_team"),
    (ScopeKind.ORGANIZATION_MODEL, "model_per_organization"),
    (ScopeKind.USER_MODEL, "model_per_user"),
    (ScopeKind.END_USER_MODEL, "model_per_end_user"),
    (ScopeKind.GATEWAY, "global"),
]


@pytest.mark.parametrize(("kind", "word"), WORDS)
def test_each_scope_has_its_word(kind: ScopeKind, word: str) -> None:
    assert lines_of(Limits(scope=Scope(kind, "x"), parallel_calls=3)) == [
        f"x-ratelimit-{word}-limit-max_parallel_requests: 3",
        f"x-ratelimit-{word}-remaining-max_parallel_requests: 2",
    ]


def test_requests_and_tokens_and_when_they_begin_anew() -> None:
    assert lines_of(Limits(scope=Scope(ScopeKind.KEY, "k"), requests_per_minute=1, tokens_per_minute=100)) == [
        "x-ratelimit-api_key-limit-requests: 1",
        "x-ratelimit-api_key-remaining-requests: 0",
        "x-ratelimit-api_key-limit-tokens: 100",
        "x-ratelimit-api_key-remaining-tokens: 90",
        "x-ratelimit-reset-requests: 37s",
        "x-ratelimit-reset-tokens: 37s",
    ]


def test_the_model_of_a_key_is_named_as_http_can() -> None:
    limits = Limits(scope=model_scope(Scope(ScopeKind.KEY, "k"), "x"), requests_per_minute=2)
    assert lines_of(limits, model="openai/gpt:4 100%é")[2:3] == [
        "x-litellm-key-remaining-requests-openai-gpt-4-100%-: 1"
    ]


def test_of_several_tags_the_tightest() -> None:
    tags = [Limits(scope=Scope(ScopeKind.TAG, name), parallel_calls=n) for name, n in (("a", 9), ("b", 2), ("c", 5))]
    assert lines_of(*tags) == [
        "x-ratelimit-tag-limit-max_parallel_requests: 2",
        "x-ratelimit-tag-remaining-max_parallel_requests: 1",
    ]


DEPLOYMENT = Limits(scope=Scope(ScopeKind.DEPLOYMENT, "d"), requests_per_minute=5, tokens_per_minute=50)


def test_a_deployments_limits_have_the_plain_names() -> None:
    assert lines_of(DEPLOYMENT) == [
        "x-ratelimit-limit-requests: 5",
        "x-ratelimit-remaining-requests: 4",
        "x-ratelimit-limit-tokens: 50",
        "x-ratelimit-remaining-tokens: 40",
        "x-ratelimit-reset-requests: 37s",
        "x-ratelimit-reset-tokens: 37s",
    ]


def test_which_the_providers_own_go_before() -> None:
    theirs = ((b"x-ratelimit-remaining-requests", b"99"), (b"x-ratelimit-reset-requests", b"6ms"), (b"server", b"x"))
    assert lines_of(DEPLOYMENT, upstream=theirs) == [
        "x-ratelimit-limit-tokens: 50",
        "x-ratelimit-remaining-tokens: 40",
        "x-ratelimit-reset-tokens: 37s",
    ]


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (Scope(ScopeKind.KEY, "0f"), "api_key: 0f"),
        (member_scope("t", "u/1"), "team_member: t:u/1"),
        (member_scope("t/1%", "u"), "team_member: t/1%:u"),
        (model_scope(Scope(ScopeKind.KEY, "0f"), "openai/gpt"), "model_per_key: 0f:openai/gpt"),
        (model_scope(Scope(ScopeKind.TEAM, "a/b"), "openai/gpt"), "model_per_team: a/b:openai/gpt"),
        (Scope(ScopeKind.GATEWAY, ""), "global: gateway"),
        (Scope(ScopeKind.END_USER, "a/b"), "end_user: a/b"),
    ],
)
def test_refusals_name_scope_limit_and_reset(scope: Scope, said: str) -> None:
    told = refusal(
        RateLimitReached(
            scope=scope, kind=LimitKind.TOKENS, limit=9, remaining=1, reset_at_s=1_800_000_000.0, retry_after_s=12
        )
    )
    assert told.message == (
        f"Rate limit exceeded for {said}. Limit type: tokens. Current limit: 9, Remaining: 1. "
        "Limit resets at: 2027-01-15 08:00:00 UTC"
    )
    assert (told.limit_type, told.reset_at, told.retry_after_s) == ("tokens", "2027-01-15 08:00:00 UTC", 12)
