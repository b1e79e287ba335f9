"""`/key/*`: making, deleting and looking at virtual keys. Plain keys leave here once, in the answer that makes them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.durations import after
from bursar.domain.errors import InvalidRequest, NotFound
from bursar.domain.ids import KeyHash
from bursar.management.objects import require, sees_key
from bursar.management.route import Asked, Route
from bursar.ports import KeyAdministration, KeyForms, KeyRow, NewKey

_OWN_KEY = re.compile(r"sk-[!-~]{13,}")
"""What a header can carry as one word."""
_BUDGET_WORDS = frozenset({"hourly", "daily", "weekly", "monthly"})
_ROUTES_OF_KIND = {"llm_api": "llm_api_routes", "management": "management_routes", "read_only": "info_routes"}

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
SmallCount = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""As the column takes it."""
JsonObject = dict[str, object]

_MADE: JsonObject = {
    "type": "object",
    "description": "The row of `LiteLLM_VerificationToken`, and the plain key, which is shown this once.",
    "properties": {
        "key": {"type": "string"},
        "key_name": {"type": "string", "examples": ["sk-...9f2a"]},
        "token": {"type": "string", "description": "The key's hash."},
        "token_id": {"type": "string"},
        "expires": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["key", "key_name", "token", "token_id", "expires"],
}


class GenerateKey(msgspec.Struct, kw_only=True):
    """The body of `/key/generate`. Fields of LiteLLM's that have no meaning here yet are passed over."""

    key: Annotated[str, Meta(description="A key of your own, instead of a random one.")] | None = None
    key_alias: Annotated[str, Meta(description="Unique.", examples=["ci-bot"])] | None = None
    duration: Annotated[str, Meta(description="Until it expires; none: never.", examples=["30d", "24h"])] | None = None
    models: Annotated[list[str], Meta(description="What it may call; none: all.", examples=[["gpt-4o"]])] | None = None
    aliases: JsonObject | None = None
    config: JsonObject | None = None
    spend: float | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    max_parallel_requests: SmallCount | None = None
    metadata: JsonObject | None = None
    permissions: JsonObject | None = None
    tags: list[str] | None = None
    blocked: bool | None = None
    max_budget: Annotated[float, Meta(description="US dollars.", examples=[10.0])] | None = None
    budget_duration: Annotated[str, Meta(description="After which it starts anew.", examples=["30d"])] | None = None
    tpm_limit: Count | None = None
    rpm_limit: Count | None = None
    allowed_routes: list[str] | None = None
    key_type: Literal["default", "llm_api", "management", "read_only"] | None = None
    """Stands for `allowed_routes`, where those are not given."""


class DeleteKeys(msgspec.Struct, kw_only=True):
    """The body of `/key/delete`."""

    keys: list[str] | None = None
    key_aliases: list[str] | None = None


class NamedKey(msgspec.Struct, kw_only=True):
    """The query of `/key/info`."""

    key: str | None = None
    """The key or its hash; None: the one that asks."""


class KeyDescription(msgspec.Struct, kw_only=True):
    """The answer of `/key/info`."""

    key: str
    """As it was asked for."""
    info: JsonObject
    """The row of `LiteLLM_VerificationToken`, without the hash."""


class DeletedKeys(msgspec.Struct, kw_only=True):
    """The answer of `/key/delete`."""

    deleted_keys: list[str]
    """Each as it was given."""


class KeyEndpoints:
    """Making, deleting and looking at virtual keys."""

    def __init__(self, keys: KeyAdministration, forms: KeyForms) -> None:
        self._keys = keys
        self._forms = forms

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/key/generate",
                tag="keys",
                summary="Make a virtual key",
                endpoint=self.generate,
                body=GenerateKey,
                answer=_MADE,
            ),
            Route(
                method="POST",
                path="/key/delete",
                tag="keys",
                summary="Delete virtual keys",
                endpoint=self.delete,
                body=DeleteKeys,
                answer=DeletedKeys,
                errors=(404,),
            ),
            Route(
                method="GET",
                path="/key/info",
                tag="keys",
                summary="Look at a virtual key",
                endpoint=self.info,
                query=NamedKey,
                answer=KeyDescription,
                errors=(404,),
            ),
        )

    async def generate(self, asked: Asked[GenerateKey, None]) -> object:
        """Gives the row, with the plain key, which is shown this once."""
        body = asked.body
        if body.key is not None and not _OWN_KEY.fullmatch(body.key):
            raise InvalidRequest(
                "A key of your own must start with 'sk-' and have at least 16 characters, all of them printable ASCII.",
                param="key",
            )
        _check_money(body)
        plain = body.key or self._forms.generate()
        metadata = dict(body.metadata or {})
        if body.tags is not None:
            metadata["tags"] = body.tags
        new = NewKey(
            token=self._forms.hash(plain),
            key_name=self._forms.abbreviate(plain),
            created_by=asked.actor.name,
            key_alias=body.key_alias,
            spend=body.spend or 0.0,
            expires=_expiry(body.duration),
            models=tuple(body.models or ()),
            aliases=body.aliases or {},
            config=body.config or {},
            user_id=body.user_id,
            team_id=body.team_id,
            organization_id=body.organization_id,
            permissions=body.permissions or {},
            max_parallel_requests=body.max_parallel_requests,
            metadata=metadata,
            blocked=body.blocked,
            tpm_limit=body.tpm_limit,
            rpm_limit=body.rpm_limit,
            max_budget=body.max_budget,
            budget_duration=body.budget_duration,
            allowed_routes=_routes(body),
        )
        row = await self._keys.insert(new, actor=asked.actor)
        if row is None:
            raise InvalidRequest(
                f"Key with alias '{body.key_alias}' already exists. Unique key aliases across all keys are required.",
                param="key_alias",
            )
        return {**row, "key": plain, "token_id": new.token, "litellm_budget_table": None}

    async def delete(self, asked: Asked[DeleteKeys, None]) -> object:
        """Keys go to the table of deleted ones; what they spent stays on the books."""
        body = asked.body
        if not body.keys and not body.key_aliases:
            raise InvalidRequest("Name the keys to delete in `keys` or `key_aliases`.", param="keys")
        as_given = {self._token(key): key for key in body.keys or ()}
        aliases = [alias for alias in body.key_aliases or () if "\x00" not in alias]  # no key is called so
        gone = await self._keys.delete(tokens=list(as_given), aliases=aliases, actor=asked.actor)
        if not gone:
            raise NotFound("No keys found")
        return DeletedKeys(deleted_keys=[as_given.get(token, alias or token) for token, alias in gone])

    async def info(self, asked: Asked[None, NamedKey]) -> object:
        """Who may not see a key does not learn whether it exists."""
        named = asked.query.key
        token = KeyHash(str(asked.caller.api_key)) if named is None else self._token(named)
        row = await self._keys.info(token)
        require(
            sees_key(asked.standing, {"token": token} if row is None else row),
            "You are not allowed to access this key's info.",
        )
        if row is None:
            raise NotFound("Key not found in database")
        return KeyDescription(key=named or token, info=_without_token(row))

    def _token(self, key: str) -> KeyHash:
        """The hash of `key`, which may be one already: as a name of a key, not as a proof of having it."""
        return KeyHash(key) if self._forms.is_hash(key) else self._forms.hash(key)


def _check_money(asked: GenerateKey) -> None:
    """Raises InvalidRequest: an amount below zero, a budget period that is none."""
    for name, amount in (("max_budget", asked.max_budget), ("spend", asked.spend)):
        if amount is not None and amount < 0:
            raise InvalidRequest(f"{name} cannot be negative, but is {amount}.", param=name)
    if asked.budget_duration is not None and asked.budget_duration not in _BUDGET_WORDS:
        after(datetime.now(UTC), asked.budget_duration, param="budget_duration")


def _routes(asked: GenerateKey) -> tuple[str, ...]:
    if asked.allowed_routes is None and asked.key_type in _ROUTES_OF_KIND:
        return (_ROUTES_OF_KIND[asked.key_type],)
    return tuple(asked.allowed_routes or ())


def _expiry(duration: str | None) -> datetime | None:
    return None if duration in (None, "", "-1") else after(datetime.now(UTC), str(duration))


def _without_token(row: KeyRow) -> KeyRow:
    return {name: value for name, value in row.items() if name != "token"}
