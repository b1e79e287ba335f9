"""Who calls: the master key, or a virtual key known to the directory.

Where the key stands and what is said when it does not fit follow LiteLLM, whose clients parse it. A hash presented as a
key is nobody: it does not begin with `sk-`.
"""

import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from bursar.domain.client_address import Network, lies_within
from bursar.domain.errors import Forbidden, StoreUnavailable, Unauthenticated, Unavailable
from bursar.domain.ids import KeyHash
from bursar.domain.principals import DEFAULT_USER_ID, MASTER_KEY_NAME, Principal, Role
from bursar.gateway.attribution import client_of
from bursar.wire.http import Request

_PREFIX = "sk-"
_HEADERS = (b"x-litellm-api-key", b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
"""In order of precedence. `authorization` alone needs a scheme before the key."""
_LAST_HEADER = b"ocp-apim-subscription-key"
_SCHEMES = ("bearer ", "basic ")

MASTER = Principal(role=Role.PROXY_ADMIN, api_key=MASTER_KEY_NAME, user_id=DEFAULT_USER_ID)


class KeyLookup(Protocol):
    """The directory, as far as this module needs it."""

    def recall(self, key: KeyHash) -> Principal | None: ...

    async def find(self, key: KeyHash) -> Principal | None: ...


class KeyAuthenticator:
    """Implements `ports.users.Authenticator`."""

    def __init__(
        self,
        directory: KeyLookup,
        *,
        master_key: str | None,
        hash_key: Callable[[str], KeyHash],
        wall_clock: Callable[[], float],
        key_header: str | None = None,
        allowed_clients: Sequence[Network] = (),
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        """`master_key` None: every caller is the administrator, which the composition root allows on loopback only.
        `allowed_clients`: the addresses that are served at all; none: all of them.
        """
        self._directory = directory
        self._master = None if master_key is None else master_key.encode()
        self._hash = hash_key
        self._now = wall_clock
        self._allowed = allowed_clients
        self._trusted = trusted_proxies
        self._headers = (*_HEADERS, _LAST_HEADER) if key_header is None else (key_header.lower().encode(),)

    def recognise(self, request: Request) -> Principal | None:
        """See `ports.users.Authenticator.recognise`."""
        if self._allowed:
            self._check_address(request)
        if self._master is None:
            return MASTER
        key = self._presented(request)
        if hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._master):
            return MASTER
        if not key.startswith(_PREFIX):
            raise Unauthenticated(
                "Authentication Error, LiteLLM Virtual Key expected. "
                f"Received={_masked(key)}, expected to start with 'sk-'."
            )
        principal = self._directory.recall(self._hash(key))
        if principal is not None:
            self._check_usable(principal)
        return principal

    async def authenticate(self, request: Request) -> Principal:
        """See `ports.users.Authenticator.authenticate`."""
        principal = self.recognise(request)
        if principal is not None:
            return principal
        key = self._presented(request)
        hashed = self._hash(key)
        try:
            principal = await self._directory.find(hashed)
        except StoreUnavailable:
            raise Unavailable(
                "The key cannot be looked up: the database does not answer. Try again.", kind="no_db_connection"
            ) from None
        if principal is None:
            raise Unauthenticated(
                "Authentication Error, Invalid proxy server token passed. "
                f"Received API Key = {_PREFIX}...{_shown(key[-4:])}, Key Hash (Token) ={hashed}. "
                "Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
                kind="token_not_found_in_db",
                param="key",
            )
        self._check_usable(principal)
        return principal

    def _check_address(self, request: Request) -> None:
        address = client_of(request, self._trusted)
        if not lies_within(address, self._allowed):
            raise Forbidden(f"Access forbidden: IP address {address} not allowed.")

    def _presented(self, request: Request) -> str:
        """The key as the client sent it.

        Raises Unauthenticated: none, or not in a form we read.
        """
        fields = request.fields
        for name in self._headers:
            if (value := fields.get(name)) is not None and (value := value.strip()):
                text = value.decode("utf-8", "surrogateescape")
                return _without_scheme(text, required=name == b"authorization" and len(self._headers) > 1)
        raise Unauthenticated("Authentication Error, No api key passed in.", param="None")

    def _check_usable(self, principal: Principal) -> None:
        if principal.expires_at_s is not None and principal.expires_at_s <= self._now():
            raise Unauthenticated(
                f"Authentication Error - Expired Key. Key Expiry time {_utc(principal.expires_at_s)} "
                f"and current time {_utc(self._now())}",
                kind="expired_key",
                param=principal.key_name,
            )
        if principal.blocked:
            raise Unauthenticated("Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.")
        if principal.team_blocked:
            raise Unauthenticated(
                f"Authentication Error, Team={principal.team_id} is blocked. "
                "Update via `/team/unblock` if you're an admin."
            )


def _without_scheme(text: str, *, required: bool) -> str:
    lowered = text[:8].lower()
    for scheme in _SCHEMES:
        if lowered.startswith(scheme):
            return text[len(scheme) :].strip()
    if required:
        raise Unauthenticated(
            "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.", param="None"
        )
    return text


def _masked(key: str) -> str:
    return _shown(f"{key[:4]}****{key[-4:]}") if len(key) > 12 else "****"


def _shown(text: str) -> str:
    """`text` fit for an answer: a header may hold bytes that are no characters."""
    return text.encode("ascii", "replace").decode()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
