-- Keys that were given a new secret. The old hash works until `revoke_at`, in LiteLLM's table; what was booked under it
-- belongs to the key for ever.
CREATE TABLE IF NOT EXISTS "LiteLLM_DeprecatedVerificationToken" (
    id text NOT NULL,
    token text NOT NULL,
    active_token_id text NOT NULL,
    revoke_at timestamp(3) NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (id),
    UNIQUE (token)
);
CREATE INDEX IF NOT EXISTS "LiteLLM_DeprecatedVerificationToken_active_token_id_idx" ON "LiteLLM_DeprecatedVerificationToken" (active_token_id);

CREATE TABLE bursar.rotated_keys (
    token text PRIMARY KEY,
    active_token text NOT NULL,
    rotated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX rotated_keys_active ON bursar.rotated_keys (active_token);
COMMENT ON TABLE bursar.rotated_keys IS 'Former hashes of keys, each with the one that the key has now.';

-- Tells every worker that keys have changed, by all hashes they are known under; many at once in one word.
CREATE FUNCTION bursar.tell_keys(tokens text[]) RETURNS void
LANGUAGE sql
AS $$
    SELECT pg_notify('bursar_keys', told) FROM (
        SELECT unnest(tokens) WHERE cardinality(tokens) <= 100
        UNION
        SELECT d.token FROM "LiteLLM_DeprecatedVerificationToken" AS d
        WHERE cardinality(tokens) <= 100 AND d.active_token_id = ANY (tokens)
        UNION
        SELECT '*' WHERE cardinality(tokens) > 100
    ) AS t (told)
$$;
