-- Taking over a LiteLLM proxy's database: what is looked at (adopt_counts.sql has the rest), and what is written. Nothing here
-- changes a row of LiteLLM's.

-- name: read_only
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: place
SELECT current_database()::text AS database, current_user::text AS role, quote_ident(n.nspname) AS schema,
    current_setting('server_version') AS server, to_regclass('_prisma_migrations') IS NOT NULL AS has_migrations,
    to_regprocedure('round(double precision, integer)') IS NOT NULL AS has_helpers
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('"LiteLLM_VerificationToken"')

-- name: litellm_migration
SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, migration_name DESC LIMIT 1

-- name: columns
-- Of tables in LiteLLM's schema.
SELECT c.relname::text AS table_name, c.reltuples AS about,
    array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class AS c JOIN pg_class AS k ON k.relnamespace = c.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE k.oid = to_regclass('"LiteLLM_VerificationToken"') AND c.relkind IN ('r', 'p') AND c.relname LIKE 'LiteLLM\_%'
GROUP BY c.relname, c.reltuples ORDER BY c.relname

-- name: unique_columns
SELECT c.relname::text AS table_name, array_agg(a.attname::text) AS columns
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_class AS k ON k.relnamespace = c.relnamespace
CROSS JOIN LATERAL unnest(i.indkey[0 : i.indnkeyatts - 1]) AS place (attnum)
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = place.attnum
WHERE k.oid = to_regclass('"LiteLLM_VerificationToken"') AND c.relname LIKE 'LiteLLM\_%'
    AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY c.relname, i.indexrelid

-- name: grants_missing
-- $1: LiteLLM's tables that we use; $2: whether something is made in LiteLLM's schema. What an owner has to say first.
WITH used AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS k
    JOIN pg_namespace AS n ON n.oid = k.relnamespace
    JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = ANY ($1::text[])
    WHERE k.oid = to_regclass('"LiteLLM_VerificationToken"')
)
SELECT format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) AS statement
WHERE NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I;', current_database(), current_user)
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT format('GRANT CREATE ON SCHEMA %I TO %I;', n.nspname, current_user)
FROM pg_class AS k JOIN pg_namespace AS n ON n.oid = k.relnamespace
WHERE $2::boolean AND k.oid = to_regclass('"LiteLLM_VerificationToken"') AND NOT has_schema_privilege(n.oid, 'CREATE')
UNION ALL
SELECT format(
    'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I;', string_agg(name, ', ' ORDER BY name), current_user
)
FROM used
WHERE NOT (
    has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
    AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')
)
HAVING count(*) > 0
UNION ALL
SELECT format('GRANT SELECT ON _prisma_migrations TO %I;', current_user)
WHERE to_regclass('_prisma_migrations') IS NOT NULL AND NOT has_table_privilege('_prisma_migrations', 'SELECT')

-- name: sessions
-- Of other programs, for whoever wonders whether the proxy still runs.
SELECT coalesce(nullif(application_name, ''), 'a program without a name') AS program, coalesce(usename::text, '?') AS role,
    coalesce(host(client_addr), 'this host') AS host, count(*) AS sessions
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, '') IN ('client backend', '')
    AND application_name <> 'bursar'
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 20

-- name: last_written
-- Seconds since LiteLLM booked something; it waits half a minute at most.
SELECT extract(epoch FROM now() AT TIME ZONE 'UTC' - greatest(
    (SELECT max("startTime") FROM "LiteLLM_SpendLogs"),
    (SELECT max(last_active) FROM "LiteLLM_VerificationToken")
))::double precision

-- name: keys
SELECT count(*) AS total,
    count(*) FILTER (WHERE coalesce(blocked, false)) AS blocked,
    count(*) FILTER (WHERE expires <= now() AT TIME ZONE 'UTC') AS expired,
    count(*) FILTER (
        WHERE NOT coalesce(blocked, false) AND (expires IS NULL OR expires > now() AT TIME ZONE 'UTC')
    ) AS usable,
    count(*) FILTER (WHERE token !~ '^[0-9a-f]{64}$') AS not_hashed
