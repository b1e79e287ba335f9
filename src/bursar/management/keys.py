"""`/key/*`: virtual keys. Plain keys leave here once, in the answer that makes them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Never

import msgspec
from msgspec import UNSET

from bursar.domain.audit import Action, Actor
from bursar.domain.authority import Reach, Standing
from bursar.domain.durations import after
from bursar.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, Refusal, StoreConflict, StoreRefused
from bursar.domain.ids import KeyHash
from bursar.domain.masking import masked
from bursar.management.key_fields import Given, JsonObject, KeyFields, columns_of
from bursar.management.key_making import KeyMaker, made, taken
from bursar.management.key_messages import (
    MADE,
    ROW,
    AliasList,
    BulkUpdate,
    DeletedKeys,
    DeleteKeys,
    GenerateKey,
    KeyDescription,
    KeyDescriptions,
    KeyHealth,
    KeyList,
    ListAliases,
    ListKeys,
    NamedKey,
    OneKey,
    RegenerateKey,
    ResetSpend,
    SeveralKeys,
    UpdateKey,
    UpdateKeys,
)
from bursar.management.key_rules import KeyRules, KeySettings, asker_of, moved
from bursar.management.key_usage import usage_of
from bursar.management.objects import changes_key, require, sees_key
from bursar.management.route import Asked, Route
from bursar.ports.keys import KeyAdministration, KeyEdit, KeyFilter, KeyForms, KeyPlace, KeyRow

_EVERYTHING: dict[str, object] = {"everything": True}
_MOVES = ("team_id", "user_id", "organization_id")
_SPENT_BY = ("spend", "max_budget", "budget_duration", "budget_id")
"""What says how much is spent, or of which period's budget."""
_NOT_SEEN = "You are not allowed to access this key's info."
_REPLACED = "This secret was replaced already. Name the key by its present secret or hash."
_NOT_CHANGED = "You are not allowed to change this key."


