-- LiteLLM's table of budgets: limits that several rows may share, or that belong to one row alone.

-- name: insert
-- $1: ids, $2: columns of each of them, $3: by whom.
INSERT INTO "LiteLLM_BudgetTable" (
    budget_id, max_budget, soft_budget, max_parallel_requests, tpm_limit, rpm_limit, tpd_limit, budget_duration,
    model_max_budget, budget_reset_at, allowed_models, temp_budget_increase, temp_budget_expiry, created_at, created_by,
    updated_at, updated_by
)
SELECT i.id, n.max_budget, n.soft_budget, n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.tpd_limit,
    n.budget_duration, n.model_max_budget, n.budget_reset_at, coalesce(n.allowed_models, '{}'), n.temp_budget_increase,
    n.temp_budget_expiry, now() AT TIME ZONE 'UTC', $3, now() AT TIME ZONE 'UTC', $3
FROM unnest($1::text[]) AS i (id), jsonb_populate_record(NULL::"LiteLLM_BudgetTable", $2::jsonb) AS n
ON CONFLICT (budget_id) DO NOTHING
RETURNING *

-- name: lock
SELECT * FROM "LiteLLM_BudgetTable" WHERE budget_id = $1 FOR UPDATE

-- name: update
-- $1: the id, $2: columns to change, $3: by whom. `updated_at` differs after every change.
UPDATE "LiteLLM_BudgetTable" AS b
SET (
        max_budget, soft_budget, max_parallel_requests, tpm_limit, rpm_limit, tpd_limit, budget_duration,
        model_max_budget, budget_reset_at, allowed_models, temp_budget_increase, temp_budget_expiry
    ) = (
        SELECT n.max_budget, n.soft_budget, n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.tpd_limit,
            n.budget_duration, n.model_max_budget, n.budget_reset_at, coalesce(n.allowed_models, '{}'),
            n.temp_budget_increase, n.temp_budget_expiry
        FROM jsonb_populate_record(b, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', b.updated_at + interval '1 millisecond'), updated_by = $3
WHERE b.budget_id = $1
RETURNING *

-- name: find
SELECT * FROM "LiteLLM_BudgetTable" WHERE budget_id = ANY ($1::text[]) ORDER BY budget_id

-- name: all
SELECT * FROM "LiteLLM_BudgetTable" ORDER BY created_at, budget_id

-- name: uses
-- By how many rows of each kind a budget is named.
SELECT kind, n FROM (
    SELECT 'keys' AS kind, count(*) AS n FROM "LiteLLM_VerificationToken" WHERE budget_id = $1
    UNION ALL
    SELECT 'keys, for their end users', count(*) FROM "LiteLLM_VerificationToken"
    WHERE metadata ->> 'end_user_budget_id' = $1
    UNION ALL
    SELECT 'organizations', count(*) FROM "LiteLLM_OrganizationTable" WHERE budget_id = $1
    UNION ALL
    SELECT 'members of teams', count(*) FROM "LiteLLM_TeamMembership" WHERE budget_id = $1
    UNION ALL
    SELECT 'teams, for their members', count(*) FROM "LiteLLM_TeamTable"
    WHERE metadata ->> 'team_member_budget_id' = $1
    UNION ALL
    SELECT 'members of organizations', count(*) FROM "LiteLLM_OrganizationMembership" WHERE budget_id = $1
    UNION ALL
    SELECT 'customers', count(*) FROM "LiteLLM_EndUserTable" WHERE budget_id = $1
    UNION ALL
    SELECT 'tags', count(*) FROM "LiteLLM_TagTable" WHERE budget_id = $1
    UNION ALL
    SELECT 'projects', count(*) FROM "LiteLLM_ProjectTable" WHERE budget_id = $1
) AS u WHERE n > 0

-- name: delete
DELETE FROM "LiteLLM_BudgetTable" WHERE budget_id = $1 RETURNING *
