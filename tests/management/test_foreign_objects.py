"""Looking at what is somebody else's: every route that only looks × every parameter that names an object × every role.

Whoever has no reach to an object sees nothing of it, and is told the same as if it did not exist.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import msgspec
import pytest

from bursar.domain.authority import Reach
from bursar.management.route import Route
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.matrix import AWAY, CALLERS, HOME, furnish, hash_of, key_of, registered_routes
from tests.management.test_matrix import name_of, reach_of
from tests.oracle.raw_client import Answer

MARK = "m4rk"
"""Stands in every text about foreign objects that is not one of their ids."""
SPENT = 77.125
"""By everything foreign, and by nothing else."""
TODAY = datetime.now(UTC).date()
DAYS = {f"{end}_date": str(TODAY + timedelta(days=days)) for end, days in (("start", -1), ("end", 1))}
"""Wide enough for a test that runs at midnight."""
MODEL = f"{MARK}-model"
FOREIGN = {
    "key": AWAY["key"],
    "hash": AWAY["hash"],
    "user": AWAY["user"],
    "team": AWAY["team"],
    "organization": AWAY["organization"],
    "customer": AWAY["customer"],
    "budget": AWAY["budget"],
    "tag": AWAY["tag"],
    "key_alias": f"{MARK}-key",
    "user_alias": f"{MARK}-user",
    "email": f"{MARK}@away.example",
    "sso": f"{MARK}-sso",
    "team_alias": f"{MARK}-team",
    "organization_alias": f"{MARK}-organization",
    "request": f"{MARK}-request",
    "session": f"{MARK}-session",
    "model": MODEL,
    "model_id": f"{MARK}-model-id",
    "part": MARK,
    "credential": "a-credential",
    "entry": "an-entry",
}
OWN = {
    **FOREIGN,
    **HOME,
    "user": "member",
    "key": "sk-object-of-member-0001",
    "hash": hash_of("sk-object-of-member-0001"),
    "request": "home-request",
    "session": "home-session",
    "model_id": "the-oracle",
}
"""Of the member and his team; the session has a foreign row as well."""
NOWHERE = {name: f"nowhere-{name}" for name in FOREIGN} | {
    "key": "sk-of-nobody-at-all-000001",
    "hash": hash_of("sk-of-nobody-at-all-000001"),
    "email": "nowhere@away.example",
}
KIND = {
    "key": ("key", "hash"),
    "api_key": ("key", "hash"),
    "key_hash": ("hash",),
    "changed_by_api_key": ("hash",),
    "key_alias": ("key_alias",),
    "search": ("part", "model"),
    **dict.fromkeys(("user_id", "user_ids", "internal_user_id", "changed_by"), ("user",)),
    "user_email": ("email",),
    "user_alias": ("user_alias",),
    "sso_user_ids": ("sso",),
    **dict.fromkeys(("team", "team_id", "team_ids", "exclude_team_ids"), ("team",)),
    "team_alias": ("team_alias",),
    **dict.fromkeys(("organization_id", "organization_ids", "org_id", "exclude_organization_ids"), ("organization",)),
    "org_alias": ("organization_alias",),
    **dict.fromkeys(("end_user", "end_user_id", "end_user_ids", "exclude_end_user_ids", "customer_id"), ("customer",)),
    "budget_id": ("budget",),
    **dict.fromkeys(("tags", "tag_filter", "tag_filters"), ("tag",)),
    "request_id": ("request",),
    "session_id": ("session",),
    **dict.fromkeys(("model_id", "litellm_model_id", "modelId"), ("model_id",)),
    **dict.fromkeys(("model", "model_group"), ("model",)),
    "credential_name": ("credential",),
    "object_id": ("team",),
    "id": ("entry",),
}
"""What a parameter names."""
NO_OBJECT = frozenset(
    {
        *("page", "size", "page_size", "cursor", "limit", "sort_by", "sort_order", "sortBy", "sortOrder", "expand"),
        *("status", "role", "timezone", "start_date", "end_date", "include_team_keys", "include_created_by_keys"),
        *("return_full_object", "summarize", "status_filter", "min_spend", "max_spend", "error_code", "error_message"),
        *("group_by", "action", "table_name", "config_type", "field_name", "service", "project_id"),
    }
)
"""Parameters that name none; `project_id`: there are no projects."""
WITH = {"return_full_object": "true", "group_by": "team", **DAYS}
"""Sent along wherever a route takes it."""


def parameters(route: Route) -> list[str]:
    """Of the query."""
    if route.query is None:
        return []
    info = msgspec.inspect.type_info(route.query)
    assert isinstance(info, msgspec.inspect.StructType)
    return [field.encode_name for field in info.fields]


ROUTES = [
    route
    for route in registered_routes()
    if route.method == "GET"
    and reach_of(route, "member") is not Reach.ALL
    and route.tag != "documentation"
    and route.path != "/cache/ping"  # names nothing, and is unavailable to everybody
]


@dataclass(frozen=True)
class Look:
    """A look at one object."""

    parameter: str
    """By which it is named; empty: by none."""
    target: str
    named: str = ""
    """The object."""


def looks(route: Route, objects: Mapping[str, str]) -> Iterator[Look]:
    """One by each parameter, and for each kind, and one that names nothing."""
    taken = parameters(route)
    along = {name: value for name, value in WITH.items() if name in taken}
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    for name in names:
        for kind in KIND[name]:
            path = route.path.replace(f"{{{name}}}", quote(objects[kind], safe=""))
            yield Look(name, f"{path}?{urlencode(along)}", objects[kind])
    if names:
        return
    yield Look("", f"{route.path}?{urlencode(along)}")
    for name in taken:
        for kind in KIND.get(name, ()):
            yield Look(name, f"{route.path}?{urlencode(along | {name: objects[kind]})}", objects[kind])
    if "summarize" in taken:
        yield Look("", f"{route.path}?{urlencode(along | {'summarize': 'false'})}")


async def furnish_foreign(books: Books) -> None:
    """The world of the matrix, in which everything foreign has a name, has spent, and is in every report."""
    await furnish(books)
    for table in ("SpendLogs", "DailyUserSpend", "DailyTeamSpend", "DailyTagSpend", "DailyOrganizationSpend"):
        await books.fetch(f'DELETE FROM "LiteLLM_{table}"')
    await books.fetch('DELETE FROM "LiteLLM_DailyEndUserSpend"')
    for table, column, alias in (
        ("TeamTable", "team_id", "team_alias"),
        ("OrganizationTable", "organization_id", "organization_alias"),
        ("UserTable", "user_id", "user_alias"),
    ):
        kind = column.removesuffix("_id")
        await books.fetch(
            f'UPDATE "LiteLLM_{table}" SET spend = $2, {alias} = $3 WHERE {column} = $1',
            AWAY[kind],
            SPENT,
            FOREIGN[f"{kind}_alias"],
        )
        if table != "OrganizationTable":
            await books.fetch(
                f"""UPDATE "LiteLLM_{table}" SET models = '{{oracle}}' WHERE {column} <> $1""", AWAY[kind]
            )
    await books.fetch(
        'UPDATE "LiteLLM_UserTable" SET user_email = $2, sso_user_id = $3 WHERE user_id = $1',
        AWAY["user"],
        FOREIGN["email"],
        FOREIGN["sso"],
    )
    await books.fetch(
        """UPDATE "LiteLLM_VerificationToken" SET spend = $2, key_alias = $3, key_name = $4, organization_id = $5
        WHERE token = $1""",
        AWAY["hash"],
        SPENT,
        FOREIGN["key_alias"],
        f"sk-...{MARK}",
        AWAY["organization"],
    )
    await books.fetch(
        """UPDATE "LiteLLM_VerificationToken" SET models = '{oracle}', spend = 1 WHERE token <> $1""", AWAY["hash"]
    )
    await books.fetch(
        """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend) VALUES ($1, $2, $3)""",
        AWAY["user"],
        AWAY["team"],
        SPENT,
    )
    await _spend(books, FOREIGN, SPENT, MODEL)
    await _spend(books, OWN, 1.0, "oracle")
    await books.fetch(
        """INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, "user", spend, "startTime", "endTime",
            session_id)
        VALUES ($1, '', $2, $3, $4, now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc', 'home-session')""",
        f"{MARK}-guest",
        AWAY["hash"],
        AWAY["user"],
        SPENT,
    )
    await books.fetch('DELETE FROM "LiteLLM_AuditLog"')
    await books.fetch(
        """INSERT INTO "LiteLLM_AuditLog" (id, changed_by, changed_by_api_key, action, table_name, object_id)
        VALUES ($1, $2, $3, 'updated', 'LiteLLM_TeamTable', $4)""",
        FOREIGN["entry"],
        AWAY["user"],
        AWAY["hash"],
        AWAY["team"],
    )


