-- Pages of LiteLLM_SpendLogs. The columns of the rows are LiteLLM's; the rows are made JSON here, so that a long page costs
-- the gateway's own process next to nothing.

-- name: keys_with_rows
-- The log is indexed by key and time, not by user or team: the daily tables know whose keys were used by whom. $1: users,
-- $2: teams, $3: organizations, $4 and $5: days.
SELECT DISTINCT api_key FROM (
    SELECT api_key FROM "LiteLLM_DailyUserSpend" WHERE user_id = ANY ($1::text[]) AND date BETWEEN $4 AND $5
    UNION ALL
    SELECT api_key FROM "LiteLLM_DailyTeamSpend" WHERE team_id = ANY ($2::text[]) AND date BETWEEN $4 AND $5
    UNION ALL
    SELECT api_key FROM "LiteLLM_DailyOrganizationSpend"
    WHERE organization_id = ANY ($3::text[]) AND date BETWEEN $4 AND $5
) AS k

-- name: since
-- From when on the newest rows of keys are all at hand, if those are looked at of which the index tells. $1: keys, $2 and $3:
-- starts, $4: rows looked at of each key, $5: rows wanted in all. Null: all rows are.
WITH newest AS (
    SELECT r.at, r.n
    FROM unnest($1::text[]) AS key
    CROSS JOIN LATERAL (
        SELECT "startTime" AS at, row_number() OVER (ORDER BY "startTime" DESC) AS n
        FROM "LiteLLM_SpendLogs"
        WHERE api_key = key AND ($2::timestamp IS NULL OR "startTime" >= $2)
            AND ($3::timestamp IS NULL OR "startTime" <= $3)
        ORDER BY "startTime" DESC LIMIT $4
    ) AS r
)
SELECT greatest(
    (SELECT max(at) FROM newest WHERE n = $4), (SELECT at FROM newest ORDER BY at DESC OFFSET $5 LIMIT 1)
)

