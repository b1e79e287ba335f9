-- The poster's statements. One transaction claims the journal, posts a batch of records with their log rows, and moves
-- the position; then, under a lock that all posters share, the totals (totals.sql); last the budgets.

-- name: register_journal
WITH instance AS (
    INSERT INTO bursar.instances (instance_id, host) VALUES ($1, $2)
    ON CONFLICT (instance_id) DO NOTHING
)
INSERT INTO bursar.journals (journal_id) VALUES ($1)
ON CONFLICT (journal_id) DO NOTHING

-- name: journal_position
SELECT j.posted_sequence, i.epoch, i.ended_at IS NULL AS unsettled, (SELECT id::text FROM bursar.books) AS books
FROM bursar.journals AS j JOIN bursar.instances AS i ON i.instance_id = j.journal_id
WHERE j.journal_id = $1

-- name: books
SELECT id::text FROM bursar.books

-- name: take_over
UPDATE bursar.instances SET epoch = epoch + 1 WHERE instance_id = $1 AND epoch = $2 RETURNING epoch

-- name: journals
SELECT journal_id, posted_sequence FROM bursar.journals ORDER BY created_at DESC LIMIT 20

-- name: post_entries
-- $1 to $4: the journal, its epoch, and from where to where it is carried. Not claimed: another poster has been here
-- since, or took the journal over; then nothing is inserted. The claim locks the instance's and the journal's row until
-- commit. $5 to $14: the entries, a column each (entry_columns.py), in the journal's order; all of them are new, or this
-- fails as a whole.
-- A call's row and totals take what it cost from the settle entry just before it, where the gateway writes it. Whatever
-- does not stand so is `loose`, and late_changes brings it together.
-- A provider that repeats its ids must not lose a row: the second becomes '<provider id>:<our call id>'.
-- The names under which the row's metadata tells who called, and what it cost, are not the caller's to fill, also where
-- we have nothing to put there.
WITH alive AS MATERIALIZED (
    SELECT instance_id FROM bursar.instances WHERE instance_id = $1 AND epoch = $2 FOR SHARE
),
claimed AS (
    UPDATE bursar.journals AS j
    SET posted_sequence = $4, posted_at = now()
    FROM alive
    WHERE j.journal_id = alive.instance_id AND j.posted_sequence = $3
    RETURNING j.journal_id
),
incoming AS MATERIALIZED (
    SELECT e.kind, e.attempt_id,
        CASE e.kind WHEN 'open' THEN 0 WHEN 'unknown' THEN 2 WHEN 'adjust' THEN 16 + coalesce(e.seq, 0) ELSE 1
        END AS slot,
        e.at_us, e.cost_nano_usd, e.evidence, e.hold_nano_usd, e.windows::uuid[], coalesce(e.owner, $1) AS instance_id,
        e.body
    FROM claimed
    CROSS JOIN unnest(
        $5::text[], $6::uuid[], $7::bigint[], $8::json[], $9::bigint[], $10::text[], $11::bigint[], $12::text[],
        $13::integer[], $14::uuid[]
    ) AS e (kind, attempt_id, at_us, body, cost_nano_usd, evidence, hold_nano_usd, windows, seq, owner)
),
inserted AS (
    INSERT INTO bursar.entries (
        attempt_id, slot, kind, at, cost_nano_usd, evidence, hold_nano_usd, windows, instance_id, body
    )
    SELECT attempt_id, slot, kind, timestamptz 'epoch' + at_us * interval '1 microsecond', cost_nano_usd, evidence,
        hold_nano_usd, windows, instance_id, body
    FROM incoming
),
charged AS (
    SELECT window_id, i.instance_id, sum(i.cost) AS cost, sum(i.hold) AS hold
    FROM (
        SELECT windows, instance_id, sum(coalesce(cost_nano_usd, 0)) AS cost, sum(coalesce(hold_nano_usd, 0)) AS hold
        FROM incoming
        WHERE windows IS NOT NULL AND kind IN ('settle', 'void', 'adjust')
        GROUP BY 1, 2
    ) AS i
    CROSS JOIN LATERAL unnest(i.windows) AS window_id
    GROUP BY 1, 2
),
following AS (
    SELECT kind, attempt_id, body,
        lag(kind) OVER w AS before, lag(attempt_id) OVER w AS attempt_before, lag(cost_nano_usd) OVER w AS cost,
        lag(evidence) OVER w AS evidence, lag(windows) OVER w AS windows, lag(body) OVER w AS body_before
    FROM incoming
    WINDOW w AS ()  -- in the order of the array; out of order, an end would be loose, and nothing worse
),
calls AS MATERIALIZED (
    SELECT f.attempt_id AS call_id, c.*, e.price_version, e.provider_usage, e.flags, e.input_cost, e.output_cost,
        coalesce(c.litellm_call_id, f.attempt_id::text) AS shown_id,
        coalesce(c.model_id, e.deployment_id, '') AS shown_model_id,
        n.ended, n.ended AND f.before = 'settle' AS settled,
        CASE WHEN n.ended THEN f.evidence END AS evidence, CASE WHEN n.ended THEN f.windows END AS windows,
        CASE WHEN n.ended THEN coalesce(f.cost, 0) ELSE 0 END AS cost,
        CASE WHEN n.ended THEN coalesce(f.cost, 0) ELSE 0 END / 1e9::double precision AS usd,
        coalesce(e.prompt_tokens, 0) AS prompt_tokens, coalesce(e.completion_tokens, 0) AS completion_tokens,
        coalesce(e.cache_read_tokens, 0) AS cache_read_tokens,
        coalesce(e.cache_creation_tokens, 0) AS cache_creation_tokens
    FROM following AS f
    CROSS JOIN LATERAL json_to_record(f.body) AS c (
        request_id text, call_type text, attempt_id uuid, attempts integer, api_key text, start_us bigint,
        end_us bigint, first_token_us bigint, model text, model_id text, model_group text, custom_llm_provider text,
        api_base text, "user" text, team_id text, organization_id text, end_user text, requester_ip_address text,
        user_agent text, session_id text, status text, cache_hit text, litellm_call_id text, request_tags text,
        metadata text, key_names json, spend_logs_metadata text, error_information json, client_left text,
        metadata_dropped text, logged boolean, error_logged boolean
    )
    CROSS JOIN LATERAL (
        SELECT coalesce(f.attempt_before = c.attempt_id AND f.before IN ('settle', 'void'), false) AS ended
    ) AS n
    CROSS JOIN LATERAL json_to_record(CASE WHEN n.ended THEN f.body_before END) AS e (
        deployment_id text, price_version text, prompt_tokens bigint, completion_tokens bigint,
        cache_read_tokens bigint, cache_creation_tokens bigint, provider_usage text, flags text, input_cost text,
        output_cost text
    )
    WHERE f.kind = 'call'
),
logged AS (
    INSERT INTO "LiteLLM_SpendLogs" (
        request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
        "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata,
        request_tags, team_id, organization_id, end_user, requester_ip_address, session_id, status, cache_hit,
        cache_key, litellm_call_id, request_duration_ms, created_at, updated_at
    )
    SELECT
        CASE
            WHEN EXISTS (SELECT FROM "LiteLLM_SpendLogs" AS s WHERE s.request_id = calls.request_id)
                OR call_id IN (
                    SELECT r.call_id
                    FROM (
                        SELECT c.call_id, row_number() OVER (PARTITION BY c.request_id ORDER BY c.call_id) AS repetition
                        FROM calls AS c
                    ) AS r
                    WHERE r.repetition > 1
                )
            THEN request_id || ':' || call_id
            ELSE request_id
        END,
        coalesce(call_type, 'acompletion'), api_key, usd,
        least(prompt_tokens + completion_tokens, 2147483647), least(prompt_tokens, 2147483647),
        least(completion_tokens, 2147483647),
        timestamp 'epoch' + start_us * interval '1 microsecond',
        timestamp 'epoch' + end_us * interval '1 microsecond',
        timestamp 'epoch' + coalesce(first_token_us, end_us) * interval '1 microsecond',
        model, shown_model_id, model_group, coalesce(custom_llm_provider, ''), coalesce(api_base, ''),
        coalesce("user", ''),
        CASE WHEN metadata IS NULL THEN said.ours ELSE metadata::jsonb - ARRAY[
            'user_api_key', 'user_api_key_alias', 'user_api_key_user_id', 'user_api_key_team_id',
            'user_api_key_team_alias', 'user_api_key_org_id', 'user_api_key_project_id',
            'user_api_key_project_alias', 'requester_ip_address', 'user_agent', 'litellm_call_id', 'actor_agent_id',
            'target_agent_id', 'billing_agent_id', 'verified_human_user_id', 'agent_execution_mode',
            'spend_logs_metadata', 'status', 'error_information', 'attempted_retries', 'max_retries',
            'attempted_fallbacks', 'original_model_group', 'litellm_overhead_time_ms', 'usage_object',
            'additional_usage_values', 'cost_breakdown', 'model_map_information', 'proxy_server_request', 'bursar'
        ] || said.ours END,
        CASE WHEN request_tags IS NULL THEN '[]' ELSE request_tags::jsonb END, coalesce(team_id, ''),
        coalesce(organization_id, ''),
        coalesce(end_user, ''), coalesce(requester_ip_address, ''), session_id, coalesce(status, 'success'),
        coalesce(cache_hit, 'None'), 'Cache OFF', shown_id, least((end_us - start_us) / 1000, 2147483647),
        now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM calls
    -- Made as text, which takes half the time of making it of jsonb. What is NULL adds nothing.
    CROSS JOIN LATERAL (
        SELECT concat(
            '{"user_api_key":', to_json(api_key),
            ',"requester_ip_address":', to_json(coalesce(requester_ip_address, '')),
            ',"user_agent":', to_json(coalesce(user_agent, '')),
            ',"litellm_call_id":', to_json(shown_id),
            ',"status":', CASE WHEN status = 'failure' THEN '"failure"' ELSE 'null' END,
            ',"attempted_retries":', greatest(coalesce(attempts, 1) - 1, 0), ',"attempted_fallbacks":0',
            ',' || nullif(btrim(key_names::text, '{}'), ''),
            ',"usage_object":' || provider_usage,
            ',"error_information":' || error_information::text,
            ',"spend_logs_metadata":' || spend_logs_metadata,
            CASE WHEN evidence IS NOT NULL THEN concat(
                ',"cost_breakdown":{"total_cost":', usd, ',"original_cost":', usd, ',"input_cost":' || input_cost,
                ',"output_cost":' || output_cost, '}'
            ) END,
            ',"bursar":{"call_id":"', call_id, '","price":', coalesce(to_json(price_version)::text, 'null'),
            ',"attempt_id":"' || attempt_id || '"', ',"evidence":"' || evidence || '"', ',"flags":' || flags,
            ',"client_left":' || client_left, ',"metadata_dropped":' || metadata_dropped, '}}'
        )::jsonb AS ours
        OFFSET 0  -- once, though it is asked for at two places
    ) AS said
    WHERE coalesce(logged, true)
),
errors AS (
    INSERT INTO "LiteLLM_ErrorLogs" (
        request_id, "startTime", "endTime", api_base, model_group, litellm_model_name, model_id, request_kwargs,
        exception_type, exception_string, status_code
    )
    SELECT request_id, timestamp 'epoch' + start_us * interval '1 microsecond',
        timestamp 'epoch' + end_us * interval '1 microsecond', coalesce(api_base, ''), model_group, model,
        shown_model_id,
        jsonb_build_object(
            'call_type', coalesce(call_type, 'acompletion'), 'litellm_call_id', shown_id, 'user_api_key', api_key
        ),
        coalesce(error_information ->> 'error_class', ''), coalesce(error_information ->> 'error_message', ''),
        coalesce(error_information ->> 'error_code', '')
    FROM calls
    WHERE status = 'failure' AND coalesce(error_logged, true)
    ON CONFLICT DO NOTHING
),
moves AS (
    SELECT start_us / 86400000000 AS day, api_key, "user",
        CASE WHEN coalesce("user", team_id, organization_id) IS NOT NULL
            THEN key_names ->> 'user_api_key_user_id' END AS owner,
        team_id, organization_id, end_user, request_tags AS tags, model, custom_llm_provider AS provider, call_type,
        windows, model_group, min(request_id) AS request_id, sum(cost) AS cost,
        sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
        sum(cache_read_tokens) AS cache_read_tokens, sum(cache_creation_tokens) AS cache_creation_tokens,
        count(*) AS requests, count(*) FILTER (WHERE status = 'failure') AS failures,
        coalesce(sum((end_us - start_us) / 1000) FILTER (WHERE status IS NULL), 0) AS response_ms
    FROM calls
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
)
SELECT EXISTS (SELECT FROM claimed) AS claimed, (SELECT count(*) FROM incoming) AS inserted,
    (SELECT json_agg(json_build_array(window_id, instance_id, cost, hold))::text FROM charged) AS charged,
    (SELECT json_agg(moves)::text FROM moves) AS moves,
    (
        SELECT json_agg(json_build_array(attempt_id, slot))::text FROM incoming
        WHERE kind = 'adjust'
            OR (kind = 'settle' AND attempt_id NOT IN (SELECT c.attempt_id FROM calls AS c WHERE c.settled))
    ) AS loose_charges,
    (
        SELECT json_agg(json_build_array(call_id, CASE WHEN settled THEN attempt_id END))::text FROM calls
        WHERE attempt_id IS NOT NULL AND (attempts > 1 OR NOT ended)
    ) AS loose_calls

