-- Internal users, in LiteLLM's tables.

-- name: lock_emails
-- Addresses are unique by rule, not by constraint, in whatever case they are written.
SELECT pg_advisory_xact_lock(hashtext('bursar user emails'))

-- name: email_taken
-- $2: the user who may have it.
SELECT EXISTS (
    SELECT FROM "LiteLLM_UserTable" WHERE lower(user_email) = lower($1) AND user_id IS DISTINCT FROM $2
)

-- name: insert
-- $1: the row as JSON, by column name.
INSERT INTO "LiteLLM_UserTable" (
    user_id, user_alias, sso_user_id, password, user_role, max_budget, spend, user_email, models, metadata,
    max_parallel_requests, tpm_limit, rpm_limit, budget_duration, budget_reset_at, allowed_cache_controls,
    model_max_budget, created_at, updated_at
)
SELECT n.user_id, n.user_alias, n.sso_user_id, n.password, n.user_role, n.max_budget, 0, n.user_email, n.models,
    n.metadata, n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.budget_duration, n.budget_reset_at,
    n.allowed_cache_controls, n.model_max_budget, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM jsonb_populate_record(NULL::"LiteLLM_UserTable", $1::jsonb) AS n
ON CONFLICT (user_id) DO NOTHING
RETURNING *

-- name: update
-- $1: the user, $2: what changes, as JSON by column name.
UPDATE "LiteLLM_UserTable" AS u
SET (user_alias, sso_user_id, password, user_role, max_budget, spend, user_email, models, metadata,
    max_parallel_requests, tpm_limit, rpm_limit, budget_duration, budget_reset_at, allowed_cache_controls,
    model_max_budget) = (
        SELECT n.user_alias, n.sso_user_id, n.password, n.user_role, n.max_budget, n.spend, n.user_email, n.models,
            n.metadata, n.max_parallel_requests, n.tpm_limit, n.rpm_limit, n.budget_duration, n.budget_reset_at,
            n.allowed_cache_controls, n.model_max_budget
        FROM jsonb_populate_record(u, $2::jsonb) AS n
    ),
    updated_at = greatest(now() AT TIME ZONE 'UTC', u.updated_at + interval '1 millisecond')
WHERE u.user_id = $1
RETURNING *

-- name: join_organizations
-- $1: the user, $2: organizations.
INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, created_at, updated_at)
SELECT $1, organization_id, 'internal_user', now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM unnest($2::text[]) AS organization_id
ON CONFLICT DO NOTHING
RETURNING *

-- name: known_organizations
SELECT organization_id FROM "LiteLLM_OrganizationTable" WHERE organization_id = ANY ($1::text[])

-- name: find
SELECT * FROM "LiteLLM_UserTable" WHERE user_id = $1

-- name: find_by_email
SELECT * FROM "LiteLLM_UserTable" WHERE lower(user_email) = lower($1) ORDER BY user_id LIMIT 1

-- name: lock
SELECT * FROM "LiteLLM_UserTable" WHERE user_id = $1 FOR UPDATE

-- name: all_ids
SELECT user_id FROM "LiteLLM_UserTable" ORDER BY user_id LIMIT $1

-- name: keys
SELECT * FROM "LiteLLM_VerificationToken" WHERE user_id = $1 ORDER BY created_at DESC, token LIMIT $2

-- name: teams
-- Looks through all rosters: 20 ms for ten thousand teams with 150,000 members. An index on rosters takes that away, and
-- doubles what each call of a team costs to book, whose row it would be on.
SELECT * FROM "LiteLLM_TeamTable"
WHERE members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text)) ORDER BY team_id

