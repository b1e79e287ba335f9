-- The books against themselves: everything that is kept beside the entries must be what they fold to. All checks of a run see
-- one snapshot. Each returns what does not agree: what it is about, what the entries say, what is found; and is empty when all
-- is well. Money in nano-dollars. LiteLLM's columns are floats: what counts is the nearest nano-dollar, and of sums a part in
-- 10^10: equal charges are rounded to the same side. What LiteLLM had counted before an adoption (bursar.openings) counts with
-- the entries.

-- name: begin
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ

-- name: plan
-- Everything is compared with everything: row by row, as the planner would have it for tables it knows nothing of, takes
-- for ever.
SET LOCAL enable_nestloop = off

-- name: know
ANALYZE audit_calls

-- name: fold
-- Every call with what its attempts cost, once for all checks.
CREATE TEMPORARY TABLE audit_calls ON COMMIT DROP AS
SELECT c.attempt_id AS call_id, b.api_key, b."user", b.team_id, b.organization_id, b.end_user,
    to_char(timestamp 'epoch' + b.start_us * interval '1 microsecond', 'YYYY-MM-DD') AS date,
    coalesce(b.logged, true) AS logged, b.request_tags, coalesce(b.status, 'success') AS status,
    coalesce(a.cost, 0)::bigint AS cost
FROM bursar.entries AS c
CROSS JOIN LATERAL json_to_record(c.body) AS b (
    api_key text, "user" text, team_id text, organization_id text, end_user text, start_us bigint, logged boolean,
    request_tags json, status text
)
LEFT JOIN (
    SELECT bursar.call_id(attempt_id) AS call_id, sum(cost_nano_usd) AS cost
    FROM bursar.entries WHERE kind IN ('settle', 'adjust') GROUP BY 1
) AS a ON a.call_id = c.attempt_id
WHERE c.kind = 'call'

-- name: count
SELECT (SELECT count(*) FROM bursar.entries) AS entries, (SELECT count(*) FROM audit_calls) AS calls,
    (SELECT coalesce(sum(cost_nano_usd), 0)::bigint FROM bursar.entries WHERE kind IN ('settle', 'adjust')) AS spend

-- name: attempts_without_a_call
SELECT 'attempt ' || e.attempt_id AS what, sum(e.cost_nano_usd)::bigint AS expected, 0::bigint AS found
FROM bursar.entries AS e
WHERE e.kind IN ('settle', 'adjust') AND NOT EXISTS (
    SELECT FROM audit_calls AS c WHERE c.call_id = bursar.call_id(e.attempt_id)
)
GROUP BY e.attempt_id ORDER BY e.attempt_id LIMIT $1

-- name: attempts_left_open
-- Their instance has ended, and nobody has ended them.
SELECT 'attempt ' || o.attempt_id AS what, coalesce(o.hold_nano_usd, 0) AS expected, 0::bigint AS found
FROM bursar.entries AS o
JOIN bursar.instances AS i ON i.instance_id = o.instance_id
WHERE o.kind = 'open' AND i.ended_at < now() - interval '10 minutes' AND NOT EXISTS (
    SELECT FROM bursar.entries AS e WHERE e.attempt_id = o.attempt_id AND e.slot = 1
)
ORDER BY o.attempt_id LIMIT $1

-- name: windows
SELECT format('window of %s %s until %s, leased', w.scope_kind, w.scope_id, w.ends_at) AS what,
    (w.opening_nano_usd + w.forced_nano_usd + coalesce(g.leased, 0))::bigint AS expected, w.leased_nano_usd AS found
FROM bursar.windows AS w
LEFT JOIN (SELECT window_id, sum(leased_nano_usd) AS leased FROM bursar.grants GROUP BY 1) AS g USING (window_id)
WHERE w.leased_nano_usd <> w.opening_nano_usd + w.forced_nano_usd + coalesce(g.leased, 0)
UNION ALL
SELECT format('window of %s %s until %s, spent', w.scope_kind, w.scope_id, w.ends_at),
    (w.opening_nano_usd + w.forced_nano_usd + coalesce(g.spent, 0))::bigint, w.spent_nano_usd
FROM bursar.windows AS w
LEFT JOIN (SELECT window_id, sum(spent_nano_usd) AS spent FROM bursar.grants GROUP BY 1) AS g USING (window_id)
WHERE w.spent_nano_usd <> w.opening_nano_usd + w.forced_nano_usd + coalesce(g.spent, 0)
LIMIT $1

-- name: grants
-- A window that a restored database had forgotten, and made anew, has what was posted before it in its opening.
SELECT format('grant of window %s to instance %s, spent', window_id, instance_id) AS what,
    coalesce(e.cost, 0)::bigint AS expected, coalesce(g.spent_nano_usd, 0) AS found
