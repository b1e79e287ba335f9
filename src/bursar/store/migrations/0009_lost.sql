-- Processes that were declared lost with their journal: what they were granted stays taken until the journal comes back
-- after all, or the period ends.
ALTER TABLE bursar.instances ADD COLUMN lost_at timestamptz;
COMMENT ON COLUMN bursar.instances.lost_at IS 'Set when it was declared lost: its open attempts are booked at their holds.';
