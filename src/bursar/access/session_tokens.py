"""Session tokens: what a browser holds after a login, in LiteLLM's form."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

import msgspec

_HEADER = {"alg": "HS256", "typ": "JWT"}


class SessionTokens:
    """Signs JSON Web Tokens with HMAC-SHA256 (RFC 7519, RFC 7515). Implements `ports.users.TokenSigner`."""

    def __init__(self, key: bytes) -> None:
        """`key`: for this purpose alone."""
        self._key = key

    def sign(self, claims: Mapping[str, object]) -> str:
        """See `ports.users.TokenSigner.sign`."""
        signed = f"{_encoded(msgspec.json.encode(_HEADER))}.{_encoded(msgspec.json.encode(claims))}"
        signature = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{_encoded(signature)}"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
