"""Keys that are changed, blocked, replaced, set back and listed; and what calls notice of it."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bursar.store.audit import audit
from bursar.store.database import Database, DatabaseOptions
from tests.gateway.running import MASTER_KEY, Books, Gateway, Row
from tests.management.admin import soon
from tests.management.test_key_endpoints import check_error
from tests.oracle.raw_client import Answer
from tests.patience import PATIENCE_S


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def post(gateway: Gateway, path: str, body: object = None, *, key: str = MASTER_KEY) -> Answer:
    return await gateway.request("POST", path, body, key=key)


async def info(gateway: Gateway, key: str) -> Any:
    answer = await gateway.request("GET", f"/key/info?key={key}")
    assert answer.status == 200, answer.body
    return answer.json["info"]


async def refused(gateway: Gateway, key: str) -> Answer:
    """The refusal that calls with `key` get before long."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await gateway.chat(key=key)).status == 200:
            await asyncio.sleep(0.02)
    return answer


async def changes_of(books: Books, token: str) -> list[Row]:
    return await books.fetch('SELECT * FROM "LiteLLM_AuditLog" WHERE object_id = $1 ORDER BY updated_at', token)


# --- update ---


async def test_what_is_not_named_stays_and_null_clears(gateway: Gateway) -> None:
    key = await gateway.new_key(
        key_alias="a",
        max_budget=5,
        budget_duration="1d",
        tpm_limit=10,
        models=["oracle"],
        tags=["t"],
        metadata={"n": 1},
    )
    before = await info(gateway, key)
    answer = await post(gateway, "/key/update", {"key": key, "rpm_limit": 7, "max_budget": None, "nonsense": 1})
    assert answer.status == 200, answer.body
    assert answer.json["key"] == key
    after = await info(gateway, key)
    changed = {name for name in after if after[name] != before[name]} - {"updated_at", "settings_updated_at"}
    assert changed == {"rpm_limit", "max_budget"}
    assert (after["rpm_limit"], after["max_budget"], after["updated_by"]) == (7, None, "default_user_id")
    cleared = {"key": key, "models": None, "tags": None, "key_alias": None, "budget_duration": None, "tpm_limit": None}
    assert (await post(gateway, "/key/update", cleared)).status == 200
    last = await info(gateway, key)
    assert (last["models"], last["metadata"], last["key_alias"], last["budget_reset_at"]) == ([], {"n": 1}, None, None)


async def test_metadata_is_replaced_but_for_what_has_fields_of_its_own(gateway: Gateway) -> None:
    key = await gateway.new_key(metadata={"a": 1}, tags=["t"], model_rpm_limit={"oracle": 5}, enforced_params=["user"])
    await post(gateway, "/key/update", {"key": key, "metadata": {"b": 2, "tags": ["u"]}})
    kept = {"model_rpm_limit": {"oracle": 5}, "enforced_params": ["user"]}
    assert (await info(gateway, key))["metadata"] == {"b": 2, "tags": ["u"], **kept}