-- name: late_changes
-- Charges and calls that did not come together: of a call with several attempts, of an attempt that was resolved after
-- its call had ended, and adjustments. $1: charges just posted, [attempt id, slot]; $2: calls just posted, [call id,
-- the attempt whose charge is counted already]. Whichever of a charge and its call comes second finds the other one here,
-- since posters have the totals' lock when they look. The call's row gets its new sums; what the totals change by is
-- returned.
WITH pairs AS (
    SELECT (charge ->> 0)::uuid AS attempt_id, (charge ->> 1)::smallint AS slot,
        bursar.call_id((charge ->> 0)::uuid) AS call_id
    FROM json_array_elements($1::json) AS charge
    UNION
    SELECT e.attempt_id, e.slot, c.call_id
    FROM (
        SELECT (call ->> 0)::uuid AS call_id, (call ->> 1)::uuid AS counted FROM json_array_elements($2::json) AS call
    ) AS c
    JOIN bursar.entries AS e ON e.attempt_id > c.call_id AND e.attempt_id <= bursar.last_attempt_id(c.call_id)
    WHERE e.kind IN ('settle', 'adjust') AND (e.slot <> 1 OR e.attempt_id IS DISTINCT FROM c.counted)
),
late AS MATERIALIZED (
    SELECT p.call_id, c.body AS call_body, e.cost_nano_usd AS cost, e.windows,
        CASE WHEN e.attempt_id = (c.body ->> 'attempt_id')::uuid THEN e.evidence END AS evidence,
        CASE WHEN e.attempt_id = (c.body ->> 'attempt_id')::uuid AND e.kind = 'settle' THEN e.body END AS answering,
        coalesce(b.prompt_tokens, 0) AS prompt_tokens, coalesce(b.completion_tokens, 0) AS completion_tokens,
        coalesce(b.cache_read_tokens, 0) AS cache_read_tokens,
        coalesce(b.cache_creation_tokens, 0) AS cache_creation_tokens,
        e.attempt_id, e.slot
    FROM pairs AS p
    JOIN bursar.entries AS e ON e.attempt_id = p.attempt_id AND e.slot = p.slot
    JOIN bursar.entries AS c ON c.attempt_id = p.call_id AND c.slot = 1 AND c.kind = 'call'
    CROSS JOIN LATERAL json_to_record(e.body) AS b (
        prompt_tokens bigint, completion_tokens bigint, cache_read_tokens bigint, cache_creation_tokens bigint
    )
),
by_call AS MATERIALIZED (
    SELECT l.call_id, c.litellm_call_id, l.prompt_tokens, l.completion_tokens, l.evidence, l.answering,
        t.cost / 1e9::double precision AS usd, t.charges
    FROM (
        SELECT call_id, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
            (array_agg(evidence ORDER BY slot DESC) FILTER (WHERE evidence IS NOT NULL))[1] AS evidence,
            (array_agg(answering) FILTER (WHERE answering IS NOT NULL))[1] AS answering,
            (array_agg(call_body))[1] AS call_body
        FROM late
        GROUP BY call_id
    ) AS l
    CROSS JOIN LATERAL json_to_record(l.call_body) AS c (litellm_call_id text)
    CROSS JOIN LATERAL (
        SELECT sum(e.cost_nano_usd) AS cost, count(*) AS charges
        FROM bursar.entries AS e
        WHERE e.attempt_id > l.call_id AND e.attempt_id <= bursar.last_attempt_id(l.call_id)
            AND e.kind IN ('settle', 'adjust')
    ) AS t
),
rows AS (
    UPDATE "LiteLLM_SpendLogs" AS s
    SET spend = b.usd,
        prompt_tokens = least(greatest(s.prompt_tokens + b.prompt_tokens, 0), 2147483647),
        completion_tokens = least(greatest(s.completion_tokens + b.completion_tokens, 0), 2147483647),
        total_tokens = least(
            greatest(s.prompt_tokens + b.prompt_tokens, 0) + greatest(s.completion_tokens + b.completion_tokens, 0),
            2147483647
        ),
        metadata = s.metadata
            || CASE WHEN b.answering ->> 'provider_usage' IS NULL THEN '{}'
                ELSE jsonb_build_object('usage_object', (b.answering -> 'provider_usage')::jsonb) END
            || jsonb_build_object(
                'cost_breakdown', jsonb_strip_nulls(jsonb_build_object(
                    'total_cost', b.usd, 'original_cost', b.usd,
                    'input_cost', CASE WHEN b.charges = 1 THEN b.answering -> 'input_cost' END,
                    'output_cost', CASE WHEN b.charges = 1 THEN b.answering -> 'output_cost' END
                )),
                'bursar', s.metadata -> 'bursar' || jsonb_strip_nulls(jsonb_build_object(
                    'evidence', b.evidence, 'price', b.answering -> 'price_version', 'flags', b.answering -> 'flags'
                ))
            ),
        updated_at = now() AT TIME ZONE 'UTC'
    FROM by_call AS b
    WHERE s.litellm_call_id = coalesce(b.litellm_call_id, b.call_id::text)
        AND s.metadata #>> '{bursar,call_id}' = b.call_id::text
),
moves AS (
    SELECT c.start_us / 86400000000 AS day, c.api_key, c."user",
        CASE WHEN coalesce(c."user", c.team_id, c.organization_id) IS NOT NULL
            THEN c.key_names ->> 'user_api_key_user_id' END AS owner,
        c.team_id, c.organization_id, c.end_user, c.request_tags AS tags, c.model, c.custom_llm_provider AS provider,
        c.call_type, l.windows, c.model_group, c.request_id, sum(l.cost) AS cost,
        sum(l.prompt_tokens) AS prompt_tokens, sum(l.completion_tokens) AS completion_tokens,
        sum(l.cache_read_tokens) AS cache_read_tokens, sum(l.cache_creation_tokens) AS cache_creation_tokens,
        0 AS requests, 0 AS failures, 0 AS response_ms
    FROM late AS l
    CROSS JOIN LATERAL json_to_record(l.call_body) AS c (
        request_id text, call_type text, api_key text, start_us bigint, model text, model_group text,
        custom_llm_provider text, "user" text, team_id text, organization_id text, end_user text, request_tags text,
        key_names json
    )
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, l.cost < 0
)
SELECT json_agg(moves)::text FROM moves

