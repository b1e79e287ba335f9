-- When customers were last changed by somebody: LiteLLM's table has no column for it, and gets none.
CREATE TABLE bursar.customer_changes (
    user_id text PRIMARY KEY,
    updated_at timestamptz(3) NOT NULL DEFAULT now()
);
COMMENT ON TABLE bursar.customer_changes IS 'When customers were last changed by somebody, spending apart.';