-- name: list
-- $1: organizations whose members may be seen, or null for all users. $2: filters, by name. $3: the column to sort by,
-- $4: whether downwards; $5, $6: how many, after how many.
WITH found AS (
    SELECT u.*, (SELECT count(*) FROM "LiteLLM_VerificationToken" AS k WHERE k.user_id = u.user_id) AS key_count
    FROM "LiteLLM_UserTable" AS u, jsonb_to_record($2::jsonb) AS w (
        role text, user_ids text[], user_email text, user_alias text, sso_user_ids text[], team text
    )
    WHERE ($1::text[] IS NULL OR EXISTS (
            SELECT FROM "LiteLLM_OrganizationMembership" AS m
            WHERE m.user_id = u.user_id AND m.organization_id = ANY ($1)
        ))
        AND (w.role IS NULL OR u.user_role = w.role)
        AND (w.user_ids IS NULL OR u.user_id = ANY (w.user_ids))
        AND (w.user_email IS NULL OR strpos(lower(u.user_email), lower(w.user_email)) > 0)
        AND (w.user_alias IS NULL OR strpos(lower(u.user_alias), lower(w.user_alias)) > 0)
        AND (w.sso_user_ids IS NULL OR u.sso_user_id = ANY (w.sso_user_ids))
        AND (w.team IS NULL OR w.team = ANY (u.teams))
)
SELECT found.*, count(*) OVER () AS total FROM found
CROSS JOIN LATERAL (
    SELECT
        CASE $3::text
            WHEN 'user_id' THEN user_id WHEN 'user_email' THEN user_email WHEN 'user_alias' THEN user_alias
            WHEN 'user_role' THEN user_role
        END AS word,
        CASE $3::text
            WHEN 'spend' THEN spend WHEN 'max_budget' THEN max_budget
            WHEN 'created_at' THEN extract(epoch FROM created_at)::double precision
        END AS number
) AS s
ORDER BY
    CASE WHEN $4::boolean THEN s.word END DESC NULLS LAST, CASE WHEN NOT $4 THEN s.word END NULLS LAST,
    CASE WHEN $4 THEN s.number END DESC NULLS LAST, CASE WHEN NOT $4 THEN s.number END NULLS LAST,
    user_id
LIMIT $5 OFFSET $6

-- name: count
SELECT count(*) FROM "LiteLLM_UserTable"

-- name: tokens
SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = ANY ($1::text[])

-- name: sessions
-- $1: the user, $2: the key whose session goes on.
SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = $1 AND team_id = 'litellm-dashboard' AND token <> $2

-- name: leave
-- $1: users. They belong to no team any more. Returned are their memberships.
WITH teams AS (
    UPDATE "LiteLLM_TeamTable" AS t
    SET members_with_roles = (
            SELECT coalesce(jsonb_agg(m ORDER BY n), '[]') FROM jsonb_array_elements(t.members_with_roles)
                WITH ORDINALITY AS e (m, n)
            WHERE m ->> 'user_id' IS NULL OR NOT m ->> 'user_id' = ANY ($1::text[])
        ),
        members = ARRAY(SELECT unnest(t.members) EXCEPT SELECT unnest($1::text[])),
        admins = ARRAY(SELECT unnest(t.admins) EXCEPT SELECT unnest($1::text[])),
        updated_at = greatest(now() AT TIME ZONE 'UTC', t.updated_at + interval '1 millisecond')
    WHERE jsonb_typeof(t.members_with_roles) = 'array' AND EXISTS (
        SELECT FROM unnest($1::text[]) AS gone
        WHERE t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', gone))
    )
)
DELETE FROM "LiteLLM_TeamMembership" WHERE user_id = ANY ($1::text[]) RETURNING team_id, user_id, budget_id

-- name: leave_organizations
-- $1: users. They belong to no organization any more.
DELETE FROM "LiteLLM_OrganizationMembership" WHERE user_id = ANY ($1::text[]) RETURNING *

-- name: rosters
-- $1: teams, $2: users whose teams are meant as well. Those that somebody is about to leave.
SELECT t.*, m.aliases AS model_aliases
FROM "LiteLLM_TeamTable" AS t LEFT JOIN "LiteLLM_ModelTable" AS m ON m.id = t.model_id
WHERE t.team_id = ANY ($1::text[]) OR EXISTS (
    SELECT FROM unnest($2::text[]) AS u (id)
    WHERE t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', u.id))
)
ORDER BY t.team_id

-- name: delete
DELETE FROM "LiteLLM_UserTable" WHERE user_id = ANY ($1::text[])
RETURNING *

-- name: lock_all
SELECT user_id FROM "LiteLLM_UserTable" WHERE user_id = ANY ($1::text[]) ORDER BY user_id FOR UPDATE

-- name: tell
SELECT bursar.tell_keys(ARRAY(SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = $1))