-- name: book_grants
-- $1: windows, $2: instances, $3: what their attempts cost, $4: what those had held. A charge above its grant raises what
-- is leased. Of an instance that has ended, what was held for an attempt and not charged goes back. $5: windows, $6: what
-- is booked there although nobody held it. A grant that is not there was forgotten by a database that was restored: it is
-- made anew. Returned are the windows that pass their limit by it.
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS t (window_id, instance_id, cost, hold)
),
forced AS (
    SELECT * FROM unnest($5::uuid[], $6::bigint[]) AS f (window_id, cost)
),
locked AS MATERIALIZED (
    SELECT window_id FROM bursar.windows
    WHERE window_id IN (SELECT t.window_id FROM told AS t UNION SELECT f.window_id FROM forced AS f)
    ORDER BY window_id
    FOR UPDATE
),
before AS MATERIALIZED (
    SELECT g.window_id, g.instance_id, g.leased_nano_usd AS leased, g.spent_nano_usd + t.cost AS spent,
        CASE WHEN i.ended_at IS NULL THEN 0 ELSE t.hold - t.cost END AS freed
    FROM told AS t
    JOIN locked AS w ON w.window_id = t.window_id
    JOIN bursar.grants AS g ON g.window_id = t.window_id AND g.instance_id = t.instance_id
    LEFT JOIN bursar.instances AS i ON i.instance_id = t.instance_id
    ORDER BY w.window_id, g.instance_id
    FOR UPDATE OF g
),
forgotten AS (
    INSERT INTO bursar.grants (window_id, instance_id, leased_nano_usd, spent_nano_usd)
    SELECT t.window_id, t.instance_id, t.cost, t.cost
    FROM told AS t JOIN locked USING (window_id)
    WHERE t.cost > 0 AND NOT EXISTS (
        SELECT FROM bursar.grants AS g WHERE g.window_id = t.window_id AND g.instance_id = t.instance_id
    )
    RETURNING window_id, spent_nano_usd AS cost
),
after AS MATERIALIZED (
    SELECT window_id, instance_id, leased AS was_leased, spent, greatest(leased - freed, spent) AS leased FROM before
),
grants AS (
    UPDATE bursar.grants AS g SET spent_nano_usd = a.spent, leased_nano_usd = a.leased
    FROM after AS a WHERE g.window_id = a.window_id AND g.instance_id = a.instance_id
),
moved AS (
    UPDATE bursar.windows AS w
    SET spent_nano_usd = w.spent_nano_usd + s.cost, leased_nano_usd = w.leased_nano_usd + s.leased,
        forced_nano_usd = w.forced_nano_usd + s.forced
    FROM (
        SELECT c.window_id, sum(c.cost) AS cost, sum(c.leased) AS leased, sum(c.forced) AS forced
        FROM (
            SELECT a.window_id, t.cost, a.leased - a.was_leased AS leased, 0 AS forced
            FROM after AS a JOIN told AS t USING (window_id, instance_id)
            UNION ALL
            SELECT f.window_id, f.cost, f.cost, 0 FROM forgotten AS f
            UNION ALL
            SELECT f.window_id, f.cost, f.cost, f.cost FROM forced AS f
        ) AS c
        GROUP BY c.window_id
    ) AS s
    WHERE w.window_id = s.window_id
    RETURNING w.scope_kind, w.scope_id, w.limit_nano_usd AS amount, w.spent_nano_usd AS spent, s.cost
)
SELECT scope_kind, scope_id, amount, spent FROM moved WHERE spent > amount AND spent - cost <= amount

