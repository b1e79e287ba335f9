-- Lives of processes, for those who look after them.

-- name: unsettled
-- Instances that have not ended in order: what they left open, what they were granted and have not spent, and when they
-- were last heard of.
SELECT i.instance_id::text AS instance_id, i.epoch, i.host, i.started_at, i.lost_at, j.posted_sequence,
    greatest(i.started_at, j.posted_at, h.seen_at) AS heard_at,
    clock_timestamp() - greatest(i.started_at, j.posted_at, h.seen_at) AS silent,
    coalesce(o.attempts, 0) AS open_attempts, coalesce(g.unspent, 0)::bigint AS unspent
FROM bursar.instances AS i
LEFT JOIN bursar.journals AS j ON j.journal_id = i.instance_id
LEFT JOIN bursar.heartbeats AS h ON h.instance_id = i.instance_id
LEFT JOIN LATERAL (
    SELECT count(*) AS attempts FROM bursar.entries AS e
    WHERE e.instance_id = i.instance_id AND e.kind = 'open' AND NOT EXISTS (
        SELECT FROM bursar.entries AS t WHERE t.attempt_id = e.attempt_id AND t.slot = 1
    )
) AS o ON true
LEFT JOIN LATERAL (
    SELECT sum(leased_nano_usd - spent_nano_usd) AS unspent FROM bursar.grants WHERE instance_id = i.instance_id
) AS g ON true
WHERE i.ended_at IS NULL AND ($1::uuid IS NULL OR i.instance_id = $1)
ORDER BY i.started_at

-- name: open_attempts
SELECT e.attempt_id::text AS attempt_id, bursar.call_id(e.attempt_id)::text AS call_id,
    (extract(epoch FROM e.at) * 1000000)::bigint AS at_us, e.hold_nano_usd AS hold, e.windows, e.body::text AS body
FROM bursar.entries AS e
WHERE e.instance_id = $1 AND e.kind = 'open' AND NOT EXISTS (
    SELECT FROM bursar.entries AS t WHERE t.attempt_id = e.attempt_id AND t.slot = 1
)
ORDER BY e.attempt_id LIMIT 1000

-- name: mark_lost
-- $3: what it came to, in words.
WITH marked AS (
    UPDATE bursar.instances SET lost_at = now() WHERE instance_id = $1 AND epoch = $2 AND lost_at IS NULL
    RETURNING instance_id
)
INSERT INTO bursar.incidents (what) SELECT $3 FROM marked

-- name: note
INSERT INTO bursar.incidents (what) VALUES ($1)
