-- Budget periods in LiteLLM's columns: `spend` is what was spent in the current one, `budget_reset_at` is when it ends.
-- What is enforced does not depend on them (bursar.windows), nor on this running in time.

-- name: only_one
SELECT pg_try_advisory_xact_lock(hashtext('bursar budget resets'))

-- name: due
-- Rows whose period has ended, or whose end was never set.
SELECT 'key' AS kind, token AS id, budget_duration, budget_reset_at FROM "LiteLLM_VerificationToken"
WHERE budget_duration IS NOT NULL AND (budget_reset_at IS NULL OR budget_reset_at <= now() AT TIME ZONE 'UTC')
UNION ALL
SELECT 'user', user_id, budget_duration, budget_reset_at FROM "LiteLLM_UserTable"
WHERE budget_duration IS NOT NULL AND (budget_reset_at IS NULL OR budget_reset_at <= now() AT TIME ZONE 'UTC')
UNION ALL
SELECT 'team', team_id, budget_duration, budget_reset_at FROM "LiteLLM_TeamTable"
WHERE budget_duration IS NOT NULL AND (budget_reset_at IS NULL OR budget_reset_at <= now() AT TIME ZONE 'UTC')
UNION ALL
SELECT 'budget', budget_id, budget_duration, budget_reset_at FROM "LiteLLM_BudgetTable"
WHERE budget_duration IS NOT NULL AND (budget_reset_at IS NULL OR budget_reset_at <= now() AT TIME ZONE 'UTC')
LIMIT $1

-- name: reset_key
-- $1: id, $2: the end as it was found (null: it was never set, and the spend stays), $3: the new end. What was booked in the
-- new period already is in its window.
UPDATE "LiteLLM_VerificationToken" AS k
SET budget_reset_at = $3, spend = CASE WHEN $2::timestamp IS NULL THEN k.spend ELSE coalesce((
        SELECT w.spent_nano_usd / 1e9 FROM bursar.windows AS w
        WHERE w.scope_kind = 'key' AND w.scope_id = bursar.scope_of_key(k.token)
            AND w.ends_at = $3::timestamp AT TIME ZONE 'UTC'
    ), 0) END
WHERE k.token = $1 AND k.budget_reset_at IS NOT DISTINCT FROM $2::timestamp

-- name: reset_user
WITH reset AS (
    UPDATE "LiteLLM_UserTable" AS u
    SET budget_reset_at = $3, spend = CASE WHEN $2::timestamp IS NULL THEN u.spend ELSE coalesce((
            SELECT w.spent_nano_usd / 1e9 FROM bursar.windows AS w
            WHERE w.scope_kind = 'user' AND w.scope_id = u.user_id AND w.ends_at = $3::timestamp AT TIME ZONE 'UTC'
        ), 0) END
    WHERE u.user_id = $1 AND u.budget_reset_at IS NOT DISTINCT FROM $2::timestamp
    RETURNING u.user_id
)
DELETE FROM bursar.named_spend AS n USING reset WHERE n.user_id = reset.user_id AND $2::timestamp IS NOT NULL

-- name: reset_team
UPDATE "LiteLLM_TeamTable" AS t
SET budget_reset_at = $3, spend = CASE WHEN $2::timestamp IS NULL THEN t.spend ELSE coalesce((
        SELECT w.spent_nano_usd / 1e9 FROM bursar.windows AS w
        WHERE w.scope_kind = 'team' AND w.scope_id = t.team_id AND w.ends_at = $3::timestamp AT TIME ZONE 'UTC'
    ), 0) END
WHERE t.team_id = $1 AND t.budget_reset_at IS NOT DISTINCT FROM $2::timestamp

-- name: reset_budget
-- A budget that several rows share: all of them begin anew.
WITH budget AS (
    UPDATE "LiteLLM_BudgetTable" AS b SET budget_reset_at = $3
    WHERE b.budget_id = $1 AND b.budget_reset_at IS NOT DISTINCT FROM $2::timestamp
    RETURNING b.budget_id
),
ended AS (
    SELECT budget_id FROM budget WHERE $2::timestamp IS NOT NULL
),
spent AS (
    SELECT scope_kind, scope_id, spent_nano_usd / 1e9 AS usd FROM bursar.windows
    WHERE ends_at = $3::timestamp AT TIME ZONE 'UTC'
),
keys AS (
    UPDATE "LiteLLM_VerificationToken" AS k
    SET spend = coalesce((SELECT usd FROM spent WHERE scope_kind = 'key' AND scope_id = bursar.scope_of_key(k.token)), 0)
    FROM ended WHERE k.budget_id = ended.budget_id AND k.max_budget IS NULL
),
members AS (
    UPDATE "LiteLLM_TeamMembership" AS m
    SET spend = coalesce((
        SELECT usd FROM spent WHERE scope_kind = 'team_member' AND scope_id = bursar.member_scope(m.team_id, m.user_id)
    ), 0)
    FROM ended WHERE m.budget_id = ended.budget_id
),
organizations AS (
    UPDATE "LiteLLM_OrganizationTable" AS o
    SET spend = coalesce((SELECT usd FROM spent WHERE scope_kind = 'organization' AND scope_id = o.organization_id), 0)
    FROM ended WHERE o.budget_id = ended.budget_id
),
end_users AS (
    UPDATE "LiteLLM_EndUserTable" AS e
    SET spend = coalesce((SELECT usd FROM spent WHERE scope_kind = 'end_user' AND scope_id = e.user_id), 0)
    FROM ended WHERE e.budget_id = ended.budget_id
)
UPDATE "LiteLLM_TagTable" AS t
SET spend = coalesce((SELECT usd FROM spent WHERE scope_kind = 'tag' AND scope_id = t.tag_name), 0)
FROM ended WHERE t.budget_id = ended.budget_id
