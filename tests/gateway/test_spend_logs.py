"""What a call leaves in `LiteLLM_SpendLogs`: every column, for every kind of call."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, MESSAGES, PRICE, PROMPT_TOKENS, Books, Gateway, Row
from tests.gateway.scripted_upstream import scripted_upstream, whole
from tests.patience import PATIENCE_S

UNUSED: dict[str, Any] = {
    "messages": {},
    "response": {},
    "proxy_server_request": {},
    "mcp_namespaced_tool_name": None,
    "agent_id": None,
    "billing_agent_id": None,
}
"""What stands in the columns that nothing here fills."""


def usd(*, prompt: int, completion: int, cached: int = 0) -> float:
    """The price of so many tokens."""
    per_prompt, per_cached, per_completion = PRICE
    return ((prompt - cached) * per_prompt + cached * per_cached + completion * per_completion) / 1e9


def without(row: Row, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def pop_times(row: Row) -> dict[str, Any]:
    """The row without its times, which must be near now, in UTC, and in their order."""
    rest = dict(row)
    start, first, end = (rest.pop(name) for name in ("startTime", "completionStartTime", "endTime"))
    now = datetime.now(UTC).replace(tzinfo=None)
    assert now - timedelta(seconds=20) < start <= first <= end <= now
    duration_ms = (end - start).total_seconds() * 1000
    assert abs(rest.pop("request_duration_ms") - duration_ms) <= 2  # its columns are cut to milliseconds
    assert end - timedelta(milliseconds=1) <= rest.pop("created_at") <= now
    assert rest.pop("updated_at")
    return rest


# --- whole rows ---


async def test_a_call_of_a_bare_key(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    key = await gateway.new_key(key_alias="app")
    answer = await gateway.chat("at/tokens=5&cached=2", key=key)
    hashed = hashlib.sha256(key.encode()).hexdigest()
    row = pop_times(await books.row())
    metadata = row.pop("metadata")
    assert row == UNUSED | {
        "request_id": answer.json["id"],
        "call_type": "acompletion",
        "api_key": hashed,
        "spend": usd(prompt=8, completion=5, cached=2),
        "total_tokens": 13,
        "prompt_tokens": 8,
        "completion_tokens": 5,
        "model": "openai/oracle?tokens=5&cached=2",
        "model_id": answer.headers["x-litellm-model-id"],
        "model_group": "at/tokens=5&cached=2",
        "custom_llm_provider": "openai",
        "api_base": oracle.base_url,
        "user": "",
        "cache_hit": "None",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": "",
        "organization_id": "",
        "end_user": "",
        "requester_ip_address": "127.0.0.1",
        "session_id": None,
        "status": "success",
        "litellm_call_id": answer.headers["x-litellm-call-id"],
    }
    own = metadata.pop("bursar")
    assert metadata == {
        "user_api_key": hashed,
        "user_api_key_alias": "app",
        "requester_ip_address": "127.0.0.1",
        "user_agent": "",
        "litellm_call_id": answer.headers["x-litellm-call-id"],
        "status": None,
        "attempted_retries": 0,
        "attempted_fallbacks": 0,
        "usage_object": answer.json["usage"],
        "cost_breakdown": {
            "total_cost": usd(prompt=8, completion=5, cached=2),
            "original_cost": usd(prompt=8, completion=5, cached=2),
            "input_cost": usd(prompt=8, completion=0, cached=2),
            "output_cost": usd(prompt=0, completion=5),
        },
    }
    [settled, call] = await books.entries()
    assert own == {
        "call_id": call["call_id"],
        "attempt_id": settled["attempt_id"],
        "price": settled["body"]["price_version"],
        "evidence": "provider",
    }


async def test_a_stream(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """As the whole answer, but for what only a stream has: a first token before the end, `cache_hit` 'False'."""
    answer = await gateway.stream("at/tokens=5&head_ms=20&delay_ms=10")
    row = await books.row()
    assert row["startTime"] < row["completionStartTime"] < row["endTime"]
    assert row["request_duration_ms"] >= 40
    assert (row["cache_hit"], row["call_type"], row["status"]) == ("False", "acompletion", "success")
    assert row["request_id"] == answer.chunk_objects[0]["id"] == oracle.bill()[0].id
    assert row["spend"] == usd(prompt=PROMPT_TOKENS, completion=5)
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (8, 5, 13)
    assert row["metadata"]["usage_object"]["completion_tokens"] == 5
    assert row["metadata"]["bursar"]["evidence"] == "provider"


async def test_the_first_token_of_a_whole_answer_is_its_end(gateway: Gateway, books: Books) -> None:
    await gateway.chat("at/head_ms=20")
    row = await books.row()
    assert row["startTime"] < row["completionStartTime"] == row["endTime"]
    assert row["request_duration_ms"] >= 20


async def test_a_call_with_the_master_key(gateway: Gateway, books: Books) -> None:
    await gateway.chat()
    row = await books.row()
    assert (row["api_key"], row["user"], row["end_user"]) == ("litellm_proxy_master_key", "default_user_id", "")
    assert MASTER_KEY not in json.dumps(row, default=str)


async def test_a_keys_organization_is_its_own_or_its_teams(gateway: Gateway, books: Books) -> None:
    """Rows, days, counter and budget are all of the same one."""
    await books.fetch("""INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b', '', '')""")
    await books.fetch(
        """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by,
            updated_by) VALUES ('own', '', 'b', '', ''), ('of-team', '', 'b', '', '')"""
    )
    await books.fetch(
        "INSERT INTO \"LiteLLM_TeamTable\" (team_id, organization_id) VALUES ('t', 'of-team'), ('u', NULL)"
    )
    keys = [
        await gateway.new_key(**terms)
        for terms in ({"team_id": "t"}, {"team_id": "t", "organization_id": "own"}, {"team_id": "u"}, {})
    ]
    for key in keys:
        assert (await gateway.chat(key=key)).status == 200
    rows = await books.rows()
    found = {row["api_key"]: row["organization_id"] for row in rows}
    assert [found[hashlib.sha256(key.encode()).hexdigest()] for key in keys] == ["of-team", "own", "", ""]
    days = await books.fetch('SELECT organization_id, spend FROM "LiteLLM_DailyOrganizationSpend" ORDER BY 1')
    counters = await books.fetch('SELECT organization_id, spend FROM "LiteLLM_OrganizationTable" ORDER BY 1')
    assert [(row["organization_id"], row["spend"] > 0) for row in days] == [("of-team", True), ("own", True)]
    assert days == counters


