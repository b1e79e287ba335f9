-- Sums of what was spent, from the daily tables. Those in JSON are rounded to nano-dollars: floats add up to a little
-- more or less. $1 and $2 are the first and the last day, text as the tables have it.

-- name: total
SELECT coalesce(sum(spend), 0) AS spend FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2

-- name: by_day
-- $3: keys (null: all).
SELECT date, sum(spend) AS spend, sum(api_requests)::bigint AS api_requests,
    sum(prompt_tokens + completion_tokens)::bigint AS total_tokens
FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2
    AND ($3::text[] IS NULL OR api_key = ANY ($3))
GROUP BY date ORDER BY date

-- name: by_day_and_model
-- $3: keys (null: all).
SELECT date, coalesce(model_group, '') AS model, sum(api_requests)::bigint AS api_requests,
    sum(prompt_tokens + completion_tokens)::bigint AS total_tokens
FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2
    AND ($3::text[] IS NULL OR api_key = ANY ($3))
GROUP BY date, coalesce(model_group, '') ORDER BY date, 2

-- name: by_key
-- $3: how many.
SELECT api_key, sum(spend) AS total_spend FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2
GROUP BY api_key ORDER BY total_spend DESC, api_key LIMIT $3

-- name: by_model
SELECT coalesce(model, '') AS model, sum(spend) AS total_spend FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2
GROUP BY coalesce(model, '') ORDER BY total_spend DESC, model LIMIT $3

-- name: by_provider
-- $3: keys (null: all).
SELECT coalesce(custom_llm_provider, '') AS provider, sum(spend) AS spend FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $1 AND $2
    AND ($3::text[] IS NULL OR api_key = ANY ($3))
GROUP BY coalesce(custom_llm_provider, '') ORDER BY spend DESC, provider

-- name: by_team
SELECT d.date, coalesce(d.team_id, '') AS team_id, t.team_alias, sum(d.spend) AS spend
FROM "LiteLLM_DailyTeamSpend" AS d LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = d.team_id
WHERE d.date BETWEEN $1 AND $2
GROUP BY d.date, coalesce(d.team_id, ''), t.team_alias ORDER BY d.date

-- name: by_end_user
-- $3: keys (null: all), $4: how many.
SELECT end_user_id AS end_user, sum(api_requests)::bigint AS total_count, sum(spend) AS total_spend
FROM "LiteLLM_DailyEndUserSpend"
WHERE date BETWEEN $1 AND $2
    AND ($3::text[] IS NULL OR api_key = ANY ($3))
GROUP BY end_user_id ORDER BY total_spend DESC, end_user_id LIMIT $4

-- name: by_tag
-- $3: tags (null: all).
SELECT tag, sum(api_requests)::bigint AS log_count, sum(spend) AS total_spend
FROM "LiteLLM_DailyTagSpend"
WHERE date BETWEEN $1 AND $2
    AND ($3::text[] IS NULL OR tag = ANY ($3))
GROUP BY tag ORDER BY total_spend DESC, tag

-- name: keys
-- Rows of keys, by what they spent in their current period. $1 to $5: what the caller sees (everything, user, keys, teams,
-- organizations), $6: how many.
SELECT * FROM "LiteLLM_VerificationToken"
WHERE $1::boolean OR user_id = $2 OR token = ANY ($3::text[]) OR team_id = ANY ($4::text[])
    OR organization_id = ANY ($5::text[])
ORDER BY spend DESC, token LIMIT $6

-- name: users
-- $1: a user (null: all), $2: how many.
SELECT user_id, user_alias, user_email, user_role, teams, organization_id, models, max_budget, spend, budget_duration,
    budget_reset_at, tpm_limit, rpm_limit, max_parallel_requests, metadata, created_at, updated_at
FROM "LiteLLM_UserTable"
WHERE $1::text IS NULL OR user_id = $1
ORDER BY spend DESC, user_id LIMIT $2

-- name: report_by_team
-- What each team spent on which day, by model and key. $3: a team (null: all). JSON. Sorting by "C" takes half the time.
SELECT convert_to(coalesce(json_agg(json_build_object('group_by_day', day || 'T00:00:00+00:00', 'teams', teams) ORDER BY day),
    '[]')::text, 'UTF8')
FROM (
    SELECT day, json_agg(json_build_object(
        'team_name', name, 'total_spend', round(spend::numeric, 9), 'metadata', parts) ORDER BY spend DESC) AS teams
    FROM (
        SELECT day, name, sum(spend) AS spend, json_agg(json_build_object(
            'model', model, 'api_key', api_key, 'spend', round(spend::numeric, 9), 'total_tokens', tokens
        ) ORDER BY spend DESC) AS parts
        FROM (
            SELECT d.date COLLATE "C" AS day, coalesce(t.team_alias, d.team_id, '') COLLATE "C" AS name,
                coalesce(d.model, '') COLLATE "C" AS model, d.api_key COLLATE "C" AS api_key,
                sum(d.spend) AS spend, sum(d.prompt_tokens + d.completion_tokens)::bigint AS tokens
            FROM "LiteLLM_DailyTeamSpend" AS d LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = d.team_id
            WHERE d.date BETWEEN $1 AND $2
                AND ($3::text IS NULL OR d.team_id = $3)
            GROUP BY 1, 2, 3, 4
        ) AS m GROUP BY day, name
    ) AS t GROUP BY day
) AS d

