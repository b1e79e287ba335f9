-- Models, credentials and settings that are kept in the database, in LiteLLM's tables.

-- name: fingerprint
-- Changes with whatever the table of models is made from: cheap enough to ask every few seconds.
SELECT md5(concat(
    (SELECT string_agg(md5(m::text), '' ORDER BY model_id) FROM "LiteLLM_ProxyModelTable" AS m), '/',
    (SELECT string_agg(md5(c::text), '' ORDER BY credential_id) FROM "LiteLLM_CredentialsTable" AS c), '/',
    (SELECT string_agg(md5(concat(param_name, param_value)), '' ORDER BY param_name) FROM "LiteLLM_Config")
))

-- name: models
SELECT * FROM "LiteLLM_ProxyModelTable" ORDER BY created_at, model_id

-- name: model
SELECT * FROM "LiteLLM_ProxyModelTable" WHERE model_id = $1

-- name: lock_model
SELECT * FROM "LiteLLM_ProxyModelTable" WHERE model_id = $1 FOR UPDATE

-- name: insert_model
INSERT INTO "LiteLLM_ProxyModelTable" (
    model_id, model_name, litellm_params, model_info, blocked, created_at, created_by, updated_at, updated_by
)
VALUES ($1, $2, $3::jsonb, $4::jsonb, $5, now() AT TIME ZONE 'UTC', $6, now() AT TIME ZONE 'UTC', $6)
ON CONFLICT (model_id) DO NOTHING
RETURNING *

-- name: update_model
UPDATE "LiteLLM_ProxyModelTable"
SET model_name = $2, litellm_params = $3::jsonb, model_info = $4::jsonb, blocked = $5,
    updated_at = greatest(now() AT TIME ZONE 'UTC', updated_at + interval '1 millisecond'), updated_by = $6
WHERE model_id = $1
RETURNING *

-- name: delete_model
DELETE FROM "LiteLLM_ProxyModelTable" WHERE model_id = $1 RETURNING *

-- name: credentials
SELECT * FROM "LiteLLM_CredentialsTable" ORDER BY credential_name

-- name: credential
SELECT * FROM "LiteLLM_CredentialsTable" WHERE credential_name = $1

-- name: lock_credential
SELECT * FROM "LiteLLM_CredentialsTable" WHERE credential_name = $1 FOR UPDATE

-- name: insert_credential
INSERT INTO "LiteLLM_CredentialsTable" (
    credential_id, credential_name, credential_values, credential_info, created_at, created_by, updated_at, updated_by
)
VALUES (
    gen_random_uuid()::text, $1, $2::jsonb, $3::jsonb, now() AT TIME ZONE 'UTC', $4, now() AT TIME ZONE 'UTC', $4
)
ON CONFLICT (credential_name) DO NOTHING
RETURNING *

-- name: update_credential
UPDATE "LiteLLM_CredentialsTable"
SET credential_values = $2::jsonb, credential_info = $3::jsonb, updated_by = $4,
    updated_at = greatest(now() AT TIME ZONE 'UTC', updated_at + interval '1 millisecond')
WHERE credential_name = $1
RETURNING *

-- name: delete_credential
DELETE FROM "LiteLLM_CredentialsTable" WHERE credential_name = $1 RETURNING *

-- name: setting
SELECT param_value FROM "LiteLLM_Config" WHERE param_name = $1

-- name: lock_settings
-- Also before there is a row.
SELECT pg_advisory_xact_lock(hashtext('bursar settings'))

-- name: save_setting
INSERT INTO "LiteLLM_Config" (param_name, param_value, reload_revision) VALUES ($1, $2::jsonb, 1)
ON CONFLICT (param_name) DO UPDATE
SET param_value = EXCLUDED.param_value, reload_revision = "LiteLLM_Config".reload_revision + 1

-- name: tell
SELECT pg_notify('bursar_models', $1)