async def test_whose_key_it_is(gateway: Gateway, books: Books) -> None:
    """The key's owner, team and organization; the tags and metadata of key and team."""
    await books.fetch('INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ($1, $1, $1)', "b")
    await books.fetch(
        """INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, created_by,
            updated_by) VALUES ('o-1', 'Org', 'b', '{}', 'me', 'me')"""
    )
    await books.fetch(
        """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, metadata, updated_at)
        VALUES ('t-1', 'The team', $1, now())""",
        {"tags": ["team"], "spend_logs_metadata": {"team": 1, "both": 1}},
    )
    key = await gateway.new_key(
        user_id="u-1",
        team_id="t-1",
        organization_id="o-1",
        tags=["key"],
        metadata={"spend_logs_metadata": {"both": 2}, "secret": "kept to the key"},
    )
    await gateway.chat(key=key, user="somebody", metadata={"spend_logs_metadata": {"body": 3}})
    row = await books.row()
    assert (row["user"], row["team_id"], row["organization_id"], row["end_user"]) == ("u-1", "t-1", "o-1", "somebody")
    assert row["request_tags"] == ["key", "team"]
    metadata = row["metadata"]
    assert metadata["spend_logs_metadata"] == {"team": 1, "both": 2, "body": 3}
    assert metadata["user_api_key_user_id"] == "u-1"
    assert metadata["user_api_key_team_id"] == "t-1"
    assert metadata["user_api_key_team_alias"] == "The team"
    assert metadata["user_api_key_org_id"] == "o-1"
    assert "kept to the key" not in json.dumps(metadata)


