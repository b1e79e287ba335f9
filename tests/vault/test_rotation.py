"""Sealing everything anew: complete, harmless when interrupted, and of no effect when it is done."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bursar.domain.audit import Actor
from bursar.domain.errors import SecretUnreadable
from bursar.domain.secrets import Secret
from bursar.domain.stored_secrets import change_credential, change_parameters, open_parameters, seal_setting
from bursar.ports.audits import AuditFilter
from bursar.ports.models import NewCredential, NewModel
from bursar.secret_rotation import begin_new_key, forget_old_key, rotate
from bursar.store.audit_log import PostgresAuditLog
from bursar.store.credentials import PostgresCredentials
from bursar.store.database import Database, DatabaseOptions
from bursar.store.models import PostgresModels
from bursar.store.sealed_rows import SealedRow, SealedRows, Values
from bursar.store.settings import PostgresSettings
from bursar.vault.vault import Vault
from tests.vault.test_vault import gcm, secret_box

ACTOR = Actor(api_key="test")
OLD, NEW = Secret("the-old-salt-0123456789"), Secret("the-new-salt-0123456789")
PARAMETERS = {"model": "openai/gpt-4o", "api_key": "sk-canary", "extra_headers": {"x": "canary"}, "rpm": 3}
MODELS = 5


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions({"dsn": database_url}))
    yield database
    await database.close()


@pytest.fixture
async def furnished(database: Database) -> Database:
    """Models, a credential and settings, sealed with the old key; two models of LiteLLM's."""
    old = Vault(OLD)
    models = PostgresModels(database)
    for n in range(MODELS):
        await models.insert(model(f"m{n}", change_parameters(PARAMETERS, f"m{n}", old.seal)), actor=ACTOR)
    litellm = {"model": "openai/gpt-4o", "api_key": "sk-canary"}
    for name, cipher in (("box", secret_box), ("gcm", lambda text, salt: gcm(text, salt, 3))):
        await models.insert(
            model(name, {key: cipher(value, OLD.reveal()) for key, value in litellm.items()}), actor=ACTOR
        )
    values = change_credential({"api_key": "sk-canary"}, "c", old.seal)
    await PostgresCredentials(database).insert(NewCredential(name="c", values=values, info={}), actor=ACTOR)
    sealed = seal_setting({"cache_params": {"password": "canary"}, "timezone": "UTC"}, "litellm_settings", old.seal)
    assert isinstance(sealed, dict)
    await PostgresSettings(database).update("litellm_settings", lambda _: sealed, actor=ACTOR)
    return database


def model(name: str, parameters: dict[str, Any]) -> NewModel:
    return NewModel(model_id=name, model_name=name, litellm_params=parameters, model_info={})


def nothing(_done: int, _rows: int) -> None:
    pass


async def check_all_new(database: Database) -> None:
    """The new key alone opens everything."""
    vault = Vault(NEW)
    setup = await PostgresModels(database).setup()
    assert len(setup.models) == MODELS + 2
    for row in setup.models:
        parameters = row["litellm_params"]
        assert isinstance(parameters, dict)
        opened = open_parameters(parameters, str(row["model_id"]), vault.open)
        assert opened["model"] == "openai/gpt-4o"
        assert opened["api_key"] == "sk-canary"
        assert vault.is_current(parameters["api_key"])
    (credential,) = setup.credentials
    assert isinstance(credential["credential_values"], dict)
    assert change_credential(credential["credential_values"], "c", vault.open) == {"api_key": "sk-canary"}
    assert setup.settings["litellm_settings"]["timezone"] == "UTC"
    assert "canary" not in str(setup)


async def check_on_record(database: Database) -> None:
    """Each row once: who, and nothing of what is in it."""
    wanted = AuditFilter(action="rotated")
    page = await PostgresAuditLog(database).page(wanted, limit=100, offset=0)
    assert page.total == MODELS + 4
    assert {(row["object_id"], row["changed_by"], row["before_value"], row["updated_values"]) for row in page.rows} == {
        (name, "test", None, None)
        for name in ("c", "box", "gcm", "litellm_settings", *(f"m{n}" for n in range(MODELS)))
    }


