-- Budget windows and grants. What an exchange comes to is decided in domain/windows.py; these read and write the rows.

-- name: heartbeat
WITH beat AS (
    INSERT INTO bursar.heartbeats (instance_id) VALUES ($1)
    ON CONFLICT (instance_id) DO UPDATE SET seen_at = now()
)
SELECT extract(epoch FROM clock_timestamp())::double precision AS now_s,
    (SELECT epoch FROM bursar.instances WHERE instance_id = $1) AS epoch

-- name: claim
-- The instance's row stays locked until commit, so that nobody advances its epoch meanwhile.
SELECT epoch = $2 AND ended_at IS NULL AS claimed,
    (
        SELECT count(*) FROM bursar.heartbeats AS h
        WHERE h.seen_at > now() - interval '15 seconds' AND h.instance_id <> $1
    ) AS others
FROM bursar.instances WHERE instance_id = $1 FOR SHARE

-- name: lock_windows
SELECT window_id, limit_nano_usd, leased_nano_usd, spent_nano_usd
FROM bursar.windows WHERE window_id = ANY ($1::uuid[]) ORDER BY window_id FOR UPDATE

-- name: make_windows
-- $1: ids, $2 and $3: scopes, $4: ends, $5: limits, $6: what was spent before. Somebody else may have been first.
INSERT INTO bursar.windows (
    window_id, scope_kind, scope_id, ends_at, limit_nano_usd, opening_nano_usd, leased_nano_usd, spent_nano_usd
)
SELECT id, kind, scope, coalesce(ends, 'infinity'), amount, opening, opening, opening
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[])
    AS w (id, kind, scope, ends, amount, opening)
ORDER BY id
ON CONFLICT DO NOTHING

-- name: grants
SELECT window_id, leased_nano_usd, spent_nano_usd, operation
FROM bursar.grants WHERE instance_id = $1 AND window_id = ANY ($2::uuid[])

-- name: save
-- $1: the instance; then per window: id, limit, leased; the grant's leased and operation.
WITH changed AS (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[])
        AS c (window_id, limit_nano_usd, window_leased, grant_leased, operation)
),
windows AS (
    UPDATE bursar.windows AS w SET limit_nano_usd = c.limit_nano_usd, leased_nano_usd = c.window_leased
    FROM changed AS c WHERE w.window_id = c.window_id
)
INSERT INTO bursar.grants (window_id, instance_id, leased_nano_usd, operation)
SELECT window_id, $1, grant_leased, operation FROM changed
ON CONFLICT (window_id, instance_id) DO UPDATE
SET leased_nano_usd = excluded.leased_nano_usd, operation = excluded.operation

-- name: in_force
-- The limits that the tables state now, in dollars, by what they are raised for a while, and what was spent in the period
-- that ends then. $1: kinds, $2 and $3: the parts of the ids. No row: the table knows no such scope. A user's spend has
-- what others spent in his name; his budget has not.
SELECT s.n, found.max_budget, found.spend, found.reset_at, found.raised::text,
    extract(epoch FROM clock_timestamp())::double precision AS now_s
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS s (kind, first, second, n)
CROSS JOIN LATERAL (
    SELECT coalesce(k.max_budget, b.max_budget) AS max_budget, k.spend,
        CASE WHEN k.max_budget IS NULL THEN b.budget_reset_at ELSE k.budget_reset_at END AS reset_at,
        CASE WHEN k.metadata ? 'temp_budget_increase' THEN jsonb_build_object(
            'temp_budget_increase', k.metadata -> 'temp_budget_increase',
            'temp_budget_expiry', k.metadata -> 'temp_budget_expiry'
        ) END AS raised
    FROM "LiteLLM_VerificationToken" AS k
    LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = k.budget_id
    WHERE s.kind = 'key' AND k.token = bursar.active_key(s.first)
    UNION ALL
    SELECT u.max_budget, greatest(u.spend - coalesce(n.spent_nano_usd, 0) / 1e9::double precision, 0),
        u.budget_reset_at, NULL
    FROM "LiteLLM_UserTable" AS u LEFT JOIN bursar.named_spend AS n USING (user_id)
    WHERE s.kind = 'user' AND u.user_id = s.first
    UNION ALL
    SELECT t.max_budget, t.spend, t.budget_reset_at, NULL FROM "LiteLLM_TeamTable" AS t
    WHERE s.kind = 'team' AND t.team_id = s.first
    UNION ALL
    SELECT b.max_budget, m.spend, b.budget_reset_at,
        CASE WHEN b.temp_budget_increase IS NOT NULL THEN jsonb_build_object(
            'temp_budget_increase', b.temp_budget_increase, 'temp_budget_expiry', b.temp_budget_expiry
        ) END
    FROM "LiteLLM_TeamMembership" AS m JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = m.budget_id
    WHERE s.kind = 'team_member' AND m.team_id = s.first AND m.user_id = s.second
    UNION ALL
    SELECT b.max_budget, o.spend, b.budget_reset_at, NULL
    FROM "LiteLLM_OrganizationTable" AS o JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = o.budget_id
    WHERE s.kind = 'organization' AND o.organization_id = s.first
    UNION ALL
    SELECT b.max_budget, e.spend, b.budget_reset_at, NULL
    FROM "LiteLLM_EndUserTable" AS e LEFT JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = e.budget_id
    WHERE s.kind = 'end_user' AND e.user_id = s.first
    UNION ALL
    SELECT b.max_budget, t.spend, b.budget_reset_at, NULL
    FROM "LiteLLM_TagTable" AS t JOIN "LiteLLM_BudgetTable" AS b ON b.budget_id = t.budget_id
    WHERE s.kind = 'tag' AND t.tag_name = s.first
    UNION ALL
    SELECT NULL, greatest(u.spend - coalesce(n.spent_nano_usd, 0) / 1e9::double precision, 0), u.budget_reset_at, NULL
    FROM "LiteLLM_UserTable" AS u LEFT JOIN bursar.named_spend AS n USING (user_id)
    WHERE s.kind = 'gateway' AND u.user_id = 'litellm-proxy-budget'  -- LiteLLM's name for all that goes through it
) AS found

