"""Entries for tests of the books."""

import msgspec

from bursar.domain.accounting import (
    CallBody,
    Entry,
    Evidence,
    OpenBody,
    SettleBody,
    ended,
    opened,
    settled,
)
from bursar.domain.ids import AttemptId, CallId, DeploymentId, attempt_id, call_id
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage

AT_US = 1_790_000_000_000_000


KEY = "k" * 64


def ids(number: int, attempt: int = 1) -> tuple[CallId, AttemptId]:
    call = call_id(AT_US // 1000, number)
    return call, attempt_id(call, attempt)


def open_body(**changes: object) -> OpenBody:
    facts: dict[str, object] = {
        "provider": "openai",
        "model": "gpt-4o",
        "deployment_id": DeploymentId("d"),
        "api_key": KEY,
        "start_us": AT_US,
        "model_group": "gpt-4o",
    }
    return OpenBody(**(facts | changes))  # type: ignore[arg-type]


def open_entry(number: int, attempt_number: int = 1, **changes: object) -> Entry:
    call, attempt = ids(number, attempt_number)
    body = open_body(**changes)
    return opened(attempt_id=attempt, call_id=call, at_us=AT_US, body=body)


def settle_entry(number: int, cost: int, attempt_number: int = 1, **changes: object) -> Entry:
    call, attempt = ids(number, attempt_number)
    facts: dict[str, object] = {
        "opened_us": AT_US,
        "provider": "openai",
        "model": "gpt-4o",
        "deployment_id": DeploymentId("d"),
        "usage": Usage(uncached_prompt_tokens=402, answer_tokens=42),
        "prompt_tokens": 402,
        "completion_tokens": 42,
    }
    return settled(
        attempt_id=attempt,
        call_id=call,
        at_us=AT_US + 1_000_000,
        cost=NanoUsd(cost),
        evidence=Evidence.PROVIDER,
        body=SettleBody(**(facts | changes)),  # type: ignore[arg-type]
    )


def call_entry(number: int, **changes: object) -> Entry:
    call, attempt = ids(number)
    facts: dict[str, object] = {
        "request_id": f"chatcmpl-{number}",
        "attempt_id": attempt,
        "api_key": KEY,
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
        "request_tags": ["t"],
        "requester_ip_address": "127.0.0.1",
        "litellm_call_id": f"litellm-{number}",
    }
    return ended(call_id=call, at_us=AT_US + 1_250_000, body=CallBody(**(facts | changes)))  # type: ignore[arg-type]
