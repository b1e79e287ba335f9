-- How many rows LiteLLM's tables have, and what they add up to, in US dollars: a statement for each that we know, by the table's
-- name.

-- name: LiteLLM_VerificationToken
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_VerificationToken"

-- name: LiteLLM_DeletedVerificationToken
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DeletedVerificationToken"

-- name: LiteLLM_UserTable
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_UserTable"

-- name: LiteLLM_TeamTable
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_TeamTable"

-- name: LiteLLM_TeamMembership
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_TeamMembership"

-- name: LiteLLM_OrganizationTable
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_OrganizationTable"

-- name: LiteLLM_OrganizationMembership
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_OrganizationMembership"

-- name: LiteLLM_EndUserTable
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_EndUserTable"

-- name: LiteLLM_TagTable
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_TagTable"

-- name: LiteLLM_SpendLogs
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_SpendLogs"

-- name: LiteLLM_DailyUserSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyUserSpend"

-- name: LiteLLM_DailyTeamSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyTeamSpend"

-- name: LiteLLM_DailyOrganizationSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyOrganizationSpend"

-- name: LiteLLM_DailyEndUserSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyEndUserSpend"

-- name: LiteLLM_DailyAgentSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyAgentSpend"

-- name: LiteLLM_DailyTagSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_DailyTagSpend"

-- name: LiteLLM_BudgetWindowSpend
SELECT count(*) AS rows, sum(spend) AS spend FROM "LiteLLM_BudgetWindowSpend"

-- name: LiteLLM_ProjectTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_ProjectTable"

-- name: LiteLLM_AuditLog
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_AuditLog"

-- name: LiteLLM_ErrorLogs
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_ErrorLogs"

-- name: LiteLLM_Config
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_Config"

-- name: LiteLLM_ModelTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_ModelTable"

-- name: LiteLLM_BudgetTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_BudgetTable"

-- name: LiteLLM_DeletedTeamTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_DeletedTeamTable"

-- name: LiteLLM_DeprecatedVerificationToken
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_DeprecatedVerificationToken"

-- name: LiteLLM_ProxyModelTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_ProxyModelTable"

-- name: LiteLLM_CredentialsTable
SELECT count(*) AS rows, NULL::double precision AS spend FROM "LiteLLM_CredentialsTable"