-- name: report_by_customer
-- The same of end users: of each day those that spent most, and the sum of the others. $3: a customer (null: all), $4: how
-- many, $5: what the others are called. JSON. The index is in the database's collation.
WITH sums AS (
    SELECT date COLLATE "C" AS day, coalesce(end_user_id, '') COLLATE "C" AS name, sum(spend) AS spend
    FROM "LiteLLM_DailyEndUserSpend"
    WHERE date BETWEEN $1 AND $2 AND ($3::text IS NULL OR end_user_id = $3)
    GROUP BY 1, 2
),
placed AS MATERIALIZED (
    SELECT day, name, spend, row_number() OVER (PARTITION BY day ORDER BY spend DESC, name) AS place FROM sums
),
great AS MATERIALIZED (
    SELECT day, name, spend FROM placed WHERE place <= $4
),
chosen AS (  -- looked up by the index, for the few that are shown
    SELECT g.day, g.name, coalesce(d.model, '') COLLATE "C" AS model, d.api_key COLLATE "C" AS api_key,
        sum(d.spend) AS spend, sum(d.prompt_tokens + d.completion_tokens)::bigint AS tokens
    FROM great AS g CROSS JOIN LATERAL (
        SELECT model, api_key, spend, prompt_tokens, completion_tokens
        FROM "LiteLLM_DailyEndUserSpend" WHERE date = g.day COLLATE "default" AND end_user_id = g.name COLLATE "default"
        UNION ALL
        SELECT model, api_key, spend, prompt_tokens, completion_tokens
        FROM "LiteLLM_DailyEndUserSpend" WHERE date = g.day COLLATE "default" AND end_user_id IS NULL AND g.name = ''
        OFFSET 0
    ) AS d
    GROUP BY 1, 2, 3, 4
),
parts AS (
    SELECT day, name, json_agg(json_build_object(
        'model', model, 'api_key', api_key, 'spend', round(spend::numeric, 9), 'total_tokens', tokens
    ) ORDER BY spend DESC) AS parts
    FROM chosen GROUP BY day, name
)
SELECT convert_to(coalesce(json_agg(json_build_object('group_by_day', day || 'T00:00:00+00:00', 'customers', customers)
    ORDER BY day), '[]')::text, 'UTF8')
FROM (
    SELECT day, json_agg(json_build_object('customer', name, 'total_spend', round(spend::numeric, 9), 'metadata', parts)
        ORDER BY rest, spend DESC) AS customers
    FROM (
        SELECT day, name, spend, parts, false AS rest FROM great JOIN parts USING (day, name)
        UNION ALL
        SELECT day, $5::text, sum(spend), '[]', true FROM placed WHERE place > $4 GROUP BY day
    ) AS c
    GROUP BY day
) AS d

-- name: report_by_key
-- $3: keys (null: all), $4: a user (null: all).
SELECT convert_to(coalesce(json_agg(json_build_object(
    'api_key', api_key, 'total_cost', round(cost::numeric, 9), 'total_input_tokens', input,
    'total_output_tokens', output, 'model_details', models) ORDER BY cost DESC), '[]')::text, 'UTF8')
FROM (
    SELECT api_key, sum(cost) AS cost, sum(input)::bigint AS input, sum(output)::bigint AS output,
        json_agg(json_build_object('model', model, 'total_cost', round(cost::numeric, 9), 'total_input_tokens', input,
            'total_output_tokens', output) ORDER BY cost DESC) AS models
    FROM (
        SELECT api_key, coalesce(model, '') AS model, sum(spend) AS cost, sum(prompt_tokens)::bigint AS input,
            sum(completion_tokens)::bigint AS output
        FROM "LiteLLM_DailyUserSpend"
        WHERE date BETWEEN $1 AND $2
            AND ($3::text[] IS NULL OR api_key = ANY ($3)) AND ($4::text IS NULL OR user_id = $4)
        GROUP BY api_key, coalesce(model, '')
    ) AS m GROUP BY api_key
) AS k

-- name: usage_of_tags
-- $1, $2: the first and the last day of each period, $3: tags (null: all), $4: of each period, how many. A user is who owns
-- the key, or owned it when it was deleted.
SELECT period, tag, users, calls, successful, failed, tokens, spend
FROM (
    SELECT u.*, row_number() OVER (PARTITION BY period ORDER BY users DESC, calls DESC, tag) AS place
    FROM (
        SELECT p.n::integer - 1 AS period, t.tag, count(DISTINCT k.user_id) AS users,
            sum(t.api_requests)::bigint AS calls, sum(t.successful_requests)::bigint AS successful,
            sum(t.failed_requests)::bigint AS failed, sum(t.prompt_tokens + t.completion_tokens)::bigint AS tokens,
            sum(t.spend) AS spend
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (first_day, last_day, n)
        JOIN "LiteLLM_DailyTagSpend" AS t ON t.date BETWEEN p.first_day AND p.last_day
        LEFT JOIN bursar.rotated_keys AS r ON r.token = t.api_key
        CROSS JOIN LATERAL (
            SELECT coalesce(
                (SELECT v.user_id FROM "LiteLLM_VerificationToken" AS v WHERE v.token = coalesce(r.active_token, t.api_key)),
                (SELECT max(d.user_id) FROM "LiteLLM_DeletedVerificationToken" AS d WHERE d.token = t.api_key)
            ) AS user_id
        ) AS k
        WHERE t.tag IS NOT NULL AND ($3::text[] IS NULL OR t.tag = ANY ($3))
        GROUP BY p.n, t.tag
    ) AS u
) AS ranked
WHERE place <= $4
ORDER BY period, place
