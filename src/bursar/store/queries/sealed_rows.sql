-- Rows that hold sealed values, one at a time.

-- name: ids
SELECT 'LiteLLM_ProxyModelTable' AS table_name, model_id AS id FROM "LiteLLM_ProxyModelTable"
UNION ALL
SELECT 'LiteLLM_CredentialsTable', credential_name FROM "LiteLLM_CredentialsTable"
UNION ALL
SELECT 'LiteLLM_Config', param_name FROM "LiteLLM_Config" 
WHERE param_name IN ('litellm_settings', 'router_settings')
ORDER BY 1, 2

-- name: lock_LiteLLM_ProxyModelTable
SELECT litellm_params FROM "LiteLLM_ProxyModelTable" WHERE model_id = $1 FOR UPDATE

-- name: save_LiteLLM_ProxyModelTable
UPDATE "LiteLLM_ProxyModelTable" SET litellm_params = $2::jsonb WHERE model_id = $1 RETURNING litellm_params

-- name: lock_LiteLLM_CredentialsTable
SELECT credential_values FROM "LiteLLM_CredentialsTable" WHERE credential_name = $1 FOR UPDATE

-- name: save_LiteLLM_CredentialsTable
UPDATE "LiteLLM_CredentialsTable" SET credential_values = $2::jsonb WHERE credential_name = $1
RETURNING credential_values

-- name: lock_LiteLLM_Config
SELECT param_value FROM "LiteLLM_Config" WHERE param_name = $1 FOR UPDATE

-- name: save_LiteLLM_Config
UPDATE "LiteLLM_Config" SET param_value = $2::jsonb WHERE param_name = $1 RETURNING param_value
