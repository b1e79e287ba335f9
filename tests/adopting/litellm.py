"""A LiteLLM proxy's database, as one finds it after it has served for a while: somebody of each kind has spent 7.50 USD
of 10 USD."""

import hashlib
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_SCHEMA = (_HERE / "litellm_schema.sql").read_text(encoding="utf-8")
_ROWS = (_HERE / "litellm_rows.sql").read_text(encoding="utf-8")

KEYS = {
    name: f"sk-litellm-{name}-0123456789abcdef"
    for name in (
        "own",
        "shared",
        "ever",
        "stale",
        "user",
        "team",
        "member",
        "organization",
        "free",
        "blocked",
        "expired",
    )
}
"""Virtual keys by what their budget is of; their hashes are in the table."""


def hash_of(name: str) -> str:
    """As LiteLLM stores the key called `name`."""
    return hashlib.sha256(KEYS[name].encode()).hexdigest()


async def make_litellm_database(connection: Any) -> None:
    """LiteLLM's tables, with a small company in them."""
    await connection.execute(_SCHEMA)
    rows = _ROWS
    for name in KEYS:
        rows = rows.replace(f"<{name}>", hash_of(name))
    await connection.execute(rows)


async def fingerprint(connection: Any, *, rows: bool = True) -> dict[str, str]:
    """Everything that is LiteLLM's: its objects as the catalog has them and, unless not `rows`, each table's rows."""
    found = {
        name: await connection.fetchval(query)
        for name, query in {
            "columns": "SELECT string_agg(c::text, E'\n' ORDER BY c::text) FROM ("
            "SELECT table_name, column_name, ordinal_position, data_type, column_default, is_nullable "
            "FROM information_schema.columns WHERE table_schema = 'public') AS c",
            "indexes": "SELECT string_agg(indexdef, E'\n' ORDER BY indexdef) FROM pg_indexes "
            "WHERE schemaname = 'public'",
            "constraints": "SELECT string_agg(conrelid::regclass || ' ' || pg_get_constraintdef(oid), E'\n' "
            "ORDER BY conrelid::regclass::text, conname) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace",
            "triggers": "SELECT count(*)::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid "
            "WHERE c.relnamespace = 'public'::regnamespace",
            "functions": "SELECT coalesce(string_agg(oid::regprocedure::text, E'\n' ORDER BY oid), '') FROM pg_proc "
            "WHERE pronamespace = 'public'::regnamespace",
            "views": "SELECT string_agg(definition, E'\n' ORDER BY viewname) FROM pg_views WHERE schemaname = 'public'",
            "settings": "SELECT coalesce(string_agg(setconfig::text, ' '), '') FROM pg_db_role_setting AS s "
            "JOIN pg_database AS d ON d.oid = s.setdatabase WHERE d.datname = current_database()",
        }.items()
    }
    if rows:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for row in tables:
            name = row["tablename"]
            found[name] = await connection.fetchval(
                f"SELECT coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM \"{name}\" AS t"
            )
    return found
