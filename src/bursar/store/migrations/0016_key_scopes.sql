-- The budgets of a key stay where they are when it gets another secret: what its running calls hold of them, too. So a
-- key's scope is named by the hash it was made with. Keys that got their last secret before this have theirs under that.
ALTER TABLE bursar.rotated_keys ADD COLUMN scope_token text;
UPDATE bursar.rotated_keys SET scope_token = active_token;
ALTER TABLE bursar.rotated_keys ALTER COLUMN scope_token SET NOT NULL;
COMMENT ON COLUMN bursar.rotated_keys.scope_token IS 'By which hash bursar.windows and the rate limits name the key.';

-- By which hash limits name the key that has this one now.
CREATE FUNCTION bursar.scope_of_key(hash text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT r.scope_token FROM bursar.rotated_keys AS r WHERE r.active_token = hash LIMIT 1), hash);

-- The hash that the key has now that had this one, or has it.
CREATE FUNCTION bursar.active_key(hash text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT r.active_token FROM bursar.rotated_keys AS r WHERE r.token = hash), hash);