-- name: tell
-- $1: windows into which something came back, $2: windows of which others should give back what they do not use, $3: who
-- asks for it.
SELECT pg_notify('bursar_windows', told) FROM (
    SELECT 'freed:' || w FROM unnest($1::uuid[]) AS w
    UNION ALL
    SELECT 'wanted:' || w || ':' || $3::uuid FROM unnest($2::uuid[]) AS w
) AS t (told)

-- name: release
-- The instance has ended and all it did is booked: of its grants, what is neither spent nor held for one of its attempts
-- that nobody has ended yet goes back. Books that do not close must not keep anybody from ending.
WITH held AS (
    SELECT window_id, sum(o.hold_nano_usd) AS amount
    FROM bursar.entries AS o CROSS JOIN LATERAL unnest(o.windows) AS window_id
    WHERE o.instance_id = $1 AND o.kind = 'open' AND NOT EXISTS (
        SELECT FROM bursar.entries AS e WHERE e.attempt_id = o.attempt_id AND e.kind IN ('settle', 'void')
    )
    GROUP BY window_id
),
kept AS (
    SELECT g.window_id, g.leased_nano_usd AS before,
        least(g.leased_nano_usd, g.spent_nano_usd + coalesce(h.amount, 0)) AS after
    FROM bursar.grants AS g
    JOIN bursar.windows AS w ON w.window_id = g.window_id
    LEFT JOIN held AS h ON h.window_id = g.window_id
    WHERE g.instance_id = $1
    ORDER BY g.window_id
    FOR UPDATE OF w, g
),
windows AS (
    UPDATE bursar.windows AS w
    SET leased_nano_usd = greatest(w.leased_nano_usd - (k.before - k.after), w.spent_nano_usd)
    FROM kept AS k WHERE w.window_id = k.window_id AND k.before <> k.after
)
UPDATE bursar.grants AS g SET leased_nano_usd = k.after
FROM kept AS k
WHERE g.window_id = k.window_id AND g.instance_id = $1 AND k.before <> k.after
RETURNING g.window_id

-- name: end_instance
-- $3: how far its journal goes. A database that was restored meanwhile has not got it all any more.
UPDATE bursar.instances AS i SET ended_at = now()
FROM bursar.journals AS j
WHERE i.instance_id = $1 AND i.epoch = $2 AND i.ended_at IS NULL AND j.journal_id = $1 AND j.posted_sequence >= $3

-- name: forget_heartbeat
DELETE FROM bursar.heartbeats WHERE instance_id = $1 OR seen_at < now() - interval '1 day'

-- name: has_ended
SELECT ended_at IS NOT NULL FROM bursar.instances WHERE instance_id = $1