@pytest.mark.parametrize(
    ("members", "headers", "end_user"),
    [
        ({"user": "body"}, {"x-litellm-customer-id": "customer", "x-litellm-end-user-id": "end"}, "customer"),
        ({"user": "body"}, {"x-litellm-end-user-id": "end"}, "end"),
        ({"user": "body", "litellm_metadata": {"user": "l"}}, {}, "body"),
        ({"litellm_metadata": {"user": "l"}, "metadata": {"user_id": "m"}}, {}, "l"),
        ({"metadata": {"user_id": "m"}, "safety_identifier": "s"}, {}, "m"),
        ({"safety_identifier": "s"}, {}, "s"),
        ({"user": "", "metadata": {"user_id": 7}}, {}, ""),
    ],
)
async def test_the_end_user(
    gateway: Gateway, books: Books, members: dict[str, Any], headers: dict[str, str], end_user: str
) -> None:
    await gateway.chat(headers=headers, **members)
    assert (await books.row())["end_user"] == end_user


async def test_a_user_without_an_owner(gateway: Gateway, books: Books) -> None:
    """The body's `user` stands for the owner that neither the master key nor a bare key has."""
    await gateway.chat(user="john")
    await gateway.chat(user="mary", key=await gateway.new_key())
    assert [(row["user"], row["end_user"]) for row in await books.rows()] == [("john", "john"), ("mary", "mary")]


async def test_end_users_that_are_not_to_be_tracked(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="litellm_settings: {disable_end_user_cost_tracking: true}")
    await gateway.chat(user="john")
    row = await books.row()
    assert (row["end_user"], row["user"]) == ("", "john")


