"""What the log of changes may hold."""

import pytest

from bursar.domain.audit import masked
from bursar.domain.secrets import MASK


@pytest.mark.parametrize(
    "value",
    [
        {"api_key": "canary"},
        {"litellm_params": {"aws_secret_access_key": "canary", "vertex_credentials": {"private": "canary"}}},
        {"metadata": {"logging": [{"callback_vars": {"langfuse_secret_key": "canary"}}]}},
        {"password": "canary", "Authorization": ["canary"]},
        {"note": "use sk-canary-0123456789 for this"},
        {"headers": "Bearer canary-0123456789"},
        {"url": "postgresql://user:canary@host/db"},
        {"sk-canary-0123456789": 1},
        {"session_token": "canary", "slack_webhook_url": "canary"},
    ],
)
def test_secrets_are_masked(value: object) -> None:
    hidden = str(masked(value))
    assert "canary" not in hidden
    assert MASK in hidden


@pytest.mark.parametrize(
    "value",
    [
        {"token": "0" * 64, "key_name": "sk-...9f2a", "key_alias": "ci", "spend": 1.5, "blocked": None},
        {"models": ["gpt-4o"], "tpm_limit": 5, "metadata": {"max_tokens": 7, "monkey": "see"}},
        {"api_key": None, "password": ""},
    ],
)
def test_what_is_no_secret_stays(value: object) -> None:
    assert masked(value) == value