-- name: new_entries
-- $1: entries of which some are there already, stand in it twice, or adjust what is not settled: the others, as a JSON
-- array in the same order.
WITH offered AS MATERIALIZED (
    SELECT place, entry, entry ->> 'kind' AS kind, (entry ->> 'attempt_id')::uuid AS attempt_id,
        CASE entry ->> 'kind' WHEN 'open' THEN 0 WHEN 'unknown' THEN 2
            WHEN 'adjust' THEN 16 + coalesce((entry ->> 'seq')::integer, 0) ELSE 1 END AS slot
    FROM json_array_elements(convert_from($1, 'UTF8')::json) WITH ORDINALITY AS i (entry, place)
)
SELECT coalesce(json_agg(entry ORDER BY place)::text, '[]')
FROM (SELECT DISTINCT ON (attempt_id, slot) * FROM offered ORDER BY attempt_id, slot, place) AS o
WHERE NOT EXISTS (SELECT FROM bursar.entries AS e WHERE e.attempt_id = o.attempt_id AND e.slot = o.slot)
    AND (
        kind <> 'adjust'
        OR EXISTS (
            SELECT FROM bursar.entries AS e WHERE e.attempt_id = o.attempt_id AND e.slot = 1 AND e.kind = 'settle'
        )
        OR EXISTS (SELECT FROM offered AS e WHERE e.attempt_id = o.attempt_id AND e.kind = 'settle')
    )

