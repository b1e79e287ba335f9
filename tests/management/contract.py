"""The management routes that LiteLLM's contract names (1.106.2), whether they are built or not."""

_TEXT = """
POST /key/generate /key/service-account/generate /key/update /key/bulk_update /key/delete /key/block /key/unblock
POST /v2/key/info /key/regenerate /key/{key}/regenerate /key/{key}/reset_spend /key/health
GET /key/info /key/list /key/aliases
POST /user/new /user/update /user/bulk_update /user/delete
GET /user/info /v2/user/info /user/list /user/get_users /user/available_roles /user/available_users
GET /user/daily/activity /user/daily/activity/aggregated
POST /team/new /team/update /team/member_add /team/bulk_member_add /team/member_delete /team/member_update /team/delete
POST /team/block /team/unblock /team/model/add /team/model/delete /team/permissions_update
POST /team/{team_id}/callback /team/{team_id}/disable_logging /team/{team_id}/member/{user_id}/reset_spend
GET /team/info /team/list /v2/team/list /team/permissions_list /team/available /team/{team_id}/callback
GET /team/daily/activity
POST /organization/new /organization/member_add
PATCH /organization/update /organization/member_update
DELETE /organization/delete /organization/member_delete
GET /organization/list /organization/info /organization/daily/activity
POST /budget/new /budget/update /budget/info /budget/delete
GET /budget/list /budget/settings
POST /customer/new /customer/update /customer/delete /customer/block /customer/unblock
GET /customer/info /customer/list /customer/daily/activity
POST /end_user/new /end_user/update /end_user/delete /end_user/block /end_user/unblock
GET /end_user/info /end_user/list /end_user/daily/activity
POST /tag/new /tag/update /tag/info /tag/delete
GET /tag/list /tag/daily/activity /tag/summary /tag/dau /tag/wau /tag/mau
POST /access_group/new
GET /access_group/list
GET /model/info /v1/model/info /v2/model/info /model_group/info /model/metrics /model/streaming_metrics /model/settings
POST /model/new /model/update /model/delete /model_group/make_public /model/cost_map/reload /reload/model_cost_map
PATCH /model/{model_id}/update
POST /credentials
GET /credentials /credentials/{credential_name} /credentials/by_name/{credential_name} /credentials/by_model/{model_id}
PATCH /credentials/{credential_name}
DELETE /credentials/{credential_name}
POST /fallback
GET /fallback /router/settings /router/fields
DELETE /fallback
GET /spend/logs /spend/logs/v2 /spend/logs/ui /spend/logs/ui/{request_id} /spend/logs/session/ui
GET /spend/keys /spend/users /spend/tags
POST /spend/calculate /cost/estimate
GET /global/spend /global/spend/logs /global/spend/keys /global/spend/models /global/spend/teams /global/spend/tags
GET /global/spend/all_tag_names /global/spend/provider /global/spend/report
POST /global/spend/end_users /global/spend/reset /global/spend/refresh
GET /global/activity /global/activity/model /global/activity/cache_hits /global/activity/exceptions
GET /global/activity/exceptions/deployment /provider/budgets
GET /cache/ping /cache/redis/info /cache/settings
POST /cache/delete /cache/flushall /cache/settings
GET /health/readiness/details /health/services /health/history /health/latest /health/shared-status /health/backlog
GET /health/drain /health/license /test /active/callbacks /settings
POST /health/test_connection
POST /config/update /config/field/update /config/field/delete /config/callback/delete /config/pass_through_endpoint
GET /config/list /config/field/info /config/pass_through_endpoint /config/cost_discount_config
GET /config/cost_margin_config /get/config/callbacks /callbacks/list /get/internal_user_settings
GET /get/default_team_settings /get/sso_settings /get/ui_theme_settings /alerting/settings
PATCH /config/cost_discount_config /config/cost_margin_config /update/internal_user_settings
PATCH /update/default_team_settings
DELETE /config/pass_through_endpoint
POST /login /v2/login /invitation/new /invitation/update /invitation/delete /onboarding/claim_token
GET /invitation/info /onboarding/get_token /sso/key/generate /sso/callback /sso/readiness /sso/get/ui_settings
GET /audit /audit/{id} /routes /get/litellm_model_cost_map /public/litellm_model_cost_map
POST /add/allowed_ip /delete/allowed_ip /utils/token_counter
"""

CONTRACT = frozenset(
    (method, path) for line in _TEXT.splitlines() if line for method, *paths in [line.split()] for path in paths
)
"""Methods and paths."""
