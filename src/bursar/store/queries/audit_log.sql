-- The log of changes, in LiteLLM's table.

-- name: record
INSERT INTO "LiteLLM_AuditLog" (
    id, updated_at, changed_by, changed_by_api_key, action, table_name, object_id, before_value, updated_values
)
SELECT gen_random_uuid()::text, now() AT TIME ZONE 'UTC', c.*
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[]) AS c

-- name: find
SELECT * FROM "LiteLLM_AuditLog" WHERE id = $1

-- name: page
-- Filters that are null let everything pass. $8: the column to sort by before the time,
-- $9: whether downwards; $10, $11: how many rows, after how many.
SELECT a.* FROM "LiteLLM_AuditLog" AS a
CROSS JOIN LATERAL (
    SELECT CASE $8::text
        WHEN 'changed_by' THEN changed_by WHEN 'action' THEN action WHEN 'table_name' THEN table_name
        WHEN 'object_id' THEN object_id
    END AS word
) AS s
WHERE ($1::text IS NULL OR changed_by = $1)
    AND ($2::text IS NULL OR changed_by_api_key = $2)
    AND ($3::text IS NULL OR action = $3)
    AND ($4::text IS NULL OR table_name = $4)
    AND ($5::text IS NULL OR object_id = $5)
    AND ($6::timestamp IS NULL OR updated_at >= $6)
    AND ($7::timestamp IS NULL OR updated_at < $7)
ORDER BY
    CASE WHEN $9::boolean THEN s.word END DESC, CASE WHEN NOT $9 THEN s.word END,
    CASE WHEN $9 THEN updated_at END DESC, CASE WHEN NOT $9 THEN updated_at END,
    id
LIMIT $10 OFFSET $11

-- name: count
SELECT count(*) FROM "LiteLLM_AuditLog"
WHERE ($1::text IS NULL OR changed_by = $1)
    AND ($2::text IS NULL OR changed_by_api_key = $2)
    AND ($3::text IS NULL OR action = $3)
    AND ($4::text IS NULL OR table_name = $4)
    AND ($5::text IS NULL OR object_id = $5)
    AND ($6::timestamp IS NULL OR updated_at >= $6)
    AND ($7::timestamp IS NULL OR updated_at < $7)
