-- Users as somebody names them who adds them to a team or an organization.

-- name: users
-- $1: ids, $2: e-mail addresses in lower case.
SELECT user_id, user_email, user_alias, user_role FROM "LiteLLM_UserTable"
WHERE user_id = ANY ($1::text[]) OR lower(user_email) = ANY ($2::text[])

-- name: make_users
-- $1: ids, $2: e-mail addresses, $3: limits of all of them, as JSON by column name.
INSERT INTO "LiteLLM_UserTable" (
    user_id, user_email, user_role, models, teams, max_budget, budget_duration, budget_reset_at, tpm_limit, rpm_limit,
    max_parallel_requests, model_max_budget
)
SELECT u.id, u.email, 'internal_user', coalesce(n.models, '{}'), '{}', n.max_budget, n.budget_duration,
    n.budget_reset_at, n.tpm_limit, n.rpm_limit, n.max_parallel_requests, coalesce(n.model_max_budget, '{}')
FROM unnest($1::text[], $2::text[]) AS u (id, email),
    jsonb_populate_record(NULL::"LiteLLM_UserTable", $3::jsonb) AS n
ORDER BY u.id
ON CONFLICT (user_id) DO NOTHING
RETURNING *

-- name: are_somebodys
-- $1: ids. Whether a key or a roster has one of them.
SELECT EXISTS (SELECT FROM "LiteLLM_VerificationToken" WHERE user_id = ANY ($1::text[])) OR EXISTS (
    SELECT FROM "LiteLLM_TeamTable" AS t,
        jsonb_array_elements(CASE jsonb_typeof(t.members_with_roles) WHEN 'array' THEN t.members_with_roles END) AS m
    WHERE m ->> 'user_id' = ANY ($1::text[])
)

-- name: organizations_of
-- $1: users. To which organizations each belongs.
SELECT user_id, array_agg(organization_id) AS organizations FROM "LiteLLM_OrganizationMembership"
WHERE user_id = ANY ($1::text[]) GROUP BY user_id
