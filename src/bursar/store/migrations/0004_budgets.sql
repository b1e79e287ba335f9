-- Budgets: windows of scopes, what instances were granted of them, and which instances live.

-- One period of one scope's budget. leased = opening + forced + the sum of its grants' leased: what is given away.
CREATE TABLE bursar.windows (
    window_id uuid PRIMARY KEY,
    scope_kind text NOT NULL,
    scope_id text NOT NULL,
    ends_at timestamptz NOT NULL DEFAULT 'infinity',
    limit_nano_usd bigint NOT NULL,
    opening_nano_usd bigint NOT NULL DEFAULT 0 CHECK (opening_nano_usd >= 0),
    forced_nano_usd bigint NOT NULL DEFAULT 0,
    leased_nano_usd bigint NOT NULL CHECK (leased_nano_usd >= 0),
    spent_nano_usd bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (scope_kind, scope_id, ends_at),
    CHECK (spent_nano_usd <= leased_nano_usd)
) WITH (fillfactor = 70);
COMMENT ON TABLE bursar.windows IS 'One period of one budget: its limit, what of it is leased out, what is spent.';

-- What one instance may spend of a window without asking again. Changed by its own exchanges and by its own poster; ended
-- by being given back, or after its instance has ended and all it did is booked. Never by time.
CREATE TABLE bursar.grants (
    window_id uuid NOT NULL REFERENCES bursar.windows,
    instance_id uuid NOT NULL,
    leased_nano_usd bigint NOT NULL,
    spent_nano_usd bigint NOT NULL DEFAULT 0 CHECK (spent_nano_usd >= 0),
    operation integer NOT NULL DEFAULT 0,
    PRIMARY KEY (window_id, instance_id),
    CHECK (spent_nano_usd <= leased_nano_usd)
) WITH (fillfactor = 70);
CREATE INDEX grants_instance ON bursar.grants (instance_id);
COMMENT ON TABLE bursar.grants IS 'What one gateway process was given of a budget window, and has spent of it.';

-- Who lives, to share fairly. Nothing is lost with it.
CREATE UNLOGGED TABLE bursar.heartbeats (
    instance_id uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- What an attempt holds, of which windows, and whose grants those are: its own instance's, also where another one, which
-- has adopted it, tells how it came out.
ALTER TABLE bursar.entries
    ADD COLUMN instance_id uuid,
    ADD COLUMN hold_nano_usd bigint CHECK (hold_nano_usd >= 0),
    ADD COLUMN windows uuid[];
CREATE INDEX entries_of_instance ON bursar.entries (instance_id) WHERE kind = 'open';

-- The id of a team member's scope, as domain/limits.py makes it: the team's id with % and / encoded, a slash, the user's.
CREATE FUNCTION bursar.member_scope(team_id text, user_id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(replace(team_id, '%', '%25'), '/', '%2F') || '/' || user_id;