async def test_configured_headers(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(
        settings="""
        general_settings:
          user_header_mappings: [{header_name: X-Customer, litellm_user_role: customer}]
        litellm_settings:
          extra_spend_tag_headers: [X-Department]
          disable_add_user_agent_to_request_tags: true
        """
    )
    await gateway.chat(headers={"x-customer": "c-1", "x-department": "sales", "user-agent": "curl/8.1 (x)"})
    row = await books.row()
    assert (row["end_user"], row["request_tags"]) == ("c-1", ["x-department: sales"])
    assert row["metadata"]["user_agent"] == "curl/8.1 (x)"


async def test_tags_from_everywhere(gateway: Gateway, books: Books) -> None:
    await gateway.chat(
        tags=["a", "b"],
        request_tags="c, d",
        metadata={"tags": ["e", "a", 7]},
        headers={"x-litellm-tags": "f,b , ,g", "user-agent": "curl/8.1 extra"},
    )
    tags = ["a", "b", "c", "d", "e", "f", "g", "User-Agent: curl", "User-Agent: curl/8.1"]
    assert (await books.row())["request_tags"] == tags


@pytest.mark.parametrize(
    ("members", "headers", "session"),
    [
        ({}, {}, None),
        ({"litellm_session_id": "a", "litellm_trace_id": "b"}, {"x-litellm-trace-id": "h"}, "a"),
        ({"litellm_trace_id": "b", "metadata": {"session_id": "c"}}, {}, "b"),
        ({"metadata": {"session_id": "c", "trace_id": "d"}}, {"x-litellm-session-id": "h"}, "c"),
        ({"metadata": {"trace_id": "d"}}, {}, "d"),
        ({}, {"x-litellm-trace-id": "t", "x-litellm-session-id": "s"}, "t"),
        ({}, {"x-litellm-session-id": "s"}, "s"),
        ({"metadata": {"session_id": ""}}, {}, None),
    ],
)
async def test_the_session(
    gateway: Gateway, books: Books, members: dict[str, Any], headers: dict[str, str], session: str | None
) -> None:
    await gateway.chat(headers=headers, **members)
    assert (await books.row())["session_id"] == session


async def test_metadata_stands_at_the_top(gateway: Gateway, books: Books) -> None:
    said = {
        "session_id": "s-1",
        "agent_name": "clerk",
        "conversation_name": "Ünïcode ☃ 🧾",
        "department": {"name": "sales", "floor": 3.5, "open": True, "head": None},
        "list": [1, "two", [3]],
        "big": 2**63,
        "user_api_key": "ours stays",
        "status": "ours stays",
        "bursar": "ours stays",
        "usage_object": {"prompt_tokens": 10**9},
    }
    await gateway.chat(metadata=said)
    metadata = (await books.row())["metadata"]
    for name in ("session_id", "agent_name", "conversation_name", "department", "list", "big"):
        assert metadata[name] == said[name], name
    assert metadata["user_api_key"] == "litellm_proxy_master_key"
    assert metadata["status"] is None
    assert metadata["bursar"]["evidence"] == "provider"
    assert metadata["usage_object"]["prompt_tokens"] == PROMPT_TOKENS


async def test_metadata_as_text(gateway: Gateway, books: Books) -> None:
    """Forms and shell scripts send it so."""
    await gateway.chat(metadata='{"agent_name": "clerk"}')
    assert (await books.row())["metadata"]["agent_name"] == "clerk"


async def test_logs_metadata(gateway: Gateway, books: Books) -> None:
    await gateway.chat(
        metadata={"spend_logs_metadata": {"a": 1, "b": 1}}, headers={"x-litellm-spend-logs-metadata": '{"b": 2}'}
    )
    assert (await books.row())["metadata"]["spend_logs_metadata"] == {"a": 1, "b": 2}


async def test_the_clients_call_id(gateway: Gateway, books: Books) -> None:
    """It is the client's to choose, and never a key of ours: two calls with the same one are two calls."""
    answers = [await gateway.chat(headers={"x-litellm-call-id": "mine"}) for _ in range(2)]
    by_body = await gateway.chat(litellm_call_id="body's")
    rows = await books.rows()
    assert [row["litellm_call_id"] for row in rows] == ["mine", "mine", "body's"]
    assert [answer.headers["x-litellm-call-id"] for answer in (*answers, by_body)] == ["mine", "mine", "body's"]
    assert len({row["metadata"]["bursar"]["call_id"] for row in rows}) == 3


async def test_a_call_id_that_cannot_be_one(gateway: Gateway, books: Books) -> None:
    answer = await gateway.chat(headers={"x-litellm-call-id": "x" * 257})
    row = await books.row()
    assert row["litellm_call_id"] == answer.headers["x-litellm-call-id"] == row["metadata"]["bursar"]["call_id"]


async def test_behind_a_trusted_proxy(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="bursar_settings: {trusted_proxies: [127.0.0.0/8]}")
    await gateway.chat(headers={"x-forwarded-for": "6.6.6.6, 203.0.113.9"})
    row = await books.row()
    assert row["requester_ip_address"] == row["metadata"]["requester_ip_address"] == "203.0.113.9"


async def test_without_trust_a_forwarded_address_is_hearsay(gateway: Gateway, books: Books) -> None:
    await gateway.chat(headers={"x-forwarded-for": "203.0.113.9"})
    assert (await books.row())["requester_ip_address"] == "127.0.0.1"


FORGED = [
    *("user_api_key", "user_api_key_alias", "user_api_key_user_id", "user_api_key_team_id", "user_api_key_team_alias"),
    *("user_api_key_org_id", "user_api_key_project_id", "requester_ip_address", "user_agent", "litellm_call_id"),
    *("status", "error_information", "attempted_retries", "max_retries", "usage_object", "cost_breakdown", "bursar"),
]


async def test_nobody_tells_us_who_they_are(gateway: Gateway, books: Books) -> None:
    """The names by which reports know who called and what it cost are not the caller's to fill."""
    key = await gateway.new_key()
    await gateway.chat(key=key, metadata=dict.fromkeys(FORGED, "forged") | {"agent_name": "clerk"})
    row = await books.row()
    assert row["metadata"]["agent_name"] == "clerk"
    assert "forged" not in json.dumps(row["metadata"])


async def test_logs_metadata_that_is_too_large_is_named(gateway: Gateway, books: Books) -> None:
    await gateway.chat(metadata={"spend_logs_metadata": {"a": "x" * 20_000, "b": 1}})
    row = await books.row()
    assert row["metadata"]["spend_logs_metadata"] == {"b": 1}
    assert row["metadata"]["bursar"]["metadata_dropped"] == ["spend_logs_metadata.a"]


# --- nothing a caller sends can stop the books ---


@pytest.mark.parametrize("text", ["nul \x00 in it", "x" * 100_000, "\u202e\x1b[2J", "💸" * 999])
async def test_any_text_anywhere(gateway: Gateway, books: Books, text: str) -> None:
    """NUL, texts without end: the call is served, and booked with what can be kept of it."""
    answer = await gateway.chat(
        user=text,
        metadata={"agent_name": text, "nested": {text: [text]}, "session_id": text, "tags": [text], text: 1},
        request_tags=[text],
        litellm_call_id=text,
        headers={"user-agent": "plain"},
    )
    assert answer.status == 200, answer.body
    row = await books.row()
    assert row["spend"] > 0
    assert len(row["end_user"]) <= 512
    assert "agent_name" in row["metadata"] or row["metadata"]["bursar"]["metadata_dropped"]
    assert not await books.fetch("SELECT FROM bursar.quarantine")


@pytest.mark.parametrize("where", ["user", "metadata", "request_tags", "x_unknown"])
async def test_half_a_character(gateway: Gateway, oracle: RunningOracle, books: Books, where: str) -> None:
    """Half of a surrogate pair is no text (RFC 8259, 8.2 leaves it to the reader): nothing is sent or booked."""
    half = b'"lone \\ud800 surrogate"'
    value = b'{"agent_name":%b}' % half if where == "metadata" else b"[%b]" % half if where == "request_tags" else half
    body = b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"%b":%b}' % (where.encode(), value)
    answer = await gateway.request("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "400")
    assert "surrogate" in answer.json["error"]["message"]
    assert await books.nothing()
    assert not oracle.requests


async def test_a_megabyte_of_metadata(gateway: Gateway, books: Books) -> None:
    answer = await gateway.chat(metadata={"agent_name": "clerk", "huge": "x" * (1 << 20), "last": 1})
    assert answer.status == 200
    metadata = (await books.row())["metadata"]
    assert (metadata["agent_name"], metadata["last"]) == ("clerk", 1)
    assert "huge" not in metadata
    assert metadata["bursar"]["metadata_dropped"] == ["huge"]
    assert len(json.dumps(metadata)) < 3000


@pytest.mark.parametrize("depth", [100, 450, 700, 900])
async def test_metadata_nested_deeply(gateway: Gateway, books: Books, depth: int) -> None:
    """Stored, or refused in words; also with a NUL at its bottom."""
    nested = b"[" * depth + b'"\\u0000"' + b"]" * depth
    body = b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"metadata":{"deep":%b}}' % nested
    answer = await gateway.request("POST", "/v1/chat/completions", body)
    if answer.status == 200:
        found = (await books.row())["metadata"]["deep"]
        for _ in range(depth):
            [found] = found
        assert found == "\ufffd"
    else:
        assert (answer.status, "nested too deeply" in answer.json["error"]["message"]) == (400, True), answer.body
        assert await books.nothing()