-- name: outlived
-- $1: entries. Those that tell how an attempt ended that was booked as lost, with what was booked.
SELECT o.entry::text AS told, e.body::text AS body, e.cost_nano_usd AS booked, e.windows, e.instance_id::text AS owner
FROM (
    SELECT DISTINCT ON (attempt_id) entry, (entry ->> 'attempt_id')::uuid AS attempt_id
    FROM json_array_elements(convert_from($1, 'UTF8')::json) AS i (entry)
    WHERE entry ->> 'kind' IN ('settle', 'void')
) AS o
JOIN bursar.entries AS e ON e.attempt_id = o.attempt_id AND e.slot = 1
WHERE e.evidence = 'lost' AND o.entry ->> 'evidence' IS DISTINCT FROM 'lost' AND NOT EXISTS (
    SELECT FROM bursar.entries AS a WHERE a.attempt_id = o.attempt_id AND a.slot = 16
)

-- name: quarantine_contradictions
-- Of entries offered, those that are not there as they were offered: something else is, also a second end of another
-- kind, or they adjust what is not settled. What was booked as lost contradicts nothing: it gives way (outlived).
INSERT INTO bursar.quarantine (reason, journal_id, content)
SELECT CASE
        WHEN e.kind IS NULL THEN format('adjusts attempt %s, which is not settled', i.attempt_id)
        ELSE format('contradicts the %s entry of attempt %s', e.kind, e.attempt_id)
    END,
    $2::uuid, convert_to(i.entry::text, 'UTF8')