class KeyEndpoints:
    """Making, changing, deleting and looking at virtual keys."""

    def __init__(
        self,
        keys: KeyAdministration,
        forms: KeyForms,
        maker: KeyMaker,
        rules: KeyRules,
        settings: KeySettings,
    ) -> None:
        self._keys = keys
        self._forms = forms
        self._maker = maker
        self._rules = rules
        self._settings = settings

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            _post("/key/generate", "Make a virtual key", self.generate, GenerateKey, MADE),
            _post(
                "/key/service-account/generate",
                "Make a key that belongs to a team and to no user",
                self.generate_for_service,
                GenerateKey,
                MADE,
            ),
            _post("/key/update", "Change a virtual key", self.update, UpdateKey, ROW, 404, 409),
            _post("/key/bulk_update", "Change several keys", self.bulk_update, UpdateKeys, BulkUpdate),
            _post("/key/delete", "Delete virtual keys", self.delete, DeleteKeys, DeletedKeys, 404),
            _get("/key/info", "Look at a virtual key", self.info, NamedKey, KeyDescription, 404),
            _post("/v2/key/info", "Look at several keys", self.infos, SeveralKeys, KeyDescriptions, 404),
            _get("/key/list", "List keys", self.list, ListKeys, KeyList),
            _get("/key/aliases", "List aliases of keys", self.aliases, ListAliases, AliasList),
            _post("/key/block", "Have a key refused", self.block, OneKey, ROW, 404, 409),
            _post("/key/unblock", "Have a key accepted again", self.unblock, OneKey, ROW, 404, 409),
            _post("/key/regenerate", "Replace a key", self.regenerate, RegenerateKey, MADE, 404, 409),
            _post("/key/{key}/regenerate", "Replace a key", self.regenerate, RegenerateKey, MADE, 404, 409),
            _post(
                "/key/{key}/reset_spend", "Set back what a key has spent", self.reset_spend, ResetSpend, ROW, 404, 409
            ),
            _post("/key/health", "Check the key that asks", self.health, None, KeyHealth),
        )

    async def generate(self, asked: Asked[GenerateKey, None]) -> object:
        """Who is no administrator makes keys for himself, or in teams and organizations he administers, and none that
        may do more than the key he asks with."""
        return await self._generate(asked, service=False)

    async def generate_for_service(self, asked: Asked[GenerateKey, None]) -> object:
        """It outlives whoever made it."""
        body = asked.body
        if not isinstance(body.team_id, str):
            raise InvalidRequest("team_id is required for service account keys.", param="team_id")
        if isinstance(body.user_id, str):
            raise InvalidRequest("A service account key has no user_id.", param="user_id")
        return await self._generate(asked, service=True)

    async def _generate(self, asked: Asked[GenerateKey, None], *, service: bool) -> object:
        plain = self._maker.secret(asked.body.key)
        standing = asked.standing
        new = self._maker.plan(standing, asked.body, plain, service=service)
        row = await self._keys.insert(
            new,
            actor=asked.actor,
            asker=asker_of(standing),
            check=lambda place: self._maker.check(standing, new, place),
        )
        if row is None:
            raise taken(new.key_alias)
        return made(row, plain, await self._budget(row))

    async def update(self, asked: Asked[UpdateKey, None]) -> object:
        """What is not named stays as it is; null clears. The user of a key may give it less than it has, not more."""
        return await self._update(asked.standing, asked.body, asked.actor)

    async def bulk_update(self, asked: Asked[UpdateKeys, None]) -> object:
        """Each for itself: one that fails keeps no other from being changed. Who may change none of them gets 403."""
        done: list[JsonObject] = []
        failed: list[JsonObject] = []
        forbidden: Forbidden | None = None
        for wanted in asked.body.keys:
            try:
                done.append(await self._update(asked.standing, wanted, asked.actor))
            except (Refusal, StoreConflict, StoreRefused) as error:
                key = None if wanted.key is None else self._token(wanted.key)
                failed.append({"key": key, "failed_reason": str(masked(str(error)))})
                forbidden = error if isinstance(error, Forbidden) else forbidden
        if forbidden is not None and not done:
            raise forbidden
        return BulkUpdate(total_requested=len(asked.body.keys), successful_updates=done, failed_updates=failed)

    async def _update(self, standing: Standing, body: UpdateKey, actor: Actor) -> JsonObject:
        token = await self._named(body.key, body.key_alias)
        if body.key is None:
            body = msgspec.structs.replace(body, key_alias=UNSET)
        edit = await self._edit(standing, token, body)
        row = await self._keys.change(token, edit, action=Action.UPDATED, actor=actor, expected=body.updated_at)
        if row is None:
            raise NotFound("Key not found in database")
        return {**_without_token(row), "key": body.key or token}

    async def delete(self, asked: Asked[DeleteKeys, None]) -> object:
        """Keys go to the table of deleted ones; what they spent stays on the books."""
        body, standing = asked.body, asked.standing
        if not body.keys and not body.key_aliases:
            raise InvalidRequest("Name the keys to delete in `keys` or `key_aliases`.", param="keys")
        given = body.keys or []
        as_given = dict(zip(await self._current(given), given, strict=True))
        aliases = [alias for alias in body.key_aliases or () if "\x00" not in alias]  # no key is called so
        gone = await self._keys.delete(
            tokens=list(as_given),
            aliases=aliases,
            actor=asked.actor,
            allow=lambda row: require(changes_key(standing, row), _NOT_CHANGED),
        )
        if not gone:
            require(standing.all, _NOT_CHANGED)
            raise NotFound("No keys found")
        return DeletedKeys(deleted_keys=[as_given.get(token, alias or token) for token, alias in gone])

    async def info(self, asked: Asked[None, NamedKey]) -> object:
        """Who may not see a key does not learn whether it exists."""
        named = asked.query.key
        token = KeyHash(str(asked.caller.api_key)) if named is None else await self._token_now(named)
        row = await self._keys.info(token)
        require(sees_key(asked.standing, {"token": token} if row is None else row), _NOT_SEEN)
        if row is None:
            raise NotFound("Key not found in database")
        return KeyDescription(key=named or token, info=await self._described(row))

    async def infos(self, asked: Asked[SeveralKeys, None]) -> object:
        """All of them must be within reach."""
        as_given = dict(zip(await self._current(asked.body.keys), asked.body.keys, strict=True))
        rows = await self._keys.infos(list(as_given))
        require(
            asked.standing.all or (len(rows) == len(as_given) and all(sees_key(asked.standing, row) for row in rows)),
            _NOT_SEEN,
        )
        if not rows:
            raise NotFound("No keys found")
        budgets = await self._budgets(rows)
        return KeyDescriptions(
            key=[as_given[KeyHash(str(row["token"]))] for row in rows],
            info=[_described(row, budgets.get(str(row["budget_id"]))) | await self._usage(row) for row in rows],
        )

    async def list(self, asked: Asked[None, ListKeys]) -> object:
        """One's own, unless asked for otherwise; keys of logins only by their team. Who administers teams or
        organizations finds theirs by `team_id`, `organization_id` or `include_team_keys`."""
        query, standing = asked.query, asked.standing
        narrowed = query.team_id is not None or query.organization_id is not None or query.user_id is not None
        user_id = query.user_id if standing.all or narrowed else standing.caller.user_id
        found = await self._keys.page(
            KeyFilter(
                reach=_reach(standing),
                user_id=user_id,
                created_by=user_id if query.include_created_by_keys else None,
                teams=_teams_of(standing) if query.include_team_keys else None,
                team_id=query.team_id,
                organization_id=query.organization_id,
                project_id=query.project_id,
                key_alias=query.key_alias,
                key_hash=None if query.key_hash is None else await self._token_now(query.key_hash),
                status=query.status,
                sort_by=query.sort_by,
                downwards=query.sort_order == "desc",
            ),
            limit=query.size,
            offset=(query.page - 1) * query.size,
        )
        tokens = [token for token, _ in found.keys]
        keys: list[object] = [*tokens]
        if query.return_full_object or query.expand:
            rows = await self._keys.infos(tokens, deleted=query.status == "deleted")
            keys = [*await self._with_users(rows)] if query.expand else [*rows]
        return KeyList(
            keys=keys,
            total_count=found.total,
            current_page=query.page,
            total_pages=-(-found.total // query.size),
        )

    async def aliases(self, asked: Asked[None, ListAliases]) -> object:
        """Of the keys within reach, in order."""
        query = asked.query
        found = await self._keys.page(
            KeyFilter(reach=_reach(asked.standing), search=query.search or "", sort_by="key_alias", downwards=False),
            limit=query.size,
            offset=(query.page - 1) * query.size,
        )
        return AliasList(
            aliases=[alias for _, alias in found.keys if alias is not None],
            total_count=found.total,
            current_page=query.page,
            total_pages=-(-found.total // query.size),
            size=query.size,
        )

    async def block(self, asked: Asked[OneKey, None]) -> object:
        """Calls with it get 401."""
        return await self._set_blocked(asked, blocked=True)

    async def unblock(self, asked: Asked[OneKey, None]) -> object:
        """Undoes `/key/block`."""
        return await self._set_blocked(asked, blocked=False)

    async def _set_blocked(self, asked: Asked[OneKey, None], *, blocked: bool) -> object:
        standing, key = asked.standing, asked.body.key
        if not self._forms.is_key(key) and not self._forms.is_hash(key):
            raise InvalidRequest("Invalid key format: give the key, which begins with sk-, or its hash.", param="key")
        edit = KeyEdit(
            changes=lambda row, place: self._rules.changed(
                moved(standing, place), row, {"blocked": blocked}, by_route=True
            ),
            asker=asker_of(standing),
        )
        token = await self._token_now(key)
        await self._must_be_there(standing, token)
        action = Action.BLOCKED if blocked else Action.UNBLOCKED
        row = await self._keys.change(token, edit, action=action, actor=asked.actor, expected=asked.body.updated_at)
        if row is None:
            raise NotFound("Key not found in database")
        return _without_token(row)

    async def regenerate(self, asked: Asked[RegenerateKey, None]) -> object:
        """The key gets another secret and keeps all else, its spend included. One that somebody else than its user
        regenerates calls models and may do nothing more in the user's name."""
        body, standing = asked.body, asked.standing
        if body.new_master_key is not None:
            raise InvalidRequest("The master key is changed in the configuration.", param="new_master_key")
        now = datetime.now(UTC)
        grace = after(now, body.grace_period, param="grace_period") if body.grace_period else None
        named = asked.path.get("key") or body.key
        asked_for = KeyHash(str(asked.caller.api_key)) if named is None else self._token(named)
        [token] = await self._keys.current([asked_for])
        plain = self._maker.secret(body.new_key, param="new_key")
        new = {
            "token": self._forms.hash(plain),
            "key_name": self._forms.abbreviate(plain),
            "last_rotation_at": now,
        }
        try:
            edit = await self._edit(standing, token, body, new_secret=new)
        except (Forbidden, NotFound):
            if [token] != await self._keys.current([asked_for]):  # since we looked
                raise Conflict(_REPLACED, param="key") from None
            raise
        if token != asked_for:  # by who has just got an answer: his secret must not die of a second request
            raise Conflict(_REPLACED, param="key")
        row = await self._keys.rotate(token, edit, actor=asked.actor, revoke_at=grace, expected=body.updated_at)
        if row is None:
            raise NotFound("Key not found in database")
        return made(row, plain, await self._budget(row))

    async def reset_spend(self, asked: Asked[ResetSpend, None]) -> object:
        """What the key has spent in its current period; what it has spent in all stays."""
        amount, standing = asked.body.reset_to, asked.standing

        def changes(row: KeyRow, place: KeyPlace) -> Mapping[str, object]:
            spent = row["spend"]
            assert isinstance(spent, float)
            if not 0 <= amount <= spent:
                raise InvalidRequest(f"reset_to must lie between 0 and the key's spend, {spent}.", param="reset_to")
            return self._rules.changed(moved(standing, place), row, {"spend": amount}, by_route=True)

        token = await self._token_now(asked.path["key"])
        await self._must_be_there(standing, token)
        edit = KeyEdit(changes=changes, asker=asker_of(standing), spend=True)
        row = await self._keys.change(
            token, edit, action=Action.UPDATED, actor=asked.actor, expected=asked.body.updated_at
        )
        if row is None:
            raise NotFound("Key not found in database")
        return _without_token(row)

    async def health(self, _: Asked[None, None]) -> object:
        """It has been accepted, or this would not be the answer."""
        return KeyHealth(key="healthy", logging_callbacks=None)

    async def _edit(
        self, standing: Standing, token: KeyHash, body: KeyFields, *, new_secret: Mapping[str, object] | None = None
    ) -> KeyEdit:
        """What `body` comes to. Raises Refusal: the caller may not, or there is no such key."""
        now, calendar = datetime.now(UTC), self._settings.calendar
        await self._must_be_there(standing, token)

        def changes(row: KeyRow, place: KeyPlace) -> Mapping[str, object]:
            wanted = columns_of(body, row, now=now, calendar=calendar)
            stands = moved(standing, place)
            self._rules.check_move(stands, row, wanted, place)
            found = self._rules.changed(stands, row, wanted, new_secret=new_secret is not None)
            return {**found, **(new_secret or {})}

        moves = {name: value for name in _MOVES if (value := getattr(body, name)) is not UNSET}
        spend = any(getattr(body, name) is not UNSET for name in _SPENT_BY)
        return KeyEdit(changes=changes, asker=asker_of(standing), moves=moves, spend=spend)

    async def _must_be_there(self, standing: Standing, token: KeyHash) -> KeyRow:
        """Its row. Raises NotFound; Forbidden: who may not change a key does not learn whether it exists."""
        row = await self._keys.info(token)
        require(standing.all or (row is not None and changes_key(standing, row)), _NOT_CHANGED)
        if row is None:
            raise NotFound("Key not found in database")
        return row

    async def _named(self, key: str | None, alias: Given[str]) -> KeyHash:
        """The key that a body names, by itself or by its alias. Raises InvalidRequest, NotFound."""
        if key is not None:
            return await self._token_now(key)
        if not isinstance(alias, str):
            raise InvalidRequest("Name the key in `key`, or by its `key_alias`.", param="key")
        found = await self._keys.page(KeyFilter(reach=_EVERYTHING, key_alias=alias), limit=1, offset=0)
        return found.keys[0][0] if found.keys else KeyHash("")

    async def _budget(self, row: KeyRow) -> KeyRow | None:
        return (await self._budgets([row])).get(str(row["budget_id"]))

    async def _budgets(self, rows: Sequence[KeyRow]) -> dict[str, KeyRow]:
        named = [str(row["budget_id"]) for row in rows if row["budget_id"] is not None]
        return await self._keys.budgets(named) if named else {}

    async def _described(self, row: KeyRow) -> JsonObject:
        return _described(row, await self._budget(row)) | await self._usage(row)

    async def _usage(self, row: KeyRow) -> JsonObject:
        return await usage_of(self._keys, row, now=datetime.now(UTC), calendar=self._settings.calendar)

    async def _with_users(self, rows: Sequence[KeyRow]) -> Sequence[KeyRow]:
        users = await self._keys.users([str(row["user_id"]) for row in rows if row["user_id"] is not None])
        return [{**row, "user": users.get(str(row["user_id"]))} for row in rows]

    async def _token_now(self, key: str) -> KeyHash:
        [token] = await self._current([key])
        return token

    async def _current(self, keys: Sequence[str]) -> Sequence[KeyHash]:
        """The hash that each of `keys` has now: who knows but a secret that was replaced can block the key, too."""
        return await self._keys.current([self._token(key) for key in keys])

    def _token(self, key: str) -> KeyHash:
        """The hash of `key`, which may be one already: as a name of a key, not as a proof of having it."""
        return KeyHash(key) if self._forms.is_hash(key) else self._forms.hash(key)


def _reach(standing: Standing) -> dict[str, object]:
    """Whose keys the caller may see, as `KeyFilter.reach` has it."""
    if standing.all:
        return _EVERYTHING
    belongs = standing.memberships
    found: dict[str, object] = {"user": standing.caller.user_id, "teams": sorted(standing.permitting_teams)}
    if standing.reach.covers(Reach.TEAM):
        found["teams"] = _teams_of(standing)
    if standing.reach.covers(Reach.ORGANIZATION):
        found["teams"] = sorted({*_teams_of(standing), *belongs.teams_of_organizations})
        found["organizations"] = sorted(belongs.administered_organizations)
    return found


def _teams_of(standing: Standing) -> tuple[str, ...]:
    """The teams whose keys the caller may see because of what he is there."""
    return tuple(sorted(standing.memberships.administered_teams | standing.permitting_teams))


def _described(row: KeyRow, budget: KeyRow | None) -> JsonObject:
    return {**_without_token(row), "litellm_budget_table": budget, "object_permission": None, "status": _status(row)}


def _status(row: KeyRow) -> str:
    expires = row["expires"]
    if row["blocked"]:
        return "revoked"
    return "expired" if isinstance(expires, datetime) and expires <= datetime.now(UTC) else "active"


def _without_token(row: KeyRow) -> JsonObject:
    return {name: value for name, value in row.items() if name != "token"}


Endpoint = Callable[[Asked[Never, Never]], Awaitable[object]]
Answer = type | JsonObject


def _post(path: str, summary: str, endpoint: Endpoint, body: type | None, answer: Answer, *errors: int) -> Route:
    return Route(
        method="POST",
        path=path,
        tag="keys",
        summary=summary,
        endpoint=endpoint,
        body=body,
        answer=answer,
        errors=errors,
    )


def _get(path: str, summary: str, endpoint: Endpoint, query: type, answer: Answer, *errors: int) -> Route:
    return Route(
        method="GET",
        path=path,
        tag="keys",
        summary=summary,
        endpoint=endpoint,
        query=query,
        answer=answer,
        errors=errors,
    )