FROM "LiteLLM_VerificationToken"

-- name: budgets
-- $1: how many of each kind, $2: what we have spent of the whole gateway's, in nano-dollars. Those that are used most come
-- first; each row has the sums of its kind.
WITH budgets AS (
    SELECT 'key' AS kind, coalesce(k.key_alias, k.key_name, left(k.token, 12) || '…') AS name,
        coalesce(k.max_budget, b.max_budget) AS max_budget, k.spend,
        CASE WHEN k.max_budget IS NULL THEN b.budget_duration ELSE k.budget_duration END AS duration,
        CASE WHEN k.max_budget IS NULL THEN b.budget_reset_at ELSE k.budget_reset_at END AS reset_at
    FROM "LiteLLM_VerificationToken" AS k LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = k.budget_id
    UNION ALL
    SELECT CASE user_id WHEN 'litellm-proxy-budget' THEN 'gateway' ELSE 'user' END,
        CASE user_id WHEN 'litellm-proxy-budget' THEN 'everything' ELSE coalesce(user_email, user_alias, user_id) END,
        max_budget,
        spend + CASE user_id WHEN 'litellm-proxy-budget' THEN $2::bigint / 1e9::double precision ELSE 0 END,
        budget_duration, budget_reset_at
    FROM "LiteLLM_UserTable"
    UNION ALL
    SELECT 'team', coalesce(team_alias, team_id), max_budget, spend, budget_duration, budget_reset_at
    FROM "LiteLLM_TeamTable"
    UNION ALL
    SELECT 'team_member', format('%s in %s', m.user_id, coalesce(t.team_alias, m.team_id)), b.max_budget, m.spend,
        b.budget_duration, b.budget_reset_at
    FROM "LiteLLM_TeamMembership" AS m
    JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = m.budget_id
    LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = m.team_id
    UNION ALL
    SELECT 'organization', o.organization_alias, b.max_budget, o.spend, b.budget_duration, b.budget_reset_at
    FROM "LiteLLM_OrganizationTable" AS o JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = o.budget_id
    UNION ALL
    SELECT 'end_user', coalesce(e.alias, e.user_id), b.max_budget, e.spend, b.budget_duration, b.budget_reset_at
    FROM "LiteLLM_EndUserTable" AS e JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = e.budget_id
    UNION ALL
    SELECT 'tag', t.tag_name, b.max_budget, t.spend, b.budget_duration, b.budget_reset_at
    FROM "LiteLLM_TagTable" AS t JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = t.budget_id
),
stated AS (
    SELECT kind, name, max_budget, duration, reset_at,
        -- A period that has ended begins anew with the first call.
        CASE WHEN ended THEN 0 ELSE spend END AS spend, ended
    FROM (
        SELECT *, duration IS NOT NULL AND coalesce(reset_at <= now() AT TIME ZONE 'UTC', false) AS ended FROM budgets
    ) AS b
    WHERE max_budget IS NOT NULL
),
placed AS (
    SELECT *, row_number() OVER (
            PARTITION BY kind ORDER BY spend / nullif(greatest(max_budget, 0), 0) DESC NULLS FIRST, name
        ) AS place,
        count(*) OVER of_kind AS of_kind, sum(spend) OVER of_kind AS spend_of_kind,
        count(*) FILTER (WHERE spend >= max_budget) OVER of_kind AS used_up, count(*) FILTER (WHERE ended) OVER of_kind AS begins
    FROM stated
    WINDOW of_kind AS (PARTITION BY kind)
)
SELECT kind, name, max_budget, spend, duration, reset_at, ended, of_kind, spend_of_kind, used_up, begins
FROM placed WHERE place <= $1 ORDER BY kind, place

-- name: durations
-- Every duration that some budget states, and how many.
SELECT where_from, duration, count(*) AS rows
FROM (
    SELECT 'keys' AS where_from, budget_duration AS duration FROM "LiteLLM_VerificationToken"
    UNION ALL
    SELECT 'users', budget_duration FROM "LiteLLM_UserTable"
    UNION ALL
    SELECT 'teams', budget_duration FROM "LiteLLM_TeamTable"
    UNION ALL
    SELECT 'budgets', budget_duration FROM "LiteLLM_BudgetTable"
) AS d
WHERE duration IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2

