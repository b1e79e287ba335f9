-- The auditor that never stops: when it looks, and what it keeps.

-- name: be_patient
-- The transaction that says that somebody looks does nothing while they do.
SET LOCAL idle_in_transaction_session_timeout = 0

-- name: only_one
SELECT pg_try_advisory_xact_lock(hashtext('bursar audit'))

-- name: is_due
-- $1: seconds between looks, $2: how many times its own duration a look is followed by rest.
SELECT coalesce((
    SELECT now() >= ended_at + greatest($1::double precision * interval '1 second', $2::integer * (ended_at - began_at))
    FROM bursar.audits ORDER BY id DESC LIMIT 1
), true)

-- name: keep
WITH old AS (
    DELETE FROM bursar.audits WHERE id <= (SELECT max(id) FROM bursar.audits) - $4::integer
)
INSERT INTO bursar.audits (began_at, ended_at, entries, drift_nano_usd, differences)
VALUES (now(), clock_timestamp(), $1, $2, $3)

-- name: state
SELECT (SELECT count(*) FROM bursar.quarantine) AS quarantined,
    (SELECT count(*) FROM bursar.incidents) AS incidents,
    (
        SELECT count(*) FROM bursar.windows WHERE ends_at > now() AND spent_nano_usd > limit_nano_usd
    ) AS over_limit,
    a.ended_at, a.seconds, a.entries, a.drift_nano_usd, a.differences
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (
    SELECT ended_at, extract(epoch FROM ended_at - began_at)::double precision AS seconds, entries, drift_nano_usd,
        jsonb_array_length(differences) AS differences
    FROM bursar.audits ORDER BY id DESC LIMIT 1
) AS a ON true
