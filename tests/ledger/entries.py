"""Entries for tests of the books."""

import msgspec

from bursar.domain.accounting import (
    CallBody,
    Entry,
    Evidence,
    KeyNames,
    OpenBody,
    SettleBody,
    ended,
    opened,
    settled,
)
from bursar.domain.ids import AttemptId, CallId, DeploymentId, uuid7
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage

AT_US = 1_790_000_000_000_000


def ids(number: int) -> tuple[CallId, AttemptId]:
    return CallId(uuid7(AT_US // 1000, number * 2)), AttemptId(uuid7(AT_US // 1000, number * 2 + 1))


def open_entry(number: int) -> Entry:
    call, attempt = ids(number)
    body = OpenBody(provider="openai", model="gpt-4o", deployment_id=DeploymentId("d"), api_key="k" * 64)
    return opened(attempt_id=attempt, call_id=call, at_us=AT_US, body=body)


def settle_entry(number: int, cost: int, *, api_key: str = "k" * 64) -> Entry:
    call, attempt = ids(number)
    return settled(
        attempt_id=attempt,
        call_id=call,
        at_us=AT_US + 1_000_000,
        cost=NanoUsd(cost),
        evidence=Evidence.PROVIDER,
        body=SettleBody(usage=Usage(uncached_prompt_tokens=402, answer_tokens=42), api_key=api_key),
    )


def call_entry(number: int, cost: int, **changes: object) -> Entry:
    call, _ = ids(number)
    facts: dict[str, object] = {
        "request_id": f"chatcmpl-{number}",
        "api_key": "k" * 64,
        "spend_nano_usd": cost,
        "prompt_tokens": 402,
        "completion_tokens": 42,
        "start_us": AT_US,
        "end_us": AT_US + 1_250_000,
        "first_token_us": AT_US + 500_000,
        "model": "openai/gpt-4o",
        "model_id": "d",
        "model_group": "gpt-4o",
        "custom_llm_provider": "openai",
        "api_base": "https://api.openai.com/v1",
        "user": "u",
        "metadata": {"agent_name": msgspec.Raw(b'"a"')},
        "key_names": KeyNames(),
        "request_tags": ["t"],
        "requester_ip_address": "127.0.0.1",
        "litellm_call_id": f"litellm-{number}",
    }
    return ended(call_id=call, at_us=AT_US + 1_250_000, body=CallBody(**(facts | changes)))  # type: ignore[arg-type]
