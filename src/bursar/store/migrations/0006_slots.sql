-- Entries with one index: the key. Settle and void share a slot of it, so that "at most one end" is the key itself, and
-- an attempt's id is its call's with a number in the last byte, so that a range of the key finds a call's entries.

ALTER TABLE bursar.entries ADD COLUMN slot smallint;
UPDATE bursar.entries SET slot = CASE kind WHEN 'open' THEN 0 WHEN 'unknown' THEN 2 WHEN 'adjust' THEN 16 + seq ELSE 1 END;
DROP INDEX bursar.entries_one_terminal, bursar.entries_call;
ALTER TABLE bursar.entries
    DROP CONSTRAINT entries_pkey,
    DROP COLUMN seq,
    DROP COLUMN call_id,
    ALTER COLUMN slot SET NOT NULL,
    ADD PRIMARY KEY (attempt_id, slot),
    DROP CONSTRAINT entries_kind_check,
    ADD CONSTRAINT entries_kind_check CHECK (
        CASE kind
            WHEN 'settle' THEN slot = 1 WHEN 'void' THEN slot = 1 WHEN 'call' THEN slot = 1
            WHEN 'open' THEN slot = 0 WHEN 'unknown' THEN slot = 2 WHEN 'adjust' THEN slot >= 16
            ELSE false
        END
    );
COMMENT ON TABLE bursar.entries IS 'What happened, append-only. Of attempts: open (only while it is under way), unknown, settle or void, adjust. Of calls: call, under the call''s own id.';
COMMENT ON COLUMN bursar.entries.slot IS '0 open, 1 the end (settle, void, call), 2 unknown, from 16 on adjust.';

-- Reports go by time; new entries are the latest, so this index costs hardly anything.
CREATE INDEX entries_at ON bursar.entries USING brin (at) WITH (autosummarize = on);

CREATE FUNCTION bursar.call_id(attempt_id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (left(attempt_id::text, 34) || '00')::uuid;
COMMENT ON FUNCTION bursar.call_id IS 'The call that an attempt belongs to.';

CREATE FUNCTION bursar.last_attempt_id(call_id uuid) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (left(call_id::text, 34) || 'ff')::uuid;
COMMENT ON FUNCTION bursar.last_attempt_id IS 'No id of the call''s attempts is greater: they are BETWEEN the call''s own and this.';

-- LiteLLM's columns hold UTC wall time, and published queries compare them with now(). A database that holds more than
-- ours keeps its own zone; so does one whose owner is somebody else.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'LiteLLM\_%'
            AND n.nspname <> 'bursar' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    ) THEN
        EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), 'UTC');
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'the database''s time zone stays as it is: only its owner may set it';
END
$$;
