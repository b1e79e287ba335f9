"""Rate limits as callers meet them: refused where a limit has no room, told where it has."""

import asyncio
import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, PROMPT_TOKENS, Books, Gateway
from tests.gateway.test_hang_ups import arrived
from tests.gateway.windows import within_one_minute
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:00 UTC")
SLOW = "at/head_ms=400"


async def statuses(gateway: Gateway, calls: int, **options: Any) -> list[int]:
    return [(await gateway.chat(**options)).status for _ in range(calls)]


def limits_in(answer: Answer) -> dict[str, str]:
    """Those of the gateway's scopes; the plain names are the provider's."""
    return {n: v for n, v in answer.headers.items() if re.match("x-ratelimit-(?!limit-|remaining-|reset-)", n)}


# --- refusals ---


async def test_a_refusal(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    await within_one_minute(20)
    key = await gateway.new_key(rpm_limit=2)
    [row] = await books.fetch('SELECT token FROM "LiteLLM_VerificationToken"')
    assert await statuses(gateway, 2, key=key) == [200, 200]
    now = time.time()
    answer = await gateway.chat(key=key)
    reset_at = datetime.fromtimestamp((now // 60 + 1) * 60, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert STAMP.fullmatch(reset_at)
    assert answer.status == 429
    assert answer.json == {
        "error": {
            "message": f"Rate limit exceeded for api_key: {row['token']}. Limit type: requests. Current limit: 2, "
            f"Remaining: 0. Limit resets at: {reset_at}",
            "type": "throttling_error",
            "param": None,
            "code": "429",
        }
    }
    assert answer.headers["rate_limit_type"] == "requests"
    assert answer.headers["reset_at"] == reset_at
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert abs(now + int(answer.headers["retry-after"]) - (now // 60 + 1) * 60) < 2
    assert answer.headers["x-litellm-call-id"]
    assert len(oracle.requests) == 2, "the provider was not asked"


async def test_a_refused_call_is_on_the_books(gateway: Gateway, books: Books) -> None:
    await within_one_minute(20)
    key = await gateway.new_key(rpm_limit=1)
    assert await statuses(gateway, 2, key=key) == [200, 429]
    assert await books.kinds() == ["settle", "call", "call"]
    row = (await books.rows())[-1]
    assert (row["status"], row["spend"]) == ("failure", 0.0)
    assert row["metadata"]["error_information"]["error_class"] == "RateLimited"
    assert row["metadata"]["error_information"]["error_code"] == "429"


async def test_the_official_client_knows_it(gateway: Gateway) -> None:
    await within_one_minute(20)
    key = await gateway.new_key(rpm_limit=1)
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        asked: Any = {"model": "oracle", "messages": MESSAGES}
        await client.chat.completions.create(**asked)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**asked)
        assert caught.value.type == "throttling_error"
        assert int(caught.value.response.headers["retry-after"]) >= 1


async def test_the_official_client_waits_as_long_as_it_is_told(gateway: Gateway, oracle: RunningOracle) -> None:
    key = await gateway.new_key(max_parallel_requests=1)
    first = asyncio.create_task(gateway.chat(SLOW, key=key))
    await arrived(oracle)
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=key, max_retries=1) as client:
        begun = time.monotonic()
        asked: Any = {"model": "oracle", "messages": MESSAGES}
        await client.chat.completions.create(**asked)
        assert time.monotonic() - begun >= 1.0
    assert (await first).status == 200
    assert len(oracle.requests) == 2


# --- each scope ---

SCOPES = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, {limit}, created_by, updated_by) VALUES ('b', 1, 'x', 'x');
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
    VALUES ('org', 'Org', 'b', 'x', 'x');
INSERT INTO "LiteLLM_TeamTable" (team_id, {limit}, updated_at) VALUES ('limited', 1, now());
INSERT INTO "LiteLLM_TeamTable" (team_id, updated_at) VALUES ('free', now());
INSERT INTO "LiteLLM_TeamTable" (team_id, organization_id, updated_at) VALUES ('of-org', 'org', now());
INSERT INTO "LiteLLM_UserTable" (user_id, {limit}) VALUES ('owner', 1);
INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ('member');
INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, budget_id) VALUES ('member', 'free', 'b');
INSERT INTO "LiteLLM_EndUserTable" (user_id, blocked, budget_id) VALUES ('customer', false, 'b');
INSERT INTO "LiteLLM_TagTable" (tag_name, models, budget_id, created_by, updated_at)
    VALUES ('tagged', '{{}}', 'b', 'x', now());
"""


@pytest.mark.parametrize(
    ("key_settings", "call", "word", "value"),
    [
        ({"user_id": "owner"}, {}, "user", "owner"),
        ({"team_id": "limited"}, {}, "team", "limited"),
        ({"team_id": "free", "user_id": "member"}, {}, "team_member", "free:member"),
        ({"team_id": "of-org"}, {}, "organization", "org"),
        ({}, {"user": "customer"}, "end_user", "customer"),
        ({}, {"metadata": {"tags": ["other", "tagged"]}}, "tag", "tagged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_scopes_of_the_tables(
    start_gateway: StartGateway, books: Books, key_settings: dict[str, str], call: dict[str, Any], word: str, value: str
) -> None:
    for statement in SCOPES.format(limit="rpm_limit").split(";"):
        await books.fetch(statement)
    gateway = await start_gateway()
    key = await gateway.new_key(**key_settings)
    await within_one_minute(20)
    first, second = [await gateway.chat(key=key, **call) for _ in range(2)]
    assert first.status == 200
    assert limits_in(first).items() >= {
        (f"x-ratelimit-{word}-limit-requests", "1"),
        (f"x-ratelimit-{word}-remaining-requests", "0"),
    }
    assert second.status == 429
    assert f"Rate limit exceeded for {word}: {value}. Limit type: requests." in second.json["error"]["message"]
    other = await gateway.chat()
    assert other.status == 200, "whoever is in none of this is not limited"


async def test_a_model_of_a_key(gateway: Gateway) -> None:
    key = await gateway.new_key(metadata={"model_rpm_limit": {"oracle": 1}, "model_tpm_limit": {"tokens=5": 40}})
    await within_one_minute(20)
    first, second = [await gateway.chat(key=key) for _ in range(2)]
    assert (first.status, second.status) == (200, 429)
    assert first.headers["x-ratelimit-model_per_key-limit-requests"] == "1"
    assert first.headers["x-litellm-key-remaining-requests-oracle"] == "0"
    assert re.search(r"for model_per_key: [0-9a-f]{64}:oracle\. Limit type: requests", second.body.decode())
    by_last_part = await gateway.chat("at/tokens=5", key=key)
    assert by_last_part.status == 200
    assert by_last_part.headers["x-litellm-key-remaining-tokens-at-tokens-5"] == str(40 - PROMPT_TOKENS - 5)
    assert (await gateway.chat("at/tokens=6", key=key)).status == 200


async def test_a_tag_of_a_key(gateway: Gateway) -> None:
    """Whether the call names it or the key has it; two keys have nothing to do with each other."""
    first, second = [
        await gateway.new_key(tag_rpm_limit={"a": 1, "mine": 3}, tag_tpm_limit={"b": 20}, tags=["mine"])
        for _ in range(2)
    ]
    await within_one_minute(20)

    async def tagged(key: str, *tags: str) -> Answer:
        return await gateway.chat("at/tokens=5", key=key, metadata={"tags": list(tags)})

    answer = await tagged(first, "a", "a", "c")
    assert limits_in(answer).items() >= {
        ("x-ratelimit-tag_per_key-limit-requests", "1"),
        ("x-ratelimit-tag_per_key-remaining-requests", "0"),
    }
    refused = await tagged(first, "c", "a")
    assert refused.status == 429
    assert re.search(r"for tag_per_key: [0-9a-f]{64}:a\. Limit type: requests", refused.body.decode())
    assert (await tagged(second, "a")).status == 200
    assert [(await tagged(first, "b")).status for _ in range(2)] == [200, 429], "tokens"
    assert [(await tagged(first)).status for _ in range(2)] == [200, 429], "the key's own tag"
    assert (await gateway.chat()).status == 200


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ("litellm_settings: {rpm: 1}", "requests"),
        ("litellm_settings: {tpm: 20}", "tokens"),
        ("general_settings: {global_max_parallel_requests: 1}", "max_parallel_requests"),
        ("general_settings: {max_parallel_requests: 1, global_max_parallel_requests: 5}", "max_parallel_requests"),
    ],
)
async def test_the_whole_gateway(start_gateway: StartGateway, oracle: RunningOracle, settings: str, kind: str) -> None:
    gateway = await start_gateway(settings=settings)
    key = await gateway.new_key()
    await within_one_minute(20)
    first = asyncio.create_task(gateway.chat("at/head_ms=300&tokens=1"))
    await arrived(oracle)
    if kind == "tokens":
        await first  # only then it is known that they are used up
    refused = await gateway.chat("at/tokens=1", key=key, messages=[{"role": "user", "content": "x" * 64}])
    assert refused.status == 429
    assert refused.headers["rate_limit_type"] == kind
    assert "Rate limit exceeded for global: gateway. " in refused.json["error"]["message"]
    assert f"x-ratelimit-global-limit-{kind}" in (await first).headers


TWO = """
- model_name: pair
  litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, rpm: 2}}
  model_info: {{id: first}}