async def test_by_alias(gateway: Gateway) -> None:
    key = await gateway.new_key(key_alias="ci")
    answer = await post(gateway, "/key/update", {"key_alias": "ci", "max_budget": 3})
    assert (answer.status, answer.json["key"], answer.json["key_alias"]) == (200, hash_of(key), "ci")
    check_error(await post(gateway, "/key/update", {"key_alias": "nobody", "max_budget": 3}), 404, "Key not found")
    check_error(await post(gateway, "/key/update", {"max_budget": 3}), 400, "`key`")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"max_budget": -1}, "max_budget"),
        ({"soft_budget": 5, "max_budget": 5}, "soft_budget"),
        ({"budget_duration": "1y"}, "uration"),
        ({"duration": "soon"}, "uration"),
        ({"spend": -1}, "spend"),
        ({"team_id": "nobody's"}, "team"),
        ({"team_id": "litellm-dashboard"}, "logins"),
        ({"organization_id": "nobody's"}, "organization"),
        ({"budget_id": "nobody's"}, "budget"),
        ({"project_id": "nobody's"}, "project"),
        ({"model_max_budget": {"oracle": 5}}, "model_max_budget"),
        ({"temp_budget_increase": 5}, "temp_budget_expiry"),
        ({"key_alias": "taken"}, "Key with alias 'taken' already exists"),
        ({"metadata": {"a": "\x00"}}, "cannot be stored"),
    ],
)
async def test_what_cannot_be(gateway: Gateway, fields: dict[str, Any], word: str) -> None:
    await gateway.new_key(key_alias="taken")
    key = await gateway.new_key(key_alias="mine")
    before = await info(gateway, key)
    check_error(await post(gateway, "/key/update", {"key": key, **fields}), 400, word)
    check_error(await post(gateway, "/key/regenerate", {"key": key, **fields}), 400, word)
    assert await info(gateway, key) == before
    if "key_alias" not in fields:
        check_error(await post(gateway, "/key/generate", fields), 400, word)


async def test_two_who_change_the_same(gateway: Gateway) -> None:
    key = await gateway.new_key()
    stamp = (await info(gateway, key))["updated_at"]
    asked = [{"key": key, "updated_at": stamp, "rpm_limit": number} for number in range(8)]
    answers = await asyncio.gather(*(post(gateway, "/key/update", body) for body in asked))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert (await post(gateway, "/key/update", {"key": key, "rpm_limit": 99})).status == 200
    check_error(await post(gateway, "/key/regenerate", {"key": key, "updated_at": stamp}), 409, "updated_at")


async def test_a_soft_budget_is_a_budget_of_the_keys_own(gateway: Gateway) -> None:
    made = (await post(gateway, "/key/generate", {"soft_budget": 2.5, "max_budget": 5})).json
    assert made["litellm_budget_table"]["soft_budget"] == 2.5
    await post(gateway, "/key/update", {"key": made["key"], "soft_budget": 3})
    assert (await info(gateway, made["key"]))["litellm_budget_table"]["soft_budget"] == 3
    await post(gateway, "/key/update", {"key": made["key"], "soft_budget": None})
    assert (await info(gateway, made["key"]))["litellm_budget_table"] is None


async def test_a_budget_that_several_share_is_not_changed_through_a_key(gateway: Gateway, books: Books) -> None:
    await books.fetch(
        """INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by) VALUES ('b', 1, '', '')"""
    )
    key = await gateway.new_key(budget_id="b")
    assert (await info(gateway, key))["litellm_budget_table"]["max_budget"] == 1
    check_error(await post(gateway, "/key/update", {"key": key, "soft_budget": 1}), 400, "budget 'b'")


async def test_many_at_once(gateway: Gateway) -> None:
    keys = [await gateway.new_key() for _ in range(3)]
    wanted = [{"key": key, "rpm_limit": 5} for key in keys] + [{"key": "sk-nobody-0000000000", "rpm_limit": 5}]
    wanted[1]["max_budget"] = -1
    answer = (await post(gateway, "/key/bulk_update", {"keys": wanted})).json
    assert answer["total_requested"] == 4
    assert [done["key"] for done in answer["successful_updates"]] == [keys[0], keys[2]]
    assert [failed["key"] for failed in answer["failed_updates"]] == [hash_of(keys[1]), hash_of("sk-nobody-0000000000")]
    assert "negative" in answer["failed_updates"][0]["failed_reason"]
    wrong: list[dict[str, Any]] = [{"keys": []}, {"keys": wanted * 200}, {}]
    for body in wrong:
        assert (await post(gateway, "/key/bulk_update", body)).status == 422


# --- block ---


