-- Customers (end users), in LiteLLM's table. Rows are also made by spending.

-- name: find
-- As long as only spending has made a customer known, he has no `updated_at`.
SELECT e.*, c.updated_at FROM "LiteLLM_EndUserTable" AS e LEFT JOIN bursar.customer_changes AS c USING (user_id)
WHERE e.user_id = ANY ($1::text[]) ORDER BY e.user_id

-- name: lock
SELECT e.*, c.updated_at FROM "LiteLLM_EndUserTable" AS e LEFT JOIN bursar.customer_changes AS c USING (user_id)
WHERE e.user_id = ANY ($1::text[]) ORDER BY e.user_id FOR UPDATE OF e

-- name: all
SELECT e.*, c.updated_at FROM "LiteLLM_EndUserTable" AS e LEFT JOIN bursar.customer_changes AS c USING (user_id)
ORDER BY e.user_id

-- name: insert
-- $1: the id, $2: columns.
INSERT INTO "LiteLLM_EndUserTable" (user_id, alias, allowed_model_region, default_model, budget_id, blocked, models)
SELECT $1, n.alias, n.allowed_model_region, n.default_model, n.budget_id, coalesce(n.blocked, false),
    coalesce(n.models, '{}')
FROM jsonb_populate_record(NULL::"LiteLLM_EndUserTable", $2::jsonb) AS n
ON CONFLICT (user_id) DO NOTHING
RETURNING user_id

-- name: update
-- $1: the id, $2: columns to change.
UPDATE "LiteLLM_EndUserTable" AS e
SET (alias, allowed_model_region, default_model, budget_id, blocked, models) = (
        SELECT n.alias, n.allowed_model_region, n.default_model, n.budget_id, coalesce(n.blocked, false),
            coalesce(n.models, '{}')
        FROM jsonb_populate_record(e, $2::jsonb) AS n
    )
WHERE e.user_id = $1

-- name: touch
-- $1: ids of rows that have been changed. `updated_at` differs after every change.
INSERT INTO bursar.customer_changes AS c (user_id) SELECT id FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT (user_id) DO UPDATE SET updated_at = greatest(now(), c.updated_at + interval '1 millisecond')

-- name: block
-- $1: ids; those nobody knows yet get a row.
INSERT INTO "LiteLLM_EndUserTable" AS e (user_id, blocked)
SELECT id, true FROM unnest($1::text[]) AS id ORDER BY id
ON CONFLICT (user_id) DO UPDATE SET blocked = true WHERE NOT e.blocked
RETURNING user_id

-- name: unblock
UPDATE "LiteLLM_EndUserTable" SET blocked = false WHERE user_id = ANY ($1::text[]) AND blocked
RETURNING user_id

-- name: delete
WITH known AS (
    DELETE FROM bursar.customer_changes WHERE user_id = ANY ($1::text[])
)
DELETE FROM "LiteLLM_EndUserTable" WHERE user_id = ANY ($1::text[])
