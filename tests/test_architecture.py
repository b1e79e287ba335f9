"""The rules of the house that a machine can check, each with its reason."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "bursar"
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
    if "migrations" not in path.parts
}
COMPOSITION = {
    "bursar.main",
    "bursar.worker",
    "bursar.worker_settings",
    "bursar.process_memory",
    "bursar.book_keeping",
    "bursar.model_setup",
    "bursar.live_models",
    "bursar.secret_rotation",
    "bursar.management_setup",
    "bursar.database_setup",
    "bursar.cli",
    "bursar.__main__",
    *(module for module in MODULES if module.startswith(("bursar.administration", "bursar.commands"))),
}
"""The modules that know every room."""
SHARED = {"bursar", "bursar.ports", "bursar.tasks", "bursar.domain", "bursar.wire"}
"""What every room may use, beside itself."""
ANY_ALLOWED = {
    "bursar.store": "asyncpg is not typed",
    "bursar.main": "asyncpg's connection, handed from the store to its migrations",
    "bursar.wire": "JSON of callers and providers, narrowed where it is decoded",
    "bursar.providers": "JSON of callers, narrowed where it is decoded",
    "bursar.config": "YAML",
    "bursar.oracle": "JSON of callers",
    "bursar.prices.building": "the sources' JSON",
    "bursar.sdk.litellm_callback": "LiteLLM's objects, handed on as they are",
    "bursar.sdk.redis_buffer": "redis-py's answers are typed as anything",
}


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports_of(module: str) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bursar"):
            for alias in node.names:
                named = f"{node.module}.{alias.name}"
                yield (named if named in MODULES else node.module), node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("bursar"):
                    yield alias.name, node


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 60


@pytest.mark.parametrize("module", sorted(set(MODULES) - COMPOSITION))
def test_rooms_do_not_import_each_other(module: str) -> None:
    """They meet in the composition root through ports, so that each can be understood and tested alone."""
    own = room_of(module)
    foreign = [
        name
        for name, _ in imports_of(module)
        if room_of(name) != own and name not in SHARED and room_of(name) not in SHARED
    ]
    if own == "bursar.oracle":  # a program of its own, which serves with our server as the gateway does
        foreign = [name for name in foreign if room_of(name) != "bursar.server"]
    if own == "bursar.sdk":  # part of other people's programs, where it composes the books: without the gateway
        composed = {"bursar.config", "bursar.data_directory", "bursar.database_setup"}
        composed |= {"bursar.ledger", "bursar.prices", "bursar.store"}
        foreign = [name for name in foreign if room_of(name) not in composed]
    assert foreign == []


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room_of(m) == "bursar.domain"))
def test_the_domain_decides_and_does_nothing(module: str) -> None:
    """No await, no clock, no I/O: facts come in, so that every decision can be tested as a function."""
    banned = {"asyncio", "time", "os", "pathlib", "socket", "logging", "random", "io", "sys", "threading", "json"}
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & banned
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module.split(".")[0]} & banned
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            found.add("await")
    assert found == set()
    outward = [name for name, _ in imports_of(module) if room_of(name) != "bursar.domain"]
    assert outward == [], "the domain imports nothing but itself"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if room_of(m) == "bursar.wire"))
def test_wire_knows_no_sockets(module: str) -> None:
    """Bytes to records and back: a dialect can be tested on recorded bytes."""
    outward = [name for name, _ in imports_of(module) if room_of(name) not in ("bursar.wire", "bursar.domain")]
    assert outward == []
    assert not re.search(r"^import (asyncio|socket|os)$", MODULES[module].read_text(), re.MULTILINE)


def test_no_import_cycles() -> None:
    """A cycle is one module that does not know where it ends."""
    graph: dict[str, set[str]] = defaultdict(set)
    for module in MODULES:
        graph[module] = {name for name, _ in imports_of(module) if name in MODULES and name != module}
    state: dict[str, int] = {}
    trail: list[str] = []

    def visit(module: str) -> None:
        state[module] = 1
        trail.append(module)
        for other in sorted(graph[module]):
            assert state.get(other) != 1, "cycle: " + " -> ".join([*trail[trail.index(other) :], other])
            if other not in state:
                visit(other)
        trail.pop()
        state[module] = 2

    for module in MODULES:
        if module not in state:
            visit(module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_any_stops_at_the_adapters(module: str) -> None:
    """`Any` switches the type checker off for everything it touches."""
    if any(module == allowed or module.startswith(f"{allowed}.") for allowed in ANY_ALLOWED):
        return
    used = [
        node.lineno
        for node in ast.walk(tree_of(module))
        if (isinstance(node, ast.Name) and node.id == "Any") or (isinstance(node, ast.Attribute) and node.attr == "Any")
    ]
    assert used == []


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"bursar.tasks"}))
def test_every_task_has_an_owner(module: str) -> None:
    """A task nobody holds can vanish in mid-flight, and one nobody awaits fails in silence."""
    found = []
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            on = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if name in ("create_task", "ensure_future") and on not in ("group", "tasks"):
                found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
    allowed = {"bursar.worker": 2}  # awaited in the same function
    assert len(found) <= allowed.get(module, 0), found


SQL_CALLS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "cursor", "prepare", "read_row"}
PASSED_ON = {
    ("bursar.store.migrate", "sql"),
    ("bursar.store.database", "query"),
    ("bursar.store.audit", "statement"),
    ("bursar.store.adopt", "statement"),
}
"""Statements that come from elsewhere: from a file, from callers of `read_row`, who are looked at as well, from a list
of names, or from a migration."""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_sql_is_never_made_of_strings(module: str) -> None:
    """Statements come from named .sql files, values are bound: then no caller's text can become SQL."""
    glued = []
    for node in ast.walk(tree_of(module)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SQL_CALLS):
            continue
        if not node.args:
            continue
        statement = ast.unparse(node.args[0])
        named = re.fullmatch(r"(_SQL|sql)\[['\"]\w+['\"]\]|load_named_sql\(['\"]\w+['\"]\)\[['\"]\w+['\"]\]", statement)
        if named is None and (module, statement) not in PASSED_ON:
            glued.append(f"line {node.lineno}: {statement}")
    assert glued == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_sql_words_stand_in_sql_files_only(module: str) -> None:
    """Also no statement that is merely kept in a string."""
    pattern = re.compile(r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM)\b", re.DOTALL)
    tree = tree_of(module)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and pattern.search(node.value)
    ]
    assert found == []


def test_no_code_from_text() -> None:
    """eval, exec, pickle, shells and loaders that make objects have no place in a gateway."""
    banned = re.compile(r"\b(eval|exec)\(|\bimport pickle\b|shell=True|yaml\.(load|unsafe_load|full_load)\(")
    allowed = {"bursar.config.yaml_text"}  # yaml.load with a loader that makes plain values only
    found = {
        m: match[0] for m, path in MODULES.items() if (match := banned.search(path.read_text())) and m not in allowed
    }
    assert found == {}
