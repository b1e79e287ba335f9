-- <keys> keys with ten calls each, over ten days, of a thousand users in a hundred teams.

INSERT INTO "LiteLLM_UserTable" (user_id, models, max_budget, spend)
SELECT 'user-' || n, '{}', 100000, 0 FROM generate_series(0, 999) AS n;

INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, models, max_budget, spend)
SELECT 'team-' || n, 'Team ' || n, '[]', '{}', 100000, 0 FROM generate_series(0, 99) AS n;

INSERT INTO "LiteLLM_VerificationToken" (
    token, key_name, key_alias, spend, total_spend, models, user_id, team_id, max_budget, budget_duration, budget_reset_at
)
SELECT encode(sha256(convert_to('sk-large-' || n, 'UTF8')), 'hex'), 'sk-...' || right('0000' || n, 4), 'key-' || n, 7.5, 7.5, '{}',
    'user-' || n % 1000, 'team-' || n % 100, 10, '30d', date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month'
FROM generate_series(1, <keys>) AS n;

INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime", model,
    model_group, custom_llm_provider, "user", metadata, request_tags, team_id, organization_id, end_user, status, cache_hit
)
SELECT format('chatcmpl-%s-%s', k.key_alias, n), 'acompletion', k.token, 0.75, 30, 10, 20,
    date_trunc('day', now() AT TIME ZONE 'UTC') - (n % 30) * interval '1 day', now() AT TIME ZONE 'UTC', 'openai/oracle', 'oracle',
    'openai', k.user_id, jsonb_build_object('user_api_key', k.token, 'usage_object', repeat('usage ', 40)), '["production"]',
    k.team_id, '', 'customer-' || n, 'success', 'None'
FROM "LiteLLM_VerificationToken" AS k, generate_series(1, 10) AS n
WHERE k.key_alias LIKE 'key-%';

INSERT INTO "LiteLLM_DailyUserSpend" (
    id, user_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint, spend, updated_at
)
SELECT gen_random_uuid(), "user", to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', spend, now()
FROM "LiteLLM_SpendLogs" WHERE request_id LIKE 'chatcmpl-key-%';

INSERT INTO "LiteLLM_DailyTeamSpend" (
    id, team_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint, spend, updated_at
)
SELECT gen_random_uuid(), team_id, to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', spend, now()
FROM "LiteLLM_SpendLogs" WHERE request_id LIKE 'chatcmpl-key-%';