- model_name: pair
  litellm_params: {{model: openai/oracle, api_base: '{base}', api_key: x, rpm: 1}}
  model_info: {{id: second}}
"""


async def test_deployments_are_left_out_when_they_are_full(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        models=TWO, settings="router_settings: {optional_pre_call_checks: [enforce_model_rate_limits]}"
    )
    await within_one_minute(20)
    answers = [await gateway.chat("pair") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert Counter(answer.headers["x-litellm-model-id"] for answer in answers[:3]) == {"first": 2, "second": 1}
    assert re.search("Rate limit exceeded for deployment: (first|second)[.]", answers[3].json["error"]["message"])


async def test_rpm_of_deployments_is_only_a_weight_unless_enforced(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(models=TWO)
    await within_one_minute(20)
    answers = [await gateway.chat("pair") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert limits_in(answers[0]) == {}


async def test_calls_at_a_time_at_a_deployment(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateway = await start_gateway(settings="router_settings: {default_max_parallel_requests: 1}")
    first = asyncio.create_task(gateway.chat(SLOW))
    await arrived(oracle)
    refused = await gateway.chat(SLOW)
    assert (refused.status, refused.headers["rate_limit_type"]) == (429, "max_parallel_requests")
    answer = await first
    assert answer.headers["x-ratelimit-limit-max_parallel_requests"] == "1"
    assert answer.headers["x-ratelimit-remaining-max_parallel_requests"] == "0"


# --- values ---


@pytest.mark.parametrize("limit", ["rpm_limit", "tpm_limit", "max_parallel_requests"])
@pytest.mark.parametrize("value", [0, -1])
async def test_nothing_passes_a_limit_of_0_or_less(gateway: Gateway, books: Books, limit: str, value: int) -> None:
    key = await gateway.new_key()
    await books.fetch(f'UPDATE "LiteLLM_VerificationToken" SET {limit} = $1', value)
    answer = await gateway.chat(key=key)
    assert answer.status == 429
    assert "Current limit: 0, Remaining: 0." in answer.json["error"]["message"]


async def test_null_is_no_limit_and_a_huge_one_is_never_reached(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(tpm_limit=2**63 - 1, max_parallel_requests=2**31 - 1)
    await books.fetch("""UPDATE "LiteLLM_VerificationToken" SET metadata = '{"model_rpm_limit": {"oracle": 1e300}}'""")
    answer = await gateway.chat(key=key)
    assert answer.status == 200
    assert set(limits_in(answer)) == {
        *("x-ratelimit-api_key-limit-tokens", "x-ratelimit-api_key-remaining-tokens"),
        *(f"x-ratelimit-api_key-{what}-max_parallel_requests" for what in ("limit", "remaining")),
    }


# --- tokens ---


async def remaining(gateway: Gateway, key: str, model: str = "oracle", **members: Any) -> int:
    answer = await gateway.chat(model, key=key, **members)
    assert answer.status == 200
    return int(answer.headers["x-ratelimit-api_key-remaining-tokens"])


@pytest.mark.parametrize(("kind", "each"), [("total", 6 + 5), ("input", 6), ("output", 5)])
async def test_what_was_used_is_charged(start_gateway: StartGateway, kind: str, each: int) -> None:
    gateway = await start_gateway(settings=f"general_settings: {{token_rate_limit_type: {kind}}}")
    key = await gateway.new_key(tpm_limit=1000)
    await within_one_minute(20)
    for number in (1, 2, 3):
        assert await remaining(gateway, key, "at/prompt=10&cached=4&tokens=5") == 1000 - number * each


async def test_a_call_is_held_at_what_it_will_probably_use(gateway: Gateway, oracle: RunningOracle) -> None:
    """Not at `max_tokens`, and the request is not changed for it."""
    key = await gateway.new_key(tpm_limit=1000)
    await within_one_minute(20)
    calls = [asyncio.create_task(gateway.chat(SLOW, key=key, max_tokens=100_000)) for _ in range(3)]
    await arrived(oracle, 3)
    assert [(await call).status for call in calls] == [200] * 3
    assert all(b'"max_tokens":100000' in request.body.replace(b" ", b"") for request in oracle.requests)
    plain = await gateway.chat(key=key)
    assert plain.status == 200
    assert b"max_tokens" not in oracle.requests[-1].body


async def test_more_than_expected_makes_the_next_ones_wait(gateway: Gateway) -> None:
    key = await gateway.new_key(tpm_limit=600)
    await within_one_minute(20)
    assert await remaining(gateway, key, "at/tokens=900") == 0
    refused = await gateway.chat(key=key)
    assert (refused.status, refused.headers["rate_limit_type"]) == (429, "tokens")
    assert "Current limit: 600, Remaining: 0." in refused.json["error"]["message"]


async def test_what_a_failed_call_held_is_given_back_and_its_request_is_not(gateway: Gateway) -> None:
    key = await gateway.new_key(tpm_limit=1000, rpm_limit=10, max_parallel_requests=3)
    await within_one_minute(20)
    assert (await gateway.chat("at/fault=status:400", key=key)).status == 400
    answer = await gateway.chat("at/tokens=5", key=key)
    assert answer.headers["x-ratelimit-api_key-remaining-tokens"] == str(1000 - PROMPT_TOKENS - 5)
    assert answer.headers["x-ratelimit-api_key-remaining-requests"] == "8"
    assert answer.headers["x-ratelimit-api_key-remaining-max_parallel_requests"] == "2"


async def test_a_stream_tells_and_is_charged(gateway: Gateway) -> None:
    key = await gateway.new_key(tpm_limit=1000, rpm_limit=10)
    await within_one_minute(20)
    stream = await gateway.stream("at/tokens=5", key=key)
    assert stream.headers["x-ratelimit-api_key-remaining-requests"] == "9"
    assert await remaining(gateway, key, "at/tokens=5") == 1000 - 2 * (PROMPT_TOKENS + 5)


# --- calls at a time ---


@pytest.mark.parametrize(
    "model", ["oracle", "at/fault=status:500", "at/fault=close", "at/fault=cut:50%", "no such model"]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_slot_is_free_when_its_call_has_ended(gateway: Gateway, model: str, stream: bool) -> None:
    key = await gateway.new_key(max_parallel_requests=1)
    for _ in range(3):
        answer = await gateway.chat(model, key=key, stream=stream)
        assert answer.status != 429
    last = await gateway.chat(key=key)
    assert last.status == 200
    assert last.headers["x-ratelimit-api_key-limit-max_parallel_requests"] == "1"
    assert last.headers["x-ratelimit-api_key-remaining-max_parallel_requests"] == "0", "this call is one"


async def test_no_more_than_allowed_run_at_a_time(gateway: Gateway, oracle: RunningOracle) -> None:
    key = await gateway.new_key(max_parallel_requests=3)
    running = [asyncio.create_task(gateway.chat(SLOW, key=key)) for _ in range(3)]
    await arrived(oracle, 3)
    refused = await gateway.chat(key=key)
    assert refused.status == 429
    assert (refused.headers["rate_limit_type"], refused.headers["retry-after"]) == ("max_parallel_requests", "1")
    assert "Current limit: 3, Remaining: 0." in refused.json["error"]["message"]
    assert [(await call).status for call in running] == [200] * 3
    assert (await gateway.chat(key=key)).status == 200


async def test_a_client_that_has_left_keeps_its_slot_until_its_answer_is_read(
    gateway: Gateway, oracle: RunningOracle, books: Books
) -> None:
    key = await gateway.new_key(max_parallel_requests=1)
    connection = await gateway.connect()
    connection.ask("at/tokens=30&delay_ms=20", headers={"authorization": f"Bearer {key}"}, stream=True)
    await connection.until(b'"content":"')
    connection.writer.close()
    await connection.writer.wait_closed()
    assert (await gateway.chat(key=key)).status == 429
    [drained, _] = await books.ended(2)
    assert {drained["completion_tokens"], _["completion_tokens"]} == {30, 0}
    assert (await gateway.chat(key=key)).status == 200


# --- what others change ---


async def test_a_lowered_limit_binds_at_once(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(rpm_limit=100)
    await within_one_minute(6)
    assert await statuses(gateway, 3, key=key) == [200] * 3
    await books.fetch("""UPDATE "LiteLLM_VerificationToken" SET rpm_limit = 3""")
    await books.fetch("""SELECT pg_notify('bursar_keys', token) FROM "LiteLLM_VerificationToken" """)
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await gateway.chat(key=key)).status == 200:
            await asyncio.sleep(0.01)
    assert "Current limit: 3, Remaining: 0." in answer.json["error"]["message"]
    await books.fetch("""UPDATE "LiteLLM_VerificationToken" SET rpm_limit = NULL""")
    await books.fetch("""SELECT pg_notify('bursar_keys', token) FROM "LiteLLM_VerificationToken" """)
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat(key=key)).status != 200:
            await asyncio.sleep(0.01)


# --- end users ---


async def test_a_blocked_end_user(start_gateway: StartGateway, books: Books) -> None:
    await books.fetch("""INSERT INTO "LiteLLM_EndUserTable" (user_id, blocked) VALUES ('bad', true)""")
    gateway = await start_gateway()
    for _ in range(2):
        answer = await gateway.chat(user="bad")
        assert answer.status == 401
        assert answer.json["error"] == {
            "message": "Authentication Error, End User=bad is blocked. "
            "Update via `/customer/unblock` if you're an admin.",
            "type": "auth_error",
            "param": None,
            "code": "401",
        }
    assert (await gateway.chat(user="good")).status == 200
    await books.fetch("""UPDATE "LiteLLM_EndUserTable" SET blocked = false""")
    await books.fetch("SELECT pg_notify('bursar_limits', 'end_user:bad')")
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat(user="bad")).status != 200:
            await asyncio.sleep(0.01)


async def test_end_users_without_a_budget_have_the_default_one(start_gateway: StartGateway, books: Books) -> None:
    await books.fetch(
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, rpm_limit, created_by, updated_by) VALUES ('d', 1, 'x', 'x')"""
    )
    gateway = await start_gateway(settings="litellm_settings: {max_end_user_budget_id: d}")
    await within_one_minute(20)
    for user in ("one", "two"):
        assert await statuses(gateway, 2, user=user) == [200, 429]
    assert await statuses(gateway, 2) == [200, 200]


