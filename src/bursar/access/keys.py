"""Virtual keys as strings: made, hashed and shown as LiteLLM does, so that existing ones keep working."""

import hashlib
import secrets

from bursar.domain.ids import KeyHash

PREFIX = "sk-"
_RANDOM_BYTES = 32
_HEX = frozenset("0123456789abcdef")


class LitellmKeyForms:
    """Implements `ports.keys.KeyForms`."""

    def generate(self) -> str:
        """A new virtual key: 256 random bits."""
        return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)

    def hash(self, key: str) -> KeyHash:
        """SHA-256 hex of the whole string. Unsalted, as the tables have it: a long random key needs no salt."""
        return KeyHash(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())

    def abbreviate(self, key: str) -> str:
        """`sk-...` and the key's last four characters."""
        return f"{PREFIX}...{key[-4:]}"

    def is_key(self, text: str) -> bool:
        """It begins as all do."""
        return text.startswith(PREFIX)

    def is_hash(self, text: str) -> bool:
        """64 lower-case hex digits: a name of a key, never a credential."""
        return len(text) == 64 and _HEX.issuperset(text)
