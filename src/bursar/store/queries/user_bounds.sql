-- What bounds users whom somebody makes in organizations.

-- name: bounds
-- $1: organizations, $2: who makes them.
SELECT b.max_budget, b.budget_duration, b.tpm_limit, b.rpm_limit, b.max_parallel_requests, o.models,
    b.model_max_budget, o.metadata
FROM "LiteLLM_OrganizationTable" AS o LEFT JOIN "LiteLLM_BudgetTable" AS b USING (budget_id)
WHERE o.organization_id = ANY ($1::text[])
UNION ALL
SELECT max_budget, budget_duration, tpm_limit, rpm_limit, max_parallel_requests, models, model_max_budget, '{}'
FROM "LiteLLM_UserTable" WHERE user_id = $2