-- name: unusable
-- What cannot be counted on from: a sum that is no number.
SELECT format('%s rows of %s have a spend that is no number', count(*), table_name) AS what
FROM (
    SELECT 'LiteLLM_VerificationToken' AS table_name, spend FROM "LiteLLM_VerificationToken"
    UNION ALL SELECT 'LiteLLM_VerificationToken', total_spend FROM "LiteLLM_VerificationToken"
    UNION ALL SELECT 'LiteLLM_UserTable', spend FROM "LiteLLM_UserTable"
    UNION ALL SELECT 'LiteLLM_TeamTable', spend FROM "LiteLLM_TeamTable"
    UNION ALL SELECT 'LiteLLM_TeamMembership', spend FROM "LiteLLM_TeamMembership"
    UNION ALL SELECT 'LiteLLM_OrganizationTable', spend FROM "LiteLLM_OrganizationTable"
    UNION ALL SELECT 'LiteLLM_EndUserTable', spend FROM "LiteLLM_EndUserTable"
    UNION ALL SELECT 'LiteLLM_TagTable', spend FROM "LiteLLM_TagTable"
    UNION ALL SELECT 'LiteLLM_DailyUserSpend', spend FROM "LiteLLM_DailyUserSpend"
    UNION ALL SELECT 'LiteLLM_DailyTeamSpend', spend FROM "LiteLLM_DailyTeamSpend"
    UNION ALL SELECT 'LiteLLM_DailyOrganizationSpend', spend FROM "LiteLLM_DailyOrganizationSpend"
    UNION ALL SELECT 'LiteLLM_DailyEndUserSpend', spend FROM "LiteLLM_DailyEndUserSpend"
    UNION ALL SELECT 'LiteLLM_DailyTagSpend', spend FROM "LiteLLM_DailyTagSpend"
) AS s
WHERE spend IN ('NaN', 'Infinity', '-Infinity') OR abs(spend) > 9.2e9
GROUP BY table_name ORDER BY table_name

