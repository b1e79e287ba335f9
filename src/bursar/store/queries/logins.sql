-- Who may log in, and the sessions of those who have.

-- name: find_user
-- By e-mail; by id only where it is nobody's e-mail. Two users of one e-mail are nobody.
SELECT user_id, user_email, user_role, password FROM "LiteLLM_UserTable"
WHERE lower(user_email) = lower($1)
    OR (user_id = $1 AND NOT EXISTS (SELECT FROM "LiteLLM_UserTable" WHERE lower(user_email) = lower($1)))
LIMIT 2

-- name: password_of
-- Until commit: who changes it waits, and then finds the session that was opened.
SELECT password FROM "LiteLLM_UserTable" WHERE user_id = $1 FOR SHARE

-- name: lock_user
SELECT * FROM "LiteLLM_UserTable" WHERE user_id = $1 FOR UPDATE

-- name: make_admin
-- The user that stands for whoever knows UI_PASSWORD, as LiteLLM calls him.
INSERT INTO "LiteLLM_UserTable" (user_id, user_role) VALUES ($1, 'proxy_admin')
ON CONFLICT (user_id) DO UPDATE SET user_role = 'proxy_admin', password = NULL  -- which somebody else may have set
WHERE "LiteLLM_UserTable".user_role IS DISTINCT FROM 'proxy_admin'
RETURNING *

-- name: open_session
INSERT INTO "LiteLLM_VerificationToken" (
    token, key_name, user_id, team_id, expires, max_budget, models, metadata, created_at, created_by, updated_at,
    updated_by
)
VALUES (
    $1, $2, $3, 'litellm-dashboard', $4, $5, '{}', '{"bursar_session": true}', now() AT TIME ZONE 'UTC', $3,
    now() AT TIME ZONE 'UTC', $3
)

-- name: end_sessions
-- Those that are over, so that logins do not fill the table.
DELETE FROM "LiteLLM_VerificationToken"
WHERE team_id = 'litellm-dashboard' AND user_id = $1 AND expires < now() AT TIME ZONE 'UTC'