async def test_blocked_and_not(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key()
    assert (await gateway.chat(key=key)).status == 200
    assert (await post(gateway, "/key/block", {"key": key})).json["blocked"] is True
    check_error(await refused(gateway, key), 401, "Key is blocked")
    assert (await post(gateway, "/key/unblock", {"key": hash_of(key)})).json["blocked"] is False
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.chat(key=key)).status != 200:
            await asyncio.sleep(0.02)
    actions = [change["action"] for change in await changes_of(books, hash_of(key))]
    assert actions == ["created", "blocked", "unblocked"]
    check_error(await post(gateway, "/key/block", {"key": "sk-nobody-0000000000"}), 404, "Key not found")
    assert (await post(gateway, "/key/block", {})).status == 422
    for path in ("/key/block", "/key/unblock"):
        for key in ("notakey", "", "a" * 63, "Bearer " + "sk-nobody-0000000000"):
            answer = await post(gateway, path, {"key": key})
            check_error(answer, 400, "Invalid key format")
            assert not key or key not in answer.body.decode()
    check_error(await post(gateway, "/key/block", {"key": "a" * 64}), 404, "Key not found")


# --- regenerate ---


async def test_a_new_secret_for_the_same_key(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key(key_alias="ci", max_budget=5, models=["oracle"])
    await gateway.chat(key=key)
    spent = (await books.row())["spend"]
    answer = await post(gateway, "/key/regenerate", {"key": key, "rpm_limit": 9})
    assert answer.status == 200, answer.body
    made = answer.json
    assert (made["key_alias"], made["max_budget"], made["models"], made["rpm_limit"]) == ("ci", 5, ["oracle"], 9)
    assert (made["spend"], made["total_spend"], made["rotation_count"]) == (spent, spent, 1)
    assert made["token"] == hash_of(made["key"]) != hash_of(key)
    check_error(await refused(gateway, key), 401, "")
    assert (await gateway.chat(key=made["key"])).status == 200
    await books.posted()
    row = await info(gateway, made["key"])
    calls = await books.rows()  # the old secret may have made one more, before the worker was told
    assert row["total_spend"] == pytest.approx(sum(call["spend"] for call in calls))
    assert len(calls) >= 2
    [_, rotated] = sorted(
        [*await changes_of(books, hash_of(key)), *await changes_of(books, made["token"])], key=lambda c: c["updated_at"]
    )
    assert (rotated["action"], rotated["before_value"]["token"]) == ("rotated", hash_of(key))
    assert made["key"] not in str(rotated)


async def test_the_old_one_works_for_a_while(gateway: Gateway, books: Books) -> None:
    """Both are one key: one spend, one budget; and the old one ends when it was said to."""
    key = await gateway.new_key()
    first = (await post(gateway, f"/key/{hash_of(key)}/regenerate", {"grace_period": "1h"})).json["key"]
    second = (await post(gateway, "/key/regenerate", {"key": first, "grace_period": "24h"})).json["key"]
    for one in (key, first, second):
        assert (await gateway.chat(key=one)).status == 200
    rows = await books.rows()
    assert {row["api_key"] for row in rows} == {hash_of(second)}
    assert (await info(gateway, second))["total_spend"] == pytest.approx(sum(row["spend"] for row in rows))
    await post(gateway, "/key/block", {"key": second})
    for one in (key, first, second):
        check_error(await refused(gateway, one), 401, "Key is blocked")
    await post(gateway, "/key/unblock", {"key": second})
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    await books.fetch(
        'UPDATE "LiteLLM_DeprecatedVerificationToken" SET revoke_at = $1 WHERE token = $2', past, hash_of(key)
    )
    await books.fetch("SELECT bursar.tell_keys(ARRAY[$1])", hash_of(second))
    check_error(await refused(gateway, key), 401, "Invalid proxy server token")
    assert (await gateway.chat(key=first)).status == 200


async def test_who_has_the_old_one_only_calls_and_looks(gateway: Gateway) -> None:
    """It may have been replaced because somebody else knows it."""
    key = await gateway.new_key(user_id="member")
    new = (await post(gateway, "/key/regenerate", {"key": key, "grace_period": "1h"})).json["key"]
    changes: list[tuple[str, dict[str, Any]]] = [
        ("/key/generate", {}),
        ("/key/regenerate", {}),
        ("/key/update", {"key": new, "key_alias": "mine"}),
        ("/key/delete", {"keys": [new]}),
        ("/user/update", {"user_id": "member", "password": "of somebody else"}),
    ]
    for path, body in changes:
        check_error(await gateway.request("POST", path, body, key=key), 403, "This secret of the key was replaced")
    assert (await gateway.request("GET", "/key/info", key=key)).json["key"] == hash_of(new)
    assert (await gateway.chat(key=key)).status == 200
    assert (await gateway.request("POST", "/key/generate", {}, key=new)).status == 200


async def test_a_key_is_found_by_any_secret_it_had(gateway: Gateway, books: Books) -> None:
    key = await gateway.new_key()
    second = (await post(gateway, "/key/regenerate", {"key": key, "grace_period": "1h"})).json["key"]
    for former in (key, hash_of(key)):
        check_error(await post(gateway, "/key/regenerate", {"key": former}), 409, "replaced already")
        check_error(await post(gateway, f"/key/{former}/regenerate"), 409, "replaced already")
    third = (await post(gateway, "/key/regenerate", {"key": hash_of(second)})).json["key"]
    for name in (key, hash_of(key), second):
        assert (await info(gateway, name))["key_name"] == f"sk-...{third[-4:]}"
        [listed] = (await gateway.request("GET", f"/key/list?key_hash={name}")).json["keys"]
        assert listed == hash_of(third)
    await post(gateway, "/key/block", {"key": key})
    for one in (key, third):
        check_error(await refused(gateway, one), 401, "Key is blocked")
    assert (await post(gateway, "/key/unblock", {"key": hash_of(second)})).json["blocked"] is False
    assert (await post(gateway, "/key/update", {"key": key, "key_alias": "found"})).json["key_alias"] == "found"
    assert (await post(gateway, "/key/delete", {"keys": [key]})).json == {"deleted_keys": [key]}
    check_error(await refused(gateway, third), 401, "Invalid proxy server token")


async def test_a_key_is_found_by_a_secret_that_litellm_replaced(gateway: Gateway, books: Books) -> None:
    """Only its own table knows of it, for as long as it works."""
    key = await gateway.new_key()
    for former, ends in (("sk-replaced-before-0001", "infinity"), ("sk-replaced-long-ago-01", "-infinity")):
        await books.fetch(
            'INSERT INTO "LiteLLM_DeprecatedVerificationToken" (id, token, active_token_id, revoke_at) '
            f"VALUES ($1, $1, $2, '{ends}')",
            hash_of(former),
            hash_of(key),
        )
    assert (await info(gateway, "sk-replaced-before-0001"))["key_name"] == f"sk-...{key[-4:]}"
    answer = await gateway.request("GET", "/key/info?key=sk-replaced-long-ago-01")
    check_error(answer, 404, "Key not found")


async def test_the_grace_ends_without_being_told(gateway: Gateway) -> None:
    key = await gateway.new_key()
    await post(gateway, "/key/regenerate", {"key": key, "grace_period": "1s"})
    check_error(await refused(gateway, key), 401, "Authentication Error")


async def test_what_a_key_has_spent_of_its_budgets_goes_on(gateway: Gateway, books: Books) -> None:
    """Also of its budget for one model, which no table knows."""
    budgets = {"oracle": {"budget_limit": 0.0001, "time_period": "30d"}}
    key = await gateway.new_key(max_budget=1, budget_duration="30d", model_max_budget=budgets)
    while (await gateway.chat(key=key, max_tokens=8)).status == 200:
        pass
    await books.posted()
    made = (await post(gateway, "/key/regenerate", {"key": key})).json
    answer = await gateway.chat(key=made["key"], max_tokens=8)
    check_error(answer, 422, "exceeded")
    windows = await books.fetch(
        "SELECT scope_kind, spent_nano_usd FROM bursar.windows WHERE starts_with(scope_id, $1) ORDER BY 1",
        hash_of(key),
    )
    spent = round((await info(gateway, made["key"]))["spend"] * 1e9)
    assert [(row["scope_kind"], row["spent_nano_usd"]) for row in windows] == [("key", spent), ("key_model", spent)]


async def test_a_call_that_ends_after_its_key_was_replaced(gateway: Gateway, books: Books, database_url: str) -> None:
    """It is the key's all the same, and the books close."""
    key = await gateway.new_key(max_budget=1)
    calls = [asyncio.create_task(gateway.chat("at/head_ms=400", key=key)) for _ in range(3)]
    await asyncio.sleep(0.1)
    made = (await post(gateway, "/key/regenerate", {"key": key})).json
    assert {(await call).status for call in calls} == {200}
    rows = await books.rows()
    assert {row["api_key"] for row in rows} == {hash_of(key)}
    row = await info(gateway, made["key"])
    assert row["spend"] == row["total_spend"] == pytest.approx(sum(row["spend"] for row in rows))
    await check_books_close(database_url)


@pytest.mark.parametrize("fields", [{}, {"grace_period": "1h"}])
@pytest.mark.parametrize("by_user", [False, True], ids=["admin", "user"])
async def test_one_of_many_at_once_replaces_it(gateway: Gateway, fields: dict[str, str], *, by_user: bool) -> None:
    """The others are told, and the secret that somebody got works."""
    caller = await gateway.new_key(user_id="u") if by_user else MASTER_KEY
    for _ in range(8):
        key = await gateway.new_key(user_id="u")
        body = {"key": key, **fields}
        answers = await asyncio.gather(*(post(gateway, "/key/regenerate", body, key=caller) for _ in range(12)))
        [made] = [answer.json["key"] for answer in answers if answer.status == 200]
        assert {answer.status for answer in answers} <= {200, 404, 409}
        assert (await gateway.chat(key=made)).status == 200


async def test_the_master_key_is_no_virtual_key(gateway: Gateway, books: Books) -> None:
    """It would go on as one when it is changed, without a limit."""
    await post(gateway, "/user/new", {"user_id": "u", "auto_create_key": False})
    own = await gateway.new_key(user_id="u")
    for key in (MASTER_KEY, own):
        check_error(await post(gateway, "/key/generate", {"key": MASTER_KEY}, key=key), 400, "master key")
        body = {"key": own, "new_key": MASTER_KEY}
        check_error(await post(gateway, "/key/regenerate", body, key=key), 400, "master key")
    body = {"key": MASTER_KEY, "team_id": "t"}
    await post(gateway, "/team/new", {"team_id": "t"})
    check_error(await post(gateway, "/key/service-account/generate", body), 400, "master key")
    assert len(await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')) == 1


async def test_a_key_that_was_replaced_does_not_come_back(gateway: Gateway) -> None:
    mine, other = "sk-a-key-of-my-own-0001", "sk-a-key-of-my-own-0002"
    await gateway.new_key(key=mine)
    assert (await post(gateway, "/key/regenerate", {"key": mine, "new_key": other})).json["key"] == other
    check_error(await post(gateway, "/key/generate", {"key": mine}), 400, "used before")
    check_error(await post(gateway, "/key/regenerate", {"key": other, "new_key": mine}), 400, "used before")
    check_error(await post(gateway, "/key/regenerate", {"key": other, "new_key": other}), 400, "used before")
    third = await gateway.new_key()
    check_error(await post(gateway, "/key/regenerate", {"key": third, "new_key": other}), 400, "exists already")
    check_error(await post(gateway, "/key/regenerate", {"key": third, "new_key": "short"}), 400, "must start")
    check_error(await post(gateway, "/key/regenerate", {"key": third, "grace_period": "x"}), 400, "uration")
    check_error(await post(gateway, "/key/regenerate", {"new_master_key": "sk-x"}), 400, "master key")
    check_error(await post(gateway, "/key/regenerate", {}), 404, "Key not found")


async def test_reports_know_whose_the_former_secret_was(gateway: Gateway, books: Books) -> None:
    """Also that of two rotations ago, and once the key is gone."""
    key = await gateway.new_key(key_alias="ci")
    for _ in range(3):
        assert (await gateway.chat(key=key)).status == 200
        key = (await post(gateway, "/key/regenerate", {"key": key})).json["key"]
    await books.posted()
    days = f"start_date={datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}&end_date={datetime.now(UTC):%Y-%m-%d}"
    for _ in range(2):
        found = await gateway.request("GET", f"/spend/logs/v2?{days}%2023:59:59&key_alias=ci")
        assert found.json["total"] == 3
        spent = await gateway.request("GET", "/global/spend/keys")
        assert [row["key_alias"] for row in spent.json] == ["ci"] * 3
        await post(gateway, "/key/delete", {"keys": [key]})


# --- reset_spend ---


async def test_spend_is_set_back_and_the_budget_follows(gateway: Gateway, books: Books, database_url: str) -> None:
    key = await gateway.new_key(max_budget=0.0002)
    while (answer := await gateway.chat(key=key, max_tokens=8)).status == 200:
        pass
    check_error(answer, 422, "Budget has been exceeded")
    await books.posted()
    spent = (await info(gateway, key))["spend"]
    for wrong in (-1, spent + 1):
        check_error(await post(gateway, f"/key/{key}/reset_spend", {"reset_to": wrong}), 400, "reset_to")
    answer = await post(gateway, f"/key/{key}/reset_spend", {"reset_to": spent / 2})
    assert (answer.status, answer.json["spend"], answer.json["total_spend"]) == (200, spent / 2, spent)
    await soon(lambda: gateway.chat(key=key, max_tokens=8), 200)
    await books.posted()
    await check_books_close(database_url)
    [window] = await books.fetch("SELECT * FROM bursar.windows")
    assert window["spent_nano_usd"] == round((await info(gateway, key))["spend"] * 1e9)
    assert (await post(gateway, "/key/update", {"key": key, "spend": 5.0})).json["spend"] == 5.0
    await soon(lambda: gateway.chat(key=key, max_tokens=8), 422, "Budget has been exceeded")
    await books.posted()
    await check_books_close(database_url)
    check_error(await post(gateway, "/key/nobody/reset_spend", {"reset_to": 0}), 404, "Key not found")


async def test_a_key_that_is_made_anew_begins_anew(gateway: Gateway, books: Books, database_url: str) -> None:
    """Its secret may be that of one that was deleted: what that one spent is history."""
    budget = {"max_budget": 0.0002, "budget_duration": "1d"}
    for limits in (
        {"max_budget": 0.0002},
        {"budget_limits": [budget]},
        {"model_max_budget": {"oracle": {"budget_limit": 0.0002}}},
    ):
        for _ in range(2):
            key = await gateway.new_key(key="sk-one-that-comes-back", **limits)
            await soon(lambda: gateway.chat(key="sk-one-that-comes-back", max_tokens=8), 200)
            while (answer := await gateway.chat(key=key, max_tokens=8)).status == 200:
                pass
            check_error(answer, 422, "udget")
            await books.posted()
            assert (await post(gateway, "/key/delete", {"keys": [key]})).status == 200
    await check_books_close(database_url)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_budget": 0.0002},
        {"budget_limits": [{"max_budget": 0.0002, "budget_duration": "1d"}]},
        {"model_max_budget": {"oracle": {"budget_limit": 0.0002}}},
    ],
    ids=["its own", "of a period", "of a model"],
)
async def test_a_key_that_was_replaced_and_is_made_anew_begins_anew(
    gateway: Gateway, books: Books, limits: dict[str, object]
) -> None:
    """What its windows are called by is its first secret."""
    secret = "sk-one-that-was-replaced"
    first = await gateway.new_key(**limits)
    assert (await post(gateway, "/key/regenerate", {"key": first, "new_key": secret})).status == 200
    for _ in range(2):
        await soon(lambda: gateway.chat(key=secret, max_tokens=8), 200)
        while (answer := await gateway.chat(key=secret, max_tokens=8)).status == 200:
            pass
        check_error(answer, 422, "udget")
        await books.posted()
        assert (await post(gateway, "/key/delete", {"keys": [secret]})).status == 200
        await gateway.new_key(key=secret, **limits)


