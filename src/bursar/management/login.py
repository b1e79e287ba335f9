"""`/login` and `/v2/login`: from a name and a password to a session, as LiteLLM makes one.

A session is a virtual key of its own that dies after a day, and a token that carries it to the console. Guessing is
slow: a few failures from one address, and that address has to wait; and only so many passwords are looked at at a time.
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from bursar.domain.client_address import Network, client_address
from bursar.domain.errors import RateLimited, Unauthenticated
from bursar.domain.principals import DEFAULT_USER_ID, Role, role_of
from bursar.domain.secrets import Secret
from bursar.management.route import Asked, Plain, Route
from bursar.ports.keys import KeyForms
from bursar.ports.users import LoginStore, TokenSigner
from bursar.wire.http import RawHeaders, Request

SESSION_S = 24 * 3600
_MAX_BUDGET_USD = 10.0
_CONSOLE = "/ui/?login=success"
_COOKIE = "token"
_REFUSED = (
    "Invalid credentials used to access UI. Check 'UI_USERNAME' and 'UI_PASSWORD', or the password set for your user"
)
_PASSWORDS_AT_ONCE = 2
"""Each takes 16 MiB and a processor for a moment."""

PasswordFits = Callable[[str, str | None], bool]


class Login(msgspec.Struct, kw_only=True):
    """Who logs in."""

    username: Annotated[str, Meta(min_length=1, max_length=500, description="UI_USERNAME, an e-mail, or a user id.")]
    password: Annotated[str, Meta(min_length=1, max_length=1000)]


class Session(msgspec.Struct, kw_only=True):
    """The answer of `/v2/login`; the token comes as a cookie as well."""

    redirect_url: str
    token: str


@dataclass(slots=True, frozen=True)
class ConsoleLogin:
    """The one login that needs no user."""

    username: str
    password: Secret | None
    """None: nobody logs in this way."""


class LoginEndpoints:
    """Logging in."""

    def __init__(
        self,
        store: LoginStore,
        forms: KeyForms,
        tokens: TokenSigner,
        *,
        console: ConsoleLogin,
        password_fits: PasswordFits,
        attempts: "Attempts",
        trusted_proxies: Sequence[Network],
        secure: bool,
    ) -> None:
        """`trusted_proxies`: whose `X-Forwarded-For` is believed; `secure`: clients reach us by TLS alone."""
        self._store = store
        self._forms = forms
        self._tokens = tokens
        self._console = console
        self._password_fits = password_fits
        self._attempts = attempts
        self._trusted_proxies = trusted_proxies
        self._secure = secure
        self._gate = asyncio.Semaphore(_PASSWORDS_AT_ONCE)

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="POST",
                path="/login",
                tag="login",
                summary="Log in with a form",
                endpoint=self.form,
                body=Login,
                form=True,
                answer={"type": "string"},
                media_type="text/plain",
                errors=(303, 401, 429),
            ),
            Route(
                method="POST",
                path="/v2/login",
                tag="login",
                summary="Log in",
                endpoint=self.json,
                body=Login,
                answer=Session,
                errors=(401, 429),
            ),
        )

    async def form(self, asked: Asked[Login, None]) -> object:
        """Sends the browser on to the console."""
        token = await self._log_in(asked)
        location = (b"location", _CONSOLE.encode())
        return Plain(303, [location, self._cookie(token, asked.request), *_UNCACHED], b"")

    async def json(self, asked: Asked[Login, None]) -> object:
        """For consoles that ask by script."""
        token = await self._log_in(asked)
        answer = msgspec.json.encode(Session(redirect_url=_CONSOLE, token=token))
        kind = (b"content-type", b"application/json")
        return Plain(200, [kind, self._cookie(token, asked.request), *_UNCACHED], answer)

    async def _log_in(self, asked: Asked[Login, None]) -> str:
        """The token of a new session. Raises Unauthenticated, RateLimited, StoreUnavailable."""
        address = self._address(asked.request)
        self._attempts.begin(address)
        body = asked.body
        if self._is_console(body):
            token = await self._session(DEFAULT_USER_ID, None, Role.PROXY_ADMIN, password=None)
        else:
            user = await self._store.find(body.username)
            async with self._gate:
                stored = None if user is None else user.password
                fits = await asyncio.to_thread(self._password_fits, body.password, stored)
            if user is None or not fits:
                _refuse()
            role = role_of(user.user_id, user.role)
            token = await self._session(user.user_id, user.email, role, password=stored)
        self._attempts.succeeded(address)
        return token

    def _address(self, request: Request) -> str:
        forwarded = request.header(b"x-forwarded-for")
        by = None if forwarded is None else forwarded.decode("latin-1")
        return client_address(request.client_host, by, self._trusted_proxies)

    def _is_console(self, given: Login) -> bool:
        console = self._console
        if console.password is None:
            return False
        name = hmac.compare_digest(_bytes(given.username), _bytes(console.username))
        password = hmac.compare_digest(_bytes(given.password), _bytes(console.password.reveal()))
        return name and password

    async def _session(self, user_id: str, email: str | None, role: Role, *, password: str | None) -> str:
        """`password`: see `ports.users.LoginStore.open_session`. Raises Unauthenticated: it is another one by now."""
        key = self._forms.generate()
        expires = datetime.now(UTC) + timedelta(seconds=SESSION_S)
        opened = await self._store.open_session(
            user_id,
            token=self._forms.hash(key),
            key_name=self._forms.abbreviate(key),
            expires=expires,
            max_budget=_MAX_BUDGET_USD,
            password=password,
        )
        if not opened:
            _refuse()
        return self._tokens.sign(
            {
                "user_id": user_id,
                "key": key,
                "user_email": email,
                "user_role": role.value,
                "login_method": "username_password",
                "premium_user": False,
                "auth_header_name": "Authorization",
                "disabled_non_admin_personal_key_creation": False,
                "server_root_path": "",
                "password_reset_required": False,
                "exp": int(expires.timestamp()),
            }
        )

    def _cookie(self, token: str, request: Request) -> tuple[bytes, bytes]:
        """Out of reach of scripts and of other sites; where TLS is spoken, of unencrypted requests too."""
        by_tls = self._secure or request.header(b"x-forwarded-proto") == b"https"
        secure = "; Secure" if by_tls else ""
        cookie = f"{_COOKIE}={token}; Path=/; Max-Age={SESSION_S}; HttpOnly; SameSite=Strict{secure}"
        return b"set-cookie", cookie.encode()


_UNCACHED: RawHeaders = [(b"cache-control", b"no-store")]


class Attempts:
    """How often somebody may try: so many failures from one address within so many seconds."""

    def __init__(
        self, clock: Callable[[], float], *, most: int = 10, within_s: float = 300.0, addresses_max: int = 10_000
    ) -> None:
        """`clock`: monotonic seconds."""
        self._clock = clock
        self._most = most
        self._within_s = within_s
        self._addresses_max = addresses_max
        self._tried: OrderedDict[str, list[float]] = OrderedDict()

    def begin(self, address: str) -> None:
        """An attempt; it counts as failed until it has succeeded. Raises RateLimited."""
        now = self._clock()
        place = _network(address)
        tried = [at for at in self._tried.get(place, ()) if now - at < self._within_s]
        if len(tried) >= self._most:
            wait_s = int(self._within_s - (now - tried[0])) + 1
            reset_at = (datetime.now(UTC) + timedelta(seconds=wait_s)).isoformat(timespec="seconds")
            raise RateLimited(
                f"Too many failed logins from this address. Try again in {wait_s} seconds.",
                limit_type="logins",
                reset_at=reset_at,
                retry_after_s=wait_s,
            )
        self._tried[place] = [*tried, now]
        self._tried.move_to_end(place)
        while len(self._tried) > self._addresses_max:
            self._tried.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """The last attempt was none to guess."""
        if tried := self._tried.get(_network(address)):
            tried.pop()


def _network(address: str) -> str:
    """Who has one IPv6 address has 2⁶⁴ of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))


def _refuse() -> NoReturn:
    raise Unauthenticated(_REFUSED, param="invalid_credentials")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
