-- Members of teams, in LiteLLM's tables: the team's roster is what counts.

-- name: join_users
-- $1: the team, $2: users.
UPDATE "LiteLLM_UserTable" SET teams = array_append(teams, $1)
WHERE user_id = ANY ($2::text[]) AND NOT $1 = ANY (coalesce(teams, '{}'))

-- name: everybody
-- $1: the team. Users who are not in it; $2: at most so many.
SELECT user_id, user_email FROM "LiteLLM_UserTable"
WHERE NOT $1 = ANY (coalesce(teams, '{}')) ORDER BY user_id LIMIT $2

-- name: teams_of
-- $1: a user, $2: teams. Those of them that he is in.
SELECT team_id FROM "LiteLLM_TeamTable"
WHERE team_id = ANY ($2::text[]) AND members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text))

-- name: put_memberships
-- $1: the team, $2: users, $3: their budgets.
INSERT INTO "LiteLLM_TeamMembership" AS m (team_id, user_id, budget_id)
SELECT $1, id, budget FROM unnest($2::text[], $3::text[]) AS u (id, budget) ORDER BY id
ON CONFLICT (user_id, team_id) DO UPDATE SET budget_id = coalesce(excluded.budget_id, m.budget_id)

-- name: give_default_budget
-- $1: the team, $2: its budget for its members, $3: the one before, or null. Who has none, or is on the one before, gets it;
-- so does who is on the roster and has no membership yet, as LiteLLM leaves it until somebody spends.
INSERT INTO "LiteLLM_TeamMembership" AS m (team_id, user_id, budget_id)
SELECT $1, user_id, $2
FROM (
    SELECT user_id FROM "LiteLLM_TeamMembership" WHERE team_id = $1
    UNION
    SELECT e ->> 'user_id'
    FROM "LiteLLM_TeamTable" AS t,
        jsonb_array_elements(CASE jsonb_typeof(t.members_with_roles) WHEN 'array' THEN t.members_with_roles END) AS e
    WHERE t.team_id = $1 AND e ->> 'user_id' IS NOT NULL
) AS u
ORDER BY user_id
ON CONFLICT (user_id, team_id) DO UPDATE SET budget_id = excluded.budget_id
WHERE m.budget_id IS NULL OR m.budget_id = $3

-- name: membership
SELECT m.user_id, m.team_id, m.spend, m.total_spend, m.budget_id FROM "LiteLLM_TeamMembership" AS m
WHERE m.team_id = $1 AND m.user_id = $2
FOR UPDATE

-- name: memberships
-- $1: the team, $2: users.
SELECT user_id, team_id, spend, total_spend, budget_id FROM "LiteLLM_TeamMembership"
WHERE team_id = $1 AND user_id = ANY ($2::text[]) ORDER BY user_id

-- name: delete_memberships
-- $1: the team, $2: users.
DELETE FROM "LiteLLM_TeamMembership" WHERE team_id = $1 AND user_id = ANY ($2::text[]) RETURNING user_id, budget_id

-- name: set_spend
UPDATE "LiteLLM_TeamMembership" SET spend = $3 WHERE team_id = $1 AND user_id = $2
