-- Shares of rate limits (bursar/domain/rate_shares.py has the rules). Needed before the rollout; an older release does
-- not look at it.

-- Workers that share, and until when what they hold counts. Durable, unlike the shares: after a crash this says whose
-- claims to wait for.
CREATE TABLE bursar.rate_workers (
    instance_id uuid PRIMARY KEY,
    incarnation integer NOT NULL,
    statement bigint NOT NULL,
    epoch uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    ended boolean NOT NULL DEFAULT false
);

-- What each of them may use of each limit, and what it needs. Empty after a crash: that begins another epoch.
CREATE UNLOGGED TABLE bursar.rate_shares (
    scope_kind text NOT NULL,
    scope_id text NOT NULL,
    limit_kind text NOT NULL,
    instance_id uuid NOT NULL,
    share bigint NOT NULL CHECK (share >= 0),
    demand bigint NOT NULL CHECK (demand >= 0),
    PRIMARY KEY (scope_kind, scope_id, limit_kind, instance_id)
);
CREATE INDEX rate_shares_instance ON bursar.rate_shares (instance_id);
CREATE INDEX rate_shares_short ON bursar.rate_shares (scope_kind, scope_id, limit_kind) WHERE demand > share;

-- One row, which a crash removes as well. `minute`: the latest in which any worker has given something up.
CREATE UNLOGGED TABLE bursar.rate_epoch (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch uuid NOT NULL,
    minute bigint NOT NULL
);

