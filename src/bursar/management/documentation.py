"""`/openapi.json` and `/docs`: the API's description, for programs and for people; the page needs nothing else.
`/routes`: what there is at all; `/test`: that anybody answers.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from html import escape

import msgspec

from bursar import __version__
from bursar.management.openapi import Schema, describe
from bursar.management.route import Asked, Plain, Room, Route
from bursar.ports.own_routes import OwnRoute

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details { border: 1px solid #8886; border-radius: 6px; margin: .4rem 0; padding: .3rem .8rem; }
summary { cursor: pointer; }
code { font-family: ui-monospace, monospace; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600; }
.path { font-weight: 600; margin-right: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; border-top: 1px solid #8883; }
:root { color-scheme: light dark; }
"""
_POLICY = f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"


class RouteEntry(msgspec.Struct, kw_only=True):
    """A path that is answered."""

    path: str
    methods: list[str]
    name: str


class Routes(msgspec.Struct, kw_only=True):
    """The answer of `/routes`."""

    routes: list[RouteEntry]


class Tested(msgspec.Struct, kw_only=True):
    """The answer of `/test`."""

    route: str


class Documentation:
    """Describes other rooms, and itself."""

    def __init__(self, rooms: Iterable[Room], others: Sequence[OwnRoute]) -> None:
        """`others`: routes that are no room's."""
        self._rooms = tuple(rooms)
        self._others = others

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="GET",
                path="/openapi.json",
                tag="documentation",
                summary="This API, described in OpenAPI 3.1",
                endpoint=self.openapi,
                answer={"type": "object"},
            ),
            Route(
                method="GET",
                path="/docs",
                tag="documentation",
                summary="The same, as a page to read",
                endpoint=self.docs,
                answer={"type": "string"},
                media_type="text/html",
            ),
            Route(
                method="GET",
                path="/routes",
                tag="documentation",
                summary="All paths that are answered",
                endpoint=self.list_routes,
                answer=Routes,
            ),
            Route(
                method="GET",
                path="/test",
                tag="documentation",
                summary="Answers with its own name",
                endpoint=self.test,
                answer=Tested,
            ),
        )

    async def openapi(self, _: Asked[None, None]) -> Plain:
        """For programs."""
        return Plain(200, [(b"content-type", b"application/json")], self._encoded)

    async def docs(self, _: Asked[None, None]) -> Plain:
        """For people. Runs no scripts and loads nothing."""
        return Plain(200, [(b"content-type", b"text/html; charset=utf-8")], self._page)

    async def list_routes(self, _: Asked[None, None]) -> object:
        """Those of calls to models as well."""
        found: dict[str, RouteEntry] = {}
        routes: list[OwnRoute | Route] = [*self._others, *self._all]
        for route in routes:
            for path in (route.path, *route.aliases):
                entry = found.setdefault(path, RouteEntry(path=path, methods=[], name=route.summary))
                entry.methods.append(route.method)
        return Routes(routes=[found[path] for path in sorted(found)])

    async def test(self, _: Asked[None, None]) -> object:
        """For those who ask whether somebody is there; `/health/readiness` says how we are."""
        return Tested(route="/test")

    @property
    def _all(self) -> list[Route]:
        return [route for room in (*self._rooms, self) for route in room.routes]

    @cached_property
    def _description(self) -> Schema:
        return describe(self._all, self._others, version=__version__)

    @cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(self._description)

    @cached_property
    def _page(self) -> bytes:
        return page(self._description).encode()


