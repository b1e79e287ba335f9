"""Which values of a stored model are sealed, and what each is bound to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import SecretUnreadable
from bursar.domain.secrets import MASK, Secret
from bursar.domain.stored_secrets import change_parameters, hidden_parameters, open_parameters
from bursar.vault.vault import Vault

VAULT = Vault(Secret("salt-0123456789"))
PARAMETERS: dict[str, Any] = {
    "model": "openai/gpt-4o",
    "api_key": "sk-canary-key",
    "api_base": "https://api.example.com/v1",
    "extra_headers": {"x-secret": "canary-header", "list": ["canary-item", 3, None]},
    "something_new": "canary-unknown",
    "rpm": 60,
    "drop_params": True,
    "tags": ["a", "b"],
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def sealed(parameters: dict[str, Any], row: str = "row") -> dict[str, Any]:
    return change_parameters(parameters, row, VAULT.seal)


def test_only_what_is_known_to_be_public_stays_in_clear() -> None:
    kept = sealed(PARAMETERS)
    assert "canary" not in str(kept)
    for name in ("model", "api_base", "rpm", "drop_params", "tags"):
        assert kept[name] == PARAMETERS[name]
    assert "canary" not in str(hidden_parameters(PARAMETERS))
    assert hidden_parameters(kept)["api_key"] == MASK


def test_numbers_that_stand_in_text_are_no_secrets() -> None:
    numbers = {
        "rpm": "10",
        "tpm": " 5 ",
        "input_cost_per_token": "0.000001",
        "output_cost_per_image": "1e-6",
        "timeout": "3.",
    }
    numbers |= {"cache_read_input_token_cost": "0.5"}
    assert sealed(numbers) == numbers
    assert hidden_parameters(numbers) == numbers
    others = {"rpm": "canary", "api_key": "10", "timeout": "10 canary", "rpm_secret": "7"}
    assert hidden_parameters(others) == dict.fromkeys(others, MASK)
    assert "canary" not in str(sealed(others))


@given(
    st.dictionaries(
        st.sampled_from([*PARAMETERS, "timeout", "input_cost_per_token", "base_url", "aws_sts_endpoint", "x"]), values
    )
)
def test_what_was_sealed_opens(parameters: dict[str, Any]) -> None:
    assert open_parameters(sealed(parameters), "row", VAULT.open) == parameters


@pytest.mark.parametrize(
    "address",
    ["https://user:canary@example.com/v1", "https://example.com/v1?key=canary", "canary", "https://a/#canary"],
)
def test_an_address_that_may_hold_a_secret_is_sealed(address: str) -> None:
    parameters = PARAMETERS | {"api_base": address}
    assert "canary" not in str(sealed(parameters))
    assert "canary" not in str(hidden_parameters(parameters))
    assert open_parameters(sealed(parameters), "row", VAULT.open) == parameters


@pytest.mark.parametrize(
    "change",
    [
        {"api_base": "https://evil.example.com/v1"},
        {"base_url": "https://evil.example.com/v1"},
        {"model": "groq/gpt-4o"},
        {"custom_llm_provider": "groq"},
        {"aws_sts_endpoint": "https://evil.example.com"},
    ],
)
def test_secrets_do_not_follow_to_another_address(change: dict[str, str]) -> None:
    with pytest.raises(SecretUnreadable):
        open_parameters(sealed(PARAMETERS) | change, "row", VAULT.open)


def test_secrets_do_not_follow_to_another_row_or_name() -> None:
    kept = sealed(PARAMETERS)
    with pytest.raises(SecretUnreadable):
        open_parameters(kept, "other row", VAULT.open)
    with pytest.raises(SecretUnreadable):
        open_parameters(kept | {"something_new": kept["api_key"]}, "row", VAULT.open)


def test_another_model_of_the_same_provider_keeps_its_secrets() -> None:
    assert open_parameters(sealed(PARAMETERS) | {"model": "openai/gpt-4o-mini"}, "row", VAULT.open)["api_key"] == (
        "sk-canary-key"
    )
