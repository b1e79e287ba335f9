-- Virtual keys, in LiteLLM's tables.

-- name: find
-- Inline limits win over those of the budget that the row names. A former hash of a key finds it until it is revoked. Of a
-- member without a budget the team's for its members counts, also where LiteLLM has made no membership of him yet.
WITH named AS (
    SELECT token, NULL::timestamp AS revoke_at FROM "LiteLLM_VerificationToken" WHERE token = $1
    UNION ALL
    SELECT active_token_id, revoke_at FROM "LiteLLM_DeprecatedVerificationToken"
    WHERE token = $1 AND revoke_at > now() AT TIME ZONE 'UTC'
)
SELECT named.revoke_at, k.token, bursar.scope_of_key(k.token) AS scope_token, k.key_name, k.key_alias, k.user_id, k.team_id, k.organization_id, k.models, k.allowed_routes,
    k.metadata, k.expires, k.blocked, k.spend, k.budget_limits, k.aliases, u.user_role, u.models AS user_models,
    mb.allowed_models AS member_models, o.models AS org_models, ta.aliases AS team_aliases,
    t.team_id IS NOT NULL AS in_team, t.team_alias, t.blocked AS team_blocked, t.models AS team_models, t.metadata AS team_metadata,
    t.budget_limits AS team_budget_limits,
    coalesce(k.max_budget, kb.max_budget) AS key_max_budget,
    CASE WHEN k.max_budget IS NULL THEN kb.budget_duration ELSE k.budget_duration END AS key_budget_duration,
    CASE WHEN k.max_budget IS NULL THEN kb.budget_reset_at ELSE k.budget_reset_at END AS key_budget_reset_at,
    kb.soft_budget AS key_soft_budget,
    coalesce(k.rpm_limit, kb.rpm_limit) AS key_rpm_limit,
    coalesce(k.tpm_limit, kb.tpm_limit) AS key_tpm_limit,
    coalesce(k.max_parallel_requests, kb.max_parallel_requests) AS key_max_parallel_requests,
    coalesce(nullif(k.model_max_budget, '{}'), kb.model_max_budget) AS key_model_max_budget,
    u.max_budget AS user_max_budget, u.budget_duration AS user_budget_duration,
    u.budget_reset_at AS user_budget_reset_at, NULL::double precision AS user_soft_budget,
    u.rpm_limit AS user_rpm_limit, u.tpm_limit AS user_tpm_limit,
    u.max_parallel_requests AS user_max_parallel_requests, u.model_max_budget AS user_model_max_budget,
    t.max_budget AS team_max_budget, t.budget_duration AS team_budget_duration,
    t.budget_reset_at AS team_budget_reset_at, t.soft_budget AS team_soft_budget,
    t.rpm_limit AS team_rpm_limit, t.tpm_limit AS team_tpm_limit,
    t.max_parallel_requests AS team_max_parallel_requests, t.model_max_budget AS team_model_max_budget,
    mb.max_budget AS member_max_budget, mb.budget_duration AS member_budget_duration,
    mb.budget_reset_at AS member_budget_reset_at, mb.soft_budget AS member_soft_budget,
    jsonb_build_object(
        'temp_budget_increase', mb.temp_budget_increase, 'temp_budget_expiry', mb.temp_budget_expiry
    ) AS member_raise,
    mb.rpm_limit AS member_rpm_limit, mb.tpm_limit AS member_tpm_limit,
    mb.max_parallel_requests AS member_max_parallel_requests, NULL::jsonb AS member_model_max_budget,
    ob.max_budget AS org_max_budget, ob.budget_duration AS org_budget_duration,
    ob.budget_reset_at AS org_budget_reset_at, ob.soft_budget AS org_soft_budget,
    ob.rpm_limit AS org_rpm_limit, ob.tpm_limit AS org_tpm_limit,
    ob.max_parallel_requests AS org_max_parallel_requests, ob.model_max_budget AS org_model_max_budget,
    o.metadata AS org_metadata, o.organization_id AS org_id,
    eb.max_budget AS eu_max_budget, eb.budget_duration AS eu_budget_duration, eb.budget_reset_at AS eu_budget_reset_at,
    eb.soft_budget AS eu_soft_budget, eb.rpm_limit AS eu_rpm_limit, eb.tpm_limit AS eu_tpm_limit,
    eb.max_parallel_requests AS eu_max_parallel_requests, eb.model_max_budget AS eu_model_max_budget
