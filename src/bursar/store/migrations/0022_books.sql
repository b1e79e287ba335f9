-- Which books these are. Journals remember it, so that what was meant for one database is not carried into another that
-- is used from the same directory later. A dump takes it along, as it takes the books.
CREATE TABLE bursar.books (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    made_at timestamptz NOT NULL DEFAULT now(),
    single boolean NOT NULL DEFAULT true UNIQUE CHECK (single)
);
COMMENT ON TABLE bursar.books IS 'One row: the identity of these books, which journals are kept for.';
INSERT INTO bursar.books DEFAULT VALUES;
