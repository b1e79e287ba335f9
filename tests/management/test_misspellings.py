"""Fields that nobody knows: slips are refused, whatever else clients of LiteLLM's send does no harm."""

import msgspec
import pytest

from bursar.domain.misspellings import UNKNOWN_MAX, meant
from tests.gateway.running import Books, Gateway
from tests.management.contract import FIELDS
from tests.management.matrix import registered_routes

KNOWN = (
    "key",
    "keys",
    "name",
    "models",
    "max_budget",
    "budget_duration",
    "tpm_limit",
    "rpm_limit",
    "updated_at",
    "endTime",
)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("max_bugdet", "max_budget"),
        ("maxbudget", "max_budget"),
        ("maxBudget", "max_budget"),
        ("Max-Budget", "max_budget"),
        ("max_budgets", "max_budget"),
        ("amx_bugdet", "max_budget"),
        ("budget_duratoin", "budget_duration"),
        ("model", "models"),
        ("modles", "models"),
        ("nmae", "name"),
        ("end_time", "endTime"),
        ("rpmlimit", "rpm_limit"),
    ],
)
def test_slips(name: str, field: str) -> None:
    assert meant(name, KNOWN) == field


@pytest.mark.parametrize(
    "name",
    [
        "",
        "k",
        "kez",
        "mode",
        "na",
        "soft_budget",
        "budget",
        "max_tokens",
        "tpd_limit",
        "updated_by",
        "max_budget2",
        "x" * 10_000,
    ],
)
def test_what_is_no_slip(name: str) -> None:
    assert meant(name, [field for field in KNOWN if field != "keys"]) is None


def fields_of(kind: type | None) -> set[str]:
    if kind is None:
        return set()
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return {field.encode_name for field in info.fields}


def test_no_field_of_the_contract_is_taken_for_a_slip() -> None:
    """Also those that are passed over, and the columns of a row that is sent back as it was read."""
    routes = {
        f"{route.method} {route.path}": fields_of(route.body) | fields_of(route.query) for route in registered_routes()
    }
    assert set(FIELDS) <= set(routes)
    assert len({name for names in FIELDS.values() for name in names}) > 150
    refused = [
        (route, name, field)
        for route, names in FIELDS.items()
        for name in names
        if name not in routes[route] and (field := meant(name, routes[route])) is not None
    ]
    assert refused == []


@pytest.mark.parametrize(
    ("path", "body", "location", "field"),
    [
        ("/key/generate", {"max_bugdet": 5}, ["max_bugdet"], "max_budget"),
        ("/key/generate", {"model": ["oracle"]}, ["model"], "models"),
        ("/key/generate", {"budget_limits": [{"budget_duration": "1d", "max_budget": 1, "max_budegt": 2}]},
         ["budget_limits", 0, "max_budegt"], "max_budget"),
        ("/user/new", {"user_id": "u", "rpmLimit": 1}, ["rpmLimit"], "rpm_limit"),
        ("/team/new", {"members_with_roles": [{"user_id": "u", "role": "admin", "user_idd": "v"}]},
         ["members_with_roles", 0, "user_idd"], "user_id"),
        ("/team/member_add", {"team_id": "t", "member": {"role": "user", "userid": "u"}},
         ["member", "userid"], "user_id"),
        ("/budget/new", {"max_budjet": 5}, ["max_budjet"], "max_budget"),
        ("/customer/new", {"user_id": "c", "blockd": True}, ["blockd"], "blocked"),
    ],
)  # fmt: skip
async def test_slips_are_refused(
    gateway: Gateway, books: Books, path: str, body: object, location: list[object], field: str
) -> None:
    before = await books.fetch('SELECT count(*) FROM "LiteLLM_VerificationToken"')
    answer = await gateway.request("POST", path, body)
    assert answer.status == 422, answer.body
    [detail] = answer.json["detail"]
    assert detail == {
        "type": "extra_forbidden",
        "loc": ["body", *location],
        "msg": f"Extra inputs are not permitted: did you mean {field}?",
        "input": None,
    }
    assert await books.fetch('SELECT count(*) FROM "LiteLLM_VerificationToken"') == before


async def test_slips_in_queries_are_refused(gateway: Gateway) -> None:
    answer = await gateway.request("GET", "/key/list?team_idd=t")
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["query", "team_idd"]


async def test_other_fields_are_let_through_and_named(gateway: Gateway) -> None:
    body = {
        "object_permission": {},
        "auto_rotate": False,
        "owner\r\nx-evil: 1": 1,
        "sk-aaaaaaaaaaaaaaaa": 1,
        "ümlaut": 1,
    }
    answer = await gateway.request("POST", "/key/generate?trace=1", body | {"metadata": {"max_bugdet": "ours"}})
    assert answer.status == 200, answer.body
    assert answer.headers["x-bursar-ignored-fields"] == "object_permission, auto_rotate"
    answer = await gateway.request("GET", "/user/list?trace=1")
    assert answer.headers["x-bursar-ignored-fields"] == "trace"
    answer = await gateway.request("POST", "/key/generate", {"max_budget": 1})
    assert "x-bursar-ignored-fields" not in answer.headers


async def test_many_of_them_take_no_time(gateway: Gateway) -> None:
    """More of them than anybody means are not looked at one by one."""
    answer = await gateway.request("POST", "/key/generate", {f"unknown_{count:06}": 1 for count in range(100_000)})
    assert answer.status == 200
    assert len(answer.headers["x-bursar-ignored-fields"].split(", ")) <= UNKNOWN_MAX


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        ({"budget_limit": 5, "time_perod": "1d"}, "time_perod: did you mean time_period?"),
        ({"budgetLimit": 5, "max_budget": 6}, "budgetLimit: did you mean budget_limit?"),
    ],
)
async def test_slips_in_budgets_of_models(gateway: Gateway, terms: object, word: str) -> None:
    """Whose objects are kept as they are: a period that is misspelt is a budget that never starts anew."""
    answer = await gateway.request("POST", "/key/generate", {"model_max_budget": {"oracle": terms}})
    assert answer.status == 400, answer.body
    assert word in answer.json["error"]["message"]
    unknown = {f"budget_{count:05}": 1 for count in range(100_000)}
    answer = await gateway.request(
        "POST", "/key/generate", {"model_max_budget": {"oracle": {"budget_limit": 1, **unknown}}}
    )
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("name", "known"),
    [("api_bsae", "api_base"), ("input_cost_per_tokne", "input_cost_per_token"), ("wieght", "weight")],
)
async def test_slips_in_stored_models(gateway: Gateway, name: str, known: str) -> None:
    model = {"model_name": "m", "litellm_params": {"model": "openai/m", name: "1"}, "model_info": {"id": "m"}}
    answer = await gateway.request("POST", "/model/new", model)
    assert answer.status == 400, answer.body
    assert f"litellm_params.{name}: did you mean {known}?" in answer.json["error"]["message"]
    model["litellm_params"] = {
        "model": "openai/m",
        "cache_creation_input_token_cost_above_12hr": 1,
        "of_theirs": 1,
    }
    assert (await gateway.request("POST", "/model/new", model)).status == 200
    answer = await gateway.request("PATCH", "/model/m/update", {"litellm_params": {name: 1}})
    assert answer.status == 400, answer.body
