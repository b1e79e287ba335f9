-- Virtual keys, in LiteLLM's tables.

-- name: find
-- Inline limits win over those of the budget that the row names.
SELECT k.token, k.key_name, k.key_alias, k.user_id, k.team_id, k.organization_id, k.models, k.allowed_routes,
    k.metadata, k.expires, k.blocked, k.spend, k.model_max_budget, u.user_role,
    t.team_alias, t.blocked AS team_blocked, t.models AS team_models, t.metadata AS team_metadata,
    coalesce(k.max_budget, kb.max_budget) AS key_max_budget,
    CASE WHEN k.max_budget IS NULL THEN kb.budget_duration ELSE k.budget_duration END AS key_budget_duration,
    CASE WHEN k.max_budget IS NULL THEN kb.budget_reset_at ELSE k.budget_reset_at END AS key_budget_reset_at,
    kb.soft_budget AS key_soft_budget,
    coalesce(k.rpm_limit, kb.rpm_limit) AS key_rpm_limit,
    coalesce(k.tpm_limit, kb.tpm_limit) AS key_tpm_limit,
    coalesce(k.max_parallel_requests, kb.max_parallel_requests) AS key_max_parallel_requests,
    u.max_budget AS user_max_budget, u.budget_duration AS user_budget_duration,
    u.budget_reset_at AS user_budget_reset_at, NULL::double precision AS user_soft_budget,
    u.rpm_limit AS user_rpm_limit, u.tpm_limit AS user_tpm_limit,
    u.max_parallel_requests AS user_max_parallel_requests,
    t.max_budget AS team_max_budget, t.budget_duration AS team_budget_duration,
    t.budget_reset_at AS team_budget_reset_at, t.soft_budget AS team_soft_budget,
    t.rpm_limit AS team_rpm_limit, t.tpm_limit AS team_tpm_limit,
    t.max_parallel_requests AS team_max_parallel_requests,
    mb.max_budget AS member_max_budget, mb.budget_duration AS member_budget_duration,
    mb.budget_reset_at AS member_budget_reset_at, mb.soft_budget AS member_soft_budget,
    mb.rpm_limit AS member_rpm_limit, mb.tpm_limit AS member_tpm_limit,
    mb.max_parallel_requests AS member_max_parallel_requests,
    ob.max_budget AS org_max_budget, ob.budget_duration AS org_budget_duration,
    ob.budget_reset_at AS org_budget_reset_at, ob.soft_budget AS org_soft_budget,
    ob.rpm_limit AS org_rpm_limit, ob.tpm_limit AS org_tpm_limit,
    ob.max_parallel_requests AS org_max_parallel_requests, o.organization_id AS org_id
FROM "LiteLLM_VerificationToken" AS k
LEFT JOIN "LiteLLM_BudgetTable" AS kb ON kb.budget_id = k.budget_id
LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = k.team_id
LEFT JOIN "LiteLLM_UserTable" AS u ON u.user_id = k.user_id
LEFT JOIN "LiteLLM_TeamMembership" AS m ON m.team_id = k.team_id AND m.user_id = k.user_id
LEFT JOIN "LiteLLM_BudgetTable" AS mb ON mb.budget_id = m.budget_id
LEFT JOIN "LiteLLM_OrganizationTable" AS o ON o.organization_id = coalesce(k.organization_id, t.organization_id)
LEFT JOIN "LiteLLM_BudgetTable" AS ob ON ob.budget_id = o.budget_id
WHERE k.token = $1

-- name: insert
INSERT INTO "LiteLLM_VerificationToken" (
    token, key_name, key_alias, spend, expires, models, aliases, config, user_id, team_id, organization_id,
    permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit, max_budget, budget_duration,
    allowed_routes, created_at, created_by, updated_at, updated_by, soft_budget_cooldown, total_spend
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9, $10, $11, $12::jsonb, $13, $14::jsonb, $15, $16, $17, $18, $19,
    $20, now() AT TIME ZONE 'UTC', $21, now() AT TIME ZONE 'UTC', $21, false, 0
)
ON CONFLICT (token) DO NOTHING
RETURNING *

-- name: alias_taken
SELECT EXISTS (SELECT FROM "LiteLLM_VerificationToken" WHERE key_alias = $1)

-- name: team_exists
SELECT EXISTS (SELECT FROM "LiteLLM_TeamTable" WHERE team_id = $1)

-- name: lock_aliases
-- Aliases are unique by rule, not by constraint: LiteLLM's table has none, and gets none.
SELECT pg_advisory_xact_lock(hashtext('bursar key aliases'))

-- name: info
SELECT * FROM "LiteLLM_VerificationToken" WHERE token = $1

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
SELECT pg_notify('bursar_keys', token) FROM unnest($1::text[]) AS token
