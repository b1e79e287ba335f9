-- Totals: LiteLLM's running and daily sums, moved by what a batch really inserted.

-- name: lock_totals
-- Posters move totals one after the other, whatever rows they share: then none can wait for one that waits for it.
-- Taken after the entries, kept until commit. The number spells "totals".
SELECT pg_advisory_xact_lock(128022042733683)

-- name: hold_totals
-- Keeps posters away, and all who change a team with its members and keys; not others who only do this.
SELECT pg_advisory_xact_lock_shared(128022042733683)

-- name: hold_totals_for_new
-- $1: windows that are about to be used. One that is not there yet begins with what is spent so far, and from then on what
-- is booked without a hold goes to it: between the two no poster may be at it.
SELECT pg_advisory_xact_lock_shared(128022042733683)
WHERE EXISTS (
    SELECT FROM unnest($1::uuid[]) AS asked
    WHERE NOT EXISTS (SELECT FROM bursar.windows AS w WHERE w.window_id = asked)
)

-- name: move_totals
-- $1: changes, a JSON array as post_entries and late_changes return it. The rows of each table are taken in key order,
-- as LiteLLM takes them, which may share the database.
-- `cost` goes to lifetime and daily totals; and to what was spent in the current period (`spend`), unless the attempt is
-- pinned to a window that has ended, of somebody whose row has periods: where the budget is configured elsewhere, it is
-- of all time. A charge that is pinned to no window of somebody who has one now is booked into
-- that: returned are [window, cost], and [kind, id, soft budget, spend] of those whose spend has passed their soft budget by
-- this. Not so that of a user whom only the call named, who could be anybody; and what is
-- taken back from such a charge later lowers no window, since it may be of an earlier period.
-- Unknown users, end users and tags get rows, and a member of a team its membership; keys, teams and organizations are
-- made by people. What was called with a key's former secret moves the key; days and rows keep the hash. Tags that the gateway makes of user agents are only counted.
-- Daily rows get ids made of their keys: random ones, of which most are not needed, take five times as long.
WITH moves AS MATERIALIZED (
    SELECT to_char(date '1970-01-01' + day, 'YYYY-MM-DD') AS date, api_key,
        coalesce(r.active_token, api_key) AS key, coalesce(r.scope_token, api_key) AS key_scope, "user", owner, team_id, organization_id,
        end_user, tags, model, coalesce(provider, '') AS provider, model_group, request_id, windows, cost,
        prompt_tokens, completion_tokens, cache_read_tokens, cache_creation_tokens, requests, failures, response_ms,
        CASE coalesce(call_type, 'acompletion')
            WHEN 'acompletion' THEN '/chat/completions'
            WHEN 'atext_completion' THEN '/completions'
            WHEN 'aembedding' THEN '/embeddings'
            WHEN 'aimage_generation' THEN '/image/generations'
            WHEN 'aspeech' THEN '/audio/speech'
            WHEN 'atranscription' THEN '/audio/transcriptions'
            WHEN 'amoderation' THEN '/moderations'
            WHEN 'arerank' THEN '/rerank'
            WHEN 'aresponses' THEN '/responses'
            WHEN 'completion' THEN '/chat/completions'
            WHEN 'text_completion' THEN '/completions'
            WHEN 'embedding' THEN '/embeddings'
            WHEN 'image_generation' THEN '/image/generations'
            WHEN 'speech' THEN '/audio/speech'
            WHEN 'transcription' THEN '/audio/transcriptions'
            WHEN 'moderation' THEN '/moderations'
            WHEN 'rerank' THEN '/rerank'
            WHEN 'responses' THEN '/responses'
            ELSE ''
        END AS endpoint
    FROM json_to_recordset($1::json) AS m (
        day integer, api_key text, "user" text, owner text, team_id text, organization_id text, end_user text,
        tags text, model text, provider text, call_type text, model_group text, request_id text, windows uuid[],
        cost bigint, prompt_tokens bigint, completion_tokens bigint, cache_read_tokens bigint,
        cache_creation_tokens bigint, requests bigint, failures bigint, response_ms bigint
    )
    LEFT JOIN LATERAL (
        SELECT r.active_token, r.scope_token FROM bursar.rotated_keys AS r
        WHERE r.token = m.api_key OR r.active_token = m.api_key LIMIT 1
    ) AS r ON true
),
tagged AS MATERIALIZED (
    SELECT moves.*, tag
    FROM moves
    CROSS JOIN LATERAL (SELECT DISTINCT tag FROM json_array_elements_text(moves.tags::json) AS tag) AS tags
    WHERE moves.tags IS NOT NULL
),
limited_models AS MATERIALIZED (  -- most databases have few of these kinds or none: then nothing is looked up for them
    SELECT kind FROM unnest(ARRAY['key_model', 'user_model', 'team_model', 'organization_model', 'end_user_model']) AS kind
    WHERE (SELECT true FROM bursar.windows AS w WHERE w.scope_kind = kind ORDER BY w.scope_kind, w.scope_id LIMIT 1)
),
ended AS MATERIALIZED (
    SELECT w.scope_kind, w.scope_id, min(m.key) AS key, sum(m.cost) AS cost
    FROM moves AS m
    CROSS JOIN LATERAL unnest(m.windows) AS window_id
    JOIN bursar.windows AS w USING (window_id)
    WHERE w.ends_at <= clock_timestamp() AND CASE w.scope_kind
        WHEN 'key' THEN EXISTS (
            SELECT FROM "LiteLLM_VerificationToken" AS k LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = k.budget_id
            WHERE k.token = m.key AND CASE WHEN k.max_budget IS NULL
                THEN coalesce(k.budget_reset_at, b.budget_reset_at) ELSE k.budget_reset_at END IS NOT NULL
        )
        WHEN 'user' THEN EXISTS (
            SELECT FROM "LiteLLM_UserTable" AS u WHERE u.user_id = w.scope_id AND u.budget_reset_at IS NOT NULL
        )
        WHEN 'team' THEN EXISTS (
            SELECT FROM "LiteLLM_TeamTable" AS t WHERE t.team_id = w.scope_id AND t.budget_reset_at IS NOT NULL
        )
        ELSE EXISTS (
            SELECT FROM (
                SELECT t.budget_id FROM "LiteLLM_TeamMembership" AS t
                WHERE w.scope_kind = 'team_member' AND t.team_id = m.team_id AND t.user_id = m.owner
                UNION ALL
                SELECT o.budget_id FROM "LiteLLM_OrganizationTable" AS o
                WHERE w.scope_kind = 'organization' AND o.organization_id = w.scope_id
                UNION ALL
                SELECT e.budget_id FROM "LiteLLM_EndUserTable" AS e
                WHERE w.scope_kind = 'end_user' AND e.user_id = w.scope_id
                UNION ALL
                SELECT t.budget_id FROM "LiteLLM_TagTable" AS t
                WHERE w.scope_kind = 'tag' AND t.tag_name = w.scope_id
            ) AS found JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = found.budget_id
            WHERE b.budget_reset_at IS NOT NULL
        )
    END
    GROUP BY w.scope_kind, w.scope_id
),
keys AS (
    UPDATE "LiteLLM_VerificationToken" AS k
    SET spend = greatest(k.spend + m.current_usd, 0), total_spend = k.total_spend + m.usd,
        last_active = now() AT TIME ZONE 'UTC'
    FROM (
        SELECT m.key, m.cost / 1e9::double precision AS usd,
            (m.cost - coalesce(e.cost, 0)) / 1e9::double precision AS current_usd
        FROM (SELECT key, sum(cost) AS cost FROM moves GROUP BY key) AS m
        LEFT JOIN (SELECT key, sum(cost) AS cost FROM ended WHERE scope_kind = 'key' GROUP BY key) AS e USING (key)
        ORDER BY m.key
    ) AS m
    WHERE k.token = m.key
    RETURNING k.token, k.spend, m.current_usd, k.budget_id
),
named_moves AS (  -- what is taken back of such a charge, and was made before their spend was last set, is no part of it
    SELECT m."user", greatest(sum(m.cost), -coalesce(min(n.spent_nano_usd), 0)) AS cost,
        least(sum(m.cost) + coalesce(min(n.spent_nano_usd), 0), 0) AS before
    FROM moves AS m LEFT JOIN bursar.named_spend AS n ON n.user_id = m."user"
    WHERE m."user" IS NOT NULL AND m."user" IS DISTINCT FROM m.owner
    GROUP BY m."user"
),
users AS (
    INSERT INTO "LiteLLM_UserTable" AS u (user_id, models, spend)
    SELECT m."user", '{}', (sum(m.cost) - coalesce(min(n.before), 0) - coalesce(min(e.cost), 0)) / 1e9::double precision
    FROM moves AS m LEFT JOIN ended AS e ON e.scope_kind = 'user' AND e.scope_id = m."user"
    LEFT JOIN named_moves AS n ON n."user" = m."user"
    WHERE m."user" IS NOT NULL
    GROUP BY m."user" HAVING sum(m.cost) <> 0 OR sum(m.requests - m.failures) > 0
    ORDER BY m."user"
    ON CONFLICT (user_id) DO UPDATE SET spend = greatest(u.spend + excluded.spend, 0)
),
named AS (
    INSERT INTO bursar.named_spend AS n (user_id, spent_nano_usd)
    SELECT "user", cost FROM named_moves WHERE cost <> 0 ORDER BY "user"
    ON CONFLICT (user_id) DO UPDATE SET spent_nano_usd = n.spent_nano_usd + excluded.spent_nano_usd
),
teams AS (
    UPDATE "LiteLLM_TeamTable" AS t
    SET spend = greatest(t.spend + m.current_usd, 0)
    FROM (
        SELECT m.team_id, (sum(m.cost) - coalesce(min(e.cost), 0)) / 1e9::double precision AS current_usd
        FROM moves AS m LEFT JOIN ended AS e ON e.scope_kind = 'team' AND e.scope_id = m.team_id
        WHERE m.team_id IS NOT NULL GROUP BY m.team_id HAVING sum(m.cost) <> 0 ORDER BY m.team_id
    ) AS m
    WHERE t.team_id = m.team_id
    RETURNING t.team_id, t.spend, m.current_usd, t.soft_budget
),
team_members AS (
    INSERT INTO "LiteLLM_TeamMembership" AS t (user_id, team_id, spend, total_spend)
    SELECT m.owner, m.team_id, m.current_usd, m.usd
    FROM (
        SELECT m.owner, m.team_id, sum(m.cost) / 1e9::double precision AS usd,
            (sum(m.cost) - coalesce(min(e.cost), 0)) / 1e9::double precision AS current_usd
        FROM moves AS m
        LEFT JOIN ended AS e
            ON e.scope_kind = 'team_member' AND e.scope_id = bursar.member_scope(m.team_id, m.owner)
        WHERE m.owner IS NOT NULL AND m.team_id IS NOT NULL
        GROUP BY m.owner, m.team_id HAVING sum(m.cost) <> 0
    ) AS m
    WHERE EXISTS (SELECT FROM "LiteLLM_TeamMembership" AS k WHERE k.user_id = m.owner AND k.team_id = m.team_id)
        OR EXISTS (
            SELECT FROM "LiteLLM_TeamTable" AS k
            WHERE k.team_id = m.team_id AND (
                m.owner = ANY (k.members)
                OR k.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', m.owner))
            )
        )
    ORDER BY m.owner, m.team_id
    ON CONFLICT (user_id, team_id) DO UPDATE
    SET spend = greatest(t.spend + excluded.spend, 0), total_spend = t.total_spend + excluded.total_spend
),
organizations AS (
    UPDATE "LiteLLM_OrganizationTable" AS o
    SET spend = greatest(o.spend + m.current_usd, 0)
    FROM (
        SELECT m.organization_id, (sum(m.cost) - coalesce(min(e.cost), 0)) / 1e9::double precision AS current_usd
        FROM moves AS m LEFT JOIN ended AS e ON e.scope_kind = 'organization' AND e.scope_id = m.organization_id
        WHERE m.organization_id IS NOT NULL
        GROUP BY m.organization_id HAVING sum(m.cost) <> 0 ORDER BY m.organization_id
    ) AS m
    WHERE o.organization_id = m.organization_id
    RETURNING o.organization_id, o.spend, m.current_usd, o.budget_id
),
organization_members AS (
    UPDATE "LiteLLM_OrganizationMembership" AS o
    SET spend = coalesce(o.spend, 0) + m.usd
    FROM (
        SELECT owner, organization_id, sum(cost) / 1e9::double precision AS usd
        FROM moves WHERE owner IS NOT NULL AND organization_id IS NOT NULL
        GROUP BY owner, organization_id HAVING sum(cost) <> 0 ORDER BY owner, organization_id
    ) AS m
    WHERE o.user_id = m.owner AND o.organization_id = m.organization_id
),
end_users AS (
    INSERT INTO "LiteLLM_EndUserTable" AS u (user_id, spend)
    SELECT m.end_user, (sum(m.cost) - coalesce(min(e.cost), 0)) / 1e9::double precision
    FROM moves AS m LEFT JOIN ended AS e ON e.scope_kind = 'end_user' AND e.scope_id = m.end_user
    WHERE m.end_user IS NOT NULL
    GROUP BY m.end_user HAVING sum(m.cost) <> 0 OR sum(m.requests - m.failures) > 0
    ORDER BY m.end_user
    ON CONFLICT (user_id) DO UPDATE SET spend = greatest(u.spend + excluded.spend, 0)
),
tags AS (
    INSERT INTO "LiteLLM_TagTable" AS t (tag_name, models, spend)
    SELECT m.tag, '{}', (sum(m.cost) - coalesce(min(e.cost), 0)) / 1e9::double precision
    FROM tagged AS m LEFT JOIN ended AS e ON e.scope_kind = 'tag' AND e.scope_id = m.tag
    WHERE m.tag NOT LIKE 'User-Agent: %' OR EXISTS (SELECT FROM "LiteLLM_TagTable" AS k WHERE k.tag_name = m.tag)
    GROUP BY m.tag HAVING sum(m.cost) <> 0 OR sum(m.requests - m.failures) > 0
    ORDER BY m.tag
    ON CONFLICT (tag_name) DO UPDATE SET spend = greatest(t.spend + excluded.spend, 0)
),
daily_users AS (
    INSERT INTO "LiteLLM_DailyUserSpend" AS t (
        id, user_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
        prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests,
        cache_creation_input_tokens, cache_read_input_tokens, total_response_time_ms, timed_requests
    )
    SELECT
        encode(sha256(convert_to(
            ROW(coalesce("user", ''), date, api_key, model, provider, endpoint)::text, 'UTF8'
        )), 'hex'),
        coalesce("user", ''), date, api_key, model, min(model_group), provider, '', endpoint,
        sum(prompt_tokens), sum(completion_tokens), sum(cost) / 1e9::double precision, now() AT TIME ZONE 'UTC',
        sum(requests), sum(failures), sum(requests - failures), sum(cache_creation_tokens), sum(cache_read_tokens),
        sum(response_ms), sum(requests - failures)
    FROM moves
    GROUP BY 2, date, api_key, model, provider, endpoint
    ORDER BY 2, date, api_key, model, provider, endpoint
    ON CONFLICT (user_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint)
    DO UPDATE SET
        prompt_tokens = t.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = t.completion_tokens + excluded.completion_tokens,
        spend = t.spend + excluded.spend,
        updated_at = excluded.updated_at,
        api_requests = t.api_requests + excluded.api_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        successful_requests = t.successful_requests + excluded.successful_requests,
        cache_creation_input_tokens = t.cache_creation_input_tokens + excluded.cache_creation_input_tokens,
        cache_read_input_tokens = t.cache_read_input_tokens + excluded.cache_read_input_tokens,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        timed_requests = t.timed_requests + excluded.timed_requests
),
daily_teams AS (
    INSERT INTO "LiteLLM_DailyTeamSpend" AS t (
        id, team_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
        prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests,
        cache_creation_input_tokens, cache_read_input_tokens, total_response_time_ms, timed_requests
    )
    SELECT
        encode(sha256(convert_to(
            ROW(coalesce(team_id, ''), date, api_key, model, provider, endpoint)::text, 'UTF8'
        )), 'hex'),
        coalesce(team_id, ''), date, api_key, model, min(model_group), provider, '', endpoint,
        sum(prompt_tokens), sum(completion_tokens), sum(cost) / 1e9::double precision, now() AT TIME ZONE 'UTC',
        sum(requests), sum(failures), sum(requests - failures), sum(cache_creation_tokens), sum(cache_read_tokens),
        sum(response_ms), sum(requests - failures)
    FROM moves
    GROUP BY 2, date, api_key, model, provider, endpoint
    ORDER BY 2, date, api_key, model, provider, endpoint
    ON CONFLICT (team_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint)
    DO UPDATE SET
        prompt_tokens = t.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = t.completion_tokens + excluded.completion_tokens,
        spend = t.spend + excluded.spend,
        updated_at = excluded.updated_at,
        api_requests = t.api_requests + excluded.api_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        successful_requests = t.successful_requests + excluded.successful_requests,
        cache_creation_input_tokens = t.cache_creation_input_tokens + excluded.cache_creation_input_tokens,
        cache_read_input_tokens = t.cache_read_input_tokens + excluded.cache_read_input_tokens,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        timed_requests = t.timed_requests + excluded.timed_requests
),
daily_organizations AS (
    INSERT INTO "LiteLLM_DailyOrganizationSpend" AS t (
        id, organization_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
        prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests,
        cache_creation_input_tokens, cache_read_input_tokens, total_response_time_ms, timed_requests
    )
    SELECT
        encode(sha256(convert_to(ROW(organization_id, date, api_key, model, provider, endpoint)::text, 'UTF8')), 'hex'),
        organization_id, date, api_key, model, min(model_group), provider, '', endpoint,
        sum(prompt_tokens), sum(completion_tokens), sum(cost) / 1e9::double precision, now() AT TIME ZONE 'UTC',
        sum(requests), sum(failures), sum(requests - failures), sum(cache_creation_tokens), sum(cache_read_tokens),
        sum(response_ms), sum(requests - failures)
    FROM moves
    WHERE organization_id IS NOT NULL
    GROUP BY 2, date, api_key, model, provider, endpoint
    ORDER BY 2, date, api_key, model, provider, endpoint
    ON CONFLICT (organization_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint)
    DO UPDATE SET
        prompt_tokens = t.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = t.completion_tokens + excluded.completion_tokens,
        spend = t.spend + excluded.spend,
        updated_at = excluded.updated_at,
        api_requests = t.api_requests + excluded.api_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        successful_requests = t.successful_requests + excluded.successful_requests,
        cache_creation_input_tokens = t.cache_creation_input_tokens + excluded.cache_creation_input_tokens,
        cache_read_input_tokens = t.cache_read_input_tokens + excluded.cache_read_input_tokens,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        timed_requests = t.timed_requests + excluded.timed_requests
),
daily_end_users AS (
    INSERT INTO "LiteLLM_DailyEndUserSpend" AS t (
        id, end_user_id, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
        prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests,
        cache_creation_input_tokens, cache_read_input_tokens, total_response_time_ms, timed_requests
    )
    SELECT
        encode(sha256(convert_to(ROW(end_user, date, api_key, model, provider, endpoint)::text, 'UTF8')), 'hex'),
        end_user, date, api_key, model, min(model_group), provider, '', endpoint,
        sum(prompt_tokens), sum(completion_tokens), sum(cost) / 1e9::double precision, now() AT TIME ZONE 'UTC',
        sum(requests), sum(failures), sum(requests - failures), sum(cache_creation_tokens), sum(cache_read_tokens),
        sum(response_ms), sum(requests - failures)
    FROM moves
    WHERE end_user IS NOT NULL
    GROUP BY 2, date, api_key, model, provider, endpoint
    ORDER BY 2, date, api_key, model, provider, endpoint
    ON CONFLICT (end_user_id, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint)
    DO UPDATE SET
        prompt_tokens = t.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = t.completion_tokens + excluded.completion_tokens,
        spend = t.spend + excluded.spend,
        updated_at = excluded.updated_at,
        api_requests = t.api_requests + excluded.api_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        successful_requests = t.successful_requests + excluded.successful_requests,
        cache_creation_input_tokens = t.cache_creation_input_tokens + excluded.cache_creation_input_tokens,
        cache_read_input_tokens = t.cache_read_input_tokens + excluded.cache_read_input_tokens,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        timed_requests = t.timed_requests + excluded.timed_requests
),
daily_tags AS (
    INSERT INTO "LiteLLM_DailyTagSpend" AS t (
        id, tag, date, api_key, model, model_group, custom_llm_provider, mcp_namespaced_tool_name, endpoint,
        prompt_tokens, completion_tokens, spend, updated_at, api_requests, failed_requests, successful_requests,
        cache_creation_input_tokens, cache_read_input_tokens, total_response_time_ms, timed_requests, request_id
    )
    SELECT
        encode(sha256(convert_to(ROW(tag, date, api_key, model, provider, endpoint)::text, 'UTF8')), 'hex'),
        tag, date, api_key, model, min(model_group), provider, '', endpoint,
        sum(prompt_tokens), sum(completion_tokens), sum(cost) / 1e9::double precision, now() AT TIME ZONE 'UTC',
        sum(requests), sum(failures), sum(requests - failures), sum(cache_creation_tokens), sum(cache_read_tokens),
        sum(response_ms), sum(requests - failures), min(request_id)
    FROM tagged
    GROUP BY 2, date, api_key, model, provider, endpoint
    ORDER BY 2, date, api_key, model, provider, endpoint
    ON CONFLICT (tag, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) DO UPDATE SET
        prompt_tokens = t.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = t.completion_tokens + excluded.completion_tokens,
        spend = t.spend + excluded.spend,
        updated_at = excluded.updated_at,
        api_requests = t.api_requests + excluded.api_requests,
        failed_requests = t.failed_requests + excluded.failed_requests,
        successful_requests = t.successful_requests + excluded.successful_requests,
        cache_creation_input_tokens = t.cache_creation_input_tokens + excluded.cache_creation_input_tokens,
        cache_read_input_tokens = t.cache_read_input_tokens + excluded.cache_read_input_tokens,
        total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
        timed_requests = t.timed_requests + excluded.timed_requests,
        request_id = coalesce(t.request_id, excluded.request_id)
)
SELECT (
    SELECT json_agg(json_build_array(kind, id, soft, spend))::text
    FROM (
        SELECT 'key' AS kind, token AS id, spend, current_usd, (
            SELECT b.soft_budget FROM "LiteLLM_BudgetTable" AS b WHERE b.budget_id = keys.budget_id
        ) AS soft
        FROM keys
        UNION ALL
        SELECT 'team', team_id, spend, current_usd, soft_budget FROM teams
        UNION ALL
        SELECT 'organization', organization_id, spend, current_usd, (
            SELECT b.soft_budget FROM "LiteLLM_BudgetTable" AS b WHERE b.budget_id = organizations.budget_id
        )
        FROM organizations
    ) AS moved
    WHERE spend >= soft AND spend - current_usd < soft
) AS softly_passed, json_agg(json_build_array(window_id, cost))::text AS forced
FROM (
    SELECT w.window_id, sum(s.cost) AS cost
    FROM (
        SELECT 'key' AS kind, key_scope AS id, windows, cost FROM moves
        UNION ALL
        SELECT 'user', "user", windows, cost FROM moves WHERE "user" = owner
        UNION ALL
        SELECT 'team', team_id, windows, cost FROM moves WHERE team_id IS NOT NULL
        UNION ALL
        SELECT 'team_member', bursar.member_scope(team_id, owner), windows, cost FROM moves
        WHERE team_id IS NOT NULL AND owner IS NOT NULL
        UNION ALL
        SELECT 'organization', organization_id, windows, cost FROM moves WHERE organization_id IS NOT NULL
        UNION ALL
        SELECT 'end_user', end_user, windows, cost FROM moves WHERE end_user IS NOT NULL
        UNION ALL
        SELECT 'tag', tag, windows, cost FROM tagged
        UNION ALL
        SELECT o.kind, bursar.member_scope(o.id, name), windows, cost
        FROM moves CROSS JOIN LATERAL (VALUES
            ('key_model', key_scope), ('user_model', CASE WHEN "user" = owner THEN owner END), ('team_model', team_id),
            ('organization_model', organization_id), ('end_user_model', end_user)
        ) AS o (kind, id)
        CROSS JOIN LATERAL unnest(  -- by its whole name and by what is behind the last slash, as limits of models are found
            CASE WHEN model_group LIKE '%/%' THEN ARRAY[model_group, substring(model_group FROM '[^/]*$')]
                ELSE ARRAY[model_group] END
        ) AS name
        WHERE o.kind IN (SELECT kind FROM limited_models)
        UNION ALL
        SELECT 'key_period', m.key_scope || '/' || (b ->> 'budget_duration'), m.windows, m.cost
        FROM moves AS m JOIN "LiteLLM_VerificationToken" AS k ON k.token = m.key
        CROSS JOIN LATERAL jsonb_array_elements(
            CASE jsonb_typeof(k.budget_limits) WHEN 'array' THEN k.budget_limits ELSE '[]' END
        ) AS b
        UNION ALL
        SELECT 'team_period', bursar.member_scope(m.team_id, b ->> 'budget_duration'), m.windows, m.cost
        FROM moves AS m JOIN "LiteLLM_TeamTable" AS t ON t.team_id = m.team_id
        CROSS JOIN LATERAL jsonb_array_elements(
            CASE jsonb_typeof(t.budget_limits) WHEN 'array' THEN t.budget_limits ELSE '[]' END
        ) AS b
        UNION ALL
        SELECT 'gateway', '', windows, cost FROM moves
    ) AS s
    CROSS JOIN LATERAL (
        SELECT c.window_id FROM bursar.windows AS c
        WHERE c.scope_kind = s.kind AND c.scope_id = s.id AND c.ends_at > clock_timestamp()
        OFFSET 0  -- one for each: most scopes have one that runs; several, when the length of the periods was changed
    ) AS w
    WHERE s.cost > 0 AND NOT EXISTS (
        SELECT FROM bursar.windows AS p
        WHERE p.window_id = ANY (s.windows) AND p.scope_kind = s.kind AND p.scope_id = s.id
    )
    GROUP BY w.window_id
) AS forced
