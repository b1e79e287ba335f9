"""Virtual keys in PostgreSQL: implements `ports.KeyStore`, and what the management API does with keys."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.errors import StoreRefused
from bursar.domain.ids import KeyHash
from bursar.domain.limits import Limits, Scope, ScopeKind, member_scope
from bursar.domain.money import NANO_PER_USD, NanoUsd
from bursar.domain.principals import Principal, role_of
from bursar.ports import KeyRow, NewKey
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.limits import limits_of, model_limits
from bursar.store.named_sql import load_named_sql

_SQL = load_named_sql("keys")
_JSON_COLUMNS = frozenset(
    {
        "aliases",
        "config",
        "permissions",
        "metadata",
        "model_spend",
        "model_max_budget",
        "router_settings",
        "budget_limits",
        "budget_fallbacks",
    }
)


class PostgresKeys:
    """The table `LiteLLM_VerificationToken`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: KeyHash) -> Principal | None:
        """See `ports.KeyStore.find`."""
        row = await self._database.read_row(_SQL["find"], key)
        return None if row is None else _principal(row)

    async def insert(self, key: NewKey, *, actor: Actor) -> KeyRow | None:
        """Store a new key; None when its alias is taken.

        Raises StoreUnavailable; StoreRefused: the key exists, its team or organization does not, or a value cannot be
        stored. The message is fit for whoever asked.
        """
        try:
            return await self._insert(key, actor)
        except asyncpg.ForeignKeyViolationError as error:
            raise StoreRefused(f"The organization {key.organization_id!r} does not exist.") from error
        except asyncpg.DataError as error:
            raise StoreRefused(f"A value cannot be stored: {error}.") from error

    async def _insert(self, key: NewKey, actor: Actor) -> KeyRow | None:
        async with self._database.transaction() as connection:
            if key.team_id is not None and not await connection.fetchval(_SQL["team_exists"], key.team_id):
                raise StoreRefused(f"The team {key.team_id!r} does not exist.")
            if key.key_alias is not None:
                await connection.execute(_SQL["lock_aliases"])
                if await connection.fetchval(_SQL["alias_taken"], key.key_alias):
                    return None
            row = await connection.fetchrow(
                _SQL["insert"],
                key.token,
                key.key_name,
                key.key_alias,
                key.spend,
                _naive(key.expires),
                list(key.models),
                _json(key.aliases),
                _json(key.config),
                key.user_id,
                key.team_id,
                key.organization_id,
                _json(key.permissions),
                key.max_parallel_requests,
                _json(key.metadata),
                key.blocked,
                key.tpm_limit,
                key.rpm_limit,
                key.max_budget,
                key.budget_duration,
                list(key.allowed_routes),
                key.created_by,
            )
            if row is None:
                raise StoreRefused("This key exists already.")
            made = _row(row)
            await record(connection, _change(Action.CREATED, made, actor))
            await connection.execute(_SQL["tell"], [key.token])
        return made

    async def info(self, token: KeyHash) -> KeyRow | None:
        """The key's row by LiteLLM's column names. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["info"], token)
        return None if row is None else _row(row)

    async def delete(
        self, *, tokens: Sequence[KeyHash], aliases: Sequence[str], actor: Actor
    ) -> list[tuple[KeyHash, str | None]]:
        """Move keys to the table of deleted ones; hash and alias of each. Raises StoreUnavailable."""
        async with self._database.transaction() as connection:
            found = await connection.fetch(_SQL["delete"], list(tokens), list(aliases), actor.name, actor.api_key)
            rows = [_row(row) for row in found]
            await record(connection, *(_change(Action.DELETED, row, actor) for row in rows))
            await connection.execute(_SQL["tell"], [row["token"] for row in rows])
        return [(KeyHash(row["token"]), row["key_alias"]) for row in found]


def _change(action: Action, row: KeyRow, actor: Actor) -> Change:
    gone = action is Action.DELETED
    return Change(
        action=action,
        table_name="LiteLLM_VerificationToken",
        object_id=str(row["token"]),
        actor=actor,
        before=row if gone else None,
        after=None if gone else row,
    )


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()


def _naive(moment: datetime | None) -> datetime | None:
    """LiteLLM's timestamps are UTC without a zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _row(row: asyncpg.Record) -> KeyRow:
    found: dict[str, Any] = dict(row)
    for name in _JSON_COLUMNS:
        if isinstance(found.get(name), str):
            found[name] = msgspec.json.decode(found[name])
    return {k: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for k, v in found.items()}


def _metadata(text: str | None) -> dict[str, object]:
    decoded = msgspec.json.decode(text) if text else {}
    return decoded if isinstance(decoded, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _principal(row: asyncpg.Record) -> Principal:
    metadata, team_metadata = _metadata(row["metadata"]), _metadata(row["team_metadata"])
    logs_metadata: dict[str, object] = {}
    for source in (team_metadata, metadata):
        if isinstance(found := source.get("spend_logs_metadata"), dict):
            logs_metadata |= found
    expires = row["expires"]
    return Principal(
        role=role_of(row["user_id"], row["user_role"]),
        api_key=KeyHash(row["token"]),
        key_name=row["key_name"],
        key_alias=row["key_alias"],
        user_id=row["user_id"],
        team_id=row["team_id"],
        team_alias=row["team_alias"],
        organization_id=row["organization_id"],
        models=tuple(row["models"] or ()),
        team_models=tuple(row["team_models"] or ()),
        allowed_routes=tuple(row["allowed_routes"] or ()),
        tags=tuple(dict.fromkeys((*_strings(metadata.get("tags")), *_strings(team_metadata.get("tags"))))),
        spend_logs_metadata=logs_metadata,
        expires_at_s=None if expires is None else expires.replace(tzinfo=UTC).timestamp(),
        blocked=bool(row["blocked"]),
        team_blocked=bool(row["team_blocked"]),
        spend_nano_usd=NanoUsd(round((row["spend"] or 0.0) * NANO_PER_USD)),
        max_budget=row["key_max_budget"],
        tpm_limit=row["key_tpm_limit"],
        rpm_limit=row["key_rpm_limit"],
        limits=_limits(row),
        model_limits=model_limits(row["token"], msgspec.json.decode(row["model_max_budget"] or "{}"), metadata),
    )


def _limits(row: asyncpg.Record) -> tuple[Limits, ...]:
    """Of all scopes a key brings along."""
    team, user, organization = row["team_id"], row["user_id"], row["org_id"]
    scopes = [("key_", Scope(ScopeKind.KEY, row["token"]), f"{row['key_alias'] or 'key'} ({row['key_name']})")]
    if user is not None:
        scopes.append(("user_", Scope(ScopeKind.USER, user), ""))
    if team is not None:
        scopes.append(("team_", Scope(ScopeKind.TEAM, team), ""))
        if user is not None:
            scopes.append(("member_", member_scope(team, user), f"{user} in Team={team}"))
    if organization is not None:
        scopes.append(("org_", Scope(ScopeKind.ORGANIZATION, organization), ""))
    found = (limits_of(row, scope, prefix=prefix, name=name) for prefix, scope, name in scopes)
    return tuple(limits for limits in found if limits is not None)
