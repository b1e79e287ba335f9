-- A LiteLLM proxy's database that was taken over: when, and what its counters said then. The auditor reckons from there.
CREATE TABLE bursar.adoptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    litellm_migration text
);
COMMENT ON TABLE bursar.adoptions IS 'When this database was taken over from a LiteLLM proxy. Empty: Bursar made it.';
COMMENT ON COLUMN bursar.adoptions.litellm_migration IS 'The last migration that LiteLLM had applied.';

-- In US dollars and as floats, which is what LiteLLM's columns hold: nothing is rounded on the way.
CREATE TABLE bursar.openings (
    kind text NOT NULL CHECK (kind IN ('key', 'user', 'team', 'organization', 'end_user', 'tag')),
    id text NOT NULL,
    date text NOT NULL,
    spend double precision NOT NULL,
    PRIMARY KEY (kind, id, date)
);
COMMENT ON TABLE bursar.openings IS 'What LiteLLM had counted before the adoption: of keys all they ever spent, of the others each day.';
COMMENT ON COLUMN bursar.openings.date IS 'The day in UTC, as the daily tables write it; empty: of all time.';
