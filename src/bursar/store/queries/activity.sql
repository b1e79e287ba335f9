-- Days of users, teams … as the daily tables have them. Of the five tables, which have one shape, the planner reads only the
-- one whose kind is asked for.

-- name: page
-- $1: kind, $2 and $3: days, $4: entities (null: all), $5: others than these, $6: keys, $7: model; $8: entities and $9: keys
-- of which the caller sees the rows (both null: all); $10 and $11: limit and offset.
WITH days AS NOT MATERIALIZED (
    SELECT 'user' AS kind, user_id AS entity, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests, id
    FROM "LiteLLM_DailyUserSpend"
    UNION ALL
    SELECT 'team', team_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests, id
    FROM "LiteLLM_DailyTeamSpend"
    UNION ALL
    SELECT 'tag', tag, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests, id
    FROM "LiteLLM_DailyTagSpend"
    UNION ALL
    SELECT 'organization', organization_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests, id
    FROM "LiteLLM_DailyOrganizationSpend"
    UNION ALL
    SELECT 'customer', end_user_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests, id
    FROM "LiteLLM_DailyEndUserSpend"
),
chosen AS NOT MATERIALIZED (
    SELECT * FROM days
    WHERE kind = $1 AND date BETWEEN $2 AND $3
        AND ($4::text[] IS NULL OR entity = ANY ($4))
        AND (entity IS NULL OR entity <> ALL ($5::text[]))
        AND ($6::text[] IS NULL OR api_key = ANY ($6))
        AND ($7::text IS NULL OR model = $7 OR model_group = $7)
        AND (
            ($8::text[] IS NULL AND $9::text[] IS NULL) OR entity = ANY ($8) OR api_key = ANY ($9)
        )
)
SELECT date, coalesce(entity, '') AS entity, api_key, coalesce(model, '') AS model,
    coalesce(model_group, '') AS model_group, coalesce(custom_llm_provider, '') AS provider,
    coalesce(endpoint, '') AS endpoint, coalesce(mcp_namespaced_tool_name, '') AS mcp_server,
    spend, prompt_tokens, completion_tokens, cache_read_input_tokens, cache_creation_input_tokens,
    successful_requests, failed_requests, api_requests, (SELECT count(*) FROM chosen) AS rows
FROM chosen
ORDER BY date DESC, id
LIMIT $10 OFFSET $11

-- name: all
-- The same, of all rows, with those keys and entities apart that spent most ($10: how many of each); what the others did is
-- put together under $11.
WITH days AS (
    SELECT 'user' AS kind, user_id AS entity, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests
    FROM "LiteLLM_DailyUserSpend"
    UNION ALL
    SELECT 'team', team_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests
    FROM "LiteLLM_DailyTeamSpend"
    UNION ALL
    SELECT 'tag', tag, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests
    FROM "LiteLLM_DailyTagSpend"
    UNION ALL
    SELECT 'organization', organization_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests
    FROM "LiteLLM_DailyOrganizationSpend"
    UNION ALL
    SELECT 'customer', end_user_id, date, api_key, model, model_group, custom_llm_provider, endpoint,
        mcp_namespaced_tool_name, spend, prompt_tokens, completion_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, successful_requests, failed_requests, api_requests
    FROM "LiteLLM_DailyEndUserSpend"
),
chosen AS MATERIALIZED (
    SELECT *
    FROM days
    WHERE kind = $1 AND date BETWEEN $2 AND $3
        AND ($4::text[] IS NULL OR entity = ANY ($4))
        AND (entity IS NULL OR entity <> ALL ($5::text[]))
        AND ($6::text[] IS NULL OR api_key = ANY ($6))
        AND ($7::text IS NULL OR model = $7 OR model_group = $7)
        AND (
            ($8::text[] IS NULL AND $9::text[] IS NULL) OR entity = ANY ($8) OR api_key = ANY ($9)
        )
),
great_keys AS MATERIALIZED (
    SELECT api_key FROM chosen GROUP BY api_key ORDER BY sum(spend) DESC, api_key LIMIT $10
),
great_entities AS MATERIALIZED (
    SELECT entity FROM chosen GROUP BY entity ORDER BY sum(spend) DESC, entity LIMIT $10
)
SELECT date,
    CASE WHEN entity IS NULL OR entity IN (SELECT entity FROM great_entities) THEN coalesce(entity, '') ELSE $11 END
        AS entity,
    CASE WHEN api_key IN (SELECT api_key FROM great_keys) THEN api_key ELSE $11 END AS api_key,
    coalesce(model, '') AS model, coalesce(model_group, '') AS model_group,
    coalesce(custom_llm_provider, '') AS provider, coalesce(endpoint, '') AS endpoint,
    coalesce(mcp_namespaced_tool_name, '') AS mcp_server,
    sum(spend) AS spend, sum(prompt_tokens)::bigint AS prompt_tokens,
    sum(completion_tokens)::bigint AS completion_tokens,
    sum(cache_read_input_tokens)::bigint AS cache_read_input_tokens,
    sum(cache_creation_input_tokens)::bigint AS cache_creation_input_tokens,
    sum(successful_requests)::bigint AS successful_requests, sum(failed_requests)::bigint AS failed_requests,
    sum(api_requests)::bigint AS api_requests
FROM chosen
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY date DESC
