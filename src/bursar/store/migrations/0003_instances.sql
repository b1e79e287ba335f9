-- Lives of processes. Who writes for an instance (its journal's poster, its leases) locks its row and checks the epoch until
-- commit; whoever takes it over advances the epoch. So a process that was taken for dead cannot commit any more.
CREATE TABLE bursar.instances (
    instance_id uuid PRIMARY KEY,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0),
    host text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
COMMENT ON COLUMN bursar.instances.ended_at IS 'Set when all it did is booked, and what it was granted has gone back.';

INSERT INTO bursar.instances (instance_id, epoch, host, started_at)
SELECT journal_id, epoch, host, created_at FROM bursar.journals;

ALTER TABLE bursar.journals DROP COLUMN epoch, DROP COLUMN host;
