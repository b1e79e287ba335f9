-- How reports look at the books: at most so long, planned for the values at hand, changing nothing.

-- name: begin
-- $1: the time a statement may take, in milliseconds.
SELECT set_config('statement_timeout', $1::text, true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('jit', 'off', true), set_config('work_mem', '32MB', true),
    set_config('transaction_read_only', 'on', true)

-- name: keys_of
SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = $1
UNION SELECT token FROM "LiteLLM_DeletedVerificationToken" WHERE user_id = $1

-- name: names_of_keys
-- Alias and team of keys, deleted ones too.
SELECT DISTINCT ON (token) token, key_alias, key_name, team_id
FROM (
    SELECT token, key_alias, key_name, team_id, 1 AS rank FROM "LiteLLM_VerificationToken" WHERE token = ANY ($1::text[])
    UNION ALL
    SELECT token, key_alias, key_name, team_id, 2 FROM "LiteLLM_DeletedVerificationToken" WHERE token = ANY ($1::text[])
) AS k
ORDER BY token, rank

-- name: names_of_teams
SELECT team_id, team_alias FROM "LiteLLM_TeamTable" WHERE team_id = ANY ($1::text[])

-- name: keys_called
-- $1: an alias; who has it, or had.
SELECT token FROM "LiteLLM_VerificationToken" WHERE key_alias = $1
UNION SELECT token FROM "LiteLLM_DeletedVerificationToken" WHERE key_alias = $1