# --- list ---


async def test_listing(gateway: Gateway, books: Books) -> None:
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id) VALUES ('t/+=%')")
    keys = [await gateway.new_key(key_alias=f"k{number}", user_id="u", max_budget=number) for number in range(12)]
    team = await gateway.new_key(key_alias="of-team", team_id="t/+=%")

    async def listed(query: str) -> Any:
        answer = await gateway.request("GET", f"/key/list?{query}")
        assert answer.status == 200, answer.body
        return answer.json

    page = await listed("sort_by=max_budget&sort_order=asc&user_id=u&size=5&page=2")
    assert page == {
        "keys": [hash_of(key) for key in keys[5:10]],
        "total_count": 12,
        "current_page": 2,
        "total_pages": 3,
    }
    assert (await listed("user_id=u&page=9"))["total_count"] == 12
    assert (await listed("team_id=t%2F%2B%3D%25"))["keys"] == [hash_of(team)]
    [row] = (await listed("key_alias=k3&return_full_object=true&expand=user"))["keys"]
    assert (row["token"], row["user"]["user_id"]) == (hash_of(keys[3]), "u")
    await post(gateway, "/key/block", {"key": keys[0]})
    await post(gateway, "/key/delete", {"keys": [keys[1]]})
    await books.fetch('UPDATE "LiteLLM_VerificationToken" SET expires = now() WHERE token = $1', hash_of(keys[2]))
    assert (await listed("status=revoked"))["keys"] == [hash_of(keys[0])]
    [gone] = (await listed("status=deleted&return_full_object=true"))["keys"]
    assert (gone["token"], gone["deleted_by"]) == (hash_of(keys[1]), "default_user_id")
    assert (await listed("status=expired"))["keys"] == [hash_of(keys[2])]
    assert (await listed("status=active&user_id=u"))["total_count"] == 9
    aliases = (await gateway.request("GET", "/key/aliases?search=K1&size=2")).json
    assert (aliases["aliases"], aliases["total_count"], aliases["total_pages"]) == (["k10", "k11"], 2, 1)
    for query in ("size=0", "size=101", "page=0", "sort_by=token;--", "status=x", "expand=y", "page=x"):
        assert (await gateway.request("GET", f"/key/list?{query}")).status == 422
    for query in ("user_id=%00", "key_alias=';DROP TABLE x;--", "team_id=" + "x" * 5000, "key_hash=%25"):
        answer = await gateway.request("GET", f"/key/list?{query.replace(' ', '%20')}")
        assert answer.status in (200, 400), answer.body


async def test_several_at_once(gateway: Gateway) -> None:
    first, second = await gateway.new_key(key_alias="a"), await gateway.new_key(key_alias="b")
    answer = (await post(gateway, "/v2/key/info", {"keys": [second, "sk-nobody-0000000000", hash_of(first)]})).json
    assert answer["key"] == [second, hash_of(first)]
    assert [row["key_alias"] for row in answer["info"]] == ["b", "a"]
    check_error(await post(gateway, "/v2/key/info", {"keys": ["sk-nobody-0000000000"]}), 404, "No keys found")
    assert (await post(gateway, "/v2/key/info", {"keys": ["x"] * 10_001})).status == 422


async def test_a_key_is_well(gateway: Gateway) -> None:
    key = await gateway.new_key()
    assert (await post(gateway, "/key/health", key=key)).json == {"key": "healthy", "logging_callbacks": None}
    assert (await info(gateway, key))["status"] == "active"


async def check_books_close(database_url: str) -> None:
    database = Database(DatabaseOptions({"dsn": database_url}))
    found = await audit(database)
    await database.close()
    assert found.closes, found.as_text()
