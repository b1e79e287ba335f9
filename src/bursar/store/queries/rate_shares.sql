-- Shares of rate limits.

-- name: share
SELECT * FROM bursar.share_rates($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

-- name: end
-- The worker uses its shares no more. What it may have used of this minute counts until its end; and of the next one, if
-- its clock was a little before this one.
UPDATE bursar.rate_workers
SET ended = true,
    lease_until = least(lease_until, to_timestamp((floor((extract(epoch FROM clock_timestamp()) + 2) / 60) + 1) * 60))
WHERE instance_id = $1 AND NOT ended