# --- several gateways ---


async def test_two_gateways_share_a_small_limit(start_gateway: StartGateway) -> None:
    """Whichever a call comes to: all of the limit is there, and no more."""
    gateways = [await start_gateway() for _ in range(2)]
    key = await gateways[0].new_key(rpm_limit=4)
    await within_one_minute(15)
    answers = [(await gateways[number % 2].chat(key=key)).status for number in range(6)]
    assert answers == [200, 200, 200, 200, 429, 429]


async def test_two_gateways_share_calls_at_a_time(start_gateway: StartGateway, oracle: RunningOracle) -> None:
    gateways = [await start_gateway() for _ in range(2)]
    key = await gateways[0].new_key(max_parallel_requests=3)
    calls = [asyncio.create_task(gateways[number % 2].chat("at/head_ms=4000", key=key)) for number in range(6)]
    served = Counter([(await call).status for call in calls])
    assert served == {200: 3, 429: 3}
    assert len(oracle.requests) == 3


async def test_four_gateways_under_uneven_load(start_gateway: StartGateway) -> None:
    """One has nearly all of the load: it gets nearly all of the limit within seconds, and all together no more."""
    gateways = [await start_gateway() for _ in range(4)]
    key = await gateways[0].new_key(rpm_limit=120)
    await within_one_minute(20)
    minute = time.time() // 60
    served = Counter[int]()

    async def call(number: int, times: int, pause_s: float) -> None:
        for _ in range(times):
            answer = await gateways[number].chat("at/tokens=1", key=key)
            served[number] += answer.status == 200
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(call(number, 5, 0.2) for number in range(1, 4)), *(call(0, 60, 0.2) for _ in range(3)))
    assert time.time() // 60 == minute, "the test took too long"
    assert 0.95 * 120 <= served.total() <= 120
    assert served[0] >= 90


