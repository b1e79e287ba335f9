-- Teams, in LiteLLM's tables.

-- name: find
SELECT t.*, m.aliases AS model_aliases
FROM "LiteLLM_TeamTable" AS t LEFT JOIN "LiteLLM_ModelTable" AS m ON m.id = t.model_id
WHERE t.team_id = $1

-- name: lock
SELECT t.*, m.aliases AS model_aliases
FROM "LiteLLM_TeamTable" AS t LEFT JOIN "LiteLLM_ModelTable" AS m ON m.id = t.model_id
WHERE t.team_id = $1
FOR UPDATE OF t

-- name: organization
-- What bounds a team. It stays as it is until the team is stored.
SELECT o.organization_id, o.models, b.max_budget, b.tpm_limit, b.rpm_limit, b.max_parallel_requests
FROM "LiteLLM_OrganizationTable" AS o LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = o.budget_id
WHERE o.organization_id = $1
FOR SHARE OF o

-- name: insert
-- $1: the id, $2: columns.
INSERT INTO "LiteLLM_TeamTable" (
    team_id, team_alias, organization_id, admins, members, members_with_roles, metadata, max_budget, soft_budget, models,
    max_parallel_requests, tpm_limit, rpm_limit, tpd_limit, budget_duration, budget_reset_at, blocked, model_max_budget,
    team_member_permissions, router_settings, access_group_ids, budget_limits, default_team_member_models, model_id,
    created_at, updated_at
)
SELECT $1, n.team_alias, n.organization_id, '{}', '{}', '[]', coalesce(n.metadata, '{}'), n.max_budget, n.soft_budget,
    coalesce(n.models, '{}'), n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.tpd_limit, n.budget_duration,
    n.budget_reset_at, coalesce(n.blocked, false), coalesce(n.model_max_budget, '{}'),
    coalesce(n.team_member_permissions, '{}'), coalesce(n.router_settings, '{}'), coalesce(n.access_group_ids, '{}'),
    n.budget_limits, coalesce(n.default_team_member_models, '{}'), n.model_id, now() AT TIME ZONE 'UTC',
    now() AT TIME ZONE 'UTC'
FROM jsonb_populate_record(NULL::"LiteLLM_TeamTable", $2::jsonb) AS n
ON CONFLICT (team_id) DO NOTHING
RETURNING team_id

