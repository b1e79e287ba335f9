-- Of what `"LiteLLM_UserTable".spend` says, the part that is on nobody's budget: a key without an owner may name any user,
-- and names him in LiteLLM's tables; if that counted in his budget, anybody could use it up.
CREATE TABLE bursar.named_spend (
    user_id text PRIMARY KEY,
    spent_nano_usd bigint NOT NULL
);
COMMENT ON TABLE bursar.named_spend IS
    'What calls cost that named a user and were made with no key of his, since his spend was last set.';
