-- Processes that were declared lost with their journal: what they were granted stays taken until the journal comes back
-- after all, or the period ends.
ALTER TABLE bursar.instances ADD COLUMN lost_at timestamptz;
COMMENT ON COLUMN bursar.instances.lost_at IS 'Set when it was declared lost: its open attempts are booked at their holds.';

-- What happened to the books that somebody who looks at them should know.
CREATE TABLE bursar.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL
);
COMMENT ON TABLE bursar.incidents IS 'Restored databases, processes declared lost: what explains figures that are odd.';