-- name: update
-- $1: the id, $2: columns to change. `updated_at` differs after every change.
UPDATE "LiteLLM_TeamTable" AS t
SET (
        team_alias, organization_id, members_with_roles, metadata, max_budget, soft_budget, models,
        max_parallel_requests, tpm_limit, rpm_limit, tpd_limit, budget_duration, budget_reset_at, blocked,
        model_max_budget, team_member_permissions, router_settings, access_group_ids, budget_limits,
        default_team_member_models, model_id
    ) = (
        SELECT n.team_alias, n.organization_id, n.members_with_roles, coalesce(n.metadata, '{}'), n.max_budget,
            n.soft_budget, coalesce(n.models, '{}'), n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.tpd_limit,
            n.budget_duration, n.budget_reset_at, coalesce(n.blocked, false), coalesce(n.model_max_budget, '{}'),
            coalesce(n.team_member_permissions, '{}'), coalesce(n.router_settings, '{}'),
            coalesce(n.access_group_ids, '{}'), n.budget_limits, coalesce(n.default_team_member_models, '{}'),
            n.model_id
        FROM jsonb_populate_record(t, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', t.updated_at + interval '1 millisecond')
WHERE t.team_id = $1

-- name: put_aliases
-- $1: the row, or null for a new one, $2: aliases, $3: by whom. A table that has lost its sequence goes on counting.
INSERT INTO "LiteLLM_ModelTable" AS m (id, aliases, created_at, created_by, updated_at, updated_by)
VALUES (
    coalesce(
        $1::integer, nextval(pg_get_serial_sequence('"LiteLLM_ModelTable"', 'id')),
        (SELECT coalesce(max(id), 0) + 1 FROM "LiteLLM_ModelTable")
    ),
    $2::jsonb,
    now() AT TIME ZONE 'UTC', $3, now() AT TIME ZONE 'UTC', $3
)
ON CONFLICT (id) DO UPDATE SET aliases = excluded.aliases, updated_at = excluded.updated_at, updated_by = excluded.updated_by
RETURNING id

-- name: delete
-- The row moves to the table of deleted teams. $1: the team, $2: by whom, $3: with which key, $4: on whose behalf.
WITH gone AS (
    DELETE FROM "LiteLLM_TeamTable" WHERE team_id = $1 RETURNING *
)
INSERT INTO "LiteLLM_DeletedTeamTable" (
    id, team_id, team_alias, organization_id, object_permission_id, admins, members, members_with_roles, metadata,
    max_budget, spend, models, max_parallel_requests, tpm_limit, rpm_limit, budget_duration, budget_reset_at, blocked,
    model_spend, model_max_budget, team_member_permissions, model_id, created_at, updated_at, deleted_at, deleted_by,
    deleted_by_api_key, litellm_changed_by
)
SELECT gen_random_uuid()::text, team_id, team_alias, organization_id, object_permission_id, admins, members,
    members_with_roles, metadata, max_budget, spend, models, max_parallel_requests, tpm_limit, rpm_limit, budget_duration,
    budget_reset_at, blocked, model_spend, model_max_budget, team_member_permissions, model_id, created_at, updated_at,
    now() AT TIME ZONE 'UTC', $2, $3, $4
FROM gone

-- name: delete_aliases
DELETE FROM "LiteLLM_ModelTable" WHERE id = $1

-- name: delete_memberships
DELETE FROM "LiteLLM_TeamMembership" WHERE team_id = $1 RETURNING user_id, budget_id

-- name: leave_users
-- $1: the team, $2: users who are no members any more; null: all.
UPDATE "LiteLLM_UserTable" SET teams = array_remove(teams, $1)
WHERE $1 = ANY (teams) AND ($2::text[] IS NULL OR user_id = ANY ($2))

-- name: tokens
-- $1: the team, $2: users whose keys; null: all.
SELECT token FROM "LiteLLM_VerificationToken"
WHERE team_id = $1 AND ($2::text[] IS NULL OR user_id = ANY ($2)) ORDER BY token

-- name: keys
-- $1: teams. Of each key what may be shown.
SELECT token, key_name, key_alias, user_id, team_id, organization_id, models, spend, max_budget, budget_duration,
    budget_reset_at, tpm_limit, rpm_limit, max_parallel_requests, metadata, blocked, expires, created_at, updated_at
FROM "LiteLLM_VerificationToken" WHERE team_id = ANY ($1::text[]) ORDER BY created_at, token

-- name: memberships
-- $1: teams.
SELECT user_id, team_id, spend, total_spend, budget_id FROM "LiteLLM_TeamMembership"
WHERE team_id = ANY ($1::text[]) ORDER BY team_id, user_id

-- name: page
-- Filters that are null let everything pass. $1 and $2: within reach, by id or by organization. $7: the column to sort by,
-- $8: whether downwards; $9, $10: how many rows, after how many. $11: those that were deleted, each of their lives.
WITH teams AS (
    SELECT t.*, NULL::timestamp AS deleted_at, NULL AS deleted_by FROM "LiteLLM_TeamTable" AS t WHERE NOT $11::boolean
    UNION ALL
    SELECT t.*, d.deleted_at, d.deleted_by
    FROM "LiteLLM_DeletedTeamTable" AS d, jsonb_populate_record(NULL::"LiteLLM_TeamTable", to_jsonb(d)) AS t WHERE $11
)
SELECT t.*, m.aliases AS model_aliases, count(*) OVER () AS total
FROM teams AS t LEFT JOIN "LiteLLM_ModelTable" AS m ON m.id = t.model_id
WHERE ($1::text[] IS NULL OR t.team_id = ANY ($1) OR t.organization_id = ANY ($2::text[]))
    AND ($3::text IS NULL OR t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $3::text)))
    AND ($4::text IS NULL OR t.organization_id = $4)
    AND ($5::text IS NULL OR t.team_id = $5)
    AND ($6::text IS NULL OR t.team_alias ILIKE '%' || replace(replace(replace($6, '\', '\\'), '%', '\%'), '_', '\_') || '%')
ORDER BY
    CASE WHEN $8::boolean AND $7::text = 'team_alias' THEN t.team_alias END DESC,
    CASE WHEN NOT $8 AND $7 = 'team_alias' THEN t.team_alias END,
    CASE WHEN $8 AND $7 = 'spend' THEN t.spend END DESC, CASE WHEN NOT $8 AND $7 = 'spend' THEN t.spend END,
    CASE WHEN $8 AND $7 = 'max_budget' THEN t.max_budget END DESC NULLS FIRST,
    CASE WHEN NOT $8 AND $7 = 'max_budget' THEN t.max_budget END,
    CASE WHEN $8 AND $7 = 'created_at' THEN t.created_at END DESC,
    CASE WHEN NOT $8 AND $7 = 'created_at' THEN t.created_at END,
    CASE WHEN $8 AND $7 = 'team_id' THEN t.team_id END DESC,
    t.team_id, t.deleted_at DESC
LIMIT $9 OFFSET $10