FROM bursar.grants AS g
FULL JOIN (
    SELECT window_id, instance_id, sum(cost_nano_usd) AS cost, max(at) AS last_at
    FROM bursar.entries CROSS JOIN LATERAL unnest(windows) AS window_id
    WHERE kind IN ('settle', 'adjust') GROUP BY 1, 2
) AS e USING (window_id, instance_id)
LEFT JOIN bursar.windows AS w USING (window_id)
WHERE coalesce(e.cost, 0) <> coalesce(g.spent_nano_usd, 0)
    AND NOT (g.spent_nano_usd IS NULL AND (w.created_at IS NULL OR e.last_at < w.created_at))
ORDER BY 1 LIMIT $1

-- name: rows
-- Log rows that are gone by retention are no difference. Those of a LiteLLM proxy, from before the adoption, have large
-- metadata, which is not looked into.
SELECT 'row ' || s.request_id AS what, c.cost AS expected, round(s.spend * 1e9)::bigint AS found
FROM "LiteLLM_SpendLogs" AS s
JOIN audit_calls AS c ON c.call_id = (s.metadata #>> '{bursar,call_id}')::uuid
WHERE round(s.spend * 1e9) <> c.cost
    AND s.created_at >= (
        SELECT coalesce(min(at) AT TIME ZONE 'UTC' - interval '1 second', '-infinity') FROM bursar.adoptions
    )
ORDER BY 1 LIMIT $1

-- name: keys
-- A key that was deleted and made anew with the same secret has its former life among the deleted ones; one with a new
-- secret has what was called with the old ones.
SELECT 'key ' || token || ', total_spend' AS what, round(expected)::bigint AS expected, round(found)::bigint AS found
FROM (
    SELECT k.token, coalesce(c.cost, 0) + coalesce((o.spend * 1e9)::numeric, 0) AS expected,
        (k.total_spend + coalesce(d.total_spend, 0)) * 1e9 AS found
    FROM "LiteLLM_VerificationToken" AS k
    LEFT JOIN (
        SELECT coalesce(r.active_token, a.api_key) AS token, sum(a.cost) AS cost
        FROM audit_calls AS a LEFT JOIN bursar.rotated_keys AS r ON r.token = a.api_key
        GROUP BY 1
    ) AS c ON c.token = k.token
    LEFT JOIN (
        SELECT coalesce(r.active_token, x.token) AS token, sum(x.total_spend) AS total_spend
        FROM "LiteLLM_DeletedVerificationToken" AS x LEFT JOIN bursar.rotated_keys AS r ON r.token = x.token
        GROUP BY 1
    ) AS d ON d.token = k.token
    LEFT JOIN (
        SELECT coalesce(r.active_token, w.id) AS token, sum(w.spend) AS spend
        FROM bursar.openings AS w LEFT JOIN bursar.rotated_keys AS r ON r.token = w.id
        WHERE w.kind = 'key' GROUP BY 1
    ) AS o ON o.token = k.token
) AS k
WHERE abs(found - expected) > 0.5 + expected * 1e-10
ORDER BY 1 LIMIT $1

-- name: daily_users
SELECT format('LiteLLM_DailyUserSpend of %s, user %s', date, coalesce(nullif(user_id, ''), '(none)')) AS what,
    round(coalesce(expected, 0))::bigint AS expected, round(coalesce(found, 0))::bigint AS found
FROM (
    SELECT date, coalesce(user_id, '') AS user_id, sum(spend) * 1e9 AS found FROM "LiteLLM_DailyUserSpend" GROUP BY 1, 2
) AS d
FULL JOIN (
    SELECT date, user_id, sum(cost) AS expected
    FROM (
        SELECT date, coalesce("user", '') AS user_id, cost FROM audit_calls
        UNION ALL
        SELECT date, id, (spend * 1e9)::numeric FROM bursar.openings WHERE kind = 'user'
    ) AS c
    GROUP BY 1, 2
) AS c USING (date, user_id)
WHERE abs(coalesce(found, 0) - coalesce(expected, 0)) > 0.5 + coalesce(expected, 0) * 1e-10
ORDER BY 1 LIMIT $1

-- name: daily_teams
SELECT format('LiteLLM_DailyTeamSpend of %s, team %s', date, coalesce(nullif(team_id, ''), '(none)')) AS what,
    round(coalesce(expected, 0))::bigint AS expected, round(coalesce(found, 0))::bigint AS found
FROM (
    SELECT date, coalesce(team_id, '') AS team_id, sum(spend) * 1e9 AS found FROM "LiteLLM_DailyTeamSpend" GROUP BY 1, 2
) AS d
FULL JOIN (
    SELECT date, team_id, sum(cost) AS expected
    FROM (
        SELECT date, coalesce(team_id, '') AS team_id, cost FROM audit_calls
        UNION ALL
        SELECT date, id, (spend * 1e9)::numeric FROM bursar.openings WHERE kind = 'team'
    ) AS c
    GROUP BY 1, 2
) AS c USING (date, team_id)
WHERE abs(coalesce(found, 0) - coalesce(expected, 0)) > 0.5 + coalesce(expected, 0) * 1e-10
ORDER BY 1 LIMIT $1

-- name: daily_organizations
SELECT format('LiteLLM_DailyOrganizationSpend of %s, organization %s', date, coalesce(nullif(organization_id, ''), '(none)')) AS what,
    round(coalesce(expected, 0))::bigint AS expected, round(coalesce(found, 0))::bigint AS found
FROM (
    SELECT date, coalesce(organization_id, '') AS organization_id, sum(spend) * 1e9 AS found FROM "LiteLLM_DailyOrganizationSpend" GROUP BY 1, 2
) AS d
FULL JOIN (
    SELECT date, organization_id, sum(cost) AS expected
    FROM (
        SELECT date, organization_id, cost FROM audit_calls WHERE organization_id IS NOT NULL
        UNION ALL
        SELECT date, id, (spend * 1e9)::numeric FROM bursar.openings WHERE kind = 'organization'
    ) AS c
    GROUP BY 1, 2
) AS c USING (date, organization_id)
WHERE abs(coalesce(found, 0) - coalesce(expected, 0)) > 0.5 + coalesce(expected, 0) * 1e-10
ORDER BY 1 LIMIT $1

-- name: daily_end_users
SELECT format('LiteLLM_DailyEndUserSpend of %s, end user %s', date, coalesce(nullif(end_user, ''), '(none)')) AS what,
    round(coalesce(expected, 0))::bigint AS expected, round(coalesce(found, 0))::bigint AS found
FROM (
    SELECT date, coalesce(end_user_id, '') AS end_user, sum(spend) * 1e9 AS found FROM "LiteLLM_DailyEndUserSpend" GROUP BY 1, 2
) AS d
FULL JOIN (
    SELECT date, end_user, sum(cost) AS expected
    FROM (
        SELECT date, end_user, cost FROM audit_calls WHERE end_user IS NOT NULL
        UNION ALL
        SELECT date, id, (spend * 1e9)::numeric FROM bursar.openings WHERE kind = 'end_user'
    ) AS c
    GROUP BY 1, 2
) AS c USING (date, end_user)
WHERE abs(coalesce(found, 0) - coalesce(expected, 0)) > 0.5 + coalesce(expected, 0) * 1e-10
ORDER BY 1 LIMIT $1

-- name: daily_tags
SELECT format('LiteLLM_DailyTagSpend of %s, tag %s', date, coalesce(nullif(tag, ''), '(none)')) AS what,
    round(coalesce(expected, 0))::bigint AS expected, round(coalesce(found, 0))::bigint AS found
FROM (
    SELECT date, coalesce(tag, '') AS tag, sum(spend) * 1e9 AS found FROM "LiteLLM_DailyTagSpend" GROUP BY 1, 2
) AS d
FULL JOIN (
    SELECT date, tag, sum(cost) AS expected
    FROM (
        SELECT date, tag, cost
        FROM audit_calls
        CROSS JOIN LATERAL (SELECT DISTINCT tag FROM json_array_elements_text(request_tags) AS tag) AS t
        WHERE request_tags IS NOT NULL
        UNION ALL
        SELECT date, id, (spend * 1e9)::numeric FROM bursar.openings WHERE kind = 'tag'
    ) AS c
    GROUP BY 1, 2
) AS c USING (date, tag)
WHERE abs(coalesce(found, 0) - coalesce(expected, 0)) > 0.5 + coalesce(expected, 0) * 1e-10
ORDER BY 1 LIMIT $1

-- name: quarantine
SELECT 'quarantined: ' || reason AS what, 0::bigint AS expected, 1::bigint AS found
FROM bursar.quarantine ORDER BY id LIMIT $1

-- name: notes
-- What is no difference, and explains figures that are odd.
SELECT note FROM (
    SELECT 0 AS kind, at AS place, format(
        '%s UTC: the database of a LiteLLM proxy was adopted; what it had counted until then is taken as it was',
        to_char(at, 'YYYY-MM-DD HH24:MI:SS')
    ) AS note
    FROM bursar.adoptions
    UNION ALL
    SELECT 1, at, format('%s UTC: %s', to_char(at, 'YYYY-MM-DD HH24:MI:SS'), what)
    FROM (SELECT at, what FROM bursar.incidents ORDER BY id DESC LIMIT 20) AS i
    UNION ALL
    SELECT 2, ends_at, format(
        'budget of %s %s%s is passed: %s USD of %s', scope_kind, scope_id,
        CASE WHEN ends_at = 'infinity' THEN '' ELSE ' until ' || to_char(ends_at, 'YYYY-MM-DD HH24:MI') END,
        trim_scale(spent_nano_usd / 1e9), trim_scale(limit_nano_usd / 1e9)
    )
    FROM (
        SELECT * FROM bursar.windows WHERE ends_at > now() AND spent_nano_usd > limit_nano_usd
        ORDER BY spent_nano_usd - limit_nano_usd DESC LIMIT 20
    ) AS w
    UNION ALL
    SELECT 3, NULL, format(
        '%s attempts are booked at %s USD on the evidence "%s"', count(*), trim_scale(sum(cost_nano_usd) / 1e9), evidence
    )
    FROM bursar.entries WHERE kind = 'settle' AND evidence IN ('estimated', 'lost', 'unpriced') GROUP BY evidence
) AS n
ORDER BY kind, place, note
