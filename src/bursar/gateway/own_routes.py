"""What the gateway answers itself, as the documentation of the API shows it. `gateway.paths` leads there."""

from bursar.ports.own_routes import OwnRoute, Schema

_JSON = "application/json"
_CALLS = "calls"
_STATE = "state of the gateway"
_KEY_REFUSED = (401, 403)
_MODEL: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
    "required": ["id", "object", "created", "owned_by"],
}
_CHAT: Schema = {
    "type": "object",
    "properties": {
        "model": {"type": "string", "description": "One of `/v1/models`; it may stand in the path instead."},
        "messages": {"type": "array", "items": {"type": "object"}},
        "stream": {"type": "boolean"},
        "max_completion_tokens": {"type": "integer"},
        "user": {"type": "string", "description": "The customer it is for."},
        "metadata": {"type": "object", "description": "Kept with the call's row, secrets masked."},
    },
    "required": ["messages"],
}
_COMPLETION: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string"},
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object"}},
        "usage": {"type": "object"},
    },
}
_PROBED: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "model_group": {"type": "string"},
            "model_id": {"type": "string"},
            "api_base": {"type": "string", "description": "For administrators."},
            "error": {"type": "string", "description": "Why it is not healthy."},
        },
        "required": ["model", "model_group", "model_id"],
    },
}

OWN_ROUTES = (
    OwnRoute(
        method="POST",
        path="/v1/chat/completions",
        aliases=(
            "/chat/completions",
            "/openai/deployments/{model}/chat/completions",
            "/engines/{model}/chat/completions",
        ),
        tag=_CALLS,
        summary="Have a model answer",
        description="As OpenAI has it. What else the model's provider takes goes there as it is.",
        body=_CHAT,
        example={"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]},
        answers={
            _JSON: _COMPLETION,
            "text/event-stream": {"type": "string", "description": "With `stream`: chunks, and [DONE]."},
        },
        errors=(400, *_KEY_REFUSED, 404, 405, 408, 413, 422, 429, 500, 501, 502, 503, 504),
    ),
    OwnRoute(
        method="GET",
        path="/v1/models",
        aliases=("/models",),
        tag=_CALLS,
        summary="What the key may call",
        description="`return_wildcard_routes=true` shows wildcards too, and `include_model_access_groups=true` the "
        "access groups that its lists of models name; `only_model_access_groups=true` shows nothing else.",
        query={
            "return_wildcard_routes": {"type": "string"},
            "include_model_access_groups": {"type": "string"},
            "only_model_access_groups": {"type": "string"},
        },
        answers={
            _JSON: {
                "type": "object",
                "properties": {"data": {"type": "array", "items": _MODEL}, "object": {"type": "string"}},
                "required": ["data", "object"],
            }
        },
        errors=(*_KEY_REFUSED, 405, 503),
    ),
    OwnRoute(
        method="GET",
        path="/v1/models/{model}",
        aliases=("/models/{model}",),
        tag=_CALLS,
        summary="Look at one of them",
        description="Whom it is not for does not learn whether it exists.",
        answers={_JSON: _MODEL},
        errors=(400, *_KEY_REFUSED, 404, 405, 501, 503),
    ),
    OwnRoute(
        method="GET",
        path="/health",
        tag=_STATE,
        summary="Ask each deployment for one token",
        description="Those that the key may use; each is a call like any other. Without a key: whether we serve.",
        query={"model": {"type": "string"}, "model_id": {"type": "string"}},
        answers={
            _JSON: {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "healthy_endpoints": _PROBED,
                            "unhealthy_endpoints": _PROBED,
                            "healthy_count": {"type": "integer"},
                            "unhealthy_count": {"type": "integer"},
                        },
                        "required": ["healthy_endpoints", "unhealthy_endpoints", "healthy_count", "unhealthy_count"],
                    },
                    {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]},
                ]
            }
        },
        errors=(*_KEY_REFUSED, 405, 503),
    ),
    OwnRoute(
        method="GET",
        path="/health/liveliness",
        aliases=("/health/liveness",),
        tag=_STATE,
        summary="Whether the process serves",
        description="While it does.",
        public=True,
        answers={_JSON: {"type": "string"}},
        errors=(405,),
    ),
    OwnRoute(
        method="GET",
        path="/health/readiness",
        tag=_STATE,
        summary="Whether calls can be taken",
        description="503 while shutting down, and while calls cannot be recorded.",
        public=True,
        answers={
            _JSON: {
                "type": "object",
                "properties": {"status": {"type": "string"}, "db": {"type": "string"}},
                "required": ["status"],
            }
        },
        errors=(405, 503),
    ),
    OwnRoute(
        method="GET",
        path="/metrics",
        tag=_STATE,
        summary="What Prometheus scrapes",
        description="Without a key where only this machine reaches us, or the configuration says so.",
        answers={"text/plain": {"type": "string"}},
        errors=(*_KEY_REFUSED, 405, 503),
    ),
)
"""In the order of the documentation."""
