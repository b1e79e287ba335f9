-- Budget windows of scopes whose spending begins anew.

-- name: set_spent
-- $1 and $2: scopes, $3: what counts as spent from now on, in nano-dollars. What was booked beyond it is taken off as
-- something that was booked without a grant. Grants stay as they are, so what their instances hold stays held, and the books
-- close. Only with the totals locked: posters move windows and rows together.
WITH locked AS MATERIALIZED (
    SELECT w.window_id FROM bursar.windows AS w
    JOIN unnest($1::text[], $2::text[]) AS s (kind, id) ON w.scope_kind = s.kind AND w.scope_id = s.id
    WHERE w.ends_at > now() AND w.spent_nano_usd <> $3
    ORDER BY w.window_id
    FOR UPDATE OF w
),
named AS (
    DELETE FROM bursar.named_spend AS n USING unnest($1::text[], $2::text[]) AS s (kind, id)
    WHERE s.kind = 'user' AND n.user_id = s.id
)
UPDATE bursar.windows AS w
SET forced_nano_usd = w.forced_nano_usd + ($3 - w.spent_nano_usd),
    leased_nano_usd = w.leased_nano_usd + ($3 - w.spent_nano_usd), spent_nano_usd = $3
FROM locked WHERE w.window_id = locked.window_id
RETURNING w.window_id

-- name: count_in
-- $1 and $2: scopes, $3: what their rows say was spent, in nano-dollars, $4: when the periods end that they say it of, in
-- seconds (null: never). What windows say less is added as something that was booked without a grant. Only with the totals
-- locked.
WITH locked AS MATERIALIZED (
    SELECT w.window_id, s.spent FROM bursar.windows AS w
    JOIN unnest($1::text[], $2::text[], $3::bigint[], $4::double precision[]) AS s (kind, id, spent, ends)
        ON w.scope_kind = s.kind AND w.scope_id = s.id
    WHERE w.ends_at > now() AND w.spent_nano_usd < s.spent AND (s.ends IS NULL OR to_timestamp(s.ends) > now())
    ORDER BY w.window_id
    FOR UPDATE OF w
)
UPDATE bursar.windows AS w
SET forced_nano_usd = w.forced_nano_usd + (locked.spent - w.spent_nano_usd),
    leased_nano_usd = w.leased_nano_usd + (locked.spent - w.spent_nano_usd), spent_nano_usd = locked.spent
FROM locked WHERE w.window_id = locked.window_id
RETURNING w.window_id

-- name: of_budget
-- Who spends of the budget $1: kinds, and both parts of the ids.
SELECT 'key' AS kind, bursar.scope_of_key(token) AS first, '' AS second FROM "LiteLLM_VerificationToken"
WHERE budget_id = $1 AND max_budget IS NULL
UNION ALL
SELECT 'team_member', team_id, user_id FROM "LiteLLM_TeamMembership" WHERE budget_id = $1
UNION ALL
SELECT 'organization', organization_id, '' FROM "LiteLLM_OrganizationTable" WHERE budget_id = $1
UNION ALL
SELECT 'end_user', user_id, '' FROM "LiteLLM_EndUserTable" WHERE budget_id = $1
UNION ALL
SELECT 'tag', tag_name, '' FROM "LiteLLM_TagTable" WHERE budget_id = $1

-- name: of_models
-- Scopes of single models, as the scopes $1 and $2 use them, that have a window.
SELECT DISTINCT w.scope_kind, w.scope_id FROM bursar.windows AS w
JOIN unnest($1::text[], $2::text[]) AS s (kind, id)
    ON w.scope_kind = s.kind || '_model' AND starts_with(w.scope_id, bursar.member_scope(s.id, ''))
WHERE w.ends_at > now()

-- name: tell_spent
-- $1: windows of which somebody has said what is spent. Workers give back what they have leased and do not use.
SELECT pg_notify('bursar_windows', 'spent:' || window_id) FROM unnest($1::uuid[]) AS window_id