-- name: page
-- $1 to $2: starts; $3: keys; $4 to $8: what the caller sees (everything, user, keys, teams, organizations; of keys what
-- carries nobody's id, since a key may have been somebody else's before); $9 to $13:
-- user, team, end user, session, request; $14 and $15: below which row; $16: how many rows are looked at, newest first.
-- $17 to $23 are looked for in those: status, model, model_id, least and greatest spend, error code, error message; $24: how
-- many are counted. $25: order by, $26: -1 for descending, $27 and $28: limit and offset, $29: with texts.
WITH seen AS MATERIALIZED (
    SELECT tableoid, ctid AS place_in_table, request_id, "startTime", "endTime", spend, prompt_tokens, completion_tokens, total_tokens,
        request_duration_ms, status, model, model_group, model_id,
        CASE WHEN $22::text IS NOT NULL THEN metadata #>> '{error_information,error_code}' END AS error_code,
        CASE WHEN $23::text IS NOT NULL THEN metadata #>> '{error_information,error_message}' END AS error_message
    FROM "LiteLLM_SpendLogs"
    WHERE ($1::timestamp IS NULL OR "startTime" >= $1)
        AND ($2::timestamp IS NULL OR "startTime" <= $2)
        AND ($3::text[] IS NULL OR api_key = ANY ($3))
        AND (
            $4::boolean OR "user" = $5 OR (api_key = ANY ($6::text[]) AND coalesce("user", '') = '')
            OR team_id = ANY ($7::text[]) OR organization_id = ANY ($8::text[])
        )
        AND ($9::text IS NULL OR "user" = $9)
        AND ($10::text IS NULL OR team_id = $10)
        AND ($11::text IS NULL OR end_user = $11)
        AND ($12::text IS NULL OR session_id = $12)
        AND ($13::text IS NULL OR request_id = $13 OR litellm_call_id = $13)
        AND ($14::timestamp IS NULL OR ("startTime", request_id) < ($14, $15::text))
    ORDER BY "startTime" DESC, request_id DESC
    LIMIT $16
),
found AS MATERIALIZED (
    SELECT * FROM seen
    WHERE ($17::text IS NULL OR coalesce(status, 'success') = $17)
        AND ($18::text IS NULL OR model = $18 OR model_group = $18)
        AND ($19::text IS NULL OR model_id = $19)
        AND ($20::double precision IS NULL OR spend >= $20)
        AND ($21::double precision IS NULL OR spend <= $21)
        AND ($22::text IS NULL OR error_code = $22)
        AND ($23::text IS NULL OR position(lower($23) IN lower(error_message)) > 0)
    ORDER BY "startTime" DESC, request_id DESC
    LIMIT $24
),
placed AS (
    SELECT tableoid, place_in_table, request_id, "startTime", row_number() OVER (
        ORDER BY $26::integer * CASE $25::text
            WHEN 'spend' THEN spend
            WHEN 'prompt_tokens' THEN prompt_tokens
            WHEN 'completion_tokens' THEN completion_tokens
            WHEN 'total_tokens' THEN total_tokens
            WHEN 'request_duration_ms' THEN coalesce(request_duration_ms, 0)
            WHEN 'endTime' THEN extract(epoch FROM "endTime")::double precision
            ELSE extract(epoch FROM "startTime")::double precision
        END, "startTime" DESC, request_id DESC
    ) AS place
    FROM found
),
page AS MATERIALIZED (
    SELECT * FROM placed ORDER BY place LIMIT $27 OFFSET $28
)
SELECT
    (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM found) AS found, (SELECT count(*) FROM page) AS shown,
    (SELECT ROW("startTime", request_id) FROM page ORDER BY place DESC LIMIT 1) AS last_shown,
    (SELECT ROW("startTime", request_id) FROM seen ORDER BY "startTime", request_id LIMIT 1) AS last_seen,
    convert_to((
        SELECT coalesce(json_agg(row_to_json(r) ORDER BY p.place), '[]')::text
        FROM page AS p
        JOIN "LiteLLM_SpendLogs" AS l ON l.tableoid = p.tableoid AND l.ctid = p.place_in_table
        CROSS JOIN LATERAL (
            SELECT l.request_id, l.call_type, l.api_key, l.spend, l.total_tokens, l.prompt_tokens, l.completion_tokens,
                to_char(l."startTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "startTime",
                to_char(l."endTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "endTime",
                to_char(l."completionStartTime", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "completionStartTime",
                l.request_duration_ms, l.model, l.model_id, l.model_group, l.custom_llm_provider, l.api_base, l."user",
                l.metadata, l.cache_hit, l.cache_key, l.request_tags, l.team_id, l.organization_id, l.end_user,
                l.requester_ip_address, l.session_id, l.status, l.mcp_namespaced_tool_name, l.agent_id,
                l.litellm_call_id,
                CASE WHEN $29 THEN l.messages ELSE '{}' END AS messages,
                CASE WHEN $29 THEN l.response ELSE '{}' END AS response,
                CASE WHEN $29 THEN l.proxy_server_request ELSE '{}' END AS proxy_server_request
        ) AS r
    ), 'UTF8') AS rows

-- name: summary
-- Days of the daily table: the day's sum, and by user, model and key. $1 to $3: what the caller sees (everything, user,
-- keys), $4 and $5: days, $6: keys, $7: user.
SELECT date, user_id, model, api_key, sum(spend) AS spend, GROUPING(user_id, model, api_key) AS grouped
FROM "LiteLLM_DailyUserSpend"
WHERE date BETWEEN $4 AND $5
    AND ($1::boolean OR user_id = $2 OR (api_key = ANY ($3::text[]) AND coalesce(user_id, '') = ''))
    AND ($6::text[] IS NULL OR api_key = ANY ($6))
    AND ($7::text IS NULL OR user_id = $7)
GROUP BY GROUPING SETS ((date), (date, user_id), (date, model), (date, api_key))
ORDER BY date
