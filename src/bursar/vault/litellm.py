"""Reading what LiteLLM encrypted with the same salt key. Writing its forms is not our business.

Three forms are in the field, none bound to its place: NaCl's secret box without a mark, base64 of nonce (24 bytes) and
box, the key SHA-256 of the salt key; `v2:gcm:`, AES-256-GCM with that same key; `v3:gcm:`, the same with a key by HKDF.
Both of the latter are base64url of nonce (12 bytes), ciphertext and tag.
"""

import base64
import binascii
import hashlib

import nacl.exceptions
import nacl.secret
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bursar.domain.secrets import Secret

_V2, _V3 = "v2:gcm:", "v3:gcm:"
_V3_INFO = b"litellm-at-rest-v3"
_NONCE_BYTES = 12
_BOX_BYTES_MIN = nacl.secret.SecretBox.NONCE_SIZE + nacl.secret.SecretBox.MACBYTES


class LitellmCipher:
    """One salt key of LiteLLM's."""

    def __init__(self, salt_key: Secret) -> None:
        key = salt_key.reveal().encode("utf-8", "surrogateescape")
        hashed = hashlib.sha256(key).digest()
        self._box = nacl.secret.SecretBox(hashed)
        self._v2 = AESGCM(hashed)
        self._v3 = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_V3_INFO).derive(key))

    def open(self, text: str) -> str | None:
        """What `text` hides; None: it is none of LiteLLM's ciphertexts, or another key's."""
        for mark, cipher in ((_V3, self._v3), (_V2, self._v2)):
            if text.startswith(mark):
                return _open_gcm(cipher, text.removeprefix(mark))
        return self._open_box(text)

    def _open_box(self, text: str) -> str | None:
        raw = _decoded(text)
        if raw is None or len(raw) < _BOX_BYTES_MIN:
            return None
        try:
            return self._box.decrypt(raw).decode()
        except (nacl.exceptions.CryptoError, UnicodeDecodeError):
            return None


def is_marked(text: str) -> bool:
    """It can be nothing but a ciphertext of LiteLLM's; those without a mark cannot be told from other text."""
    return text.startswith((_V2, _V3))


def may_be_a_box(text: str) -> bool:
    """It may be a ciphertext of LiteLLM's without a mark: long enough, and base64."""
    raw = _decoded(text)
    return raw is not None and len(raw) >= _BOX_BYTES_MIN


def _open_gcm(cipher: AESGCM, encoded: str) -> str | None:
    raw = _decoded(encoded)
    if raw is None or len(raw) <= _NONCE_BYTES:
        return None
    try:
        return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
    except (InvalidTag, UnicodeDecodeError):
        return None


def _decoded(text: str) -> bytes | None:
    """Base64 of either alphabet; older rows have the plain one."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
