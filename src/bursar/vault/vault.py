"""The vault: AES-256-GCM with the id of the key in the text, and the place of the secret bound to it.

A sealed text is `bursar:v1:<key id>:<base64url of nonce, ciphertext and tag>`. Its place (table, row, path within the
row, and whatever else must not change under it) is authenticated and not stored: a ciphertext that is moved to another
row, or stays while what it belongs to changes, cannot be opened.
"""

import base64
import binascii
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bursar.domain.errors import SecretUnreadable
from bursar.domain.secrets import Secret
from bursar.vault.derivation import Purpose, derive
from bursar.vault.litellm import LitellmCipher, is_marked, may_be_a_box

_MARK = "bursar:v1:"
_NONCE_BYTES = 12
_ID_BYTES = 6


class Vault:
    """Implements `ports.models.SecretVault`. The first key seals; all of them open."""

    def __init__(self, salt_key: Secret, *, others: Sequence[Secret] = (), litellm: Sequence[Secret] = ()) -> None:
        """`others`: keys from before a rotation. `litellm`: more keys that LiteLLM may have encrypted with."""
        self._ciphers = {_key_id(key): AESGCM(derive(key, Purpose.STORED_SECRETS)) for key in (salt_key, *others)}
        self._key_id = _key_id(salt_key)
        self._litellm = [LitellmCipher(key) for key in (salt_key, *others, *litellm)]

    def seal(self, text: str, place: str) -> str:
        """See `ports.models.SecretVault.seal`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._key_id].encrypt(nonce, text.encode("utf-8", "surrogatepass"), place.encode())
        return f"{_MARK}{self._key_id}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, text: str, place: str) -> str:
        """See `ports.models.SecretVault.open`."""
        if text.startswith(_MARK):
            return self._open_own(text, place)
        for cipher in self._litellm:
            if (plain := cipher.open(text)) is not None:
                return plain
        if is_marked(text):
            raise SecretUnreadable(
                "LiteLLM encrypted it with another key. Set LITELLM_SALT_KEY to the one LiteLLM had (without one it "
                "took its master key)."
            )
        return text

    def is_current(self, text: str) -> bool:
        """See `ports.models.SecretVault.is_current`."""
        return text.startswith(f"{_MARK}{self._key_id}:")

    def is_doubtful(self, text: str) -> bool:
        """See `ports.models.SecretVault.is_doubtful`."""
        return may_be_a_box(text) and all(cipher.open(text) is None for cipher in self._litellm)

    def _open_own(self, text: str, place: str) -> str:
        key_id, _, encoded = text.removeprefix(_MARK).partition(":")
        if (cipher := self._ciphers.get(key_id)) is None:
            raise SecretUnreadable(
                f"it was sealed with the key {key_id}, and this gateway has {', '.join(self._ciphers)}. Give all "
                "gateways of a database the same LITELLM_SALT_KEY; the one before it goes into LITELLM_SALT_KEY_OLD."
            )
        try:
            raw = base64.urlsafe_b64decode(encoded)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode(
                "utf-8", "surrogatepass"
            )
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SecretUnreadable(
                "it was changed, or belongs elsewhere: a secret is bound to its row and to the address it is sent to. "
                "Give it again."
            ) from error


def _key_id(salt_key: Secret) -> str:
    return derive(salt_key, Purpose.STORED_SECRETS_ID)[:_ID_BYTES].hex()