FROM named JOIN "LiteLLM_VerificationToken" AS k ON k.token = named.token
LEFT JOIN "LiteLLM_BudgetTable" AS kb ON kb.budget_id = k.budget_id
LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = k.team_id
LEFT JOIN "LiteLLM_ModelTable" AS ta ON ta.id = t.model_id
LEFT JOIN "LiteLLM_UserTable" AS u ON u.user_id = k.user_id
LEFT JOIN "LiteLLM_TeamMembership" AS m ON m.team_id = k.team_id AND m.user_id = k.user_id
LEFT JOIN "LiteLLM_BudgetTable" AS mb ON mb.budget_id = coalesce(
    m.budget_id,
    CASE WHEN k.user_id IS NULL OR t.metadata ->> 'team_member_budget_id' IS NULL THEN NULL
        WHEN t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', k.user_id))
            THEN t.metadata ->> 'team_member_budget_id' END
)
LEFT JOIN "LiteLLM_OrganizationTable" AS o ON o.organization_id = coalesce(k.organization_id, t.organization_id)
LEFT JOIN "LiteLLM_BudgetTable" AS ob ON ob.budget_id = o.budget_id
LEFT JOIN "LiteLLM_BudgetTable" AS eb ON eb.budget_id = k.metadata ->> 'end_user_budget_id'

-- name: insert
-- $1: the row as JSON, by column name; $2: by whom.
INSERT INTO "LiteLLM_VerificationToken" (
    token, key_name, key_alias, spend, expires, models, aliases, config, user_id, team_id, organization_id,
    project_id, agent_id, permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit, tpd_limit,
    max_budget, budget_duration, budget_reset_at, budget_limits, budget_id, model_max_budget, allowed_cache_controls,
    allowed_routes, router_settings, key_type,
    created_at, created_by, updated_at, updated_by, settings_updated_at, soft_budget_cooldown, total_spend
)
SELECT n.token, n.key_name, n.key_alias, n.spend, n.expires, n.models, n.aliases, n.config, n.user_id, n.team_id,
        n.organization_id, n.project_id, n.agent_id, n.permissions, n.max_parallel_requests, n.metadata,
        n.blocked, n.tpm_limit, n.rpm_limit, n.tpd_limit, n.max_budget, n.budget_duration, n.budget_reset_at,
        n.budget_limits, n.budget_id, n.model_max_budget, n.allowed_cache_controls, n.allowed_routes,
        n.router_settings, n.key_type,
    now() AT TIME ZONE 'UTC', $2, now() AT TIME ZONE 'UTC', $2, now() AT TIME ZONE 'UTC', false, 0
FROM jsonb_populate_record(NULL::"LiteLLM_VerificationToken", $1::jsonb) AS n
ON CONFLICT (token) DO NOTHING
RETURNING *

