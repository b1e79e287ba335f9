"""What a caller may use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import Forbidden
from bursar.domain.ids import KeyHash
from bursar.domain.permissions import (
    INFO_ROUTES,
    LLM_ROUTES,
    check_route,
    matches_wildcard,
    may_use_model,
    may_use_route,
)
from bursar.domain.principals import Principal, Role


@pytest.mark.parametrize(
    ("wildcard", "name", "fits"),
    [
        ("*", "", True),
        ("*", "anything/at all", True),
        ("a*", "a", True),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*c", "abcd", False),
        ("*a", "ba", True),
        ("*a*", "xax", True),
        ("a", "a", True),
        ("a", "ab", False),
        ("gpt-4.1*", "gpt-4x1", False),
        ("[a-z]*", "b", False),
        ("(*", "(b", True),
        ("a*", "A", False),
        ("a*", "a\nb", False),
    ],
)
def test_wildcards(wildcard: str, name: str, fits: bool) -> None:
    assert matches_wildcard(wildcard, name) is fits


@given(st.text("ab/*.", max_size=8), st.text("ab/.", max_size=8))
def test_a_star_stands_for_anything_and_nothing_else_does(wildcard: str, name: str) -> None:
    def fits(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(fits(pattern[1:], text[start:]) for start in range(len(text) + 1))
        return bool(text) and text[0] == pattern[0] and fits(pattern[1:], text[1:])

    assert matches_wildcard(wildcard, name) == fits(wildcard, name)


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ([], True),
        (["*"], True),
        (["all-proxy-models"], True),
        (["all-team-models"], True),
        (["other", "*"], True),
        (["gpt"], True),
        (["openai/gpt"], False),
        (["openai/*"], True),
        (["openai/g*"], True),
        (["azure/*"], False),
        (["beta"], True),
        (["be*"], False),
        (["gpt-4o"], False),
        (["other"], False),
        ([""], False),
        (["no-default-models"], False),
    ],
)
def test_models(allowed: list[str], may: bool) -> None:
    """Known as `gpt`, served by openai, in the access group `beta`."""
    assert may_use_model(allowed, {"gpt"}, {"beta"}, {"openai"}) is may


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ([], True),
        (["llm_api_routes"], True),
        (["openai_routes"], True),
        (["info_routes"], False),
        (["/v1/chat/completions"], True),
        (["/v1/chat"], False),
        (["/v1/chat/*"], True),
        (["/v1/*"], True),
        (["/*"], True),
        (["/v1/chat/comp*"], False),
        (["*"], False),
        (["/V1/*"], False),
    ],
)
def test_routes(allowed: list[str], may: bool) -> None:
    path = "/v1/chat/completions"
    assert may_use_route(allowed, path, LLM_ROUTES) is may
    principal = Principal(role=Role.PROXY_ADMIN, api_key=KeyHash("k"), allowed_routes=tuple(allowed))
    if may:
        check_route(principal, path, LLM_ROUTES)
    else:
        with pytest.raises(Forbidden, match="Tried to call route: /v1/chat/completions"):
            check_route(principal, path, LLM_ROUTES)


def test_a_path_may_belong_to_two_groups() -> None:
    assert may_use_route(["info_routes"], "/v1/models", LLM_ROUTES | INFO_ROUTES)