-- name: oddities
-- What works, and somebody should look at. $1: how many of each kind.
SELECT what FROM (
    SELECT 1 AS kind, row_number() OVER (ORDER BY count(*) DESC, key_alias) AS place,
        format('%s keys have the alias %s', count(*), quote_literal(key_alias)) AS what
    FROM "LiteLLM_VerificationToken" WHERE key_alias IS NOT NULL GROUP BY key_alias HAVING count(*) > 1
    UNION ALL
    SELECT 2, row_number() OVER (ORDER BY count(*) DESC, team_alias),
        format('%s teams have the alias %s', count(*), quote_literal(team_alias))
    FROM "LiteLLM_TeamTable" WHERE team_alias IS NOT NULL GROUP BY team_alias HAVING count(*) > 1
    UNION ALL
    SELECT 3, 1, format('%s keys name a team that is not there', count(*))
    FROM "LiteLLM_VerificationToken" AS k
    WHERE k.team_id <> '' AND NOT EXISTS (SELECT FROM "LiteLLM_TeamTable" AS t WHERE t.team_id = k.team_id)
    HAVING count(*) > 0
    UNION ALL
    SELECT 4, 1, format('%s keys name an owner that is not there', count(*))
    FROM "LiteLLM_VerificationToken" AS k
    WHERE k.user_id <> '' AND NOT EXISTS (SELECT FROM "LiteLLM_UserTable" AS u WHERE u.user_id = k.user_id)
    HAVING count(*) > 0
    UNION ALL
    SELECT 5, row_number() OVER (ORDER BY table_name), format(
        '%s rows of %s have NULL in their key, as old releases wrote it: they stay, and are summed with the others',
        count(*), table_name
    )
    FROM (
        SELECT 'LiteLLM_DailyUserSpend' AS table_name FROM "LiteLLM_DailyUserSpend"
        WHERE num_nulls(user_id, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) > 0
        UNION ALL
        SELECT 'LiteLLM_DailyTeamSpend' FROM "LiteLLM_DailyTeamSpend"
        WHERE num_nulls(team_id, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) > 0
        UNION ALL
        SELECT 'LiteLLM_DailyOrganizationSpend' FROM "LiteLLM_DailyOrganizationSpend"
        WHERE num_nulls(organization_id, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) > 0
        UNION ALL
        SELECT 'LiteLLM_DailyEndUserSpend' FROM "LiteLLM_DailyEndUserSpend"
        WHERE num_nulls(end_user_id, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) > 0
        UNION ALL
        SELECT 'LiteLLM_DailyTagSpend' FROM "LiteLLM_DailyTagSpend"
        WHERE num_nulls(tag, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) > 0
    ) AS d
    GROUP BY table_name
    UNION ALL
    SELECT 6, row_number() OVER (ORDER BY which), format('%s %s have budget_limits, whose periods begin anew', count(*), which)
    FROM (
        SELECT 'keys' AS which FROM "LiteLLM_VerificationToken" WHERE jsonb_typeof(budget_limits) = 'array'
            AND jsonb_array_length(budget_limits) > 0
        UNION ALL
        SELECT 'teams' FROM "LiteLLM_TeamTable" WHERE jsonb_typeof(budget_limits) = 'array'
            AND jsonb_array_length(budget_limits) > 0
    ) AS b
    GROUP BY which
    UNION ALL
    SELECT 7, 1, format('%s budgets have a temp_budget_increase, which only members of teams get', count(*))
    FROM "LiteLLM_BudgetTable" AS b
    WHERE temp_budget_increase > 0 AND temp_budget_expiry > now() AT TIME ZONE 'UTC'
        AND NOT EXISTS (SELECT FROM "LiteLLM_TeamMembership" AS m WHERE m.budget_id = b.budget_id)
    HAVING count(*) > 0
    UNION ALL
    SELECT 8, 1, format('%s rows have a budget_reset_at that has passed: their periods begin anew with the first start', count(*))
    FROM (
        SELECT budget_reset_at, budget_duration FROM "LiteLLM_VerificationToken"
        UNION ALL SELECT budget_reset_at, budget_duration FROM "LiteLLM_UserTable"
        UNION ALL SELECT budget_reset_at, budget_duration FROM "LiteLLM_TeamTable"
        UNION ALL SELECT budget_reset_at, budget_duration FROM "LiteLLM_BudgetTable"
    ) AS r
    WHERE budget_duration IS NOT NULL AND budget_reset_at <= now() AT TIME ZONE 'UTC'
    HAVING count(*) > 0
    UNION ALL
    SELECT 9, row_number() OVER (ORDER BY model_id),
        format('the model %s is for the team %s alone, which Bursar cannot see to: nobody can call it', model_id, team)
    FROM (
        SELECT model_id, model_info ->> 'team_id' AS team FROM "LiteLLM_ProxyModelTable"
        WHERE jsonb_typeof(model_info) = 'object' AND model_info ->> 'team_id' <> ''
    ) AS m
) AS o
WHERE place <= $1 ORDER BY kind, place

-- name: adopted_at
SELECT at FROM bursar.adoptions ORDER BY id DESC LIMIT 1

-- name: adopt
INSERT INTO bursar.adoptions (litellm_migration) VALUES ($1)

-- name: close_openings
-- Those of an earlier adoption: the new ones count all of it.
DELETE FROM bursar.openings

-- name: running_windows
-- Of whom LiteLLM counts, so not of a key's single models. ours_nano_usd: what its tables do not have of it, as they have
-- nothing of what we booked for the whole gateway.
SELECT window_id, scope_kind, scope_id, spent_nano_usd,
    CASE WHEN scope_kind = 'gateway' THEN spent_nano_usd - opening_nano_usd ELSE 0 END AS ours_nano_usd,
    CASE WHEN ends_at = 'infinity' THEN NULL ELSE extract(epoch FROM ends_at)::double precision END AS ends_at_s
