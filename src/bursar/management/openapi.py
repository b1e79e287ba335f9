"""The API's description (OpenAPI 3.1), made of the routes and the types that decode them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus

import msgspec

from bursar.domain.authority import Permission, permission
from bursar.management.examples import example_of
from bursar.management.route import Route
from bursar.ports.own_routes import OwnRoute

Schema = dict[str, object]

COMMON_ERRORS = (400, 405, 413, 422, 503)
"""What every route may answer."""
_WITH_KEY = (401, 403)

_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"], "description": "The status, as text."},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
    "examples": [
        {"error": {"message": "Key not found in database", "type": "not_found_error", "param": None, "code": "404"}}
    ],
}
_FIELD_ERRORS: Schema = {
    "type": "object",
    "properties": {
        "detail": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "input": {},
                },
                "required": ["type", "loc", "msg", "input"],
            },
        }
    },
    "required": ["detail"],
    "examples": [{"detail": [{"type": "missing", "loc": ["body", "team_id"], "msg": "Field required", "input": None}]}],
}
_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")


def describe(routes: Iterable[Route], others: Sequence[OwnRoute] = (), *, version: str) -> Schema:
    """The description of `routes`, and of `others` that the gateway answers itself.

    Raises ValueError: one is not in the table of permissions.
    """
    routes = list(routes)
    types = {kind for route in routes for kind in (route.body, route.query, _type_of(route.answer)) if kind is not None}
    ordered = sorted(types, key=lambda kind: kind.__qualname__)
    schemas, components = msgspec.json.schema_components(ordered, schema_hook=_schema_of, ref_template=_REFERENCE)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        row = permission(route.method, route.path)
        if row is None:
            raise ValueError(f"{route.method} {route.path} is not in the table of permissions")
        for path in (route.path, *route.aliases):
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, row, path, by_type, components)
    for other in others:
        for path in (other.path, *other.aliases):
            paths.setdefault(path, {})[other.method.lower()] = _own_operation(other, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bursar",
            "version": version,
            "description": "Calls to models; keys, who owns them, what they may spend and have spent.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The master key, or a virtual key whose user may do this.",
                }
            },
            "schemas": {**components, "Error": _ERROR, "FieldErrors": _FIELD_ERRORS},
        },
    }


def _operation(
    route: Route,
    row: Permission,
    path: str,
    schemas: Mapping[type, Schema],
    components: Mapping[str, Schema],
) -> Schema:
    found: Schema = {
        "operationId": _id(route.method, path),
        "tags": [route.tag],
        "summary": route.summary,
        "description": _description(route, row),
        "responses": _responses(route, row, schemas),
    }
    parameters = _path_parameters(path)
    if route.query is not None:
        parameters += _query_parameters(_component(schemas[route.query], components))
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        content = {"schema": schemas[route.body], "example": example_of(schemas[route.body], components)}
        kinds = ("application/json", "application/x-www-form-urlencoded") if route.form else ("application/json",)
        required = bool(_component(schemas[route.body], components).get("required"))
        found["requestBody"] = {"required": required, "content": dict.fromkeys(kinds, content)}
    if row.public:
        found["security"] = []
    return found


def _own_operation(route: OwnRoute, path: str) -> Schema:
    found: Schema = {
        "operationId": _id(route.method, path),
        "tags": [route.tag],
        "summary": route.summary,
        "description": f"{route.description}\n\n{'Open to all.' if route.public else 'Every key may.'}",
        "responses": {
            "200": {
                "description": "OK",
                "content": {kind: {"schema": schema} for kind, schema in route.answers.items()},
            },
            **{str(status): _error(status, "Error") for status in route.errors},
        },
    }
    parameters = [
        *_path_parameters(path),
        *({"name": name, "in": "query", "required": False, "schema": of} for name, of in route.query.items()),
    ]
    if parameters:
        found["parameters"] = parameters
    if route.body is not None:
        content = {"schema": route.body, "example": route.example}
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    if route.public:
        found["security"] = []
    return found


def _id(method: str, path: str) -> str:
    return f"{method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', path)}".rstrip("_")


def _path_parameters(path: str) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(path)
    ]


def _schema_of(kind: type) -> Schema:
    """Of what msgspec has no schema for: `object` is anything."""
    if kind is object:
        return {"type": ["object", "array", "string", "number", "boolean", "null"]}  # msgspec takes no empty schema
    raise NotImplementedError(f"no schema for {kind}")  # how msgspec is told that a hook does not know a type


def _component(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """What a reference stands for; two types of one name have longer ones."""
    return components[str(schema["$ref"]).rsplit("/", 1)[-1]]


def _description(route: Route, row: Permission) -> str:
    """The endpoint's own words, and who may."""
    words = (route.endpoint.__doc__ or "").strip()
    if row.public:
        who = "Open to all."
    elif row.master_only:
        who = "With the master key alone."
    else:
        who = "Who may, and how far: " + ", ".join(
            f"{role.value} ({reach.value})" for role, reach in row.rights.items() if reach.value != "none"
        )
        who += "."
    return f"{words}\n\n{who}".strip()


def _query_parameters(schema: Schema) -> list[Schema]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _as_written(described)}
        for name, described in properties.items()
    ]


def _as_written(schema: Schema) -> Schema:
    """A list of texts may be written as one, with commas; of other values each is checked. A choice that may be left
    out may be empty."""
    kinds = schema.get("anyOf", [schema])
    assert isinstance(kinds, list)
    more: Schema
    if any(kind.get("items") == {"type": "string"} for kind in kinds):
        more = {"type": "string", "description": "Several are parted by commas."}
    elif {"type": "null"} in kinds and any("enum" in kind for kind in kinds):
        more = {"enum": [""]}
    else:
        return schema
    about = {name: value for name, value in schema.items() if name in ("default", "description")}
    others = [{name: value for name, value in kind.items() if name not in about} for kind in kinds]
    return {"anyOf": [*others, more], **about}


def _responses(route: Route, row: Permission, schemas: Mapping[type, Schema]) -> Schema:
    answer = route.answer
    schema = schemas[answer] if isinstance(answer, type) else dict(answer or {})
    found: Schema = {"200": {"description": "OK", "content": {route.media_type: {"schema": schema}}}}
    for status in sorted({*COMMON_ERRORS, *(() if row.public else _WITH_KEY), *route.errors}):
        named = "FieldErrors" if status == HTTPStatus.UNPROCESSABLE_ENTITY else "Error"
        found[str(status)] = _error(status, named)
    return found


def _error(status: int, named: str) -> Schema:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(name=named)}}},
    }


def _type_of(answer: type | Mapping[str, object] | None) -> type | None:
    return answer if isinstance(answer, type) else None
