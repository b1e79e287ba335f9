-- Customers (end users), in LiteLLM's table. Rows are also made by spending.

-- name: find
SELECT * FROM "LiteLLM_EndUserTable" WHERE user_id = ANY ($1::text[]) ORDER BY user_id

-- name: lock
SELECT * FROM "LiteLLM_EndUserTable" WHERE user_id = ANY ($1::text[]) ORDER BY user_id FOR UPDATE

-- name: all
SELECT * FROM "LiteLLM_EndUserTable" ORDER BY user_id

-- name: insert
-- $1: the id, $2: columns.
INSERT INTO "LiteLLM_EndUserTable" (user_id, alias, allowed_model_region, default_model, budget_id, blocked, models)
SELECT $1, n.alias, n.allowed_model_region, n.default_model, n.budget_id, coalesce(n.blocked, false),
    coalesce(n.models, '{}')
FROM jsonb_populate_record(NULL::"LiteLLM_EndUserTable", $2::jsonb) AS n
ON CONFLICT (user_id) DO NOTHING
RETURNING *

-- name: update
-- $1: the id, $2: columns to change.
UPDATE "LiteLLM_EndUserTable" AS e
SET (alias, allowed_model_region, default_model, budget_id, blocked, models) = (
        SELECT n.alias, n.allowed_model_region, n.default_model, n.budget_id, coalesce(n.blocked, false),
            coalesce(n.models, '{}')
        FROM jsonb_populate_record(e, $2::jsonb) AS n
    )
WHERE e.user_id = $1
RETURNING *

-- name: block
-- $1: ids; those nobody knows yet get a row.
INSERT INTO "LiteLLM_EndUserTable" AS e (user_id, blocked)
SELECT id, true FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT (user_id) DO UPDATE SET blocked = true WHERE NOT e.blocked
RETURNING *

-- name: unblock
UPDATE "LiteLLM_EndUserTable" SET blocked = false WHERE user_id = ANY ($1::text[]) AND blocked RETURNING *

-- name: delete
DELETE FROM "LiteLLM_EndUserTable" WHERE user_id = ANY ($1::text[])
