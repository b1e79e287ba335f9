-- Sessions of the server.

-- name: end_stalled
-- $1: application_name, $2: seconds. Sessions of this role that wait for their client's next message within a statement:
-- idle_in_transaction_session_timeout does not count there, nor can statement_timeout interrupt it.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = $1 AND state = 'active'
    AND wait_event = 'ClientRead' AND state_change < now() - $2::double precision * interval '1 second'

-- name: probe
-- $1: the channel on which a listener tells itself that it still hears.
SELECT pg_notify($1, '')

-- name: identity
-- Which database this is, however a URL may spell it; the tables with LiteLLM's names are in its current schema.
SELECT control.system_identifier || '-' || own.oid || '-' || current_schema()
FROM pg_control_system() AS control, pg_database AS own WHERE own.datname = current_database()
