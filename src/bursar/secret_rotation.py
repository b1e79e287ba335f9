"""`bursar secrets rotate`: everything that is sealed, sealed anew with the present key. Part of the composition.

Each row is one transaction: opened with whichever key it has, sealed, written, read back and opened again before it is
committed. A rotation that is interrupted goes on where it was: rows that are done are left as they are. LiteLLM's
ciphertexts are taken along.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bursar.data_directory import DataDirectory
from bursar.domain.audit import Actor
from bursar.domain.errors import SecretUnreadable
from bursar.domain.principals import MASTER_KEY_NAME
from bursar.domain.stored_secrets import (
    CREDENTIALS,
    MODELS,
    change_credential,
    change_parameters,
    is_public,
    open_parameters,
    open_setting,
    seal_setting,
)
from bursar.main import SALT_KEY, SALT_KEY_OLD, Books
from bursar.ports.models import SecretVault
from bursar.store.database import Database
from bursar.store.sealed_rows import SealedRow, SealedRows, Values

Progress = Callable[[int, int], None]
"""Rows done, rows in all."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """How it came out."""

    rows: int
    sealed: int
    """Of them, those that were not yet sealed with the present key."""
    unreadable: tuple[str, ...]
    """Those that no key at hand opens, with the reason; they stay as they are."""


def rotate_secrets(books: Books, vault: SecretVault, progress: Progress, *, name: str) -> Rotation:
    """Seal everything with the vault's present key. `name`: who does it, for the log of changes. Raises StoreError."""

    async def run() -> Rotation:
        database = Database(books.options)
        actor = Actor(api_key=MASTER_KEY_NAME, on_behalf_of=name)
        try:
            return await rotate(SealedRows(database, actor), vault, progress)
        finally:
            await database.close()

    return asyncio.run(run())


async def rotate(rows: SealedRows, vault: SecretVault, progress: Progress) -> Rotation:
    """See `rotate_secrets`."""
    found = await rows.all()
    sealed = 0
    unreadable: list[str] = []
    for done, row in enumerate(found):
        progress(done, len(found))
        try:
            sealed += await _seal_anew(rows, row, vault)
        except SecretUnreadable as error:
            unreadable.append(f"{row.table} {row.id}: {error}")
    progress(len(found), len(found))
    return Rotation(rows=len(found), sealed=sealed, unreadable=tuple(unreadable))


async def _seal_anew(rows: SealedRows, row: SealedRow, vault: SecretVault) -> bool:
    opened: Values = {}

    def change(stored: Values) -> Values | None:
        opened.update(_opened(row, stored, vault))
        return None if _is_current(row, stored, opened, vault) else _sealed(row, opened, vault)

    def verify(stored: Values) -> None:
        if _opened(row, stored, vault) != opened:
            raise SecretUnreadable("what was written does not read as what was there before; nothing was changed")

    return await rows.change(row, change, verify)


def _opened(row: SealedRow, stored: Values, vault: SecretVault) -> Values:
    if row.table == MODELS:
        return open_parameters(stored, row.id, vault.open)
    if row.table == CREDENTIALS:
        return change_credential(stored, row.id, vault.open)
    return _mapping(open_setting(stored, row.id, vault.open))


def _sealed(row: SealedRow, opened: Values, vault: SecretVault) -> Values:
    if row.table == MODELS:
        return change_parameters(opened, row.id, vault.seal)
    if row.table == CREDENTIALS:
        return change_credential(opened, row.id, vault.seal)
    return _mapping(seal_setting(opened, row.id, vault.seal))


def _is_current(row: SealedRow, stored: Values, opened: Values, vault: SecretVault) -> bool:
    """Nothing would change but the nonces. Raises SecretUnreadable: a secret that may be a ciphertext itself."""
    current = True
    for name, value in stored.items():
        in_clear = row.table not in (MODELS, CREDENTIALS) or (row.table == MODELS and is_public(name, opened[name]))
        for kept, plain in zip(_texts(value), _texts(opened[name]), strict=True):
            if vault.is_current(kept) or (in_clear and kept == plain):
                continue
            if kept == plain and vault.is_doubtful(kept):
                raise SecretUnreadable(
                    f"{name} looks as if LiteLLM had encrypted it with another LITELLM_SALT_KEY than ours. If it is "
                    "what the provider issued, give it to the gateway again."
                )
            current = False
    return current


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _mapping(value: object) -> Values:
    assert isinstance(value, dict)
    return value


def begin_new_key(data_dir: Path) -> bool:
    """Make a new salt key and keep the old one beside it; False: that has been done, and the old one is still there."""
    data = DataDirectory(data_dir)
    old, now = data.secret(SALT_KEY_OLD), data.secret(SALT_KEY)
    if old is not None and old != now:
        return False
    if now is not None:
        data.keep_secret(SALT_KEY_OLD, now)  # first: a key is never lost, whenever this is interrupted
    data.generate_secret(SALT_KEY)
    return True


def forget_old_key(data_dir: Path) -> None:
    """Nothing is sealed with it any more."""
    DataDirectory(data_dir).forget_secret(SALT_KEY_OLD)
