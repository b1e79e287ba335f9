"""Millions of log rows, and the daily rows that belong to them, made by the database itself."""

from typing import Any

KEYS, USERS, TEAMS, CUSTOMERS, DAYS = 200, 50, 20, 1000, 30

_LOGS = f"""
INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
    "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata, cache_hit,
    cache_key, request_tags, team_id, end_user, requester_ip_address, session_id, status, organization_id,
    request_duration_ms, litellm_call_id
)
SELECT 'chatcmpl-' || n, 'acompletion', lpad((n % {KEYS})::text, 64, 'a'), (n % 1000 + 1) * 1e-6, 300, 200, 100,
    at, at + interval '1 second', at, 'openai/gpt-' || n / 7 % 5, 'deployment-' || n / 7 % 5, 'gpt-' || n / 7 % 5,
    'openai', 'https://api.openai.com/v1', 'user-' || n % {USERS},
    CASE WHEN n % 50 = 0 THEN jsonb_build_object('status', 'failure', 'error_information',
        jsonb_build_object('error_code', '500', 'error_message', 'It failed, number ' || n))
    ELSE jsonb_build_object('user_api_key_alias', 'key ' || n % {KEYS}, 'agent', 'clerk') END,
    'None', 'Cache OFF', jsonb_build_array('tag-' || n % 7), 'team-' || n % {TEAMS}, 'customer-' || n % {CUSTOMERS},
    '127.0.0.1', 'session-' || n / 10, CASE WHEN n % 50 = 0 THEN 'failure' ELSE 'success' END, 'organization-' || n % 3,
    1000, ''
FROM (
    SELECT n, date_trunc('second', now() AT TIME ZONE 'UTC') - interval '{DAYS} days' * (1 - n / $1::float8) AS at
    FROM generate_series(1, $1::int) AS n
) AS calls
"""

_DAILY = """
INSERT INTO "LiteLLM_Daily{table}Spend" (
    id, {entity}, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests
)
SELECT gen_random_uuid()::text, {source}, to_char("startTime", 'YYYY-MM-DD'), api_key, model, model_group,
    custom_llm_provider, '', '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(),
    count(*), count(*) FILTER (WHERE status = 'failure'), count(*) FILTER (WHERE status = 'success')
FROM "LiteLLM_SpendLogs"
GROUP BY 2, 3, 4, 5, 6, 7
"""

_ENTITIES = [
    ("User", "user_id", '"user"'),
    ("Team", "team_id", "team_id"),
    ("Organization", "organization_id", "organization_id"),
    ("EndUser", "end_user_id", "end_user"),
    ("Tag", "tag", "request_tags ->> 0"),
]


async def make_logs(connection: Any, rows: int) -> None:
    """So many, spread evenly over the last 30 days."""
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(_LOGS, rows, timeout=1200)
    for table, entity, source in _ENTITIES:
        await connection.execute(_DAILY.format(table=table, entity=entity, source=source), timeout=600)
    await connection.execute("VACUUM ANALYZE", timeout=600)
