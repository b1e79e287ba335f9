-- How reports look at the books: at most so long, planned for the values at hand, changing nothing.

-- name: begin
-- $1: the time a statement may take, in milliseconds.
SELECT set_config('statement_timeout', $1::text, true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('jit', 'off', true), set_config('work_mem', '32MB', true),
    set_config('transaction_read_only', 'on', true)

-- name: keys_of
-- Also under the hashes that they had before.
WITH own AS (
    SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = $1
    UNION SELECT token FROM "LiteLLM_DeletedVerificationToken" WHERE user_id = $1
)
SELECT token FROM own UNION SELECT r.token FROM bursar.rotated_keys AS r JOIN own ON own.token = r.active_token

-- name: names_of_keys
-- Alias and team of keys, deleted ones too; also by the hashes that they had before.
WITH asked AS (
    SELECT token, coalesce(r.active_token, token) AS key
    FROM unnest($1::text[]) AS token LEFT JOIN bursar.rotated_keys AS r USING (token)
)
SELECT DISTINCT ON (token) asked.token, k.key_alias, k.key_name, k.team_id
FROM asked JOIN (
    SELECT token AS key, key_alias, key_name, team_id, 1 AS rank FROM "LiteLLM_VerificationToken"
    UNION ALL
    SELECT token, key_alias, key_name, team_id, 2 FROM "LiteLLM_DeletedVerificationToken"
) AS k USING (key)
ORDER BY token, rank

-- name: names_of_teams
SELECT team_id, team_alias FROM "LiteLLM_TeamTable" WHERE team_id = ANY ($1::text[])

-- name: keys_called
-- $1: an alias; who has it, or had, also under the hashes before.
WITH called AS (
    SELECT token FROM "LiteLLM_VerificationToken" WHERE key_alias = $1
    UNION SELECT token FROM "LiteLLM_DeletedVerificationToken" WHERE key_alias = $1
)
SELECT token FROM called UNION SELECT r.token FROM bursar.rotated_keys AS r JOIN called ON called.token = r.active_token
