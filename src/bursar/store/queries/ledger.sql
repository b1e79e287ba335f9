-- The poster's statements. One transaction claims the journal, posts a batch of records, and moves the position.

-- name: register_journal
WITH instance AS (
    INSERT INTO bursar.instances (instance_id, host) VALUES ($1, $2)
    ON CONFLICT (instance_id) DO NOTHING
)
INSERT INTO bursar.journals (journal_id) VALUES ($1)
ON CONFLICT (journal_id) DO NOTHING

-- name: journal_position
SELECT j.posted_sequence, i.epoch
FROM bursar.journals AS j JOIN bursar.instances AS i ON i.instance_id = j.journal_id
WHERE j.journal_id = $1

-- name: take_over
UPDATE bursar.instances SET epoch = epoch + 1 WHERE instance_id = $1 AND epoch = $2 RETURNING epoch

-- name: journals
SELECT journal_id, posted_sequence FROM bursar.journals ORDER BY created_at DESC LIMIT 20

-- name: post_entries
-- $1: a JSON array of entries as the journal holds them, in UTF-8. What is there already inserts nothing and moves no total.
-- $2 to $5: the journal, its epoch, and from where to where it is carried. Not claimed: another poster has been here
-- since, or took the journal over; then nothing is inserted. The claim locks the
-- instance's and the journal's row until commit.
-- A provider that repeats its ids must not lose a row: the second becomes '<provider id>:<our call id>'.
-- The names under which the row's metadata tells who called, and what it cost, are not the caller's to fill, also where
-- we have nothing to put there.
WITH alive AS MATERIALIZED (
    SELECT instance_id FROM bursar.instances WHERE instance_id = $2 AND epoch = $3 FOR SHARE
),
claimed AS (
    UPDATE bursar.journals AS j
    SET posted_sequence = $5, posted_at = now()
    FROM alive
    WHERE j.journal_id = alive.instance_id AND j.posted_sequence = $4
    RETURNING j.journal_id
),
incoming AS MATERIALIZED (
    SELECT kind, attempt_id, coalesce(seq, 0) AS seq, call_id, at_us, cost_nano_usd, evidence, hold_nano_usd, windows,
        coalesce(owner, $2) AS instance_id, body
    FROM claimed CROSS JOIN json_to_recordset(convert_from($1, 'UTF8')::json) AS e (
        kind text, attempt_id uuid, seq integer, call_id uuid, at_us bigint, cost_nano_usd bigint, evidence text,
        hold_nano_usd bigint, windows uuid[], owner uuid, body json
    )
),
inserted AS (
    INSERT INTO bursar.entries (
        attempt_id, kind, seq, call_id, at, cost_nano_usd, evidence, hold_nano_usd, windows, instance_id, body
    )
    SELECT attempt_id, kind, seq, call_id, timestamptz 'epoch' + at_us * interval '1 microsecond', cost_nano_usd,
        evidence, hold_nano_usd, windows, instance_id, body
    FROM incoming
    ON CONFLICT DO NOTHING
    RETURNING attempt_id, kind, seq, cost_nano_usd, hold_nano_usd, windows, instance_id, body
),
charged AS (
    SELECT window_id, i.instance_id, sum(coalesce(i.cost_nano_usd, 0)) AS cost,
        sum(i.hold_nano_usd) AS hold
    FROM inserted AS i CROSS JOIN LATERAL unnest(i.windows) AS window_id
    WHERE i.kind IN ('settle', 'void', 'adjust')
    GROUP BY 1, 2
),
calls AS MATERIALIZED (
    SELECT i.attempt_id AS call_id, c.*, c.spend_nano_usd / 1e9::double precision AS usd,
        row_number() OVER (PARTITION BY c.request_id ORDER BY i.attempt_id) AS repetition
    FROM inserted AS i
    CROSS JOIN LATERAL json_to_record(i.body) AS c (
        request_id text, call_type text, attempt_id uuid, api_key text, spend_nano_usd bigint, prompt_tokens bigint,
        completion_tokens bigint, start_us bigint, end_us bigint, first_token_us bigint, model text, model_id text,
        model_group text, custom_llm_provider text, api_base text, "user" text, team_id text, organization_id text,
        end_user text, requester_ip_address text, user_agent text, session_id text, status text, cache_hit text,
        litellm_call_id text, request_tags jsonb, metadata jsonb, key_names jsonb, spend_logs_metadata jsonb,
        error_information jsonb, usage_object jsonb, evidence text, input_cost double precision,
        output_cost double precision, price text, flags jsonb, client_left boolean, metadata_dropped jsonb,
        logged boolean
    )
    WHERE i.kind = 'call'
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
            WHEN repetition > 1
                OR EXISTS (SELECT FROM "LiteLLM_SpendLogs" AS s WHERE s.request_id = calls.request_id)
            THEN request_id || ':' || call_id
            ELSE request_id
        END,
        coalesce(call_type, 'acompletion'), api_key, usd,
        least(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0), 2147483647),
        least(coalesce(prompt_tokens, 0), 2147483647),
        least(coalesce(completion_tokens, 0), 2147483647),
        timestamp 'epoch' + start_us * interval '1 microsecond',
        timestamp 'epoch' + end_us * interval '1 microsecond',
        timestamp 'epoch' + coalesce(first_token_us, end_us) * interval '1 microsecond',
        model, coalesce(model_id, ''), model_group, coalesce(custom_llm_provider, ''), coalesce(api_base, ''),
        coalesce("user", ''),
        coalesce(metadata, '{}') - ARRAY[
            'user_api_key', 'user_api_key_alias', 'user_api_key_user_id', 'user_api_key_team_id',
            'user_api_key_team_alias', 'user_api_key_org_id', 'user_api_key_project_id',
            'user_api_key_project_alias', 'requester_ip_address', 'user_agent', 'litellm_call_id', 'actor_agent_id',
            'target_agent_id', 'billing_agent_id', 'verified_human_user_id', 'agent_execution_mode',
            'spend_logs_metadata', 'status', 'error_information', 'attempted_retries', 'max_retries',
            'attempted_fallbacks', 'original_model_group', 'litellm_overhead_time_ms', 'usage_object',
            'additional_usage_values', 'cost_breakdown', 'model_map_information', 'proxy_server_request', 'bursar'
        ] || coalesce(key_names, '{}') || jsonb_build_object(
            'user_api_key', api_key,
            'requester_ip_address', coalesce(requester_ip_address, ''),
            'user_agent', coalesce(user_agent, ''),
            'litellm_call_id', litellm_call_id,
            'status', CASE WHEN status = 'failure' THEN status END,
            'attempted_retries', 0,
            'attempted_fallbacks', 0,
            'bursar', jsonb_build_object('call_id', call_id, 'price', price) || jsonb_strip_nulls(jsonb_build_object(
                'attempt_id', attempt_id, 'evidence', evidence, 'flags', flags, 'client_left', client_left,
                'metadata_dropped', metadata_dropped
            ))
        )
        || CASE WHEN evidence IS NULL THEN '{}' ELSE jsonb_build_object(
            'cost_breakdown', jsonb_strip_nulls(jsonb_build_object(
                'total_cost', usd, 'original_cost', usd, 'input_cost', input_cost, 'output_cost', output_cost
            ))
        ) END
        || CASE WHEN usage_object IS NULL THEN '{}' ELSE jsonb_build_object('usage_object', usage_object) END
        || CASE WHEN error_information IS NULL THEN '{}'
            ELSE jsonb_build_object('error_information', error_information) END
        || CASE WHEN spend_logs_metadata IS NULL THEN '{}'
            ELSE jsonb_build_object('spend_logs_metadata', spend_logs_metadata) END,
        coalesce(request_tags, '[]'), coalesce(team_id, ''), coalesce(organization_id, ''), coalesce(end_user, ''),
        coalesce(requester_ip_address, ''), session_id, coalesce(status, 'success'), coalesce(cache_hit, 'None'),
        'Cache OFF', litellm_call_id, least((end_us - start_us) / 1000, 2147483647),
        now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM calls
    WHERE coalesce(logged, true)
    RETURNING request_id
),
spent AS (
    SELECT body ->> 'api_key' AS token, sum(cost_nano_usd) AS cost_nano_usd
    FROM inserted
    WHERE kind = 'settle'
    GROUP BY 1
    ORDER BY 1
),
keys AS (
    UPDATE "LiteLLM_VerificationToken" AS k
    SET spend = k.spend + spent.cost_nano_usd / 1e9,
        total_spend = k.total_spend + spent.cost_nano_usd / 1e9,
        last_active = now() AT TIME ZONE 'UTC'
    FROM spent
    WHERE k.token = spent.token
    RETURNING k.token
)
SELECT EXISTS (SELECT FROM claimed) AS claimed,
    (SELECT count(*) FROM incoming) AS offered, (SELECT count(*) FROM inserted) AS inserted,
    (SELECT count(*) FROM logged) AS logged, (SELECT count(*) FROM keys) AS keys,
    (SELECT json_agg(json_build_array(window_id, instance_id, cost, hold)) FROM charged) AS charged