async def test_everything_is_sealed_anew_once(furnished: Database) -> None:
    vault = Vault(NEW, others=[OLD])
    steps: list[tuple[int, int]] = []
    first = await rotate(SealedRows(furnished, ACTOR), vault, lambda done, rows: steps.append((done, rows)))
    assert (first.rows, first.sealed, first.unreadable) == (MODELS + 4, MODELS + 4, ())
    assert steps == [(n, first.rows) for n in range(first.rows + 1)]
    await check_on_record(furnished)
    await check_all_new(furnished)
    before = await PostgresModels(furnished).fingerprint()
    again = await rotate(SealedRows(furnished, ACTOR), vault, nothing)
    assert (again.rows, again.sealed) == (first.rows, 0)
    assert await PostgresModels(furnished).fingerprint() == before
    await check_on_record(furnished)


@pytest.mark.parametrize("at", range(MODELS + 4))
async def test_interrupted_anywhere_it_goes_on(furnished: Database, at: int) -> None:
    vault = Vault(NEW, others=[OLD])

    def interrupted(done: int, _rows: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotate(SealedRows(furnished, ACTOR), vault, interrupted)
    found = await rotate(SealedRows(furnished, ACTOR), vault, nothing)
    assert found.sealed == found.rows - at
    await check_all_new(furnished)


class Damaging(Vault):
    """Seals so that nothing opens."""

    def seal(self, text: str, place: str) -> str:
        return super().seal(text, place + "elsewhere")


async def test_what_does_not_open_again_is_not_kept(furnished: Database) -> None:
    before = await PostgresModels(furnished).fingerprint()
    found = await rotate(SealedRows(furnished, ACTOR), Damaging(NEW, others=[OLD]), nothing)
    assert len(found.unreadable) == found.rows
    assert await PostgresModels(furnished).fingerprint() == before
    assert (await PostgresAuditLog(furnished).page(AuditFilter(action="rotated"), limit=1, offset=0)).total == 0


async def test_what_nobody_can_open_stays_and_is_told(furnished: Database) -> None:
    before = await PostgresModels(furnished).fingerprint()
    found = await rotate(SealedRows(furnished, ACTOR), Vault(NEW), nothing)
    assert (len(found.unreadable), found.sealed) == (MODELS + 4, 0)
    assert "canary" not in str(found)
    assert all("LITELLM_SALT_KEY" in reason for reason in found.unreadable)
    assert before == await PostgresModels(furnished).fingerprint()
    found = await rotate(SealedRows(furnished, ACTOR), Vault(OLD), nothing)
    assert (found.unreadable, found.sealed) == ((), 2), "LiteLLM's are ours now"


async def test_a_row_that_is_gone(furnished: Database) -> None:
    def never(_values: Values) -> Values:
        raise AssertionError

    for table in ("LiteLLM_ProxyModelTable", "LiteLLM_CredentialsTable", "LiteLLM_Config"):
        assert not await SealedRows(furnished, ACTOR).change(SealedRow(table, "gone"), never, lambda _: None)


def test_a_new_key_never_loses_the_old_one(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert begin_new_key(tmp_path)
    (keys / "salt_key_old").unlink(missing_ok=True)
    first = (keys / "salt_key").read_text()
    assert begin_new_key(tmp_path)
    second = (keys / "salt_key").read_text()
    assert (keys / "salt_key_old").read_text() == first != second
    assert not begin_new_key(tmp_path), "the rotation before has not ended"
    (keys / "salt_key").write_text(first)  # interrupted between keeping the old and making the new
    assert begin_new_key(tmp_path)
    assert (keys / "salt_key_old").read_text() == first
    assert (keys / "salt_key").stat().st_mode & 0o777 == 0o600
    forget_old_key(tmp_path)
    assert not (keys / "salt_key_old").exists()


def test_the_error_of_another_key_holds_no_secret() -> None:
    sealed = change_parameters(PARAMETERS, "m", Vault(OLD).seal)
    with pytest.raises(SecretUnreadable) as refused:
        open_parameters(sealed, "m", Vault(NEW).open)
    assert "canary" not in str(refused.value)
