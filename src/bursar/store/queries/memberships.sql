-- Where users belong.

-- name: memberships_of
-- $1: the user. `members_with_roles` is what counts; the user's own list and his memberships only tell where to look.
WITH listed AS (
    SELECT unnest(teams) AS team_id FROM "LiteLLM_UserTable" WHERE user_id = $1
    UNION
    SELECT team_id FROM "LiteLLM_TeamMembership" WHERE user_id = $1
),
member AS (
    SELECT t.team_id, t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text, 'role', 'admin'))
        AS administers, coalesce(t.team_member_permissions, '{}') AS permissions
    FROM listed JOIN "LiteLLM_TeamTable" AS t USING (team_id)
    WHERE t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text))
),
belongs AS (
    SELECT organization_id, coalesce(user_role, '') = 'org_admin' AS administers
    FROM "LiteLLM_OrganizationMembership" WHERE user_id = $1
)
SELECT
    ARRAY(SELECT team_id FROM member) AS teams,
    ARRAY(SELECT team_id FROM member WHERE administers) AS administered_teams,
    ARRAY(SELECT organization_id FROM belongs) AS organizations,
    ARRAY(SELECT organization_id FROM belongs WHERE administers) AS administered_organizations,
    ARRAY(
        SELECT t.team_id FROM "LiteLLM_TeamTable" AS t
        WHERE t.organization_id = ANY (ARRAY(SELECT organization_id FROM belongs WHERE administers))
    ) AS teams_of_organizations,
    (SELECT jsonb_object_agg(team_id, permissions) FROM member WHERE NOT administers) AS member_permissions
