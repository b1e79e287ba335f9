"""Examples of bodies: what fields of some name may hold, and which of them make up a request that works.

A body's example has all that it must have, and of what it may have the telling fields that are named here. What the
field's own type says (`examples`) goes before what stands here.
"""

from collections.abc import Mapping

Schema = Mapping[str, object]

_BY_NAME: Mapping[str, object] = {
    "alias": "Ada's company",
    "budget_duration": "30d",
    "budgets": ["per-customer"],
    "credential_values": {"api_key": "…", "api_base": "https://example.openai.azure.com"},
    "description": "The nightly evaluation",
    "endTime": "2026-01-31",
    "id": "per-customer",
    "key": "sk-evaluation-0123456789",
    "keys": ["sk-evaluation-0123456789"],
    "key_alias": "ci-bot",
    "litellm_settings": {"request_timeout": 60},
    "max_budget": 10.0,
    "max_budget_in_organization": 5.0,
    "max_budget_in_team": 5.0,
    "messages": [{"role": "user", "content": "Hello"}],
    "model": "gpt-4o",
    "model_info": {"id": "gpt-4o-eu"},
    "model_name": "gpt-4o",
    "models": ["gpt-4o"],
    "name": "nightly",
    "names": ["nightly"],
    "organization_alias": "Research",
    "organization_ids": ["research"],
    "reset_to": 0.0,
    "role": "user",
    "rpm_limit": 100,
    "startTime": "2026-01-01",
    "team_alias": "Evaluation",
    "team_id": "evaluation",
    "team_ids": ["evaluation"],
    "user_alias": "Ada",
    "user_id": "ada",
    "user_ids": ["ada"],
    "user_role": "internal_user",
}
_WHERE_REQUIRED: Mapping[str, object] = {
    "budget_id": "per-customer",
    "organization_id": "research",
    "organizations": ["research"],
    "password": "correct horse battery staple",
    "team_member_permissions": ["/key/info", "/key/list"],
    "username": "ada@example.com",
}
"""Beside others they would be one thing too many."""


def example_of(schema: Schema, components: Mapping[str, Schema]) -> dict[str, object]:
    """An example of a body whose schema this is."""
    whole = _resolved(schema, components)
    properties, required = whole.get("properties"), whole.get("required", ())
    assert isinstance(properties, Mapping), "a body is an object"
    assert isinstance(required, list | tuple)
    return {
        name: _value(name, described, components)
        for name, described in properties.items()
        if name in required or name in _BY_NAME or _holds(described, components)
    }


def _value(name: str, schema: Schema, components: Mapping[str, Schema]) -> object:
    for kind in _kinds(schema):
        if (examples := kind.get("examples")) and isinstance(examples, list):
            return examples[0]
    for kind in _kinds(schema):
        whole = _resolved(kind, components)
        if "properties" in whole:
            return example_of(whole, components)
        items = whole.get("items")
        if isinstance(items, Mapping) and "properties" in _resolved(items, components):
            return [example_of(items, components)]
        choices = whole.get("enum")
        if isinstance(choices, list):
            return _BY_NAME[name] if _BY_NAME.get(name) in choices else choices[0]
    return _BY_NAME[name] if name in _BY_NAME else _WHERE_REQUIRED[name]


def _holds(schema: Schema, components: Mapping[str, Schema]) -> bool:
    """It is a list of objects of ours."""
    items = [kind["items"] for kind in _kinds(schema) if isinstance(kind.get("items"), Mapping)]
    return any("properties" in _resolved(item, components) for item in items if isinstance(item, Mapping))


def _kinds(schema: Schema) -> list[Schema]:
    """What it may be."""
    kinds = schema.get("anyOf", [schema])
    assert isinstance(kinds, list)
    return [schema, *kinds]


def _resolved(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    return components[str(schema["$ref"]).rsplit("/", 1)[-1]] if "$ref" in schema else schema