async def test_ten_thousand_tags_and_members(gateway: Gateway, books: Books) -> None:
    answer = await gateway.chat(
        request_tags=[f"tag number {number}" for number in range(10_000)],
        metadata={f"member number {number}": number for number in range(10_000)},
    )
    assert answer.status == 200
    row = await books.row()
    assert row["request_tags"][0] == "tag number 0"
    assert sum(len(tag) for tag in row["request_tags"]) <= 65_536
    assert len(json.dumps(row["metadata"])) < 3 * 65_536


@pytest.mark.parametrize(
    ("number", "status"), [("1e400", 400), ("-1e400", 400), ("123456789012345678901234567890", 200), ("1e-400", 200)]
)
async def test_numbers_beyond_everything(gateway: Gateway, books: Books, number: str, status: int) -> None:
    body = b'{"model":"oracle","messages":[{"role":"user","content":"x"}],"metadata":{"n":%b}}' % number.encode()
    answer = await gateway.request("POST", "/v1/chat/completions", body)
    assert answer.status == status, answer.body
    if status == 200:
        assert "n" in (await books.row())["metadata"]
    else:
        assert answer.json["error"]["param"] == "metadata"
        assert await books.nothing()


async def test_a_provider_that_repeats_its_ids(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    answers = [await gateway.chat("at/id=same") for _ in range(3)]
    provider_id = answers[0].json["id"]
    rows = await books.rows()
    assert [row["request_id"] for row in rows] == [
        provider_id,
        *(f"{provider_id}:{row['metadata']['bursar']['call_id']}" for row in rows[1:]),
    ]
    assert await books.cost_nano_usd() == sum(line.cost_nano_usd for line in oracle.bill())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_provider_without_ids(gateway: Gateway, books: Books, stream: bool) -> None:
    answer = await gateway.chat("at/id=none", stream=stream)
    assert answer.status == 200
    row = await books.row()
    assert row["request_id"] == row["metadata"]["bursar"]["call_id"]


async def test_a_provider_whose_id_cannot_be_stored(start_gateway: StartGateway, books: Books) -> None:
    body = (
        b'{"id":"\\u0000%b","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"x":"\\u0000"}}'
    ) % (b"i" * 3000)
    async with scripted_upstream(whole(body)) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/m, api_base: '{upstream.base_url}', api_key: x,
                input_cost_per_token: 0.001, output_cost_per_token: 0.001}}}}
            """
        )
        assert (await gateway.chat("odd")).status == 200
    row = await books.row()
    assert row["spend"] == 0.003
    assert len(row["request_id"]) <= 512


# --- which calls get a row ---


async def test_without_rows_the_totals_grow(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="general_settings: {disable_spend_logs: true}")
    key = await gateway.new_key()
    await gateway.chat(key=key)
    await gateway.chat("at/fault=status:500", key=key)
    assert await books.rows() == []
    cost = usd(prompt=PROMPT_TOKENS, completion=16)
    assert await books.cost_nano_usd() == round(cost * 1e9)
    [row] = await books.fetch('SELECT spend, total_spend, last_active FROM "LiteLLM_VerificationToken"')
    assert row["spend"] == pytest.approx(cost)
    assert row["total_spend"] == pytest.approx(cost)
    assert row["last_active"] is not None


async def test_without_rows_for_failures(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings="general_settings: {disable_error_logs: true}")
    await gateway.chat("at/fault=status:500")
    await gateway.chat("no-such-model")
    await gateway.chat()
    assert [row["status"] for row in await books.rows()] == ["success"]
    assert (await books.kinds()).count("call") == 3


async def test_a_failure(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    answer = await gateway.chat("at/fault=status:500", user="john", metadata={"agent_name": "clerk"})
    row = pop_times(await books.row())
    metadata = row.pop("metadata")
    own = metadata.pop("bursar")
    assert row == UNUSED | {
        "request_id": own["call_id"],
        "call_type": "acompletion",
        "api_key": "litellm_proxy_master_key",
        "spend": 0.0,
        "total_tokens": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "model": "openai/oracle?fault=status:500",
        "model_id": answer.headers["x-litellm-model-id"],
        "model_group": "at/fault=status:500",
        "custom_llm_provider": "openai",
        "api_base": oracle.base_url,
        "user": "john",
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": [],
        "team_id": "",
        "organization_id": "",
        "end_user": "john",
        "requester_ip_address": "127.0.0.1",
        "session_id": None,
        "status": "failure",
        "litellm_call_id": answer.headers["x-litellm-call-id"],
    }
    assert metadata == {
        "agent_name": "clerk",
        "user_api_key": "litellm_proxy_master_key",
        "user_api_key_user_id": "default_user_id",
        "requester_ip_address": "127.0.0.1",
        "user_agent": "",
        "litellm_call_id": answer.headers["x-litellm-call-id"],
        "status": "failure",
        "error_information": {
            "error_class": "InternalServerError",
            "error_code": "500",
            "error_message": answer.json["error"]["message"],
            "llm_provider": "openai",
        },
        "attempted_retries": 0,
        "attempted_fallbacks": 0,
    }


async def test_a_refusal_of_a_known_caller(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(models=["other"])
    refused = await gateway.chat(key=key)
    unknown = await gateway.chat("nobody's model")
    rows = await books.rows()
    assert await books.kinds() == ["call", "call"], "nothing was tried"
    for row, answer in zip(rows, (refused, unknown), strict=True):
        assert row["model"] == "unknown-model"
        assert row["status"] == "failure"
        assert (row["spend"], row["total_tokens"], row["api_base"], row["model_id"]) == (0.0, 0, "", "")
        assert row["metadata"]["error_information"]["error_code"] == str(answer.status)
        assert row["metadata"]["error_information"]["error_message"] == answer.json["error"]["message"]
        assert row["litellm_call_id"] == answer.headers["x-litellm-call-id"]
    assert [row["model_group"] for row in rows] == ["oracle", "nobody's model"]


# --- prompts and answers ---

STORING = "general_settings: {store_prompts_in_spend_logs: true}"
NO_LOG: dict[str, Any] = {"no-log": True}
TEXTS = ("messages", "response", "proxy_server_request")


async def row_with_texts(books: Books) -> Row:
    """The last row, once its texts are in it: they follow by themselves, after the money."""
    async with asyncio.timeout(PATIENCE_S):
        while (row := (await books.rows())[-1])["proxy_server_request"] == {}:
            await asyncio.sleep(0.01)
    return row


async def test_texts_are_kept_where_they_shall_be(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings=STORING)
    answer = await gateway.chat(metadata={"a": 1})
    row = await row_with_texts(books)
    assert row["messages"] == MESSAGES
    assert row["response"] == answer.json
    assert row["proxy_server_request"] == {"model": "oracle", "messages": MESSAGES, "metadata": {"a": 1}}


async def test_the_text_of_a_stream_is_put_together(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings=STORING)
    answer = await gateway.stream("at/tokens=9&calls=2&extra", tools=[TOOL], usage=True)
    response = (await row_with_texts(books))["response"]
    [choice] = response["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["look", "look"]
    assert all(json.loads(call["function"]["arguments"]) == {"at": "text"} for call in choice["message"]["tool_calls"])
    assert response["object"] == "chat.completion"
    assert response["usage"] == answer.chunk_objects[-1]["usage"]


TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}


async def test_texts_without_end_and_with_nul(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings=STORING)
    content = "a" * 100_000 + "z" * 1000 + "\x00z"
    assert (await gateway.chat(messages=[{"role": "user", "content": content}])).status == 200
    [message] = (await row_with_texts(books))["messages"]
    assert "\x00" not in message["content"]
    assert len(message["content"]) < 3000
    assert message["content"].startswith("aaaa")
    assert message["content"].endswith("zzz\ufffdz")
    assert "characters left out" in message["content"]


@pytest.mark.parametrize("how", ["body", "header"])
async def test_a_call_that_wants_no_log(start_gateway: StartGateway, books: Books, how: str) -> None:
    """Its text is kept nowhere; it is booked all the same."""
    gateway = await start_gateway(settings=STORING)
    if how == "body":
        await gateway.chat(**NO_LOG)
    else:
        await gateway.chat(headers={"x-litellm-enable-message-redaction": "true"})
    await gateway.chat("at/tokens=1")
    await row_with_texts(books)  # of the second call: by then the first one's would be there too
    rows = await books.rows()
    assert [rows[0][name] for name in TEXTS] == [{}, {}, {}]
    assert rows[0]["spend"] > 0


async def test_the_text_of_a_failure(start_gateway: StartGateway, books: Books) -> None:
    gateway = await start_gateway(settings=STORING)
    await gateway.chat("at/fault=status:500")
    row = await row_with_texts(books)
    assert (row["messages"], row["response"]) == (MESSAGES, {})
