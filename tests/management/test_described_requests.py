"""Requests made of our own `/openapi.json`, right ones and wrong ones: none brings us down, and every answer is one
that the description speaks of."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.matrix import AWAY, HOME, furnish, hash_of
from tests.management.test_edges_of_time import DATES, DURATIONS, NO_DATES

Operation = APIOperation[Any, Any, Any, Any]

CALLERS = ("administrator", "org-admin", "member")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UNAVAILABLE = ("/cache/ping", "/cache/delete", "/cache/flushall")
"""There is no cache, and LiteLLM's word for that is 503."""
CALLING = ("/health",)
"""What calls providers, as calls of chat do: what they answer is theirs."""
DAYS = ("2025-01-01", "2026-12-31", "2026-11-27 12:00:00")
_OBJECT = "sk-object-of-member-0001"
EXISTING = {
    "key": (_OBJECT, hash_of(_OBJECT), AWAY["key"]),
    "api_key": (hash_of(_OBJECT), AWAY["hash"]),
    "key_hash": (hash_of(_OBJECT), AWAY["hash"]),
    "team_id": (HOME["team"], AWAY["team"]),
    "user_id": ("member", "stranger"),
    "organization_id": (HOME["organization"], AWAY["organization"]),
    "end_user_id": (HOME["customer"], AWAY["customer"]),
    "budget_id": (HOME["budget"], AWAY["budget"]),
    "name": (HOME["tag"], AWAY["tag"]),
    "model": ("oracle", "a-model", "at/*"),
    "model_name": ("oracle", "a-model", "at/*"),
    "model_id": ("a-model", "the-oracle"),
    "id": ("a-model", HOME["budget"]),
    "credential_name": ("a-credential",),
    **dict.fromkeys(("start_date", "end_date", "startTime", "endTime"), (*DAYS * 5, *DATES, *NO_DATES)),
    **dict.fromkeys(("temp_budget_expiry",), (*DAYS, *DATES, *NO_DATES)),
    **dict.fromkeys(
        (
            *("duration", "budget_duration", "grace_period", "time_period"),
            *("team_member_budget_duration", "team_member_key_duration"),
        ),
        DURATIONS,
    ),
}
"""What many requests have to name, since text made at random hits nothing that exists, no date and no period."""


def naming_what_exists(part: object, dice: Random, *, written: Callable[[str], str] = str) -> None:
    """Put ids that exist, as they are `written` there, in place of some of those made up."""
    if isinstance(part, MutableMapping):
        for name in part:
            if name in EXISTING and isinstance(part[name], str) and dice.random() < 0.7:
                part[name] = written(dice.choice(EXISTING[name]))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def operations(description: dict[str, Any]) -> Iterator[Operation]:
    """Without a word about keys: ours is to be used, and not one made up."""
    del description["security"], description["components"]["securitySchemes"]
    for found in schemathesis.openapi.from_dict(description).get_all_operations():
        assert isinstance(found, Ok)
        if found.ok().path not in CALLING and not found.ok().path.endswith("/chat/completions"):
            yield found.ok()


def ask(operation: Operation, url: str, key: str, *, cases: int, always_the_same: bool) -> Counter[int]:
    """So many requests that fit the description, and as many that do not; what they were answered."""
    answered: Counter[int] = Counter()
    with requests.Session() as session:
        session.trust_env = False

        def check(case: Case[Any], dice: Random) -> None:
            for part in (case.body, case.query):
                naming_what_exists(part, dice)
            naming_what_exists(case.path_parameters, dice, written=_quoted)
            answer = case.call(base_url=url, session=session, headers={"authorization": f"Bearer {key}"})
            answered[answer.status_code] += 1
            wrong = mode is GenerationMode.NEGATIVE and not list(
                operation.body
            )  # of bodies unknown fields are passed over
            checks = [*CHECKS, negative_data_rejection] if wrong else CHECKS
            if operation.path in UNAVAILABLE and answer.status_code == 503:
                checks = [one for one in checks if one is not not_a_server_error]
            case.validate_response(answer, checks=checks)

        for mode in GenerationMode:
            if mode is GenerationMode.NEGATIVE and not (list(operation.body) or list(operation.query)):
                continue  # nothing about it can be wrong: in a path any text is an id
            given_cases = given(operation.as_strategy(generation_mode=mode), st.randoms(use_true_random=False))(check)
            settings(
                max_examples=cases,
                phases=[Phase.explicit, Phase.generate],
                deadline=None,
                database=None,
                derandomize=always_the_same,
                suppress_health_check=list(HealthCheck),
            )(given_cases)()
    return answered


async def ask_all(gateway: Gateway, books: Books, caller: str, *, cases: int, always_the_same: bool) -> Counter[int]:
    """Of every operation there is, by `caller`."""
    description = (await gateway.request("GET", "/openapi.json", key=None)).json
    answered: Counter[int] = Counter()
    chapter = ""
    for operation in operations(description):
        if operation.path.split("/")[1] != chapter:
            chapter = operation.path.split("/")[1]
            await furnish(books)  # what others have deleted
        key = MASTER_KEY if caller == "administrator" else await gateway.new_key(user_id=caller)  # which it may delete
        answered += await asyncio.to_thread(
            ask, operation, gateway.url, key, cases=cases, always_the_same=always_the_same
        )
    print(f"{caller}: {answered.total()} cases, {dict(answered)}")
    return answered


@pytest.mark.parametrize("caller", CALLERS)
async def test_answers_are_as_described(
    gateway: Gateway, books: Books, caller: str, caplog: pytest.LogCaptureFixture
) -> None:
    """2,000 cases for all callers together, the same each time."""
    answered = await ask_all(gateway, books, caller, cases=3, always_the_same=True)
    assert answered.total() >= 2000 / len(CALLERS)
    assert answered[200] > 50, "some of them did something"
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.long
@pytest.mark.parametrize("caller", CALLERS)
async def test_answers_are_as_described_however_often(
    gateway: Gateway, books: Books, caller: str, caplog: pytest.LogCaptureFixture
) -> None:
    """20,000 of them, others each time."""
    answered = await ask_all(gateway, books, caller, cases=30, always_the_same=False)
    assert answered.total() >= 20_000 / len(CALLERS)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