-- One statement of a worker. A function, because each of its queries has to see what was committed while it waited for
-- the locks; a single query would go by what it saw at its start.
CREATE FUNCTION bursar.share_rates(
    me uuid,
    my_incarnation integer,
    my_statement bigint,
    fresh boolean,
    claim uuid,
    my_minute bigint,
    lease_s double precision,
    scope_kinds text[],
    scope_ids text[],
    limit_kinds text[],
    limits bigint[],
    helds bigint[],
    wants bigint[],
    demands bigint[],
    OUT outcome text,
    OUT at_s double precision,
    OUT minute bigint,
    OUT epoch uuid,
    OUT workers integer,
    OUT shares bigint[],
    OUT others_shares bigint[],
    OUT others_demands bigint[],
    OUT short_scope_kinds text[],
    OUT short_scope_ids text[],
    OUT short_limit_kinds text[],
    OUT short_shares bigint[],
    OUT short_others_shares bigint[],
    OUT short_others_demands bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    started CONSTANT timestamptz := clock_timestamp();
    this_minute CONSTANT bigint := floor(extract(epoch FROM started) / 60);
    -- Longer than the worker counts it, and to the end of a minute: what it used of that one counts until then.
    lease_end CONSTANT timestamptz := to_timestamp((floor((extract(epoch FROM started) + lease_s * 1.01 + 5) / 60) + 1) * 60);
    -- The same, of a worker that uses nothing any more. Its clock may have been a little before ours, in the next minute.
    use_end CONSTANT timestamptz := to_timestamp((floor((extract(epoch FROM started) + 2) / 60) + 1) * 60);
    own bursar.rate_workers;
    current_epoch uuid;
    growing boolean;
    slot integer;
BEGIN
    at_s := extract(epoch FROM started);
    SELECT e.epoch INTO current_epoch FROM bursar.rate_epoch AS e;
    IF current_epoch IS NULL THEN
        INSERT INTO bursar.rate_epoch (epoch, minute) VALUES (gen_random_uuid(), this_minute) ON CONFLICT DO NOTHING;
        SELECT e.epoch INTO current_epoch FROM bursar.rate_epoch AS e;
    END IF;
    epoch := current_epoch;

    SELECT w.* INTO own FROM bursar.rate_workers AS w WHERE w.instance_id = me FOR UPDATE;
    IF own.statement >= my_statement THEN
        outcome := 'stale';
        RETURN;
    ELSIF fresh AND own.incarnation < my_incarnation AND own.lease_until > started THEN
        -- The former incarnation uses nothing any more, but what it used of this minute still counts.
        UPDATE bursar.rate_workers AS w
        SET statement = my_statement, lease_until = least(w.lease_until, use_end)
        WHERE w.instance_id = me;
        outcome := 'wait';
        RETURN;
    ELSIF fresh THEN
        DELETE FROM bursar.rate_shares AS s WHERE s.instance_id = me;
        INSERT INTO bursar.rate_workers (instance_id, incarnation, statement, epoch, lease_until)
        VALUES (me, my_incarnation, my_statement, current_epoch, lease_end)
        ON CONFLICT (instance_id) DO UPDATE SET incarnation = excluded.incarnation, statement = excluded.statement,
            epoch = excluded.epoch, lease_until = excluded.lease_until, ended = false;
    ELSIF own.instance_id IS NULL OR own.incarnation <> my_incarnation OR own.ended OR own.lease_until <= started THEN
        outcome := 'lapsed';
        RETURN;
    ELSIF own.epoch <> current_epoch AND claim IS DISTINCT FROM current_epoch THEN
        outcome := 'claim';
        RETURN;
    ELSE
        UPDATE bursar.rate_workers AS w
        SET statement = my_statement, epoch = current_epoch, lease_until = lease_end
        WHERE w.instance_id = me;
    END IF;

    IF NOT fresh THEN
        -- A crash may lose a renewal, for which leases are long enough, but no worker.
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;

    -- One lock for some of the limits, not one for each: a transaction may not hold many. In order, so that two
    -- statements never wait for each other.
    FOR slot IN
        SELECT DISTINCT hashtext(a.kind || ' ' || a.id || ' ' || a.what) & 63 AS n
        FROM unnest(scope_kinds, scope_ids, limit_kinds) AS a (kind, id, what)
        ORDER BY n
    LOOP
        PERFORM pg_advisory_xact_lock(1651864174, slot);
    END LOOP;

    SELECT count(*) FILTER (WHERE NOT w.ended), coalesce(bool_and(w.epoch = current_epoch), true)
    INTO workers, growing
    FROM bursar.rate_workers AS w
    WHERE w.lease_until > started;

    WITH asked AS (
        SELECT a.*
        FROM unnest(scope_kinds, scope_ids, limit_kinds, limits, helds, wants, demands) WITH ORDINALITY
            AS a (scope_kind, scope_id, limit_kind, most, held, want, demand, n)
    ),
    seen AS (
        SELECT a.*, coalesce(mine.share, 0) AS before, coalesce(o.share, 0) AS o_share, coalesce(o.demand, 0) AS o_demand
        FROM asked AS a
        LEFT JOIN bursar.rate_shares AS mine ON mine.scope_kind = a.scope_kind AND mine.scope_id = a.scope_id
            AND mine.limit_kind = a.limit_kind AND mine.instance_id = me
        LEFT JOIN LATERAL (
            SELECT sum(s.share)::bigint AS share, sum(s.demand) FILTER (WHERE NOT w.ended)::bigint AS demand
            FROM bursar.rate_shares AS s
            JOIN bursar.rate_workers AS w ON w.instance_id = s.instance_id AND w.lease_until > started
                AND NOT (w.ended AND s.limit_kind = 'max_parallel_requests')
            WHERE s.scope_kind = a.scope_kind AND s.scope_id = a.scope_id AND s.limit_kind = a.limit_kind
                AND s.instance_id <> me
        ) AS o ON true
    ),
    decided AS (
        SELECT x.*, greatest(
            CASE WHEN claim = current_epoch THEN x.held ELSE least(x.held, x.before) END,
            CASE WHEN growing THEN least(x.want, x.most - x.o_share) ELSE 0 END
        ) AS share
        FROM seen AS x
    ),
    kept AS (
        INSERT INTO bursar.rate_shares (scope_kind, scope_id, limit_kind, instance_id, share, demand)
        SELECT d.scope_kind, d.scope_id, d.limit_kind, me, d.share, d.demand
        FROM decided AS d
        WHERE d.share > 0 OR d.demand > 0
        ON CONFLICT (scope_kind, scope_id, limit_kind, instance_id)
            DO UPDATE SET share = excluded.share, demand = excluded.demand
    ),
    removed AS (
        DELETE FROM bursar.rate_shares AS s USING decided AS d
        WHERE s.scope_kind = d.scope_kind AND s.scope_id = d.scope_id AND s.limit_kind = d.limit_kind
            AND s.instance_id = me AND d.share = 0 AND d.demand = 0
    )
    SELECT array_agg(d.share ORDER BY d.n), array_agg(d.o_share ORDER BY d.n), array_agg(d.o_demand ORDER BY d.n)
    INTO shares, others_shares, others_demands
    FROM decided AS d;

    -- Limits that somebody else is short of, and this worker has a share of.
    SELECT array_agg(f.scope_kind), array_agg(f.scope_id), array_agg(f.limit_kind), array_agg(f.share),
        array_agg(f.o_share), array_agg(f.o_demand)
    INTO short_scope_kinds, short_scope_ids, short_limit_kinds, short_shares, short_others_shares, short_others_demands
    FROM (
        SELECT mine.scope_kind, mine.scope_id, mine.limit_kind, mine.share, o.share AS o_share, o.demand AS o_demand
        FROM (
            SELECT DISTINCT s.scope_kind, s.scope_id, s.limit_kind
            FROM bursar.rate_shares AS s
            JOIN bursar.rate_workers AS w ON w.instance_id = s.instance_id AND w.lease_until > started AND NOT w.ended
            WHERE s.demand > s.share AND s.instance_id <> me
        ) AS short
        JOIN bursar.rate_shares AS mine ON mine.scope_kind = short.scope_kind AND mine.scope_id = short.scope_id
            AND mine.limit_kind = short.limit_kind AND mine.instance_id = me AND mine.share > 0
        JOIN LATERAL (
            SELECT sum(s.share)::bigint AS share, coalesce(sum(s.demand) FILTER (WHERE NOT w.ended), 0)::bigint AS demand
            FROM bursar.rate_shares AS s
            JOIN bursar.rate_workers AS w ON w.instance_id = s.instance_id AND w.lease_until > started
                AND NOT (w.ended AND s.limit_kind = 'max_parallel_requests')
            WHERE s.scope_kind = mine.scope_kind AND s.scope_id = mine.scope_id AND s.limit_kind = mine.limit_kind
                AND s.instance_id <> me
        ) AS o ON true
        ORDER BY random()
        LIMIT 2000
    ) AS f;

    -- What was given up in a minute that this worker's clock has reached may not be used in one before it.
    UPDATE bursar.rate_epoch AS e SET minute = my_minute WHERE e.minute < my_minute AND my_minute <= this_minute + 1;
    UPDATE bursar.rate_epoch AS e SET minute = this_minute WHERE e.minute > this_minute + 1;  -- the clock was set back
    SELECT e.minute INTO minute FROM bursar.rate_epoch AS e;

    IF my_statement % 64 = 0 THEN
        DELETE FROM bursar.rate_shares AS s
        WHERE NOT EXISTS (
            SELECT FROM bursar.rate_workers AS w
            WHERE w.instance_id = s.instance_id AND w.lease_until > started - interval '1 minute'
        );
        DELETE FROM bursar.rate_workers AS w
        WHERE w.instance_id IN (
            SELECT x.instance_id FROM bursar.rate_workers AS x
            WHERE x.lease_until < started - interval '1 hour' FOR UPDATE SKIP LOCKED
        );
    END IF;
    outcome := 'ok';
END
$$;
