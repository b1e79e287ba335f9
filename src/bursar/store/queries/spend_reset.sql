-- Setting back what keys and teams have spent in their current periods, in LiteLLM's columns and in the windows that decide.

-- name: windows
-- What is spent by now no longer counts: it is taken off as something that was booked without a grant. Grants stay as they
-- are, so what their instances hold stays held, and the books close.
WITH locked AS MATERIALIZED (
    SELECT window_id FROM bursar.windows
    WHERE scope_kind IN ('key', 'key_period', 'key_model', 'team', 'team_period', 'team_model') AND ends_at > now()
        AND spent_nano_usd <> 0
    ORDER BY window_id
    FOR UPDATE
)
UPDATE bursar.windows AS w
SET forced_nano_usd = w.forced_nano_usd - w.spent_nano_usd, leased_nano_usd = w.leased_nano_usd - w.spent_nano_usd,
    spent_nano_usd = 0
FROM locked WHERE w.window_id = locked.window_id
RETURNING w.window_id

-- name: sums
SELECT (SELECT coalesce(sum(spend), 0) FROM "LiteLLM_VerificationToken") AS "LiteLLM_VerificationToken",
    (SELECT coalesce(sum(spend), 0) FROM "LiteLLM_TeamTable") AS "LiteLLM_TeamTable"

-- name: keys
UPDATE "LiteLLM_VerificationToken" AS k SET spend = 0
FROM (SELECT token FROM "LiteLLM_VerificationToken" WHERE spend <> 0 ORDER BY token FOR UPDATE) AS locked
WHERE k.token = locked.token
RETURNING pg_notify('bursar_keys', k.token)

-- name: teams
UPDATE "LiteLLM_TeamTable" AS t SET spend = 0
FROM (SELECT team_id FROM "LiteLLM_TeamTable" WHERE spend <> 0 ORDER BY team_id FOR UPDATE) AS locked
WHERE t.team_id = locked.team_id