-- name: update
-- $1: the key, $2: what changes, as JSON by column name; $3: by whom. Columns that are not named stay as they are.
UPDATE "LiteLLM_VerificationToken" AS k
SET (token, key_name, key_alias, spend, expires, models, aliases, config, user_id, team_id, organization_id,
    project_id, agent_id, permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit, tpd_limit,
    max_budget, budget_duration, budget_reset_at, budget_limits, budget_id, model_max_budget, allowed_cache_controls,
    allowed_routes, router_settings, key_type,
    rotation_count, last_rotation_at) = (
        SELECT n.token, n.key_name, n.key_alias, n.spend, n.expires, n.models, n.aliases, n.config, n.user_id, n.team_id,
        n.organization_id, n.project_id, n.agent_id, n.permissions, n.max_parallel_requests, n.metadata,
        n.blocked, n.tpm_limit, n.rpm_limit, n.tpd_limit, n.max_budget, n.budget_duration, n.budget_reset_at,
        n.budget_limits, n.budget_id, n.model_max_budget, n.allowed_cache_controls, n.allowed_routes,
        n.router_settings, n.key_type,
            n.rotation_count, n.last_rotation_at
        FROM jsonb_populate_record(k, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', k.updated_at + interval '1 millisecond'),
    settings_updated_at = now() AT TIME ZONE 'UTC', updated_by = $3
WHERE k.token = $1
RETURNING *

-- name: soft_budget
-- $1: an id, $2: the amount, $3: by whom.
INSERT INTO "LiteLLM_BudgetTable" (budget_id, soft_budget, created_by, updated_by) VALUES ($1, $2, $3, $3)
RETURNING *

-- name: missing
-- What a key's columns ($1) name and the database lacks: the constraints would say so, but with the value in its log.
SELECT named.kind
FROM jsonb_to_record($1::jsonb) AS k (budget_id text, organization_id text, project_id text, metadata jsonb),
    LATERAL (VALUES
        ('budget of end users', k.metadata ->> 'end_user_budget_id', EXISTS (
            SELECT FROM "LiteLLM_BudgetTable" AS b WHERE b.budget_id = k.metadata ->> 'end_user_budget_id'
        )),
        ('budget', k.budget_id, EXISTS (SELECT FROM "LiteLLM_BudgetTable" AS b WHERE b.budget_id = k.budget_id)),
        ('organization', k.organization_id, EXISTS (
            SELECT FROM "LiteLLM_OrganizationTable" AS o WHERE o.organization_id = k.organization_id
        )),
        ('project', k.project_id, EXISTS (
            SELECT FROM "LiteLLM_ProjectTable" AS p WHERE p.project_id = k.project_id
        ))
    ) AS named (kind, id, there)
WHERE named.id IS NOT NULL AND NOT named.there
LIMIT 1

-- name: is_used_up
-- Whether a hash was a key's and is not any more: it never becomes another's.
SELECT EXISTS (SELECT FROM bursar.rotated_keys WHERE token = $1)

-- name: alias_taken
-- $2: the key that may have it.
SELECT EXISTS (SELECT FROM "LiteLLM_VerificationToken" WHERE key_alias = $1 AND token IS DISTINCT FROM $2)

-- name: team
-- What a key's team says about keys in it, until commit.
SELECT team_id, organization_id, members_with_roles
FROM "LiteLLM_TeamTable" WHERE team_id = $1 FOR SHARE

-- name: organizations
-- Who is in them, and what, stays until commit. $1: users whose organizations are meant, $2: further ones.
SELECT organization_id FROM "LiteLLM_OrganizationTable"
WHERE organization_id = ANY ($2::text[]) OR organization_id IN (
    SELECT organization_id FROM "LiteLLM_OrganizationMembership" WHERE user_id = ANY ($1::text[])
)
ORDER BY organization_id FOR SHARE

-- name: owner
SELECT user_id FROM "LiteLLM_UserTable" WHERE user_id = $1 FOR SHARE

-- name: make_user
INSERT INTO "LiteLLM_UserTable" (user_id, models) VALUES ($1, '{}') ON CONFLICT (user_id) DO NOTHING
RETURNING *

-- name: lock_aliases
-- Aliases are unique by rule, not by constraint: LiteLLM's table has none, and gets none.
SELECT pg_advisory_xact_lock(hashtext('bursar key aliases'))

-- name: info
SELECT * FROM "LiteLLM_VerificationToken" WHERE token = $1

-- name: current
-- $1: hashes, former ones too. Those of keys that LiteLLM gave a new secret are known for as long as they work.
SELECT coalesce(k.token, r.active_token, d.active_token_id, asked.token) AS token
FROM unnest($1::text[]) WITH ORDINALITY AS asked (token, n)
LEFT JOIN "LiteLLM_VerificationToken" AS k ON k.token = asked.token
LEFT JOIN bursar.rotated_keys AS r ON r.token = asked.token
LEFT JOIN "LiteLLM_DeprecatedVerificationToken" AS d
    ON d.token = asked.token AND d.revoke_at > now() AT TIME ZONE 'UTC'
ORDER BY asked.n

-- name: lock
SELECT * FROM "LiteLLM_VerificationToken" WHERE token = $1 FOR UPDATE

-- name: infos
SELECT k.* FROM unnest($1::text[]) WITH ORDINALITY AS asked (token, n)
JOIN "LiteLLM_VerificationToken" AS k USING (token) ORDER BY asked.n

-- name: deleted_infos
-- The last life of each.
SELECT k.* FROM unnest($1::text[]) WITH ORDINALITY AS asked (token, n)
CROSS JOIN LATERAL (
    SELECT * FROM "LiteLLM_DeletedVerificationToken" AS d WHERE d.token = asked.token ORDER BY d.deleted_at DESC LIMIT 1
) AS k
ORDER BY asked.n

-- name: budgets
SELECT * FROM "LiteLLM_BudgetTable" WHERE budget_id = ANY ($1::text[])

-- name: users
SELECT user_id, user_email, user_alias, user_role FROM "LiteLLM_UserTable" WHERE user_id = ANY ($1::text[])

-- name: list
-- $1: whose are within reach: {"everything": true}, or "user", "teams", "organizations". $2: filters, by name.
-- $3: the column to sort by, $4: whether downwards; $5, $6: how many, after how many.
WITH wanted AS (
    SELECT * FROM jsonb_to_record($2::jsonb) AS w (
        user_id text, created_by text, team_id text, organization_id text, project_id text, key_alias text,
        key_hash text, search text, status text, teams text[]
    )
),
reach AS (
    SELECT * FROM jsonb_to_record($1::jsonb) AS r (everything boolean, "user" text, teams text[], organizations text[])
),
keys AS (
    SELECT token, key_alias, user_id, team_id, organization_id, project_id, created_by, created_at, updated_at, spend,
        max_budget, expires, coalesce(blocked, false) AS blocked
    FROM "LiteLLM_VerificationToken" WHERE (SELECT status FROM wanted) IS DISTINCT FROM 'deleted'
    UNION ALL
    SELECT DISTINCT ON (token) token, key_alias, user_id, team_id, organization_id, project_id, created_by, created_at,
        updated_at, spend, max_budget, expires, false
    FROM "LiteLLM_DeletedVerificationToken" WHERE (SELECT status FROM wanted) = 'deleted'
),
found AS (
    SELECT k.* FROM keys AS k, wanted AS w, reach AS r
    WHERE (r.everything OR k.user_id = r."user" OR k.team_id = ANY (r.teams)
            OR k.organization_id = ANY (r.organizations))
        AND (w.user_id IS NULL OR k.user_id = w.user_id OR k.created_by = w.created_by OR k.team_id = ANY (w.teams))
        AND (w.team_id IS NULL OR k.team_id = w.team_id)
        AND (w.organization_id IS NULL OR k.organization_id = w.organization_id)
        AND (w.project_id IS NULL OR k.project_id = w.project_id)
        AND (w.key_alias IS NULL OR k.key_alias = w.key_alias)
        AND (w.key_hash IS NULL OR k.token = w.key_hash)
        AND (w.search IS NULL OR strpos(lower(k.key_alias), lower(w.search)) > 0)
        AND (w.team_id IS NOT NULL OR k.team_id IS DISTINCT FROM 'litellm-dashboard')
        AND CASE w.status
            WHEN 'active' THEN NOT k.blocked AND (k.expires IS NULL OR k.expires > now() AT TIME ZONE 'UTC')
            WHEN 'expired' THEN k.expires <= now() AT TIME ZONE 'UTC'
            WHEN 'revoked' THEN k.blocked
            ELSE true
        END
)
SELECT k.token, k.key_alias, count(*) OVER () AS total FROM found AS k
CROSS JOIN LATERAL (
    SELECT
        CASE $3::text
            WHEN 'key_alias' THEN k.key_alias WHEN 'user_id' THEN k.user_id WHEN 'team_id' THEN k.team_id
            WHEN 'token' THEN k.token
        END AS word,
        CASE $3::text
            WHEN 'spend' THEN k.spend WHEN 'max_budget' THEN k.max_budget
            WHEN 'created_at' THEN extract(epoch FROM k.created_at)::double precision
            WHEN 'updated_at' THEN extract(epoch FROM k.updated_at)::double precision
            WHEN 'expires' THEN extract(epoch FROM k.expires)::double precision
        END AS number
) AS s
ORDER BY
    CASE WHEN $4::boolean THEN s.word END DESC NULLS LAST, CASE WHEN NOT $4 THEN s.word END NULLS LAST,
    CASE WHEN $4 THEN s.number END DESC NULLS LAST, CASE WHEN NOT $4 THEN s.number END NULLS LAST,
    k.token
LIMIT $5 OFFSET $6

-- name: scope_of
SELECT bursar.scope_of_key($1)

-- name: scopes_of
SELECT bursar.scope_of_key(token) AS scope FROM unnest($1::text[]) WITH ORDINALITY AS asked (token, n) ORDER BY n

-- name: spent
-- $1: budget windows.
SELECT window_id, spent_nano_usd / 1e9::double precision AS usd FROM bursar.windows WHERE window_id = ANY ($1::uuid[])

-- name: rotate
-- $1: the old hash, $2: the new one, $3: until when the old one works.
WITH former AS (
    UPDATE bursar.rotated_keys SET active_token = $2 WHERE active_token = $1
),
own AS (
    INSERT INTO bursar.rotated_keys (token, active_token, scope_token) VALUES ($1, $2, bursar.scope_of_key($1))
),
deprecated AS (
    UPDATE "LiteLLM_DeprecatedVerificationToken" SET active_token_id = $2 WHERE active_token_id = $1
)
INSERT INTO "LiteLLM_DeprecatedVerificationToken" (id, token, active_token_id, revoke_at)
SELECT gen_random_uuid()::text, $1, $2, $3::timestamp WHERE $3::timestamp IS NOT NULL

-- name: delete
-- The row moves to the table of deleted keys. $1: hashes, $2: aliases, $3: who, $4: by which key.
WITH gone AS (
    DELETE FROM "LiteLLM_VerificationToken" WHERE token = ANY ($1::text[]) OR key_alias = ANY ($2::text[])
    RETURNING *
),
kept AS (
    INSERT INTO "LiteLLM_DeletedVerificationToken" (
        id, token, key_name, key_alias, soft_budget_cooldown, spend, expires, models, aliases, config, user_id,
        team_id, permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit, max_budget,
        budget_duration, budget_reset_at, allowed_cache_controls, model_spend, model_max_budget, budget_id,
        organization_id, created_at, created_by, updated_at, updated_by, allowed_routes, object_permission_id,
        auto_rotate, key_rotation_at, last_rotation_at, rotation_count, rotation_interval, project_id,
        router_settings, policies, access_group_ids, last_active, agent_id, budget_limits, budget_fallbacks, key_type,
        settings_updated_at, tpd_limit, total_spend, deleted_at, deleted_by, deleted_by_api_key
    )
    SELECT
        gen_random_uuid()::text, token, key_name, key_alias, soft_budget_cooldown, spend, expires, models, aliases,
        config, user_id, team_id, permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit,
        max_budget, budget_duration, budget_reset_at, allowed_cache_controls, model_spend, model_max_budget,
        budget_id, organization_id, created_at, created_by, updated_at, updated_by, allowed_routes,
        object_permission_id, auto_rotate, key_rotation_at, last_rotation_at, rotation_count, rotation_interval,
        project_id, router_settings, policies, access_group_ids, last_active, agent_id, budget_limits,
        budget_fallbacks, key_type, settings_updated_at, tpd_limit, total_spend, now() AT TIME ZONE 'UTC', $3, $4
    FROM gone
    RETURNING token
)
SELECT * FROM gone

-- name: tell
SELECT bursar.tell_keys($1::text[])
