"""Keys of their own for every purpose, from the one salt key: whoever has one of them has none of the others."""

from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bursar.domain.secrets import Secret

KEY_BYTES = 32


class Purpose(StrEnum):
    """What a derived key is for. The words are part of the key: changing one makes what it protects unreadable."""

    STORED_SECRETS = "bursar stored secrets v1"
    STORED_SECRETS_ID = "bursar stored secrets v1: key id"
    SESSIONS = "bursar sessions v1"


def derive(salt_key: Secret, purpose: Purpose) -> bytes:
    """256 bits by HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.value.encode()).derive(
        salt_key.reveal().encode("utf-8", "surrogateescape")
    )
