"""Every route × every role × own and foreign objects: what the cases are made of.

A room adds one example request for each of its routes to `EXAMPLES`; the table of permissions says the rest.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from bursar.access.keys import LitellmKeyForms
from bursar.config.schema import Config
from bursar.domain.periods import Calendar
from bursar.domain.principals import Role
from bursar.domain.secrets import Secret
from bursar.gateway.quotes import Quotes
from bursar.live_models import ModelKeeper
from bursar.management.route import Route
from bursar.management_setup import (
    LoginParts,
    console_login,
    login_room,
    management_rooms,
    model_rooms,
    owner_rooms,
    report_rooms,
)
from bursar.store.database import Database, DatabaseOptions
from bursar.store.keys import PostgresKeys
from bursar.store.models import PostgresModels
from bursar.vault.vault import Vault
from tests.gateway.running import MASTER_KEY, SALT_KEY, Books, Gateway, shipped_book
from tests.oracle.raw_client import Answer


@dataclass(frozen=True)
class Example:
    """A request that succeeds for whoever may make it.

    Text that is `$key`, `$hash`, `$team`, `$user`, `$organization`, `$customer`, `$budget` or `$tag` stands for an
    object that lies within the caller's reach or, in the foreign case, out of it; `$mate` for a member of the team and
    the organization; `$new` for an id that is new.
    """

    body: object = None
    query: str = ""
    path: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    """What it answers when it is allowed."""
    strangers: tuple[str, ...] = ()
    """Callers who belong to nothing that it is about, whatever their reach."""

    @property
    def about(self) -> bool:
        """It names an object that may be a foreign one."""
        return any(name in repr((self.body, self.query, self.path)) for name in _OF_SOMEBODY)


_OF_SOMEBODY = ("$key", "$hash", "$team", "$user", "$organization")

_DAYS = "start_date=2025-01-01&end_date=2025-01-31"

EXAMPLES: dict[str, Example] = {
    "POST /key/generate": Example({}),
    "POST /key/service-account/generate": Example({"team_id": "$team"}),
    "POST /key/update": Example({"key": "$key", "key_alias": "renamed"}),
    "POST /key/bulk_update": Example({"keys": [{"key": "$key", "key_alias": "renamed"}]}),
    "POST /key/delete": Example({"keys": ["$key"]}),
    "GET /key/info": Example(query="key=$key"),
    "POST /v2/key/info": Example({"keys": ["$key"]}),
    "GET /key/list": Example(query="key_hash=$hash&return_full_object=true"),
    "GET /key/aliases": Example(),
    "POST /key/block": Example({"key": "$key"}),
    "POST /key/unblock": Example({"key": "$key"}),
    "POST /key/regenerate": Example({"key": "$key"}),
    "POST /key/{key}/regenerate": Example({}, path={"key": "$key"}),
    "POST /key/{key}/reset_spend": Example({"reset_to": 0.0}, path={"key": "$key"}),
    "POST /key/health": Example(),
    "POST /user/new": Example({"auto_create_key": True}),
    "GET /user/info": Example(query="user_id=$user"),
    "GET /v2/user/info": Example(query="user_id=$user"),
    "POST /user/update": Example({"user_id": "$user", "user_alias": "renamed"}),
    "POST /user/bulk_update": Example({"users": [{"user_id": "$user", "user_alias": "renamed"}]}),
    "GET /user/list": Example(),
    "POST /user/delete": Example({"user_ids": ["$user"]}),
    "GET /user/available_roles": Example(),
    "GET /user/available_users": Example(),
    "POST /team/new": Example({"team_id": "$new", "organization_id": "$organization"}),
    "POST /team/update": Example({"team_id": "$team", "team_alias": "renamed"}),
    "POST /team/delete": Example({"team_ids": ["$team"]}),
    "POST /team/block": Example({"team_id": "$team"}),
    "POST /team/unblock": Example({"team_id": "$team"}),
    "POST /team/model/add": Example({"team_id": "$team", "models": ["oracle"]}),
    "POST /team/model/delete": Example({"team_id": "$team", "models": ["oracle"]}),
    "GET /team/permissions_list": Example(query="team_id=$team", strangers=("unknown-role",)),
    "POST /team/permissions_update": Example({"team_id": "$team", "team_member_permissions": ["/key/info"]}),
    "POST /team/member_add": Example({"team_id": "$team", "member": {"user_id": "$new"}}),
    "POST /team/bulk_member_add": Example({"team_id": "$team", "members": [{"user_id": "$new"}]}),
    "POST /team/member_delete": Example({"team_id": "$team", "user_id": "$mate"}),
    "POST /team/member_update": Example({"team_id": "$team", "user_id": "$mate", "max_budget_in_team": 1}),
    "POST /team/{team_id}/member/{user_id}/reset_spend": Example({}, path={"team_id": "$team", "user_id": "$mate"}),
    "GET /team/info": Example(query="team_id=$team", strangers=("unknown-role",)),
    "GET /team/list": Example(query="organization_id=$organization"),
    "GET /v2/team/list": Example(query="team_id=$team"),
    "GET /team/available": Example(),
    "POST /organization/new": Example({"organization_alias": "made"}),
    "PATCH /organization/update": Example({"organization_id": "$organization", "organization_alias": "renamed"}),
    "DELETE /organization/delete": Example({"organization_ids": ["$organization"]}, status=400),
    "GET /organization/list": Example(query="org_id=$organization"),
    "GET /organization/info": Example(
        query="organization_id=$organization", strangers=("team-admin", "reader-admin", "looker")
    ),
    "POST /organization/info": Example(
        {"organizations": ["$organization"]}, strangers=("team-admin", "reader-admin", "looker")
    ),
    "POST /organization/member_add": Example({"organization_id": "$organization", "member": {"user_id": "$new"}}),
    "PATCH /organization/member_update": Example(
        {"organization_id": "$organization", "user_id": "$mate", "role": "internal_user_viewer"}
    ),
    "DELETE /organization/member_delete": Example({"organization_id": "$organization", "user_id": "$mate"}),
    "POST /customer/new": Example({"user_id": "$new", "max_budget": 1}),
    "GET /customer/info": Example(query="end_user_id=$customer"),
    "POST /customer/update": Example({"user_id": "$customer", "alias": "renamed"}),
    "POST /customer/delete": Example({"user_ids": ["$customer"]}),
    "GET /customer/list": Example(),
    "POST /customer/block": Example({"user_ids": ["$customer"]}),
    "POST /customer/unblock": Example({"user_ids": ["$customer"]}),
    "POST /budget/new": Example({"budget_id": "$new", "max_budget": 1}),
    "POST /budget/update": Example({"budget_id": "$budget", "max_budget": 2}),
    "POST /budget/info": Example({"budgets": ["$budget"]}),
    "GET /budget/list": Example(),
    "POST /budget/delete": Example({"id": "$budget"}, status=400),
    "GET /budget/settings": Example(query="budget_id=$budget"),
    "POST /tag/new": Example({"name": "$new", "max_budget": 1}),
    "POST /tag/update": Example({"name": "$tag", "description": "said"}),
    "POST /tag/info": Example({"names": ["$tag"]}),
    "GET /tag/list": Example(),
    "POST /tag/delete": Example({"name": "$tag"}),
    "GET /model/info": Example(),
    "GET /v2/model/info": Example(),
    "GET /model_group/info": Example(),
    "POST /model/new": Example({"model_name": "new", "litellm_params": {"model": "openai/new"}}),
    "POST /model/update": Example({"model_info": {"id": "a-model"}, "model_name": "other"}),
    "PATCH /model/{model_id}/update": Example({"model_name": "other"}, path={"model_id": "a-model"}),
    "POST /model/delete": Example({"id": "a-model"}),
    "POST /credentials": Example({"credential_name": "$new", "credential_values": {"api_key": "sk-of-a-provider"}}),
    "GET /credentials": Example(),
    "GET /credentials/{credential_name}": Example(path={"credential_name": "a-credential"}),
    "GET /credentials/by_model/{model_id}": Example(path={"model_id": "a-model"}),
    "GET /credentials/by_name/{credential_name}": Example(path={"credential_name": "a-credential"}),
    "PATCH /credentials/{credential_name}": Example(
        {"credential_info": {"of": "us"}}, path={"credential_name": "a-credential"}
    ),
    "DELETE /credentials/{credential_name}": Example(path={"credential_name": "a-credential"}),
    "POST /config/update": Example({"litellm_settings": {"drop_params": True}}),
    "GET /config/list": Example(),
    "GET /config/field/info": Example(query="field_name=drop_params"),
    "GET /cache/ping": Example(status=503),
    "POST /cache/delete": Example({"keys": ["k"]}, status=503),
    "POST /cache/flushall": Example(status=503),
    "POST /utils/token_counter": Example({"model": "oracle", "prompt": "How many?"}),
    "GET /health/services": Example(query="service=slack", status=400),
    "POST /login": Example({"username": "admin", "password": MASTER_KEY}, status=303),
    "POST /v2/login": Example({"username": "admin", "password": MASTER_KEY}),
    "GET /audit": Example(),
    "GET /audit/{id}": Example(path={"id": "nothing"}, status=404),
    "GET /spend/logs": Example(query="user_id=$user"),
    "GET /spend/logs/v2": Example(query=f"{_DAYS}&user_id=$user&team_id=$team&api_key=$hash"),
    "GET /spend/logs/session/ui": Example(query="session_id=s"),
    "GET /spend/logs/ui/{request_id}": Example(path={"request_id": "nothing"}, status=404),
    "GET /spend/keys": Example(),
    "GET /spend/users": Example(),
    "GET /spend/tags": Example(query=_DAYS),
    "POST /spend/calculate": Example({"model": "oracle", "messages": [{"role": "user", "content": "Hello"}]}),
    "GET /global/spend": Example(),
    "GET /global/spend/logs": Example(query="api_key=$hash"),
    "GET /global/spend/keys": Example(),
    "GET /global/spend/models": Example(),
    "GET /global/spend/teams": Example(),
    "POST /global/spend/end_users": Example({}),
    "GET /global/spend/tags": Example(query=_DAYS),
    "GET /global/spend/all_tag_names": Example(),
    "GET /global/spend/provider": Example(query=_DAYS),
    "GET /global/spend/report": Example(query=f"{_DAYS}&group_by=team&team_id=$team"),
    "GET /global/activity": Example(query=_DAYS),
    "GET /global/activity/model": Example(query=_DAYS),
    "POST /global/spend/reset": Example(),
    "POST /global/spend/refresh": Example(),
    "GET /user/daily/activity": Example(query=f"{_DAYS}&api_key=$hash"),
    "GET /user/daily/activity/aggregated": Example(query=f"{_DAYS}&api_key=$hash"),
    "GET /team/daily/activity": Example(query=_DAYS),
    "GET /organization/daily/activity": Example(query=f"{_DAYS}&organization_ids=$organization"),
    "GET /tag/daily/activity": Example(query=_DAYS),
    "GET /tag/summary": Example(query=_DAYS),
    "GET /tag/dau": Example(),
    "GET /tag/wau": Example(),
    "GET /tag/mau": Example(),
    "GET /customer/daily/activity": Example(query=_DAYS),
    "GET /openapi.json": Example(),
    "GET /docs": Example(),
    "GET /routes": Example(),
    "GET /test": Example(),
}


def registered_routes() -> list[Route]:
    """All that the gateway answers."""
    database, forms = Database(DatabaseOptions({})), LitellmKeyForms()
    vault = Vault(Secret(SALT_KEY))
    store = PostgresModels(database)
    models = ModelKeeper(Config(), Config(), shipped_book(), {}, demo_base=None, store=store, vault=vault)
    login = LoginParts(console=console_login({}, MASTER_KEY), session_key=b"", trusted_proxies=(), secure=False)
    quotes = Quotes(models.live, listed=models.listed_price, wall_clock=time.time)
    others = [
        *owner_rooms(database, Calendar()),
        *report_rooms(database, database, forms, quotes, max_budget=None),
        *model_rooms(database, models, vault),
        login_room(database, forms, login),
    ]
    rooms = management_rooms(database, PostgresKeys(database), forms, Config(), Calendar(), others, master_key=None)
    return [route for room in rooms for route in room.routes]


CALLERS = {
    "master": Role.PROXY_ADMIN,
    "admin": Role.PROXY_ADMIN,
    "viewer": Role.PROXY_ADMIN_VIEWER,
    "org-admin": Role.ORG_ADMIN,
    "team-admin": Role.TEAM_ADMIN,
    "member": Role.INTERNAL_USER,
    "looker": Role.INTERNAL_USER_VIEWER,
    "reader-admin": Role.INTERNAL_USER_VIEWER,
    "key": Role.KEY,
    "caller": Role.CUSTOMER,
    "unknown-role": Role.KEY,
}
"""Who calls, and the role his rights are those of. `reader-admin` is made admin of the team all the same."""

_ROLES = {
    "admin": "proxy_admin",
    "viewer": "proxy_admin_viewer",
    "looker": "internal_user_viewer",
    "reader-admin": "internal_user_viewer",
    "caller": "customer",
    "unknown-role": "emperor",
}
"""As the table of users has them; of others `internal_user`."""

HOME = {
    "team": "home/team+1%",
    "organization": "home-org",
    "mate": "member",
    "customer": "a-customer",
    "budget": "a-budget",
    "tag": "a-tag",
}
AWAY = {
    "team": "away-team",
    "organization": "away-org",
    "user": "stranger",
    "mate": "stranger",
    "customer": "b-customer",
    "budget": "b-budget",
    "tag": "b-tag",
    "key": "sk-object-of-stranger-0001",
}


def hash_of(key: str) -> str:
    """As the table has it."""
    return hashlib.sha256(key.encode()).hexdigest()


AWAY["hash"] = hash_of(AWAY["key"])


def key_of(caller: str) -> str:
    """What he calls with."""
    return f"sk-of-the-{caller}-000001"


def objects_of(caller: str) -> dict[str, str]:
    """What lies within his reach: for those who administer, what is not their own."""
    owner = "member" if CALLERS[caller] in (Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER, Role.ORG_ADMIN) else caller
    user = owner
    if caller == "team-admin":
        owner = "member"
    key = key_of(caller) if caller in ("key", "unknown-role") else f"sk-object-of-{owner}-0001"
    return {**HOME, "user": user, "key": key, "hash": hash_of(key)}


def filled(value: Any, objects: Mapping[str, str]) -> Any:
    """`value` with objects in place of their names."""
    if isinstance(value, dict):
        return {name: filled(item, objects) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, objects) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        return str(uuid4()) if value == "$new" else objects[value[1:]]
    return value


async def send(gateway: Gateway, route: Route, example: Example, *, caller: str, objects: Mapping[str, str]) -> Answer:
    """The example, made by `caller` about `objects`."""
    path = route.path
    for name, value in example.path.items():
        path = path.replace(f"{{{name}}}", _quoted(filled(value, objects)))
    pairs = (pair.split("=", 1) for pair in example.query.split("&") if pair)
    query = "&".join(f"{name}={_quoted(filled(value, objects))}" for name, value in pairs)
    target = f"{path}?{query}" if query else path
    key = MASTER_KEY if caller == "master" else key_of(caller)
    return await gateway.request(route.method, target, filled(example.body, objects), key=key)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


async def furnish(books: Books) -> None:
    """The world the cases happen in, anew: whatever an earlier case did to it is undone."""
    for table in (
        *("VerificationToken", "TeamMembership", "OrganizationMembership", "EndUserTable", "TagTable"),
        *("TeamTable", "UserTable", "OrganizationTable", "BudgetTable"),
        *("ProxyModelTable", "CredentialsTable", "Config"),
    ):
        await books.fetch(f'DELETE FROM "LiteLLM_{table}"')
    await books.fetch("DELETE FROM bursar.rotated_keys")
    for place, member_roles in ((HOME, _home_members()), (AWAY, [("stranger", "admin")])):
        await books.fetch(
            """INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ($1, '', '')""",
            place["budget"],
        )
        await books.fetch(
            """INSERT INTO "LiteLLM_OrganizationTable"
            (organization_id, organization_alias, budget_id, created_by, updated_by) VALUES ($1, $1, $2, '', '')""",
            place["organization"],
            place["budget"],
        )
        await books.fetch(
            """INSERT INTO "LiteLLM_TeamTable" (team_id, team_alias, organization_id, members_with_roles)
            VALUES ($1, $1, $2, $3)""",
            place["team"],
            place["organization"],
            [{"user_id": name, "role": role} for name, role in member_roles],
        )
        await books.fetch('INSERT INTO "LiteLLM_EndUserTable" (user_id) VALUES ($1)', place["customer"])
        await books.fetch('INSERT INTO "LiteLLM_TagTable" (tag_name) VALUES ($1)', place["tag"])
    await books.fetch(
        """INSERT INTO "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)
        VALUES ('a-model', 'a-model', $1, '', '')""",
        {"model": "openai/a-model"},
    )
    await books.fetch(
        """INSERT INTO "LiteLLM_CredentialsTable"
        (credential_id, credential_name, credential_values, created_by, updated_by)
        VALUES ('1', 'a-credential', $1, '', '')""",
        {"api_key": "sk-of-a-provider"},
    )
    for name in [*CALLERS, "stranger"]:
        if name in ("master", "key"):
            continue
        at_home = name != "stranger" and name not in ("admin", "viewer", "org-admin")
        teams = [AWAY["team"]] if name == "stranger" else [HOME["team"]] if at_home else []
        await books.fetch(
            'INSERT INTO "LiteLLM_UserTable" (user_id, user_role, teams) VALUES ($1, $2, $3)',
            name,
            _ROLES.get(name, "internal_user"),
            teams,
        )
        team = teams[0] if teams else None
        await _put_key(books, f"sk-object-of-{name}-0001", name, team)
        await _put_key(books, key_of(name), name, None)
    await _put_key(books, key_of("key"), None, HOME["team"])
    for name, organization, role in (
        ("org-admin", HOME["organization"], "org_admin"),
        ("member", HOME["organization"], "internal_user"),
        ("stranger", AWAY["organization"], "org_admin"),
    ):
        await books.fetch(
            """INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role)
            VALUES ($1, $2, $3)""",
            name,
            organization,
            role,
        )


def _home_members() -> list[tuple[str, str]]:
    admins = ("team-admin", "reader-admin")
    return [*((name, "admin") for name in admins), ("member", "user"), ("looker", "user"), ("unknown-role", "user")]


async def _put_key(books: Books, key: str, user: str | None, team: str | None) -> None:
    await books.fetch(
        'INSERT INTO "LiteLLM_VerificationToken" (token, key_name, user_id, team_id) VALUES ($1, $2, $3, $4)',
        hash_of(key),
        f"sk-...{key[-4:]}",
        user,
        team,
    )
