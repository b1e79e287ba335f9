"""The management routes that LiteLLM's contract names (1.106.2), built or not, and the fields that they take."""

import re
from collections.abc import Iterator

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
POST /organization/new /organization/info /organization/member_add
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

_FIELDS = """
POST /key/generate /key/service-account/generate /key/update /key/regenerate
  access_group_ids agent_id aliases allowed_cache_controls allowed_passthrough_routes allowed_routes
  allowed_vector_store_indexes auto_rotate blocked budget_duration budget_fallbacks budget_id budget_limits
  budget_reset_at config created_at created_by default_estimated_output_tokens
  default_estimated_output_tokens_per_model denied_passthrough_routes disable_global_guardrails duration
  enable_prompt_caching end_user_budget_id enforced_params expires grace_period guardrails key key_alias key_name
  key_rotation_at key_type last_active last_rotation_at litellm_budget_table max_budget max_parallel_requests
  mcp_rpm_limit metadata model_max_budget model_rpm_limit model_spend model_tpm_limit models new_key new_master_key
  object_permission object_permission_id organization_id permissions policies project_id prompts rotation_count
  rotation_interval router_settings rpm_limit rpm_limit_type send_invite_email soft_budget soft_budget_cooldown
  spend status tag_rpm_limit tags team_id temp_budget_expiry temp_budget_increase throttle_on_budget_exceeded token
  token_id total_spend tpd_limit tpm_limit tpm_limit_type updated_at updated_by user_id
POST /user/new /user/update
  agent_id aliases allowed_cache_controls auto_create_key blocked budget_duration budget_fallbacks budget_limits
  budget_reset_at config created_at duration guardrails key_alias key_count keys max_budget max_parallel_requests
  mcp_rpm_limit metadata model_max_budget model_rpm_limit model_spend model_tpm_limit models object_permission
  organization_id organizations password permissions policies prompts rpm_limit send_invite_email spend sso_user_id
  tag_rpm_limit team_id teams tpm_limit updated_at user_alias user_email user_id user_role
POST /team/new /team/update
  access_group_ids admins allowed_passthrough_routes allowed_vector_store_indexes blocked budget_duration
  budget_limits budget_reset_at created_at default_estimated_output_tokens default_estimated_output_tokens_per_model
  default_team_member_models denied_passthrough_routes disable_global_guardrails enforced_batch_output_expires_after
  enforced_file_expires_after enforced_params guardrails litellm_model_table max_budget max_parallel_requests
  mcp_rpm_limit members members_with_roles metadata model_aliases model_id model_max_budget model_rpm_limit
  model_spend model_tpm_limit models object_permission organization_id policies prompts require_trace_id
  router_settings rpm_limit rpm_limit_type secret_manager_settings soft_budget spend tag_rpm_limit tags team_alias
  team_id team_member_budget team_member_budget_duration team_member_key_duration team_member_model_max_budget
  team_member_permissions team_member_rpm_limit team_member_tpm_limit team_memberships tpd_limit tpm_limit
  tpm_limit_type updated_at
POST /team/member_add /team/member_update
  allowed_models budget_duration budget_id max_budget_in_team member model_max_budget role rpm_limit spend team_id
  temp_budget_expiry temp_budget_increase tpm_limit user_email user_id
POST /organization/new
  allowed_models budget_duration budget_id created_at created_by litellm_budget_table max_budget
  max_parallel_requests members metadata model_max_budget model_rpm_limit model_spend model_tpm_limit models
  object_permission organization_alias organization_id rpm_limit soft_budget spend teams temp_budget_expiry
  temp_budget_increase tpd_limit tpm_limit updated_at updated_by
PATCH /organization/update
  allowed_models budget_duration budget_id created_at created_by litellm_budget_table max_budget
  max_parallel_requests members metadata model_max_budget model_rpm_limit model_spend model_tpm_limit models
  object_permission organization_alias organization_id rpm_limit soft_budget spend teams temp_budget_expiry
  temp_budget_increase tpd_limit tpm_limit updated_at updated_by
POST /customer/new /customer/update
  alias allowed_model_region blocked budget_duration budget_id budget_reset_at default_model litellm_budget_table
  max_budget max_parallel_requests model_max_budget models object_permission rpm_limit soft_budget spend tpd_limit
  tpm_limit user_id
POST /budget/new /budget/update
  allowed_models budget_duration budget_id budget_reset_at created_at created_by max_budget
  max_parallel_requests model_max_budget rpm_limit soft_budget tpd_limit tpm_limit updated_at updated_by
POST /tag/new /tag/update
  budget_duration budget_id created_at created_by description litellm_budget_table max_budget max_parallel_requests
  model_info model_max_budget models name rpm_limit soft_budget spend tag_name tpm_limit updated_at
POST /model/new /model/update
  blocked created_at created_by litellm_params litellm_params_to_remove model_id model_info model_name
  updated_at updated_by
POST /credentials
  created_at created_by credential_info credential_name credential_values display_name model_id updated_at
  updated_by
POST /config/update
  environment_variables general_settings litellm_settings model_list router_settings worker_registry
GET /key/list
  expand include_created_by_keys include_team_keys key_alias key_hash organization_id page project_id
  return_full_object size sort_by sort_order status substring_matching team_id user_id
GET /user/list
  page page_size role sort_by sort_order sso_user_ids team user_alias user_email user_ids
GET /v2/team/list
  organization_id page page_size sort_by sort_order status team_alias team_id user_id
GET /spend/logs/v2
  api_key end_date end_user error_code error_message exclude_internal_health_checks group_by_session key_alias
  max_spend min_spend model model_id page page_size request_id session_id sort_by sort_order start_date status_filter
  team_id user_id
GET /user/daily/activity /user/daily/activity/aggregated
  api_key end_date include_current_utc_day model page page_size start_date timezone user_id
GET /team/daily/activity
  api_key end_date exclude_team_ids model page page_size start_date team_ids timezone
GET /customer/list
  page page_size
GET /v2/model/info
  debug include_team_models model modelId page search size sortBy sortOrder teamId use_stored_params user_models_only
GET /audit
  action changed_by changed_by_api_key end_date object_id page page_size sort_by sort_order start_date table_name
"""


def _fields() -> Iterator[tuple[str, tuple[str, ...]]]:
    for block in re.split(r"\n(?=[A-Z])", _FIELDS.strip()):
        line, *names = block.splitlines()
        method, *paths = line.split()
        yield from ((f"{method} {path}", tuple(" ".join(names).split())) for path in paths)


FIELDS = dict(_fields())
"""What bodies and queries may hold by the contract (1.81 to 1.110), by route. What changes a row may hold all that the
row is read with."""
