-- The views that dashboards and SQL written for LiteLLM read, by its names and columns. They sum the log, so they end
-- where its retention does. The last thirty days begin at midnight UTC, as the log's times are meant, whatever the
-- session's zone. One that somebody has made before stays as it is (bursar/store/litellm_schema.py).
-- Columns that a view shows cannot get another type: LiteLLM's tables stay as migration 0002 makes them.

CREATE VIEW "LiteLLM_VerificationTokenView" AS
SELECT k.*, t.spend AS team_spend, t.max_budget AS team_max_budget, t.model_max_budget AS team_model_max_budget,
    t.tpm_limit AS team_tpm_limit, t.rpm_limit AS team_rpm_limit, t.tpd_limit AS team_tpd_limit, p.project_alias
FROM "LiteLLM_VerificationToken" AS k
LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = k.team_id
LEFT JOIN "LiteLLM_ProjectTable" AS p ON p.project_id = k.project_id;

CREATE VIEW "MonthlyGlobalSpend" AS
SELECT "startTime"::date AS date, sum(spend) AS spend
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY 1;

CREATE VIEW "MonthlyGlobalSpendPerKey" AS
SELECT "startTime"::date AS date, sum(spend) AS spend, api_key
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY 1, 3;

CREATE VIEW "MonthlyGlobalSpendPerUserPerKey" AS
SELECT "startTime"::date AS date, sum(spend) AS spend, api_key, "user"
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY 1, 3, 4;

CREATE VIEW "Last30dKeysBySpend" AS
SELECT l.api_key, k.key_alias, k.key_name, l.total_spend
FROM (
    SELECT api_key, sum(spend) AS total_spend
    FROM "LiteLLM_SpendLogs"
    WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30
    GROUP BY 1
) AS l
LEFT JOIN "LiteLLM_VerificationToken" AS k ON k.token = l.api_key
ORDER BY l.total_spend DESC;

CREATE VIEW "Last30dModelsBySpend" AS
SELECT model, sum(spend) AS total_spend
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30 AND model <> ''
GROUP BY 1
ORDER BY total_spend DESC;

-- LiteLLM's leaves out the end user who is called like the database's login. This one leaves out nobody.
CREATE VIEW "Last30dTopEndUsersSpend" AS
SELECT end_user, count(*) AS total_events, sum(spend) AS total_spend
FROM "LiteLLM_SpendLogs"
WHERE "startTime" >= (now() AT TIME ZONE 'UTC')::date - 30 AND end_user <> ''
GROUP BY 1
ORDER BY total_spend DESC
LIMIT 100;

-- LiteLLM's fails on a row whose tags are no list, and counts a tag twice that a call names twice.
CREATE VIEW "DailyTagSpend" AS
SELECT t.tag AS individual_request_tag, l."startTime"::date AS spend_date, count(*) AS log_count,
    sum(l.spend) AS total_spend
FROM "LiteLLM_SpendLogs" AS l
CROSS JOIN LATERAL (
    SELECT DISTINCT tag
    FROM jsonb_array_elements_text(
        CASE jsonb_typeof(l.request_tags) WHEN 'array' THEN l.request_tags ELSE '[]' END
    ) AS e (tag)
) AS t
GROUP BY 1, 2;
