"""Virtual keys in PostgreSQL: implements `ports.keys.KeyStore`, and what the management API does with keys."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from bursar.domain.audit import Action, Actor, Change
from bursar.domain.errors import StoreConflict, StoreRefused
from bursar.domain.ids import KeyHash
from bursar.domain.limits import (
    Limits,
    Raise,
    Scope,
    ScopeKind,
    key_period_scope,
    member_scope,
    model_scope,
    raise_of,
    team_period_scope,
)
from bursar.domain.money import NANO_PER_USD, NanoUsd, without_dust
from bursar.domain.preconditions import check_unchanged
from bursar.domain.principals import Memberships, Principal, role_of
from bursar.domain.windows import window_id
from bursar.ports.keys import KeyEdit, KeyFilter, KeyPage, KeyPlace, KeyRow, NewKey
from bursar.store.audit_log import record
from bursar.store.database import Database
from bursar.store.limits import limits_of, nano_of, period_limits, tag_limits
from bursar.store.memberships import memberships_of
from bursar.store.named_sql import load_named_sql
from bursar.store.rows import SUMS, change
from bursar.store.scope_windows import count_in, hold_totals, lock_totals, set_spent

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
        "members_with_roles",
    }
)
_FILTERS = frozenset(KeyFilter.__struct_fields__) - {"reach", "sort_by", "downwards"}
_SOFT = "soft-budget-"
"""How ids of budgets begin that are of one key, and hold nothing but a soft budget."""


class PostgresKeys:
    """The table `LiteLLM_VerificationToken`."""

    def __init__(self, database: Database, *, user_budgets_in_teams: bool = False) -> None:
        """`user_budgets_in_teams`: the budget of a key's owner is about keys in a team, too."""
        self._database = database
        self._user_budgets_in_teams = user_budgets_in_teams

    async def find(self, key: KeyHash) -> Principal | None:
        """See `ports.keys.KeyStore.find`."""
        row = await self._database.read_row(_SQL["find"], key)
        return None if row is None else _principal(row, user_budgets_in_teams=self._user_budgets_in_teams)

    async def insert(
        self,
        key: NewKey,
        *,
        actor: Actor,
        asker: str | None = None,
        check: Callable[[KeyPlace], None] | None = None,
    ) -> KeyRow | None:
        """See `ports.keys.KeyAdministration.insert`.

        Raises StoreUnavailable; StoreRefused: the key exists, what it names does not, or a value cannot be stored. The
        message is fit for whoever asked.
        """
        with refusals():
            async with self._database.transaction() as connection:
                await hold_totals(connection)
                await hold_organizations(connection, key.organization_id, asker=asker, owner=key.user_id)
                place = await place_of(connection, key.team_id, key.user_id, asker)
                if check is not None:
                    check(place)
                return await insert_key(connection, key, actor)

    async def info(self, token: KeyHash) -> KeyRow | None:
        """The key's row by LiteLLM's column names. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["info"], token)
        return None if row is None else row_of(row)

    async def current(self, tokens: Sequence[KeyHash]) -> list[KeyHash]:
        """See `ports.keys.KeyAdministration.current`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["current"], list(tokens))
        return [KeyHash(row["token"]) for row in rows]

    async def infos(self, tokens: Sequence[KeyHash], *, deleted: bool = False) -> list[KeyRow]:
        """The rows of those that there are, in the same order. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            if deleted:
                rows = await connection.fetch(_SQL["deleted_infos"], list(tokens))
            else:
                rows = await connection.fetch(_SQL["infos"], list(tokens))
        return [row_of(row) for row in rows]

    async def budgets(self, budget_ids: Sequence[str]) -> dict[str, KeyRow]:
        """Rows of `LiteLLM_BudgetTable`, by id. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["budgets"], list(budget_ids))
        return {row["budget_id"]: row_of(row) for row in rows}

    async def spent_beside(
        self, token: KeyHash, *, models: Mapping[str, datetime | None], periods: Mapping[str, datetime | None]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """See `ports.keys.KeyAdministration.spent_beside`."""
        async with self._database.connection() as connection:
            scope = Scope(ScopeKind.KEY, await connection.fetchval(_SQL["scope_of"], token))
            of_models = {_window(model_scope(scope, name), ends): name for name, ends in models.items()}
            of_periods = {_window(key_period_scope(scope.id, name), ends): name for name, ends in periods.items()}
            rows = await connection.fetch(_SQL["spent"], [*of_models, *of_periods])
        spent = {str(row["window_id"]): row["usd"] for row in rows}
        return (
            {name: spent[window] for window, name in of_models.items() if window in spent},
            {name: spent[window] for window, name in of_periods.items() if window in spent},
        )

    async def users(self, user_ids: Sequence[str]) -> dict[str, KeyRow]:
        """What is shown of keys' owners, by id. Raises StoreUnavailable."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["users"], list(user_ids))
        return {row["user_id"]: dict(row) for row in rows}

    async def page(self, wanted: KeyFilter, *, limit: int, offset: int) -> KeyPage:
        """See `ports.keys.KeyAdministration.page`."""
        filters = {name: value for name, value in msgspec.structs.asdict(wanted).items() if name in _FILTERS}
        arguments = (_json(wanted.reach), _json(filters), wanted.sort_by, wanted.downwards)
        with refusals():
            async with self._database.connection() as connection:
                rows = await connection.fetch(_SQL["list"], *arguments, limit, offset)
                first = rows or (await connection.fetch(_SQL["list"], *arguments, 1, 0) if offset else ())
        return KeyPage(
            total=first[0]["total"] if first else 0,
            keys=[(KeyHash(row["token"]), row["key_alias"]) for row in rows],
        )

    async def change(
        self, token: KeyHash, edit: KeyEdit, *, action: Action, actor: Actor, expected: datetime | None = None
    ) -> KeyRow | None:
        """See `ports.keys.KeyAdministration.change`."""
        with refusals():
            async with self._database.transaction() as connection:
                await (lock_totals if edit.spend else hold_totals)(connection)
                if (found := await _locked(connection, token, edit)) is None:
                    return None
                row, place = found
                check_unchanged(expected, _moment(row["updated_at"]))
                changes = edit.changes(row, place)
                after = await _update(connection, row, changes, actor)
                if edit.spend:
                    await _state_spent(connection, after, changes)
                await record(connection, _change(action, after, actor, before=row))
                await connection.execute(_SQL["tell"], [token])
        return after

    async def rotate(
        self,
        token: KeyHash,
        edit: KeyEdit,
        *,
        actor: Actor,
        revoke_at: datetime | None,
        expected: datetime | None = None,
    ) -> KeyRow | None:
        """See `ports.keys.KeyAdministration.rotate`."""
        with refusals():
            async with self._database.transaction() as connection:
                await lock_totals(connection)
                if (found := await _locked(connection, token, edit)) is None:
                    return None
                row, place = found
                check_unchanged(expected, _moment(row["updated_at"]))
                changes = dict(edit.changes(row, place))
                new = KeyHash(str(changes["token"]))
                if await connection.fetchval(_SQL["is_used_up"], new) or new == token:
                    raise StoreRefused("This key was used before: a key that was replaced does not come back.")
                changes["rotation_count"] = int(_number(row["rotation_count"]) or 0) + 1
                after = await _update(connection, row, changes, actor)
                await connection.execute(_SQL["rotate"], token, new, _naive(revoke_at))
                if edit.spend:
                    await _state_spent(connection, after, changes)
                await record(connection, _change(Action.ROTATED, after, actor, before=row))
                await connection.execute(_SQL["tell"], [token, new])
        return after

    async def delete(
        self,
        *,
        tokens: Sequence[KeyHash],
        aliases: Sequence[str],
        actor: Actor,
        allow: Callable[[KeyRow], None] = lambda _: None,
    ) -> list[tuple[KeyHash, str | None]]:
        """See `ports.keys.KeyAdministration.delete`."""
        async with self._database.transaction() as connection:
            await lock_totals(connection)
            rows = await delete_keys(connection, tokens=tokens, aliases=aliases, actor=actor)
            for row in rows:
                allow(row)
        return [(KeyHash(str(row["token"])), _text(row["key_alias"])) for row in rows]


async def insert_key(connection: Any, key: NewKey, actor: Actor) -> KeyRow | None:  # noqa: ANN401  # asyncpg
    """The same as `PostgresKeys.insert`, within a transaction that has the totals, for a key that may be made."""
    if key.team_id is not None and await connection.fetchrow(_SQL["team"], key.team_id) is None:
        raise StoreRefused(f"The team {key.team_id!r} does not exist.")
    if await connection.fetchval(_SQL["is_used_up"], key.token):
        raise StoreRefused("This key was used before: a key that was replaced does not come back.")
    await _check_named(connection, msgspec.structs.asdict(key))
    if key.user_id is not None:
        await _make_user(connection, key.user_id, actor)
    if key.key_alias is not None:
        await connection.execute(_SQL["lock_aliases"])
        if await connection.fetchval(_SQL["alias_taken"], key.key_alias, None):
            return None
    columns = msgspec.structs.asdict(key)
    if (soft := columns.pop("soft_budget")) is not None:
        columns["budget_id"] = await _soft_budget(connection, key.budget_id, soft, actor)
    row = await connection.fetchrow(_SQL["insert"], _json(columns), actor.name)
    if row is None:
        raise StoreRefused("This key exists already.")
    made = row_of(row)
    await record(connection, _change(Action.CREATED, made, actor))
    await connection.execute(_SQL["tell"], [key.token])
    return made


async def delete_keys(
    connection: Any,  # noqa: ANN401  # asyncpg
    *,
    tokens: Sequence[KeyHash],
    aliases: Sequence[str] = (),
    actor: Actor,
) -> list[KeyRow]:
    """Move keys to the table of deleted ones; their rows as they were. Only after `lock_totals`.

    One that is made anew with the same secret begins with nothing spent.
    """
    if not tokens and not aliases:
        return []
    found = await connection.fetch(_SQL["delete"], list(tokens), list(aliases), actor.name, actor.api_key)
    rows = [row_of(row) for row in found]
    own = await connection.fetch(_SQL["scopes_of"], [row["token"] for row in rows])
    await set_spent(connection, [one for row, of in zip(rows, own, strict=True) for one in _budgeted(row, of["scope"])])
    await record(connection, *(_change(Action.DELETED, row, actor) for row in rows))
    await connection.execute(_SQL["tell"], [row["token"] for row in rows])
    return rows


def _budgeted(key: KeyRow, token: str) -> list[Scope]:
    """What a key has budgets of by its row: itself, within several periods, single models. `token`: by which hash its
    windows name it."""
    scope = Scope(ScopeKind.KEY, token)
    periods = period_limits(partial(key_period_scope, scope.id), key["budget_limits"])
    models = key["model_max_budget"]
    return [
        scope,
        *(one.scope for one in periods),
        *(model_scope(scope, str(model)) for model in (models if isinstance(models, Mapping) else ())),
    ]


async def _locked(connection: Any, token: KeyHash, edit: KeyEdit) -> tuple[KeyRow, KeyPlace] | None:  # noqa: ANN401
    """The key's row and where it is to be; None: there is no such key. Raises StoreConflict: it was moved meanwhile.

    Locks are taken in the same order by all who change keys: the totals, organizations, teams, owners, keys, aliases.
    """
    known = await connection.fetchrow(_SQL["info"], token)
    if known is None:
        return None
    to = {**dict(known), **edit.moves}
    named, owner = _text(to["organization_id"]), _text(to["user_id"])
    await hold_organizations(connection, named, asker=edit.asker, owner=owner)
    if known["team_id"] != to["team_id"]:
        for team_id in sorted(team for team in (known["team_id"], _text(to["team_id"])) if team is not None):
            await connection.fetchrow(_SQL["team"], team_id)
    place = await place_of(connection, _text(to["team_id"]), _text(to["user_id"]), edit.asker)
    before = await connection.fetchrow(_SQL["lock"], token)
    if before is None:
        return None
    if any(before[name] != known[name] for name in ("team_id", "user_id")):
        raise StoreConflict("This key was moved by somebody else in the meantime. Look at it again.")
    return row_of(before), place


async def hold_organizations(
    connection: Any,  # noqa: ANN401  # asyncpg
    *named: str | None,
    asker: str | None,
    owner: str | None = None,
) -> None:
    """Keep organizations as they are until commit: `named`, and those that the asker and a key's owner belong to."""
    users = [] if asker is None else [one for one in (asker, owner) if one is not None]
    ids = [one for one in named if one is not None]
    if users or ids:
        await connection.execute(_SQL["organizations"], users, ids)


async def place_of(connection: Any, team_id: str | None, user_id: str | None, asker: str | None) -> KeyPlace:  # noqa: ANN401
    """A place for a key, locked until commit once its organizations are. Nobody's memberships matter where nobody
    asks."""
    team = None if team_id is None else await connection.fetchrow(_SQL["team"], team_id)
    if user_id is not None:
        await connection.fetchrow(_SQL["owner"], user_id)
    return KeyPlace(
        team=None if team is None else row_of(team),
        owner=Memberships() if asker is None or user_id is None else await memberships_of(connection, user_id),
        asker=Memberships() if asker is None else await memberships_of(connection, asker),
    )


async def _make_user(connection: Any, user_id: str, actor: Actor) -> None:  # noqa: ANN401  # asyncpg
    """A row for a key's owner, who may have none yet."""
    if (row := await connection.fetchrow(_SQL["make_user"], user_id)) is not None:
        await record(connection, change(Action.CREATED, "LiteLLM_UserTable", user_id, actor, after=row_of(row)))


async def _update(connection: Any, row: KeyRow, changes: Mapping[str, object], actor: Actor) -> KeyRow:  # noqa: ANN401
    """Change some columns of a row that is locked; `soft_budget` among them, which is a budget's."""
    columns = dict(changes)
    if (team := columns.get("team_id")) is not None and await connection.fetchrow(_SQL["team"], team) is None:
        raise StoreRefused(f"The team {team!r} does not exist.")
    await _check_named(connection, columns)
    if (user := columns.get("user_id")) is not None:
        await _make_user(connection, str(user), actor)
    if (alias := columns.get("key_alias")) is not None:
        await connection.execute(_SQL["lock_aliases"])
        if await connection.fetchval(_SQL["alias_taken"], alias, row["token"]):
            raise StoreRefused(
                f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
            )
    if "soft_budget" in columns:
        soft = _number(columns.pop("soft_budget"))
        named = columns.get("budget_id", row["budget_id"])
        columns["budget_id"] = await _soft_budget(connection, _text(named), soft, actor)
    return row_of(await connection.fetchrow(_SQL["update"], row["token"], _json(columns), actor.name))


async def _check_named(connection: Any, columns: Mapping[str, object]) -> None:  # noqa: ANN401  # asyncpg
    """Raises StoreRefused: a budget, organization or project that is named does not exist."""
    if (kind := await connection.fetchval(_SQL["missing"], _json(columns))) is not None:
        raise StoreRefused(f"The {kind} that is named does not exist.")


async def _soft_budget(connection: Any, budget_id: str | None, amount: float | None, actor: Actor) -> str | None:  # noqa: ANN401
    """The key's own budget, which holds nothing but a soft one: LiteLLM's tables have no other place for it."""
    if budget_id is not None and not budget_id.startswith(_SOFT):
        raise StoreRefused(f"The soft budget is that of the budget {budget_id!r}: change it there.")
    if amount is None:
        return None
    made = f"{_SOFT}{uuid4()}"
    row = await connection.fetchrow(_SQL["soft_budget"], made, amount, actor.name)
    await record(connection, change(Action.CREATED, "LiteLLM_BudgetTable", made, actor, after=row_of(row)))
    return made


def _window(scope: Scope, ends: datetime | None) -> str:
    return str(window_id(scope, None if ends is None else ends.timestamp()))


async def _state_spent(connection: Any, key: KeyRow, changes: Mapping[str, object]) -> None:  # noqa: ANN401  # asyncpg
    """The periods of the key's budget go by what its row, just changed, says was spent. Only with the totals locked."""
    scope = Scope(ScopeKind.KEY, await connection.fetchval(_SQL["scope_of"], key["token"]))
    if "spend" in changes:
        await set_spent(connection, [scope], nano_of(_number(key["spend"])) or 0)
    else:
        await count_in(connection, [scope])


@contextmanager
def refusals() -> Iterator[None]:
    """What the database refuses, in words for whoever asked."""
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        named = next(
            (name for name in ("organization", "project", "budget") if name in (error.constraint_name or "")), ""
        )
        raise StoreRefused(f"The {named or 'object'} that is named does not exist.") from error
    except asyncpg.UniqueViolationError as error:
        raise StoreRefused("This key exists already.") from error
    except asyncpg.DataError as error:
        raise StoreRefused(f"A value cannot be stored: {error.args[0]}.") from error  # without its details


def _change(action: Action, row: KeyRow, actor: Actor, *, before: KeyRow | None = None) -> Change:
    gone = action is Action.DELETED
    return Change(
        action=action,
        table_name="LiteLLM_VerificationToken",
        object_id=str(row["token"]),
        actor=actor,
        before=row if gone else before,
        after=None if gone else row,
    )


def _json(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value).decode()


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _naive(moment: datetime | None) -> datetime | None:
    """LiteLLM's timestamps are UTC without a zone."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def row_of(row: asyncpg.Record) -> KeyRow:
    """By column name, with JSON decoded and times in UTC."""
    found: dict[str, Any] = dict(row)
    for name in _JSON_COLUMNS:
        if isinstance(found.get(name), str):
            found[name] = msgspec.json.decode(found[name])
    for name in SUMS:
        if isinstance(spent := found.get(name), float):
            found[name] = without_dust(spent)
    return {k: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for k, v in found.items()}


def _decoded(text: str | None) -> object:
    return msgspec.json.decode(text) if text else None


def _metadata(text: str | None) -> dict[str, object]:
    decoded = _decoded(text)
    return decoded if isinstance(decoded, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


_NOTHING: dict[str, Any] = {}
"""Where most keys have nothing, they have it together: of 100,000 in memory, every byte counts."""


@lru_cache(1000)
def _shared(*items: str) -> tuple[str, ...]:
    """These, as one object for all keys that have them."""
    return items


def _name(text: str | None) -> str | None:
    """What many keys name alike."""
    return None if text is None else sys.intern(text)


def _principal(row: asyncpg.Record, *, user_budgets_in_teams: bool) -> Principal:
    metadata, team_metadata = _metadata(row["metadata"]), _metadata(row["team_metadata"])
    logs_metadata: dict[str, object] = {}
    for source in (team_metadata, metadata):
        if isinstance(found := source.get("spend_logs_metadata"), dict):
            logs_metadata |= found
    ends = [moment for moment in (row["expires"], row["revoke_at"]) if moment is not None]
    enforced = (*_strings(team_metadata.get("enforced_params")), *_strings(metadata.get("enforced_params")))
    return Principal(
        role=role_of(row["user_id"], row["user_role"]),
        api_key=KeyHash(row["token"]),
        key_name=row["key_name"],
        key_alias=row["key_alias"],
        user_id=_name(row["user_id"]),
        team_id=_name(row["team_id"]),
        team_alias=_name(row["team_alias"]),
        organization_id=_name(row["organization_id"] or row["org_id"]),  # its own, or its team's
        models=_shared(*(row["models"] or ())),
        team_models=_shared(*(row["team_models"] or ())),
        model_lists=_model_lists(row),
        aliases=_aliases(row) or _NOTHING,
        enforced_params=tuple(dict.fromkeys(enforced)),
        allowed_routes=_shared(*(row["allowed_routes"] or ())),
        tags=tuple(dict.fromkeys((*_strings(metadata.get("tags")), *_strings(team_metadata.get("tags"))))),
        spend_logs_metadata=logs_metadata or _NOTHING,
        expires_at_s=min(ends).replace(tzinfo=UTC).timestamp() if ends else None,
        replaced=row["revoke_at"] is not None,
        blocked=bool(row["blocked"]),
        team_blocked=bool(row["team_blocked"]),
        spend_nano_usd=NanoUsd(round((row["spend"] or 0.0) * NANO_PER_USD)),
        max_budget=row["key_max_budget"],
        tpm_limit=row["key_tpm_limit"],
        rpm_limit=row["key_rpm_limit"],
        tag_limits=tag_limits(row["scope_token"], metadata) or _NOTHING,
        end_user_limits=limits_of(row, Scope(ScopeKind.END_USER, ""), prefix="eu_"),
        limits=_limits(row, user_budgets_in_teams=user_budgets_in_teams),
    )


def _model_lists(row: asyncpg.Record) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Those beside the key's and the team's. The owner's is about keys that are in no team."""
    lists = (
        ("user", row["member_models"] if row["team_id"] is not None else row["user_models"]),
        ("org", row["org_models"]),
    )
    return tuple((whose, _shared(*models)) for whose, models in lists if models)


def _aliases(row: asyncpg.Record) -> dict[str, str]:
    """Names to the groups they mean: first the team's, then the key's."""
    team, key = _metadata(row["team_aliases"]), _metadata(row["aliases"])
    found: dict[str, str] = {}
    for name in {**team, **key}:
        target = team.get(name, name)
        target = key.get(target, target) if isinstance(target, str) else target
        if isinstance(target, str) and target != name:
            found[name] = target
    return found


def _limits(row: asyncpg.Record, *, user_budgets_in_teams: bool) -> tuple[Limits, ...]:
    """Of all scopes a key brings along. Its own keeps its name when the key gets another secret, so that what running
    calls hold counts for those with the new one."""
    team, user, organization = row["team_id"], row["user_id"], row["org_id"]
    scopes = [("key_", Scope(ScopeKind.KEY, row["scope_token"]), f"{row['key_alias'] or 'key'} ({row['key_name']})")]
    if user is not None:
        scopes.append(("user_", Scope(ScopeKind.USER, user), ""))
    if team is not None:
        scopes.append(("team_", Scope(ScopeKind.TEAM, team), ""))
        if user is not None:
            scopes.append(("member_", member_scope(team, user), f"{user} in Team={team}"))
    if organization is not None:
        scopes.append(("org_", Scope(ScopeKind.ORGANIZATION, organization), ""))
    metadata = {
        ScopeKind.KEY: _metadata(row["metadata"]),
        ScopeKind.TEAM: _metadata(row["team_metadata"]),
        ScopeKind.ORGANIZATION: _metadata(row["org_metadata"]),
    }
    raises = {
        ScopeKind.KEY: raise_of(metadata[ScopeKind.KEY]),
        ScopeKind.TEAM_MEMBER: raise_of(_metadata(row["member_raise"])),
    }
    found = []
    for prefix, scope, name in scopes:
        limits = limits_of(row, scope, prefix=prefix, name=name, metadata=metadata.get(scope.kind))
        if limits is not None and scope.kind is ScopeKind.USER and row["in_team"] and not user_budgets_in_teams:
            limits = limits.without_budgets()
        if limits is not None and limits.limiting:
            found.append(_raised(limits, raises.get(scope.kind)))
    found += period_limits(partial(key_period_scope, row["scope_token"]), _decoded(row["budget_limits"]))
    if team is not None:
        found += period_limits(partial(team_period_scope, team), _decoded(row["team_budget_limits"]))
    return tuple(found)


def _raised(limits: Limits, raised: Raise | None) -> Limits:
    if raised is None or limits.budget is None:
        return limits
    return msgspec.structs.replace(limits, budget=msgspec.structs.replace(limits.budget, raised=raised))
