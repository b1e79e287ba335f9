"""`/login`, `/v2/login`: sessions as LiteLLM makes them, and no way to guess."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any

import pytest

from bursar.access.passwords import hash_password, password_fits
from bursar.domain.errors import RateLimited
from bursar.domain.secrets import Secret
from bursar.management.login import Attempts
from bursar.vault.derivation import Purpose, derive
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MASTER_KEY, SALT_KEY, Books, Gateway
from tests.management.admin import soon
from tests.management.test_key_endpoints import check_error, hash_of
from tests.oracle.raw_client import Answer

PASSWORD = "correct horse battery staple"


async def log_in(gateway: Gateway, username: str, password: str, **headers: str) -> Answer:
    body = {"username": username, "password": password}
    return await gateway.request("POST", "/v2/login", body, key=None, headers=headers)


async def put_user(books: Books, user_id: str, **columns: Any) -> None:
    columns = {"user_role": "internal_user", "password": hash_password(PASSWORD), "user_email": None} | columns
    await books.fetch(
        'INSERT INTO "LiteLLM_UserTable" (user_id, user_role, password, user_email) VALUES ($1, $2, $3, $4)',
        user_id,
        columns["user_role"],
        columns["password"],
        columns["user_email"],
    )


def claims(token: str) -> dict[str, Any]:
    """What a token says, its signature checked."""
    signed, _, signature = token.rpartition(".")
    key = derive(Secret(SALT_KEY), Purpose.SESSIONS)
    assert _decoded(signature) == hmac.new(key, signed.encode(), hashlib.sha256).digest()
    head, _, payload = signed.partition(".")
    assert json.loads(_decoded(head)) == {"alg": "HS256", "typ": "JWT"}
    found: dict[str, Any] = json.loads(_decoded(payload))
    return found


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cookie(answer: Answer) -> Any:
    return SimpleCookie(answer.headers["set-cookie"])["token"]


async def test_the_administrator_logs_in(gateway: Gateway, books: Books) -> None:
    answer = await log_in(gateway, "admin", MASTER_KEY)
    assert answer.status == 200
    assert answer.json["redirect_url"] == "/ui/?login=success"
    assert answer.headers["cache-control"] == "no-store"
    token = cookie(answer)
    assert token.value == answer.json["token"]
    assert (token["httponly"], token["samesite"], token["path"], token["secure"]) == (True, "Strict", "/", "")
    said = claims(token.value)
    key = said.pop("key")
    assert abs(said.pop("exp") - time.time() - 24 * 3600) < 10
    assert said == {
        "user_id": "default_user_id",
        "user_email": None,
        "user_role": "proxy_admin",
        "login_method": "username_password",
        "premium_user": False,
        "auth_header_name": "Authorization",
        "disabled_non_admin_personal_key_creation": False,
        "server_root_path": "",
        "password_reset_required": False,
    }
    assert (await gateway.request("GET", "/audit", key=key)).status == 200, "the session's key is an administrator's"
    (row,) = await books.fetch('SELECT * FROM "LiteLLM_VerificationToken"')
    assert (row["token"], row["team_id"], row["max_budget"]) == (hash_of(key), "litellm-dashboard", 10.0)
    left = row["expires"].replace(tzinfo=UTC) - datetime.now(UTC)
    assert 23.9 < left.total_seconds() / 3600 < 24.1


async def test_the_form_sends_a_browser_on(gateway: Gateway) -> None:
    form = f"username=admin&password={MASTER_KEY}"
    head = [
        "POST /login HTTP/1.1",
        "host: gateway",
        "x-forwarded-proto: https",
        "content-type: application/x-www-form-urlencoded",
        f"content-length: {len(form)}",
    ]
    answer = await gateway.exchange("\r\n".join([*head, "", form]).encode())
    assert (answer.status, answer.headers["location"]) == (303, "/ui/?login=success")
    assert cookie(answer)["secure"] is True


@pytest.mark.parametrize("name", ["ann", "Ann@Example.com", "ann@example.com"])
async def test_a_user_logs_in_by_id_or_e_mail(gateway: Gateway, books: Books, name: str) -> None:
    await put_user(books, "ann", user_email="ann@example.com")
    answer = await log_in(gateway, name, PASSWORD)
    assert answer.status == 200
    said = claims(answer.json["token"])
    assert (said["user_id"], said["user_email"], said["user_role"]) == ("ann", "ann@example.com", "internal_user")
    assert (await gateway.request("GET", "/audit", key=said["key"])).status == 403


async def test_what_the_operator_chose(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(environ={"UI_USERNAME": "root", "UI_PASSWORD": "of-the-console"})
    assert (await log_in(gateway, "root", "of-the-console")).status == 200
    assert (await log_in(gateway, "admin", MASTER_KEY)).status == 401
    assert (await log_in(gateway, "root", MASTER_KEY)).status == 401


async def test_wrong_ones_are_told_nothing(gateway: Gateway, books: Books) -> None:
    await put_user(books, "ann")
    await put_user(books, "none", password=None)
    await put_user(books, "plain", password=PASSWORD)
    await put_user(books, "twin-1", user_email="twin@example.com")
    await put_user(books, "twin-2", user_email="TWIN@example.com")
    answers = [
        await log_in(gateway, name, password)
        for name, password in (
            ("admin", "canary-password"),
            ("ann", "canary-password"),
            ("nobody", PASSWORD),
            ("none", PASSWORD),
            ("plain", PASSWORD),
            ("twin@example.com", PASSWORD),
            ("' OR 1=1 --", PASSWORD),
            ("ann\u0000", PASSWORD),
        )
    ]
    for answer in answers:
        check_error(answer, 401, "Invalid credentials used to access UI")
        assert answer.json["error"]["param"] == "invalid_credentials"
        assert answer.body == answers[0].body
        assert "set-cookie" not in answer.headers
    assert await books.fetch('SELECT FROM "LiteLLM_VerificationToken"') == []


async def test_a_hash_is_no_password(gateway: Gateway, books: Books) -> None:
    stored = hash_password(PASSWORD)
    legacy = hashlib.sha256(PASSWORD.encode()).hexdigest()
    await put_user(books, "ann", password=stored)
    await put_user(books, "bob", password=legacy)
    assert (await log_in(gateway, "ann", stored)).status == 401
    assert (await log_in(gateway, "bob", legacy)).status == 401
    assert (await log_in(gateway, "bob", PASSWORD)).status == 200, "LiteLLM's older form"


async def test_guessing_is_slow(gateway: Gateway) -> None:
    statuses = [(await log_in(gateway, "admin", f"guess-{n}")).status for n in range(11)]
    assert statuses == [401] * 10 + [429]
    refused = await log_in(gateway, "admin", MASTER_KEY)
    check_error(refused, 429, "Too many failed logins")
    assert 0 < int(refused.headers["retry-after"]) <= 301


async def test_behind_a_proxy_each_client_counts_for_itself(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings="bursar_settings: {trusted_proxies: [127.0.0.0/8]}")

    async def status(client: str, password: str) -> int:
        return (await log_in(gateway, "admin", password, **{"X-Forwarded-For": client})).status

    assert [await status("192.0.2.1", "guess") for _ in range(11)] == [401] * 10 + [429]
    assert await status("192.0.2.2", MASTER_KEY) == 200


async def test_who_is_not_trusted_cannot_pretend_to_be_many(gateway: Gateway) -> None:
    statuses = [
        (await log_in(gateway, "admin", "guess", **{"X-Forwarded-For": f"192.0.2.{n}"})).status for n in range(11)
    ]
    assert statuses == [401] * 10 + [429]


def test_attempts_are_counted_by_who_can_have_the_address() -> None:
    now = 0.0
    attempts = Attempts(lambda: now, most=2, within_s=60.0, addresses_max=3)
    for address in ("2001:db8::1", "2001:db8::2"):
        attempts.begin(address)
    with pytest.raises(RateLimited) as refused:
        attempts.begin("2001:db8::3")
    assert refused.value.retry_after_s == 61
    attempts.begin("2001:db8:0:1::1")
    attempts.begin("192.0.2.1")
    attempts.succeeded("192.0.2.1")
    attempts.begin("192.0.2.1")
    now = 60.0
    attempts.begin("2001:db8::3")
    for n in range(10):
        attempts.begin(f"host-{n}")
    assert len(attempts._tried) == 3


@pytest.mark.parametrize(
    "body", [{}, {"username": "admin"}, {"username": "", "password": "x"}, {"username": 1, "password": []}]
)
async def test_fields_that_do_not_fit(gateway: Gateway, body: Any) -> None:
    for path in ("/login", "/v2/login"):
        assert (await gateway.request("POST", path, body, key=None)).status == 422


async def test_over_sessions_do_not_pile_up(gateway: Gateway, books: Books) -> None:
    await log_in(gateway, "admin", MASTER_KEY)
    await books.fetch("""UPDATE "LiteLLM_VerificationToken" SET expires = now() - interval '1 day'""")
    await log_in(gateway, "admin", MASTER_KEY)
    assert len(await books.fetch('SELECT FROM "LiteLLM_VerificationToken"')) == 1


@pytest.mark.parametrize("stored", ["", "scrypt:", "scrypt:AAAA", "scrypt:!", "x" * 64, "0" * 64, None])
def test_whatever_is_stored_fits_no_wrong_password(stored: str | None) -> None:
    assert not password_fits("", stored)
    assert not password_fits(PASSWORD, stored)


def test_passwords_are_salted() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    assert first.startswith("scrypt:")
    assert len(base64.b64decode(first.removeprefix("scrypt:"))) == 48
    assert password_fits(PASSWORD, first)
    assert not password_fits(PASSWORD + "x", first)


async def session(gateway: Gateway, username: str, password: str = PASSWORD) -> str:
    """The key of a new one."""
    answer = await log_in(gateway, username, password)
    assert answer.status == 200, answer.body
    return str(claims(answer.json["token"])["key"])


async def works(gateway: Gateway, key: str) -> bool:
    return (await gateway.request("GET", "/key/list", key=key)).status == 200


async def has_ended(gateway: Gateway, key: str) -> None:
    await soon(lambda: gateway.request("GET", "/key/list", key=key), 401)


async def test_another_password_ends_the_sessions_of_the_one_before(gateway: Gateway, books: Books) -> None:
    """Those of others, and all keys that are no sessions, go on."""
    await put_user(books, "ann")
    await put_user(books, "bob")
    first, second, other = [await session(gateway, name) for name in ("ann", "ann", "bob")]
    made = (await gateway.request("POST", "/key/generate", {}, key=first)).json["key"]
    renamed = await gateway.request("POST", "/user/update", {"user_id": "ann", "user_alias": "Ann"})
    assert renamed.status == 200
    assert await works(gateway, second)
    change = {"user_id": "ann", "password": "another good password"}
    assert (await gateway.request("POST", "/user/update", change, key=first)).status == 200
    await has_ended(gateway, second)
    assert [await works(gateway, key) for key in (first, other, made)] == [True, True, True]
    assert (await gateway.request("POST", "/user/update", change)).status == 200  # by somebody else
    await has_ended(gateway, first)
    assert await works(gateway, made)
    assert await works(gateway, await session(gateway, "ann", "another good password"))
    gone = await books.fetch('SELECT deleted_by FROM "LiteLLM_DeletedVerificationToken" ORDER BY deleted_at')
    assert [row["deleted_by"] for row in gone] == ["ann", "default_user_id"]


async def test_taking_the_password_away_ends_them_too(gateway: Gateway, books: Books) -> None:
    await put_user(books, "ann")
    key = await session(gateway, "ann")
    body = {"users": [{"user_id": "ann", "password": None}]}
    assert (await gateway.request("POST", "/user/bulk_update", body)).status == 200
    await has_ended(gateway, key)


async def test_a_deleted_user_has_no_session(gateway: Gateway, books: Books) -> None:
    await put_user(books, "ann")
    key = await session(gateway, "ann")
    assert (await gateway.request("POST", "/user/delete", {"user_ids": ["ann"]})).status == 200
    await has_ended(gateway, key)


async def test_who_took_the_administrators_id_before_him_is_out(gateway: Gateway, books: Books) -> None:
    """Else the session would become an administrator's."""
    await put_user(books, "default_user_id")
    key = await session(gateway, "default_user_id")
    assert (await log_in(gateway, "admin", MASTER_KEY)).status == 200
    await has_ended(gateway, key)
