-- Tags, in LiteLLM's table. Rows are also made by spending: those have no creator.

-- name: find
SELECT * FROM "LiteLLM_TagTable" WHERE tag_name = ANY ($1::text[]) ORDER BY tag_name

-- name: lock
SELECT * FROM "LiteLLM_TagTable" WHERE tag_name = $1 FOR UPDATE

-- name: all
SELECT * FROM "LiteLLM_TagTable" ORDER BY created_at, tag_name

-- name: only_spent
-- Tags that have spent and have no row, one step through the index for each.
WITH RECURSIVE tags AS (
    (SELECT tag FROM "LiteLLM_DailyTagSpend" WHERE tag IS NOT NULL ORDER BY tag LIMIT 1)
    UNION ALL
    SELECT (SELECT d.tag FROM "LiteLLM_DailyTagSpend" AS d WHERE d.tag > tags.tag ORDER BY d.tag LIMIT 1)
    FROM tags WHERE tags.tag IS NOT NULL
)
SELECT tag AS tag_name FROM tags
WHERE tag IS NOT NULL AND NOT EXISTS (SELECT FROM "LiteLLM_TagTable" AS t WHERE t.tag_name = tags.tag)
ORDER BY tag LIMIT 10000

-- name: insert
-- $1: the name, $2: columns, $3: by whom. One that has only spent so far becomes somebody's.
INSERT INTO "LiteLLM_TagTable" AS t (
    tag_name, description, models, model_info, budget_id, created_at, created_by, updated_at
)
SELECT $1, n.description, coalesce(n.models, '{}'), n.model_info, n.budget_id, now() AT TIME ZONE 'UTC', $3,
    now() AT TIME ZONE 'UTC'
FROM jsonb_populate_record(NULL::"LiteLLM_TagTable", $2::jsonb) AS n
ON CONFLICT (tag_name) DO UPDATE
SET description = excluded.description, models = excluded.models, model_info = excluded.model_info,
    budget_id = excluded.budget_id, created_by = excluded.created_by, updated_at = excluded.updated_at
WHERE t.created_by IS NULL AND t.budget_id IS NULL
RETURNING *

-- name: update
-- $1: the name, $2: columns to change.
UPDATE "LiteLLM_TagTable" AS t
SET (description, models, model_info, budget_id) = (
        SELECT n.description, coalesce(n.models, '{}'), n.model_info, n.budget_id
        FROM jsonb_populate_record(t, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', t.updated_at + interval '1 millisecond')
WHERE t.tag_name = $1
RETURNING *

-- name: delete
DELETE FROM "LiteLLM_TagTable" WHERE tag_name = $1