FROM bursar.windows
WHERE ends_at > now()
    AND scope_kind IN ('gateway', 'key', 'user', 'team', 'team_member', 'organization', 'end_user', 'tag')
ORDER BY window_id FOR UPDATE

-- name: ours_of_gateway
-- Of the whole gateway's running period what we booked ourselves.
SELECT coalesce(sum(spent_nano_usd - opening_nano_usd), 0)::bigint
FROM bursar.windows WHERE scope_kind = 'gateway' AND ends_at > now()

-- name: move_windows
-- $1: windows, $2: what LiteLLM has spent of each since it was opened, or less than nothing: what it has set back. That is
-- taken off what the window began with and, beyond that, as something that was booked without a grant. Spent is spent, limit
-- or not.
UPDATE bursar.windows AS w
SET opening_nano_usd = greatest(opening_nano_usd + r.amount, 0),
    forced_nano_usd = forced_nano_usd + least(opening_nano_usd + r.amount, 0),
    leased_nano_usd = leased_nano_usd + r.amount, spent_nano_usd = spent_nano_usd + r.amount
FROM unnest($1::uuid[], $2::bigint[]) AS r (window_id, amount)
WHERE w.window_id = r.window_id

-- name: open_keys
-- What LiteLLM counted: what its tables say, less what we booked there ourselves (audit_calls; none at a first adoption).
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'key', token, '', sum(total_spend)
FROM (
    SELECT token, total_spend FROM "LiteLLM_VerificationToken"
    UNION ALL
    SELECT token, total_spend FROM "LiteLLM_DeletedVerificationToken"
    UNION ALL
    SELECT api_key, -cost / 1e9::double precision FROM audit_calls
) AS k
GROUP BY token HAVING abs(sum(total_spend)) > 1e-9

-- name: open_users
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'user', id, date, sum(spend)
FROM (
    SELECT coalesce(user_id, '') AS id, date, spend FROM "LiteLLM_DailyUserSpend"
    UNION ALL
    SELECT coalesce("user", ''), date, -cost / 1e9::double precision FROM audit_calls
) AS d
GROUP BY id, date HAVING abs(sum(spend)) > 1e-9

-- name: open_teams
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'team', id, date, sum(spend)
FROM (
    SELECT coalesce(team_id, '') AS id, date, spend FROM "LiteLLM_DailyTeamSpend"
    UNION ALL
    SELECT coalesce(team_id, ''), date, -cost / 1e9::double precision FROM audit_calls
) AS d
GROUP BY id, date HAVING abs(sum(spend)) > 1e-9

-- name: open_organizations
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'organization', id, date, sum(spend)
FROM (
    SELECT coalesce(organization_id, '') AS id, date, spend FROM "LiteLLM_DailyOrganizationSpend"
    UNION ALL
    SELECT organization_id, date, -cost / 1e9::double precision FROM audit_calls WHERE organization_id IS NOT NULL
) AS d
GROUP BY id, date HAVING abs(sum(spend)) > 1e-9

-- name: open_end_users
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'end_user', id, date, sum(spend)
FROM (
    SELECT coalesce(end_user_id, '') AS id, date, spend FROM "LiteLLM_DailyEndUserSpend"
    UNION ALL
    SELECT end_user, date, -cost / 1e9::double precision FROM audit_calls WHERE end_user IS NOT NULL
) AS d
GROUP BY id, date HAVING abs(sum(spend)) > 1e-9

-- name: open_tags
INSERT INTO bursar.openings (kind, id, date, spend)
SELECT 'tag', id, date, sum(spend)
FROM (
    SELECT coalesce(tag, '') AS id, date, spend FROM "LiteLLM_DailyTagSpend"
    UNION ALL
    SELECT tag, date, -cost / 1e9::double precision
    FROM audit_calls
    CROSS JOIN LATERAL (SELECT DISTINCT tag FROM json_array_elements_text(request_tags) AS tag) AS t
    WHERE request_tags IS NOT NULL
) AS d
GROUP BY id, date HAVING abs(sum(spend)) > 1e-9

-- name: analyze
ANALYZE bursar.openings
