-- Telling every worker whose limits have changed: a few keys by their hashes, many as `*`.

-- name: keys_of_teams
-- $1: teams, $2: the one member it is about, or null.
WITH found AS (
    SELECT token FROM "LiteLLM_VerificationToken"
    WHERE team_id = ANY ($1::text[]) AND ($2::text IS NULL OR user_id = $2) LIMIT 101
)
SELECT pg_notify('bursar_keys', told) FROM (
    SELECT token FROM found WHERE (SELECT count(*) FROM found) <= 100
    UNION ALL
    SELECT '*' WHERE (SELECT count(*) FROM found) > 100
) AS t (told)

-- name: keys_of_organization
WITH found AS (
    SELECT k.token FROM "LiteLLM_VerificationToken" AS k LEFT JOIN "LiteLLM_TeamTable" AS t USING (team_id)
    WHERE k.organization_id = $1 OR t.organization_id = $1 LIMIT 101
)
SELECT pg_notify('bursar_keys', told) FROM (
    SELECT token FROM found WHERE (SELECT count(*) FROM found) <= 100
    UNION ALL
    SELECT '*' WHERE (SELECT count(*) FROM found) > 100
) AS t (told)

-- name: keys_of_budget
-- Those that name it, and those whose user's place in their team, whose team for its members, or whose organization, does.
WITH found AS (
    SELECT token FROM "LiteLLM_VerificationToken"
    WHERE budget_id = $1 OR metadata @> jsonb_build_object('end_user_budget_id', $1::text)
    UNION
    SELECT k.token FROM "LiteLLM_TeamMembership" AS m
    JOIN "LiteLLM_VerificationToken" AS k ON k.team_id = m.team_id AND k.user_id = m.user_id
    WHERE m.budget_id = $1
    UNION
    SELECT k.token FROM "LiteLLM_TeamTable" AS t JOIN "LiteLLM_VerificationToken" AS k ON k.team_id = t.team_id
    WHERE t.metadata ->> 'team_member_budget_id' = $1 AND k.user_id IS NOT NULL
    UNION
    SELECT k.token FROM "LiteLLM_OrganizationTable" AS o
    JOIN "LiteLLM_VerificationToken" AS k ON k.organization_id = o.organization_id
    WHERE o.budget_id = $1
    UNION
    SELECT k.token FROM "LiteLLM_OrganizationTable" AS o
    JOIN "LiteLLM_TeamTable" AS t ON t.organization_id = o.organization_id
    JOIN "LiteLLM_VerificationToken" AS k ON k.team_id = t.team_id
    WHERE o.budget_id = $1
    LIMIT 101
)
SELECT pg_notify('bursar_keys', told) FROM (
    SELECT token FROM found WHERE (SELECT count(*) FROM found) <= 100
    UNION ALL
    SELECT '*' WHERE (SELECT count(*) FROM found) > 100
) AS t (told)

-- name: limits
-- $1: `end_user:<id>`, `tag:<name>`, or nothing for all; ids too long for a notification are told as all.
SELECT pg_notify('bursar_limits', CASE WHEN octet_length(told) > 7000 THEN '' ELSE told END)
FROM unnest($1::text[]) AS told
