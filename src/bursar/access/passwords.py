"""Passwords of users as `LiteLLM_UserTable.password` holds them: `scrypt:` and base64 of salt and digest.

The salt has 16 bytes, the digest 32; n = 2¹⁴, r = 8, p = 1, which takes 16 MiB and a few hundredths of a second. Older
rows of LiteLLM's hold SHA-256 in hex; those are still let in, since nobody can make better ones of them.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

_MARK = "scrypt:"
_SALT_BYTES = 16
_DIGEST_BYTES = 32
_HEX_DIGITS = 64


def hash_password(password: str) -> str:
    """What to store. Takes as long as a check: not for the event loop."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return _MARK + base64.b64encode(salt + _digest(password, salt)).decode()


def password_fits(password: str, stored: str | None) -> bool:
    """Whether `stored` is made of `password`. Takes the same time for whatever is stored, nothing included."""
    salt, digest = _parts(stored or "")
    fits = hmac.compare_digest(_digest(password, salt), digest)
    if stored is not None and len(stored) == _HEX_DIGITS:
        return hmac.compare_digest(hashlib.sha256(_bytes(password)).hexdigest().encode(), _bytes(stored.lower()))
    return fits


def _parts(stored: str) -> tuple[bytes, bytes]:
    """Salt and digest; of anything else a salt, and a digest that nothing has."""
    try:
        raw = base64.b64decode(stored.removeprefix(_MARK), validate=True) if stored.startswith(_MARK) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _SALT_BYTES + _DIGEST_BYTES:
        return bytes(_SALT_BYTES), b""
    return raw[:_SALT_BYTES], raw[_SALT_BYTES:]


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(_bytes(password), salt=salt, n=2**14, r=8, p=1, dklen=_DIGEST_BYTES)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
