"""What counts as a secret, and what a mask that comes back stands for."""

import tracemalloc

import msgspec
import pytest

from bursar.domain.masking import masked, masked_kept, masked_row, unmasked
from bursar.domain.secrets import MASK
from bursar.domain.storable import storable_members


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
        {"list": [{"token": "canary"}], "slackToken": "canary"},
        {"slack": "xoxb-123456-canary", "github": "ghp_canary0123456789abc", "x": "glpat-canary0123456789"},
        {
            "langfuse_secret_key": "canary",
            "router_settings": {"model_list": [{"litellm_params": {"api-key": "canary"}}]},
        },
        {"hook": "https://hooks.slack.com/services/canary/B0/x"},
        {"pem": "-----BEGIN PRIVATE KEY-----\ncanary+/=\n-----END PRIVATE KEY-----"},
        {"pem": "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,0F\n\ncanary"},
    ],
)
def test_secrets_are_masked(value: object) -> None:
    hidden = str(masked(value))
    assert "canary" not in hidden
    assert MASK in hidden


def test_only_the_key_is_cut_out_of_a_text() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\ncanary\n-----END EC PRIVATE KEY-----"
    assert masked(f"before {key} after") == f"before {MASK} after"


@pytest.mark.parametrize(
    "value",
    [
        {"key_name": "sk-...9f2a", "key_alias": "ci", "spend": 1.5, "blocked": None},
        {"user_api_key": "0" * 64, "input_cost_per_token": "0.000001", "output_cost_per_audio_token": "0.1"},
        {"litellm_credential_name": "azure", "service_account_id": "nightly", "kind": "risk-assessment, task-planning"},
        {"models": ["gpt-4o"], "tpm_limit": 5, "metadata": {"max_tokens": 7, "monkey": "see"}},
        {"api_key": None, "password": ""},
    ],
)
def test_what_is_no_secret_stays(value: object) -> None:
    assert masked(value) == value


def test_hashes_stay_in_the_rows_of_keys_and_nowhere_deeper() -> None:
    """A secret of somebody else's may look like one."""
    row = {"token": "0" * 64, "metadata": {"token": "1" * 64}}
    assert masked_row(row) == {"token": "0" * 64, "metadata": {"token": MASK}}
    assert masked_row({"token": "a-plain-one"}) == {"token": MASK}


def test_a_mask_that_comes_back_stands_for_what_is_there() -> None:
    before = {
        "logging": [{"callback_vars": {"langfuse_secret_key": "one", "langfuse_host": "here"}}],
        "url": "https://user:password@host/",
        "password": {"deep": "two"},
    }
    seen = masked(before)
    assert seen != before
    assert unmasked(seen, before) == before
    assert isinstance(seen, dict)
    changed = {**seen, "url": "https://other/", "new": MASK, "password": "three"}
    assert unmasked(changed, before) == {**before, "url": "https://other/", "new": MASK, "password": "three"}
    assert unmasked({"logging": [*seen["logging"], {"a": 1}]}, before) == {"logging": [*before["logging"], {"a": 1}]}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": "plain", "n": 1, "tags": ["x"]}, {"a": "plain", "n": 1, "tags": ["x"]}),
        ({"api_key": "abc"}, {"api_key": MASK}),
        ({"a": {"b": [{"password": "abc"}]}}, {"a": {"b": [{"password": MASK}]}}),
        ({"a": "with sk-0123456789 in it"}, {"a": f"with {MASK} in it"}),
        ({"sk-0123456789": 1}, {MASK: 1}),
        ({"a": "eyJ-" * 5000 + "." * 10}, {"a": MASK}),
    ],
)
def test_what_is_kept_encoded_is_masked_the_same(value: dict[str, object], kept: dict[str, object]) -> None:
    encoded, left_out = storable_members(value, max_bytes=65536)
    found = masked_kept(encoded)
    assert {name: msgspec.json.decode(raw) for name, raw in found.items()} == kept == masked(value)
    assert left_out == []


def test_a_long_text_takes_no_memory_to_look_at() -> None:
    """What looks like a key that never ends may be as long as a request."""
    text = "-----BEGIN PRIVATE KEY-----" + "a" * 1_000_000
    tracemalloc.start()
    try:
        assert masked(text) == MASK
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
