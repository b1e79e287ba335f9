"""Virtual keys: looked up, and administered."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from bursar.domain.audit import Action, Actor
from bursar.domain.ids import KeyHash
from bursar.domain.principals import Memberships, Principal


class KeyStore(Protocol):
    """Where virtual keys are kept: PostgreSQL (`store.keys`)."""

    async def find(self, key: KeyHash) -> Principal | None:
        """The key's principal; None: there is no such key. Raises StoreUnavailable."""


KeyRow = dict[str, object]
"""A row of `LiteLLM_VerificationToken` by column name; times carry UTC, JSON columns are decoded."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual key to be stored, by column name. Money in US dollars as LiteLLM's columns hold it."""

    token: KeyHash
    key_name: str
    key_alias: str | None = None
    spend: float = 0.0
    expires: datetime | None = None
    models: tuple[str, ...] = ()
    aliases: dict[str, object] = {}
    config: dict[str, object] = {}
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    permissions: dict[str, object] = {}
    max_parallel_requests: int | None = None
    metadata: dict[str, object] = {}
    blocked: bool | None = None
    tpm_limit: int | None = None
    rpm_limit: int | None = None
    tpd_limit: int | None = None
    max_budget: float | None = None
    soft_budget: float | None = None
    """No column: it is kept in a budget of the key's own."""
    budget_duration: str | None = None
    budget_reset_at: datetime | None = None
    budget_limits: list[object] | None = None
    budget_id: str | None = None
    model_max_budget: dict[str, object] = {}
    allowed_cache_controls: tuple[str, ...] = ()
    allowed_routes: tuple[str, ...] = ()
    router_settings: dict[str, object] = {}
    key_type: str | None = None


class KeyPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a key is, or is to be; nobody changes it until the key is stored."""

    team: KeyRow | None = None
    """What the key's team says about keys in it: its organization, members and their permissions. None: there is no
    such team, or the key is in none."""
    owner: Memberships = Memberships()
    """Of the key's user."""
    asker: Memberships = Memberships()
    """Of whoever asks."""


class KeyEdit(msgspec.Struct, frozen=True, kw_only=True):
    """How a key is to be changed, decided when its row is at hand and nobody else can change it."""

    changes: Callable[[KeyRow, KeyPlace], Mapping[str, object]]
    """Columns and their new values; `soft_budget` is one, too. Raises Refusal. The place is that of the key as it is to
    be; empty where there is no `asker`."""
    asker: str | None = None
    """The user who asks, if what he may do depends on where he belongs."""
    moves: Mapping[str, object] = {}
    """Which of `team_id`, `user_id` and `organization_id` are to be others."""
    spend: bool = False
    """What is spent of the key's budget is stated anew, too: `spend` may be one of them, or what makes it the budget of
    another period."""


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys, in which order; None: any."""

    reach: dict[str, object]
    """Whose keys may be seen: `{"everything": True}`, or of `user`, `teams`, `organizations`."""
    user_id: str | None = None
    created_by: str | None = None
    """Beside those of `user_id`."""
    teams: tuple[str, ...] | None = None
    """Beside those of `user_id`."""
    team_id: str | None = None
    """None: all but those of logins."""
    organization_id: str | None = None
    project_id: str | None = None
    key_alias: str | None = None
    key_hash: str | None = None
    search: str | None = None
    """Part of an alias."""
    status: str | None = None
    """`active`, `expired`, `revoked` or `deleted`."""
    sort_by: str = "created_at"
    downwards: bool = True


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the keys: hash and alias of each."""

    total: int
    """Of all that fit."""
    keys: list[tuple[KeyHash, str | None]]


class KeyAdministration(Protocol):
    """What the management API does with stored keys: PostgreSQL (`store.keys`).

    All raise StoreUnavailable; those that change something StoreRefused: it cannot be stored, with a message for
    whoever asked. Every worker hears of changes at once.
    """

    async def insert(
        self,
        key: NewKey,
        *,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> KeyRow | None:
        """Store a new key, and its owner's row if there is none; None when its alias is taken.

        `check` sees the place of the key, of a user `asker` who asks for it, and raises to prevent it.
        """

    async def info(self, token: KeyHash) -> KeyRow | None:
        """The key's row."""

    async def current(self, tokens: Sequence[KeyHash]) -> list[KeyHash]:
        """The hash that each key has now which had, or has, one of these; what never was a key's stays as it is."""

    async def infos(self, tokens: Sequence[KeyHash], *, deleted: bool = False) -> list[KeyRow]:
        """The rows of those that there are, in the same order."""

    async def budgets(self, budget_ids: Sequence[str]) -> dict[str, KeyRow]:
        """Rows of `LiteLLM_BudgetTable`, by id."""

    async def spent_beside(
        self, token: KeyHash, *, models: Mapping[str, datetime | None], periods: Mapping[str, datetime | None]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """US dollars that the key has spent with single models, by their names, and within periods, by their durations:
        in those that end then (None: never), where anything was asked of them."""

    async def users(self, user_ids: Sequence[str]) -> dict[str, KeyRow]:
        """What is shown of keys' owners, by id."""

    async def page(self, wanted: KeyFilter, *, limit: int, offset: int) -> KeyPage:
        """Keys, some at a time."""

    async def change(
        self, token: KeyHash, edit: KeyEdit, *, action: Action, actor: Actor, expected: datetime | None = None
    ) -> KeyRow | None:
        """Change a key; its row afterwards, None when there is no such key.

        `expected`: the `updated_at` that the change is based on. Raises StoreConflict: it is another by now.
        """

    async def rotate(
        self,
        token: KeyHash,
        edit: KeyEdit,
        *,
        actor: Actor,
        revoke_at: datetime | None,
        expected: datetime | None = None,
    ) -> KeyRow | None:
        """Give a key another secret, whose hash is the `token` of the edit; its row afterwards, None when there is no
        such key. `revoke_at`: until when the old one works. What it has spent goes on."""

    async def delete(
        self,
        *,
        tokens: Sequence[KeyHash],
        aliases: Sequence[str],
        actor: Actor,
        allow: Callable[[KeyRow], None] = ...,
    ) -> list[tuple[KeyHash, str | None]]:
        """Move keys to the table of deleted ones; hash and alias of each. `allow` sees each, and raises to prevent all
        of it."""


class KeyForms(Protocol):
    """Virtual keys as strings (`access.keys`)."""

    def generate(self) -> str:
        """A new key."""

    def hash(self, key: str) -> KeyHash:
        """How tables name it."""

    def abbreviate(self, key: str) -> str:
        """What may be shown of it."""

    def is_key(self, text: str) -> bool:
        """Whether `text` has the form of a key."""

    def is_hash(self, text: str) -> bool:
        """Whether `text` has the form of a hash."""