-- name: book_grants
-- $1: windows, $2: instances, $3: what their attempts cost, $4: what those had held. A charge above its grant raises what
-- is leased. Of an instance that has ended, what was held for an attempt and not charged goes back.
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) AS t (window_id, instance_id, cost, hold)
),
before AS MATERIALIZED (
    SELECT g.window_id, g.instance_id, g.leased_nano_usd AS leased, g.spent_nano_usd + t.cost AS spent,
        CASE WHEN i.ended_at IS NULL THEN 0 ELSE t.hold - t.cost END AS freed
    FROM told AS t
    JOIN bursar.windows AS w ON w.window_id = t.window_id
    JOIN bursar.grants AS g ON g.window_id = t.window_id AND g.instance_id = t.instance_id
    JOIN bursar.instances AS i ON i.instance_id = t.instance_id
    ORDER BY w.window_id, g.instance_id
    FOR UPDATE OF w, g
),
after AS MATERIALIZED (
    SELECT window_id, instance_id, leased AS was_leased, spent, greatest(leased - freed, spent) AS leased FROM before
),
grants AS (
    UPDATE bursar.grants AS g SET spent_nano_usd = a.spent, leased_nano_usd = a.leased
    FROM after AS a WHERE g.window_id = a.window_id AND g.instance_id = a.instance_id
    RETURNING g.window_id
)
UPDATE bursar.windows AS w
SET spent_nano_usd = w.spent_nano_usd + s.cost, leased_nano_usd = w.leased_nano_usd + s.leased
FROM (
    SELECT a.window_id, sum(t.cost) AS cost, sum(a.leased - a.was_leased) AS leased
    FROM after AS a JOIN told AS t USING (window_id, instance_id) GROUP BY a.window_id
) AS s
WHERE w.window_id = s.window_id

-- name: quarantine_contradictions
-- Of entries offered again: those that differ from what is there, also a second terminal entry of another kind.
INSERT INTO bursar.quarantine (reason, journal_id, content)
SELECT format('contradicts the %s entry of attempt %s', e.kind, e.attempt_id), $2::uuid,
    convert_to(i.entry::text, 'UTF8')
FROM (
    SELECT value AS entry, value ->> 'kind' AS kind, (value ->> 'attempt_id')::uuid AS attempt_id,
        coalesce((value ->> 'seq')::integer, 0) AS seq
    FROM json_array_elements(convert_from($1, 'UTF8')::json)
) AS i
JOIN bursar.entries AS e ON e.attempt_id = i.attempt_id
    AND ((e.kind = i.kind AND e.seq = i.seq)
        OR (e.kind IN ('settle', 'void') AND i.kind IN ('settle', 'void') AND e.kind <> i.kind))
WHERE e.kind <> i.kind OR (i.entry -> 'body')::text <> e.body::text
    OR (i.entry ->> 'cost_nano_usd')::bigint IS DISTINCT FROM e.cost_nano_usd

-- name: quarantine_record
INSERT INTO bursar.quarantine (reason, journal_id, sequence, content) VALUES ($1, $2, $3, $4)