async def test_the_master_key_is_not_limited(gateway: Gateway) -> None:
    assert limits_in(await gateway.chat("at/tokens=1", key=MASTER_KEY)) == {}


@pytest.mark.long
@pytest.mark.parametrize("limit", ["rpm_limit", "tpm_limit"])
async def test_four_gateways_under_load_that_moves_for_three_minutes(start_gateway: StartGateway, limit: str) -> None:
    """Twice what is allowed, at one gateway, then at another: each whole minute uses nearly all of its limit."""
    gateways = [await start_gateway() for _ in range(4)]
    each = PROMPT_TOKENS + 4
    key = await gateways[0].new_key(**{limit: 120 if limit == "rpm_limit" else 120 * each})
    left_s = 60 - time.time() % 60
    await asyncio.sleep(left_s + 0.2)
    begun = time.time() // 60
    served: Counter[float] = Counter()
    hot = 0

    async def client(number: int) -> None:
        nonlocal hot
        while (minute := time.time() // 60) < begun + 3:
            if time.time() % 60 < 59.5:  # else it is not certain in which minute it counts
                target = hot if number else (hot + 1) % 4
                answer = await gateways[target].chat("at/tokens=4", key=key)
                served[minute] += answer.status == 200
            await asyncio.sleep(0.25 if number else 3)
            hot = int(time.time() // 25) % 4

    await asyncio.gather(*(client(number) for number in range(2)))
    counts = [served[begun + minute] for minute in range(3)]
    assert max(counts) <= 120
    assert min(counts) >= 0.95 * 120, counts
