-- The migrator's statements (the migrations themselves are in ../migrations).

-- These look into the catalog rather than ask to_regclass, which may answer from a cache older than the lock we waited
-- for.

-- name: has_our_table
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'bursar' AND c.relname = 'migrations'
)

-- name: has_our_schema
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'bursar')

-- name: has_litellm_tables
SELECT to_regclass('"LiteLLM_VerificationToken"') IS NOT NULL

-- name: litellm_tables
SELECT c.relname::text AS name
FROM pg_class AS c JOIN pg_class AS k ON k.relnamespace = c.relnamespace
WHERE k.oid = to_regclass('"LiteLLM_VerificationToken"') AND c.relkind IN ('r', 'p') AND c.relname LIKE 'LiteLLM\_%'

-- name: beside_litellm_tables
-- Names of all relations where LiteLLM's tables are.
SELECT coalesce(array_agg(c.relname::text), '{}')
FROM pg_class AS c JOIN pg_class AS k ON k.relnamespace = c.relnamespace
WHERE k.oid = to_regclass('"LiteLLM_VerificationToken"')

-- name: be_beside_litellm
-- Until the end of the transaction. What is made is made where LiteLLM's tables are, wherever the search path begins.
SELECT set_config('search_path', quote_ident(relnamespace::regnamespace::text), true)
FROM pg_class WHERE oid = to_regclass('"LiteLLM_VerificationToken"')

-- name: has_adoptions
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'bursar' AND c.relname = 'adoptions'
)

-- name: is_adopted
SELECT EXISTS (SELECT FROM bursar.adoptions)

-- name: applied
SELECT number, name, checksum FROM bursar.migrations ORDER BY number

-- name: lock
-- Until the end of the transaction, so that it works behind a transaction-mode pooler. The number spells "bursar".
SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '10min', true),
    pg_advisory_xact_lock(108256570859890)

-- name: leave_our_schema
-- Until the end of the transaction. The search path begins with the user's own schema, and users may be called bursar:
-- LiteLLM's tables would be made among ours, where nobody else looks for them.
SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
WHERE name <> 'bursar'
HAVING count(*) > 0

-- name: make_our_table
CREATE TABLE IF NOT EXISTS bursar.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: record
INSERT INTO bursar.migrations (number, name, checksum) VALUES ($1, $2, $3)

-- name: database_exists
SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'bursar')

-- name: create_database
CREATE DATABASE bursar
