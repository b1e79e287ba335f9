-- Organizations and their members, in LiteLLM's tables.

-- name: find
SELECT * FROM "LiteLLM_OrganizationTable" WHERE organization_id = $1

-- name: lock
SELECT * FROM "LiteLLM_OrganizationTable" WHERE organization_id = $1 FOR UPDATE

-- name: list
-- Filters that are null let everything pass. $1: within reach, $2: one, $3: a part of the alias.
SELECT * FROM "LiteLLM_OrganizationTable"
WHERE ($1::text[] IS NULL OR organization_id = ANY ($1)) AND ($2::text IS NULL OR organization_id = $2)
    AND ($3::text IS NULL OR position(lower($3) IN lower(organization_alias)) > 0)
ORDER BY created_at, organization_id

-- name: insert
-- $1: the id, $2: columns, $3: by whom.
INSERT INTO "LiteLLM_OrganizationTable" (
    organization_id, organization_alias, budget_id, metadata, models, created_at, created_by, updated_at, updated_by
)
SELECT $1, n.organization_alias, n.budget_id, coalesce(n.metadata, '{}'), coalesce(n.models, '{}'),
    now() AT TIME ZONE 'UTC', $3, now() AT TIME ZONE 'UTC', $3
FROM jsonb_populate_record(NULL::"LiteLLM_OrganizationTable", $2::jsonb) AS n
ON CONFLICT (organization_id) DO NOTHING
RETURNING *

-- name: update
-- $1: the id, $2: columns to change, $3: by whom.
UPDATE "LiteLLM_OrganizationTable" AS o
SET (organization_alias, budget_id, metadata, models) = (
        SELECT coalesce(n.organization_alias, o.organization_alias), n.budget_id, coalesce(n.metadata, '{}'),
            coalesce(n.models, '{}')
        FROM jsonb_populate_record(o, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', o.updated_at + interval '1 millisecond'), updated_by = $3
WHERE o.organization_id = $1
RETURNING *

-- name: uses
-- What keeps an organization from being deleted.
SELECT kind, n FROM (
    SELECT 'teams' AS kind, count(*) AS n FROM "LiteLLM_TeamTable" WHERE organization_id = $1
    UNION ALL
    SELECT 'keys', count(*) FROM "LiteLLM_VerificationToken" WHERE organization_id = $1
    UNION ALL
    SELECT 'users', count(*) FROM "LiteLLM_UserTable" WHERE organization_id = $1
) AS u WHERE n > 0

-- name: delete
DELETE FROM "LiteLLM_OrganizationTable" WHERE organization_id = $1

-- name: delete_memberships
-- $1: the organization, $2: a user, or null for all.
DELETE FROM "LiteLLM_OrganizationMembership" WHERE organization_id = $1 AND ($2::text IS NULL OR user_id = $2)
RETURNING *

-- name: members
-- $1: organizations.
SELECT m.*, u.user_email FROM "LiteLLM_OrganizationMembership" AS m LEFT JOIN "LiteLLM_UserTable" AS u USING (user_id)
WHERE m.organization_id = ANY ($1::text[]) ORDER BY m.organization_id, m.created_at, m.user_id

-- name: teams
-- $1: organizations.
SELECT team_id, team_alias, organization_id, models, spend, max_budget, budget_duration, tpm_limit, rpm_limit, blocked,
    created_at, updated_at
FROM "LiteLLM_TeamTable" WHERE organization_id = ANY ($1::text[]) ORDER BY organization_id, created_at, team_id

-- name: member
-- $1: the organization; $2: the user, or null: the one with the address $3, in lower case.
SELECT m.* FROM "LiteLLM_OrganizationMembership" AS m JOIN "LiteLLM_UserTable" AS u USING (user_id)
WHERE m.organization_id = $1 AND CASE WHEN $2::text IS NULL THEN lower(u.user_email) = $3 ELSE m.user_id = $2 END
ORDER BY m.user_id
FOR UPDATE OF m

-- name: insert_member
INSERT INTO "LiteLLM_OrganizationMembership" (
    user_id, organization_id, user_role, budget_id, created_at, updated_at
)
VALUES ($2, $1, $3, $4, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')
ON CONFLICT (user_id, organization_id) DO NOTHING
RETURNING *

-- name: update_member
UPDATE "LiteLLM_OrganizationMembership" AS m
SET user_role = $3, budget_id = $4,
    updated_at = greatest(now() AT TIME ZONE 'UTC', m.updated_at + interval '1 millisecond')
WHERE organization_id = $1 AND user_id = $2
RETURNING *
