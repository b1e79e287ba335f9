-- Of `litellm.py`: <name> stands for the hash of the key of that name.

INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name)
VALUES ('1', 'c1', now() - interval '1 year', '20250326162113_baseline'),
    ('2', 'c2', now() - interval '1 day', '20261101000000_total_spend');

INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, budget_duration, budget_reset_at, created_by, updated_by)
SELECT id, 10, '30d', date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', 'admin', 'admin'
FROM unnest(ARRAY['of-keys', 'of-members', 'of-organizations', 'of-customers', 'of-tags']) AS id;

INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, models, spend, created_by, updated_by)
VALUES ('acme', 'Acme', 'of-organizations', '{}', 7.5, 'admin', 'admin');

INSERT INTO "LiteLLM_UserTable" (user_id, user_email, user_role, models, max_budget, spend, budget_duration, budget_reset_at)
VALUES
    ('alice', 'alice@example.com', 'internal_user', '{}', 10, 7.5, '30d',
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month'),
    ('bob', 'bob@example.com', 'internal_user', '{}', NULL, 123.25, NULL, NULL),
    ('litellm-proxy-budget', NULL, NULL, '{}', 10, 7.5, '30d',
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month');

INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles, models, max_budget, spend, budget_duration, budget_reset_at)
VALUES
    ('red', 'Red', '[]', '{}', 10, 7.5, '30d', date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month'),
    ('blue', 'Blue', '[{"role": "user", "user_id": "bob", "user_email": null}]', '{}', NULL, 99, NULL, NULL);

INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id, total_spend) VALUES ('bob', 'blue', 7.5, 'of-members', 99);

INSERT INTO "LiteLLM_EndUserTable" (user_id, spend, budget_id) VALUES ('customer', 7.5, 'of-customers');

INSERT INTO "LiteLLM_TagTable" (tag_name, models, spend, budget_id) VALUES ('production', '{}', 7.5, 'of-tags');

INSERT INTO "LiteLLM_VerificationToken" (
    token, key_name, key_alias, spend, total_spend, models, user_id, team_id, organization_id, max_budget, budget_id,
    budget_duration, budget_reset_at, blocked, expires
)
SELECT token, 'sk-...cdef', alias, spend, total_spend, '{}', user_id, team_id, organization_id, max_budget, budget_id, duration,
    CASE WHEN alias = 'stale' THEN timestamp '2026-01-01'
        WHEN duration IS NOT NULL THEN date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month' END,
    alias = 'blocked', CASE WHEN alias = 'expired' THEN timestamp '2026-01-01' END
FROM (
    VALUES
        ('<own>', 'own', 7.5, 57.5, NULL, NULL, NULL, 10.0, NULL, '30d'),
        ('<shared>', 'shared', 7.5, 7.5, NULL, NULL, NULL, NULL, 'of-keys', NULL),
        ('<ever>', 'ever', 7.5, 7.5, NULL, NULL, NULL, 10, NULL, NULL),
        ('<stale>', 'stale', 7.5, 7.5, NULL, NULL, NULL, 10, NULL, '30d'),
        ('<user>', 'user', 0.1 + 0.2, 0.1 + 0.2, 'alice', NULL, NULL, NULL, NULL, NULL),
        ('<team>', 'team', 1e-7, 1e-7, NULL, 'red', NULL, NULL, NULL, NULL),
        ('<member>', 'member', 99, 99, 'bob', 'blue', NULL, NULL, NULL, NULL),
        ('<organization>', 'organization', 0, 0, NULL, NULL, 'acme', NULL, NULL, NULL),
        ('<free>', 'free', 12.5, 12.5, NULL, NULL, NULL, NULL, NULL, NULL),
        ('<blocked>', 'blocked', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL),
        ('<expired>', 'expired', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL)
) AS k (token, alias, spend, total_spend, user_id, team_id, organization_id, max_budget, budget_id, duration);

INSERT INTO "LiteLLM_DeletedVerificationToken" (token, key_name, models, total_spend, id)
VALUES (repeat('d', 64), 'sk-...gone', '{}', 3.5, 'deleted-1');

-- Two calls a day of each key, for a week up to today.
INSERT INTO "LiteLLM_SpendLogs" (
    request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime", model,
    model_group, custom_llm_provider, "user", metadata, request_tags, team_id, organization_id, end_user, status, cache_hit
)
SELECT format('chatcmpl-%s-%s-%s', left(k.token, 8), day, n), 'acompletion', k.token, 0.125, 30, 10, 20,
    (current_date - day)::timestamp + interval '1 second', (current_date - day)::timestamp + interval '2 seconds',
    'openai/oracle', 'oracle', 'openai', coalesce(k.user_id, ''),
    jsonb_build_object('user_api_key', k.token, 'model_map_information', repeat('price ', 200)),
    '["production", "User-Agent: python"]', coalesce(k.team_id, ''), coalesce(k.organization_id, ''), 'customer', 'success',
    'None'
FROM "LiteLLM_VerificationToken" AS k, generate_series(0, 6) AS day, generate_series(1, 2) AS n;

INSERT INTO "LiteLLM_DailyUserSpend" (
    id, user_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, successful_requests
)
SELECT gen_random_uuid(), "user", to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(), count(*), count(*)
FROM "LiteLLM_SpendLogs" GROUP BY 2, 3, 4, 5, 7;

INSERT INTO "LiteLLM_DailyTeamSpend" (
    id, team_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, successful_requests
)
SELECT gen_random_uuid(), team_id, to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(), count(*), count(*)
FROM "LiteLLM_SpendLogs" GROUP BY 2, 3, 4, 5, 7;

INSERT INTO "LiteLLM_DailyOrganizationSpend" (
    id, organization_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, successful_requests
)
SELECT gen_random_uuid(), organization_id, to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(), count(*), count(*)
FROM "LiteLLM_SpendLogs" WHERE organization_id <> '' GROUP BY 2, 3, 4, 5, 7;

INSERT INTO "LiteLLM_DailyEndUserSpend" (
    id, end_user_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, successful_requests
)
SELECT gen_random_uuid(), end_user, to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(), count(*), count(*)
FROM "LiteLLM_SpendLogs" GROUP BY 2, 3, 4, 5, 7;

INSERT INTO "LiteLLM_DailyTagSpend" (
    id, tag, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
    prompt_tokens, completion_tokens, spend, updated_at, api_requests, successful_requests, request_id
)
SELECT gen_random_uuid(), tag, to_char("startTime", 'YYYY-MM-DD'), api_key, model, 'oracle', custom_llm_provider, '',
    '/chat/completions', sum(prompt_tokens), sum(completion_tokens), sum(spend), now(), count(*), count(*), min(request_id)
FROM "LiteLLM_SpendLogs" CROSS JOIN LATERAL jsonb_array_elements_text(request_tags) AS tag GROUP BY 2, 3, 4, 5, 7;

-- As old releases wrote it: twice the same, which NULL keeps apart.
INSERT INTO "LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, spend, updated_at)
SELECT 'old-' || n, NULL, '2024-05-01', '<free>', NULL, 1.25, now() FROM generate_series(1, 2) AS n;

-- What is encrypted with LiteLLM's salt key is text to everybody else.
INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)
VALUES ('m1', 'stored', '{"model": "ZW5jcnlwdGVkLW1vZGVs", "api_key": "ZW5jcnlwdGVkLWtleQ=="}', 'admin', 'admin');

INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('general_settings', '{"store_model_in_db": true}');