def page(description: Schema) -> str:
    """A page that shows an OpenAPI description."""
    components = _schemas(description)
    chapters: dict[str, list[str]] = {}
    for path, methods in _mapping(description["paths"]).items():
        for method, operation in _mapping(methods).items():
            shown = _mapping(operation)
            [tag] = _list(shown["tags"])
            chapters.setdefault(str(tag), []).append(_operation(method, path, shown, components))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in chapters.items())
    info = _mapping(description["info"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bursar: the API</title>'
        f'<meta http-equiv="content-security-policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>Bursar {escape(str(info['version']))}</h1><p>{escape(str(info['description']))} "
        f"Keys go into <code>Authorization: Bearer sk-…</code>. "
        f'For programs: <a href="openapi.json">openapi.json</a>.</p>{body}</body></html>'
    )


def _operation(method: str, path: str, operation: Mapping[str, object], components: Mapping[str, object]) -> str:
    parts = [f"<p>{escape(line)}</p>" for line in str(operation["description"]).split("\n\n")]
    parameters = [_mapping(parameter) for parameter in _list(operation.get("parameters", []))]
    parts.append(
        _table(
            "Parameter",
            [(str(p["name"]), _mapping(p["schema"]), p["required"] is True) for p in parameters],
        )
    )
    if "requestBody" in operation:
        content = _mapping(_mapping(operation["requestBody"])["content"])
        body = _mapping(content["application/json"])
        parts.append(_table("Field of the body", _fields(_resolved(_mapping(body["schema"]), components))))
        if "example" in body:
            parts.append(f"<pre>{escape(msgspec.json.format(msgspec.json.encode(body['example'])).decode())}</pre>")
    for status, response in _mapping(operation["responses"]).items():
        parts.append(f"<p><code>{escape(status)}</code> {escape(str(_mapping(response)['description']))}</p>")
        if status == "200":
            answer = next(iter(_mapping(_mapping(response)["content"]).values()))
            schema = _resolved(_mapping(_mapping(answer)["schema"]), components)
            schema = _resolved(_mapping(schema.get("items", schema)), components)  # of lists, what is in them
            parts.append(_table("Field of the answer", _fields(schema)))
    head = (
        f'<summary><span class="method">{escape(method.upper())}</span><code class="path">{escape(path)}</code>'
        f"{escape(str(operation['summary']))}</summary>"
    )
    return f"<details>{head}{''.join(parts)}</details>"


def _table(head: str, rows: Sequence[tuple[str, Mapping[str, object], bool]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code>{' (required)' if required else ''}</td>"
        f"<td>{escape(_type_words(schema))}</td><td>{escape(_words(schema))}</td></tr>"
        for name, schema, required in rows
    )
    return f"<table><tr><th>{head}</th><th>Type</th><th></th></tr>{cells}</table>"


def _fields(schema: Mapping[str, object]) -> list[tuple[str, Mapping[str, object], bool]]:
    required = _list(schema.get("required", []))
    return [
        (name, _mapping(described), name in required)
        for name, described in _mapping(schema.get("properties", {})).items()
    ]


def _words(schema: Mapping[str, object]) -> str:
    """What is said of a field, wherever in its type."""
    parts = [schema, *(_mapping(part) for part in _list(schema.get("anyOf", [])))]
    described = [str(part["description"]) for part in parts if "description" in part]
    examples = [_shown(value) for part in parts for value in _list(part.get("examples", []))]
    return " ".join([*described, *(["For example: " + ", ".join(examples) + "."] if examples else [])])


def _shown(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _type_words(schema: Mapping[str, object]) -> str:
    """A type in a few words."""
    if "anyOf" in schema:
        return " or ".join(_type_words(_mapping(part)) for part in _list(schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(str(value) or "empty" for value in _list(schema["enum"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    kind = schema.get("type", "anything")
    words = " or ".join(str(part) for part in kind) if isinstance(kind, list) else str(kind)
    return f"{words} of {_type_words(_mapping(schema['items']))}" if "items" in schema else words


def _resolved(schema: Mapping[str, object], components: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(components[_type_words(schema)]) if "$ref" in schema else schema


def _schemas(description: Schema) -> Mapping[str, object]:
    return _mapping(_mapping(description["components"])["schemas"])


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping), "OpenAPI has an object here"
    return value


def _list(value: object) -> list[object]:
    assert isinstance(value, list), "OpenAPI has an array here"
    return value