FROM (
    SELECT entry, entry ->> 'kind' AS kind, (entry ->> 'attempt_id')::uuid AS attempt_id,
        CASE entry ->> 'kind' WHEN 'open' THEN 0 WHEN 'unknown' THEN 2
            WHEN 'adjust' THEN 16 + coalesce((entry ->> 'seq')::integer, 0) ELSE 1 END AS slot
    FROM json_array_elements(convert_from($1, 'UTF8')::json) AS i (entry)
) AS i
LEFT JOIN bursar.entries AS e ON e.attempt_id = i.attempt_id AND e.slot = i.slot
WHERE (
        e.kind IS DISTINCT FROM i.kind OR (i.entry -> 'body')::text <> e.body::text
        OR (i.entry ->> 'cost_nano_usd')::bigint IS DISTINCT FROM e.cost_nano_usd
        OR i.entry ->> 'evidence' IS DISTINCT FROM e.evidence
        OR (i.entry ->> 'hold_nano_usd')::bigint IS DISTINCT FROM e.hold_nano_usd
        OR translate(i.entry ->> 'windows', '[]"', '{}')::uuid[] IS DISTINCT FROM e.windows
        OR timestamptz 'epoch' + (i.entry ->> 'at_us')::bigint * interval '1 microsecond' <> e.at
    )
    AND e.evidence IS DISTINCT FROM 'lost'
    AND NOT (
        e.kind = 'call' AND i.kind = 'call' AND EXISTS (
            SELECT FROM bursar.entries AS l
            WHERE l.attempt_id > e.attempt_id AND l.attempt_id <= bursar.last_attempt_id(e.attempt_id)
                AND l.evidence = 'lost'
        )
    )
RETURNING reason

-- name: note_missing
-- $1: the journal, $2: the record before those that are gone, $3: how many they are.
INSERT INTO bursar.incidents (what)
SELECT format(
    'records %s to %s of journal %s could not be read any more: what they told is not in the books',
    $2::bigint + 1, $2::bigint + $3::bigint, $1::uuid
)

-- name: quarantine_record
INSERT INTO bursar.quarantine (reason, journal_id, sequence, content) VALUES ($1, $2, $3, $4)
