-- What the auditor found, look by look: what the metrics tell, whichever process is asked.
CREATE TABLE bursar.audits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    entries bigint NOT NULL,
    drift_nano_usd numeric NOT NULL CHECK (drift_nano_usd >= 0),
    differences jsonb NOT NULL
);
COMMENT ON TABLE bursar.audits IS 'The last looks of the books at themselves. A drift of 0 and no differences: they close.';