async def _spend(books: Books, of: Mapping[str, str], amount: float, model: str) -> None:
    await books.fetch(
        """INSERT INTO "LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, "startTime", "endTime", model,
            model_id, model_group, "user", request_tags, team_id, end_user, session_id, status, organization_id,
            messages)
        VALUES ($1, 'acompletion', $2, $3, now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc', $4, $5, $4, $6, $7, $8,
            $9, $10, 'success', $11, $12)""",
        of["request"],
        of["hash"],
        amount,
        model,
        of["model_id"],
        of["user"],
        [of["tag"]],
        of["team"],
        of["customer"],
        of["session"],
        of["organization"],
        {"said": f"{model} said"},
    )
    for table, column, kind in (
        ("DailyUserSpend", "user_id", "user"),
        ("DailyTeamSpend", "team_id", "team"),
        ("DailyTagSpend", "tag", "tag"),
        ("DailyOrganizationSpend", "organization_id", "organization"),
        ("DailyEndUserSpend", "end_user_id", "customer"),
    ):
        await books.fetch(
            f"""INSERT INTO "LiteLLM_{table}" (id, {column}, date, api_key, model, model_group, custom_llm_provider,
                spend, updated_at, api_requests) VALUES ($1, $2, $3, $4, $5, $5, 'openai', $6, now(), 1)""",
            of["request"],
            of[kind],
            str(TODAY),
            of["hash"],
            model,
            amount,
        )


