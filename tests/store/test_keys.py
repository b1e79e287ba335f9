"""Virtual keys in LiteLLM's tables."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from bursar.access.keys import LitellmKeyForms
from bursar.domain.audit import Action, Actor
from bursar.domain.errors import StoreRefused
from bursar.domain.principals import Role
from bursar.ports.keys import KeyEdit, NewKey
from bursar.store.database import Database, DatabaseOptions
from bursar.store.keys import PostgresKeys

FORMS = LitellmKeyForms()
ME = Actor(user_id="me", api_key="k")


def new_key(plain: str, **changes: object) -> NewKey:
    facts = {"token": FORMS.hash(plain), "key_name": FORMS.abbreviate(plain)}
    return NewKey(**(facts | changes))  # type: ignore[arg-type]


async def test_a_key_is_found_with_all_that_calls_need(database: Database) -> None:
    keys = PostgresKeys(database)
    async with database.connection() as connection:
        await connection.execute(
            """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, blocked, models, metadata, updated_at)
            VALUES ('t1', 'Team', true, '{gpt-4o}',
                '{"tags": ["team"], "spend_logs_metadata": {"a": 1, "b": 1}}', now())"""
        )
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    metadata: dict[str, object] = {"tags": ["key", "team"], "spend_logs_metadata": {"b": 2}}
    row = await keys.insert(
        new_key(
            "sk-plain", key_alias="ci", team_id="t1", user_id="u", models=("m",), expires=expires, metadata=metadata
        ),
        actor=ME,
    )
    assert row is not None
    assert row["expires"] == expires
    assert row["metadata"] == metadata
    found = await keys.find(FORMS.hash("sk-plain"))
    assert found is not None
    assert (found.key_alias, found.user_id, found.team_id, found.team_alias) == ("ci", "u", "t1", "Team")
    assert found.expires_at_s == expires.timestamp()
    assert found.team_blocked
    assert found.role is Role.INTERNAL_USER
    assert found.tags == ("key", "team")
    assert found.models == ("m",)
    assert found.team_models == ("gpt-4o",)
    assert found.spend_logs_metadata == {"a": 1, "b": 2}
    assert await keys.find(FORMS.hash("sk-other")) is None


async def test_an_existing_litellm_key_works_unchanged(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO \"LiteLLM_VerificationToken\" (token, spend) VALUES (encode(sha256($1), 'hex'), 0.25)",
            b"sk-existing",
        )
    found = await PostgresKeys(database).find(FORMS.hash("sk-existing"))
    assert found is not None
    assert found.spend_nano_usd == 250_000_000
    assert found.api_key == hashlib.sha256(b"sk-existing").hexdigest()


async def test_aliases_are_unique_and_keys_too(database: Database) -> None:
    keys = PostgresKeys(database)
    assert await keys.insert(new_key("sk-one", key_alias="a"), actor=ME) is not None
    assert await keys.insert(new_key("sk-two", key_alias="a"), actor=ME) is None
    with pytest.raises(StoreRefused):
        await keys.insert(new_key("sk-one"), actor=ME)


async def test_deleting_moves_the_row(database: Database) -> None:
    keys = PostgresKeys(database)
    await keys.insert(new_key("sk-one", key_alias="a", max_budget=1.5), actor=ME)
    await keys.insert(new_key("sk-two", key_alias="b"), actor=ME)
    await keys.insert(new_key("sk-three"), actor=ME)
    gone = await keys.delete(tokens=[FORMS.hash("sk-one"), FORMS.hash("sk-nobody")], aliases=["b"], actor=ME)
    assert sorted(gone) == sorted([(FORMS.hash("sk-one"), "a"), (FORMS.hash("sk-two"), "b")])
    assert await keys.find(FORMS.hash("sk-one")) is None
    assert await keys.info(FORMS.hash("sk-three")) is not None
    async with database.connection() as connection:
        kept = await connection.fetch(
            """SELECT token, max_budget, deleted_by, deleted_by_api_key
            FROM "LiteLLM_DeletedVerificationToken" ORDER BY key_alias"""
        )
    assert [(r["token"], r["max_budget"], r["deleted_by"], r["deleted_by_api_key"]) for r in kept] == [
        (FORMS.hash("sk-one"), 1.5, "me", "k"),
        (FORMS.hash("sk-two"), None, "me", "k"),
    ]


@pytest.mark.parametrize("kind", ["budget", "organization", "project"])
async def test_what_a_key_names_must_be_there_and_reaches_no_log(database_url: str, kind: str) -> None:
    """Also where the server writes down the details of what a constraint refuses."""
    admin = await asyncpg.connect(database_url)
    await admin.execute(
        f"ALTER DATABASE {await admin.fetchval('SELECT current_database()')} SET log_error_verbosity = 'default'"
    )
    data = await admin.fetchval("SHOW data_directory")
    await admin.close()
    database = Database(DatabaseOptions({"dsn": database_url}))
    keys, named = PostgresKeys(database), {f"{kind}_id": f"sk-canary-of-a-{kind}"}
    with pytest.raises(StoreRefused, match=f"The {kind} that is named does not exist"):
        await keys.insert(new_key("sk-new", **named), actor=ME)
    await keys.insert(new_key("sk-old"), actor=ME)
    with pytest.raises(StoreRefused, match=f"The {kind} that is named does not exist"):
        await keys.change(
            FORMS.hash("sk-old"), KeyEdit(changes=lambda row, place: named), action=Action.UPDATED, actor=ME
        )
    await database.close()
    assert f"canary-of-a-{kind}" not in Path(data).with_name("pg.log").read_text(errors="replace")
