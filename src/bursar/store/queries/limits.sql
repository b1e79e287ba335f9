-- Limits of whom a request names: end users and tags. Keys bring theirs, their owner's and their team's along.

-- name: end_users
SELECT e.user_id AS id, e.blocked, e.budget_id IS NULL AS by_default, b.max_budget, b.budget_duration, b.budget_reset_at, b.soft_budget, b.rpm_limit,
    b.tpm_limit, b.max_parallel_requests, b.model_max_budget
FROM "LiteLLM_EndUserTable" AS e
LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = coalesce(e.budget_id, $2)
WHERE e.user_id = ANY ($1::text[])

-- name: tags
SELECT t.tag_name AS id, false AS blocked, false AS by_default, b.max_budget, b.budget_duration, b.budget_reset_at, b.soft_budget,
    b.rpm_limit, b.tpm_limit, b.max_parallel_requests, NULL::jsonb AS model_max_budget
FROM "LiteLLM_TagTable" AS t
JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = t.budget_id
WHERE t.tag_name = ANY ($1::text[])

-- name: default_budget
SELECT max_budget, budget_duration, budget_reset_at, soft_budget, rpm_limit, tpm_limit, max_parallel_requests,
    model_max_budget
FROM "LiteLLM_BudgetTable" WHERE budget_id = $1

-- name: any
-- Whether looking anybody up can tell anything.
SELECT EXISTS (SELECT FROM "LiteLLM_EndUserTable" WHERE blocked OR budget_id IS NOT NULL) AS end_users,
    EXISTS (SELECT FROM "LiteLLM_TagTable" WHERE budget_id IS NOT NULL) AS tags