async def add_model(gateway: Gateway) -> None:
    """By the gateway, which has it at once."""
    body = {
        "model_name": MODEL,
        "litellm_params": {"model": f"openai/{MODEL}"},
        "model_info": {"id": FOREIGN["model_id"]},
    }
    answer = await gateway.request("POST", "/model/new", body)
    assert answer.status == 200, answer.body


def told(answer: Answer, look: Look) -> str:
    """What an answer says, but for the object as it was named."""
    text = answer.body.decode()
    for named in (look.named, quote(look.named, safe="")):
        text = text.replace(named, "…") if named else text
    return f"{answer.status} {text}"


def foreign(text: str) -> list[str]:
    """What it shows of foreign objects."""
    return [word for word in (MARK, str(SPENT), *(AWAY.values())) if word in text]


async def ask(gateway: Gateway, look: Look, caller: str) -> Answer:
    answer = await gateway.request("GET", look.target, key=MASTER_KEY if caller == "master" else key_of(caller))
    assert answer.status < 500, f"{caller} at {look.target}: {answer.body!r}"
    return answer


def test_every_parameter_is_spoken_of() -> None:
    """A new one goes to `KIND` or to `NO_OBJECT`."""
    names = {name for route in ROUTES for name in parameters(route)}
    assert names <= KIND.keys() | NO_OBJECT, names - KIND.keys() - NO_OBJECT
    assert not KIND.keys() & NO_OBJECT


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_nobody_looks_at_what_is_foreign(gateway: Gateway, books: Books, route: Route) -> None:
    await furnish_foreign(books)
    await add_model(gateway)
    looked = list(zip(looks(route, FOREIGN), looks(route, NOWHERE), strict=True))
    telling = set()
    for caller in CALLERS:
        reach = reach_of(route, caller)
        for look, nowhere in looked:
            answer = told(await ask(gateway, look, caller), look)
            other = told(await ask(gateway, nowhere, caller), nowhere)
            if reach is Reach.ALL:
                telling |= {look.parameter} if answer != other else set()
                continue
            assert foreign(answer) == [], f"{caller} at {look.target}: {answer}"
            assert answer == other, f"{caller} at {look.target}: {answer}, but where nothing is {other}"
            assert answer.startswith("403") or reach is not Reach.NONE, f"{caller} at {look.target}: {answer}"
        for look in looks(route, OWN) if reach is not Reach.ALL else ():
            answer = told(await ask(gateway, look, caller), look)
            assert foreign(answer) == [], f"{caller} at {look.target}: {answer}"
    assert telling == {look.parameter for look, _ in looked if look.named}, "administrators are shown what is there"
