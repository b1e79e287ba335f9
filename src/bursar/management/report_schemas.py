"""JSON schemas of what reports answer, where a type would say no more than this."""

Schema = dict[str, object]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
DATE: Schema = {"type": "string", "description": "A day, in UTC.", "examples": ["2026-01-31"]}
COUNT: Schema = {"type": "integer"}
USD: Schema = {"type": "number", "description": "US dollars."}
MAYBE_USD: Schema = {"type": ["number", "null"], "description": "US dollars."}
ANYTHING: Schema = {"description": "As it was sent or received."}
KEY: Schema = {"type": "string", "description": "A key's hash."}


def record(**members: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": members, "required": list(members)}


def rows(item: Schema) -> Schema:
    """A list of them."""
    return {"type": "array", "items": item}


def by_name(item: Schema, description: str) -> Schema:
    """An object whose members are called as something is."""
    return {"type": "object", "additionalProperties": item, "description": description}


_SPENT_ON = rows(record(model=TEXT, api_key=KEY, spend=USD, total_tokens=COUNT))
_CALLS = {
    "daily_data": rows(record(date=DATE, api_requests=COUNT, total_tokens=COUNT)),
    "sum_api_requests": COUNT,
    "sum_total_tokens": COUNT,
}
_USED = {
    "spend": USD,
    **dict.fromkeys(
        (
            *("prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
            *("successful_requests", "failed_requests", "api_requests", "total_tokens"),
        ),
        COUNT,
    ),
}
_METRICS = record(**_USED)
_BY_KEY = by_name(
    record(metrics=_METRICS, metadata=record(key_alias=MAYBE_TEXT, team_id=MAYBE_TEXT)), "By the keys' hashes."
)
_PART = record(metrics=_METRICS, metadata={"type": "object"}, api_key_breakdown=_BY_KEY)
_SECTIONS = ("models", "model_groups", "providers", "endpoints", "mcp_servers", "entities")

ACTIVITY = record(
    results=rows(
        record(
            date=DATE,
            metrics=_METRICS,
            breakdown=record(**{name: by_name(_PART, f"By {name}.") for name in _SECTIONS}, api_keys=_BY_KEY),
        )
    ),
    metadata=record(
        **{name if name.startswith("total_") else f"total_{name}": schema for name, schema in _USED.items()},
        page=COUNT,
        total_pages=COUNT,
        has_more={"type": "boolean"},
    ),
)
KEYS = rows(
    record(
        token=KEY,
        spend=USD,
        max_budget=MAYBE_USD,
        **dict.fromkeys(("key_name", "key_alias", "user_id", "team_id", "organization_id"), MAYBE_TEXT),
    )
)
USERS = rows(
    record(
        user_id=TEXT,
        spend=USD,
        max_budget=MAYBE_USD,
        budget_duration=MAYBE_TEXT,
        **dict.fromkeys(("user_alias", "user_email", "user_role"), MAYBE_TEXT),
    )
)
TAGS = rows(record(individual_request_tag=MAYBE_TEXT, log_count=COUNT, total_spend=USD))
TAG_SHARES = record(spend_per_tag=rows(record(name=MAYBE_TEXT, spend=USD, log_count=COUNT)))
TAG_NAMES = record(tag_names=rows(TEXT))
TOTAL = record(spend=USD, max_budget=MAYBE_USD)
BY_DAY = rows(record(date=DATE, spend=USD))
BY_KEY = rows(record(api_key=KEY, key_alias=MAYBE_TEXT, key_name=MAYBE_TEXT, total_spend=USD))
BY_MODEL = rows(record(model=TEXT, total_spend=USD))
BY_TEAM = record(
    daily_spend=rows(
        {
            **by_name({"type": ["string", "number"]}, "The `date`, and dollars by the teams' names."),
            "required": ["date"],
        }
    ),
    teams=rows(TEXT),
    total_spend_per_team=rows(record(team_id=TEXT, total_spend=USD)),
)
BY_END_USER = rows(record(end_user=MAYBE_TEXT, total_count=COUNT, total_spend=USD))
BY_PROVIDER = rows(record(provider=TEXT, spend=USD))
CALLS = record(**_CALLS)
CALLS_BY_MODEL = rows(record(model=TEXT, **_CALLS))
REPORT: Schema = {
    "anyOf": [
        rows(
            record(
                group_by_day={"type": "string", "format": "date-time"},
                teams=rows(record(team_name=TEXT, total_spend=USD, metadata=_SPENT_ON)),
            )
        ),
        rows(
            record(
                group_by_day={"type": "string", "format": "date-time"},
                customers=rows(record(customer=TEXT, total_spend=USD, metadata=_SPENT_ON)),
            )
        ),
        rows(
            record(
                api_key=KEY,
                total_cost=USD,
                total_input_tokens=COUNT,
                total_output_tokens=COUNT,
                model_details=rows(
                    record(model=TEXT, total_cost=USD, total_input_tokens=COUNT, total_output_tokens=COUNT)
                ),
            )
        ),
    ]
}
"""By team, by customer, by key."""
DONE = record(message=TEXT, status=TEXT)
LOGS: Schema = {
    "type": "array",
    "items": record(startTime=TEXT, spend=USD),
    "description": "Rows of `LiteLLM_SpendLogs`; or of each day what was spent, by users and models too.",
}
LOG_TEXTS = record(request_id=TEXT, messages=ANYTHING, response=ANYTHING, proxy_server_request=ANYTHING)
