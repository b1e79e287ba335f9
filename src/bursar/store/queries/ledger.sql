-- The poster's statements. One transaction claims the journal, posts a batch of records, and moves the position.

-- name: register_journal
INSERT INTO bursar.journals (journal_id, host) VALUES ($1, $2)
ON CONFLICT (journal_id) DO NOTHING

-- name: journal_position
SELECT posted_sequence, epoch FROM bursar.journals WHERE journal_id = $1

-- name: journals
SELECT journal_id, posted_sequence FROM bursar.journals ORDER BY created_at DESC LIMIT 20

-- name: post_entries
-- $1: a JSON array of entries as the journal holds them, in UTF-8. What is there already inserts nothing and moves no total.
-- $2 to $5: the journal, its epoch, and from where to where it is carried. Not claimed: another poster has been here
-- since, or took the journal over; then nothing is inserted. The claim locks the journal's row until commit.
-- A provider that repeats its ids must not lose a row: the second becomes '<provider id>:<our call id>'.
WITH claimed AS (
    UPDATE bursar.journals
    SET posted_sequence = $5, posted_at = now()
    WHERE journal_id = $2 AND epoch = $3 AND posted_sequence = $4
    RETURNING journal_id
),
incoming AS MATERIALIZED (
    SELECT kind, attempt_id, coalesce(seq, 0) AS seq, call_id, at_us, cost_nano_usd, evidence, body
    FROM claimed CROSS JOIN json_to_recordset(convert_from($1, 'UTF8')::json) AS e (
        kind text, attempt_id uuid, seq integer, call_id uuid, at_us bigint, cost_nano_usd bigint, evidence text,
        body json
    )
),
inserted AS (
    INSERT INTO bursar.entries (attempt_id, kind, seq, call_id, at, cost_nano_usd, evidence, body)
    SELECT attempt_id, kind, seq, call_id, timestamptz 'epoch' + at_us * interval '1 microsecond', cost_nano_usd,
        evidence, body
    FROM incoming
    ON CONFLICT DO NOTHING
    RETURNING attempt_id, kind, seq, cost_nano_usd, body
),
calls AS MATERIALIZED (
    SELECT i.attempt_id AS call_id, c.*,
        row_number() OVER (PARTITION BY c.request_id ORDER BY i.attempt_id) AS repetition
    FROM inserted AS i
    CROSS JOIN LATERAL json_to_record(i.body) AS c (
        request_id text, call_type text, api_key text, spend_nano_usd bigint, total_tokens bigint,
        prompt_tokens bigint, completion_tokens bigint, start_us bigint, end_us bigint, first_token_us bigint,
        model text, model_id text, model_group text, custom_llm_provider text, api_base text, "user" text,
        metadata jsonb, request_tags jsonb, team_id text, organization_id text, end_user text,
        requester_ip_address text, session_id text, status text, cache_hit text, cache_key text,
        litellm_call_id text, logged boolean
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
        call_type, api_key, spend_nano_usd / 1e9::double precision,
        least(total_tokens, 2147483647), least(prompt_tokens, 2147483647), least(completion_tokens, 2147483647),
        timestamp 'epoch' + start_us * interval '1 microsecond',
        timestamp 'epoch' + end_us * interval '1 microsecond',
        timestamp 'epoch' + first_token_us * interval '1 microsecond',
        model, model_id, model_group, custom_llm_provider, api_base, "user", metadata,
        request_tags, team_id, organization_id, end_user, requester_ip_address, session_id, status, cache_hit,
        cache_key, litellm_call_id, least((end_us - start_us) / 1000, 2147483647),
        now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM calls
    WHERE logged
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
SELECT EXISTS (SELECT FROM claimed) AS claimed, (SELECT count(*) FROM incoming) AS offered, (SELECT count(*) FROM inserted) AS inserted,
    (SELECT count(*) FROM logged) AS logged, (SELECT count(*) FROM keys) AS keys

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
