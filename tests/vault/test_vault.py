"""Sealed texts open with their key at their place, and nowhere else; LiteLLM's ciphertexts can be read."""

import base64
import hashlib

import nacl.secret
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.errors import SecretUnreadable
from bursar.domain.secrets import Secret
from bursar.vault.derivation import Purpose, derive
from bursar.vault.vault import Vault

SALT, OTHER = Secret("salt-0123456789"), Secret("another-salt-0123456789")
NONCE = bytes(range(24))


def secret_box(plain: str, salt: str, *, urlsafe: bool = True) -> str:
    """As LiteLLM writes it by default in older releases."""
    box = nacl.secret.SecretBox(hashlib.sha256(salt.encode()).digest()).encrypt(plain.encode(), NONCE)
    return (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(bytes(box)).decode()


def gcm(plain: str, salt: str, version: int) -> str:
    key = hashlib.sha256(salt.encode()).digest()
    if version == 3:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"litellm-at-rest-v3").derive(salt.encode())
    sealed = NONCE[:12] + AESGCM(key).encrypt(NONCE[:12], plain.encode(), None)
    return f"v{version}:gcm:{base64.urlsafe_b64encode(sealed).decode()}"


@given(text=st.text(), place=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens(text: str, place: str) -> None:
    vault = Vault(SALT)
    sealed = vault.seal(text, place)
    assert sealed.startswith("bursar:v1:")
    assert vault.is_current(sealed)
    assert vault.open(sealed, place) == text
    assert vault.seal(text, place) != sealed, "no nonce is used twice"


def test_a_ciphertext_does_not_open_elsewhere() -> None:
    vault = Vault(SALT)
    sealed = vault.seal("sk-secret", "row 1")
    with pytest.raises(SecretUnreadable, match="belongs elsewhere"):
        vault.open(sealed, "row 2")


@pytest.mark.parametrize("at", [-1, -20, 30])
def test_a_changed_ciphertext_does_not_open(at: int) -> None:
    sealed = Vault(SALT).seal("sk-secret", "here")
    changed = list(sealed)
    changed[at] = "A" if changed[at] != "A" else "B"
    with pytest.raises(SecretUnreadable) as refused:
        Vault(SALT).open("".join(changed), "here")
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "garbage", ["bursar:v1:", "bursar:v1::", "bursar:v1:zz:zz", "v2:gcm:", "v3:gcm:!!", "v3:gcm:AAAA"]
)
def test_garbage_is_told_as_such(garbage: str) -> None:
    with pytest.raises(SecretUnreadable):
        Vault(SALT).open(garbage, "here")


def test_another_key_does_not_open_and_is_named() -> None:
    sealed = Vault(OTHER).seal("sk-secret", "here")
    with pytest.raises(SecretUnreadable, match="LITELLM_SALT_KEY_OLD"):
        Vault(SALT).open(sealed, "here")


def test_the_key_before_still_opens_and_does_not_seal() -> None:
    sealed = Vault(OTHER).seal("sk-secret", "here")
    both = Vault(SALT, others=[OTHER])
    assert both.open(sealed, "here") == "sk-secret"
    assert not both.is_current(sealed)
    assert Vault(SALT).open(both.seal("sk-secret", "here"), "here") == "sk-secret"


@pytest.mark.parametrize(
    "ciphertext",
    [
        secret_box("sk-of-litellm", SALT.reveal()),
        secret_box("sk-of-litellm", SALT.reveal(), urlsafe=False),
        gcm("sk-of-litellm", SALT.reveal(), 2),
        gcm("sk-of-litellm", SALT.reveal(), 3),
    ],
)
def test_what_litellm_encrypted_can_be_read(ciphertext: str) -> None:
    assert Vault(SALT).open(ciphertext, "anywhere") == "sk-of-litellm"
    assert Vault(OTHER, others=[SALT]).open(ciphertext, "anywhere") == "sk-of-litellm"
    assert Vault(OTHER, litellm=[SALT]).open(ciphertext, "anywhere") == "sk-of-litellm"
    assert not Vault(SALT).is_current(ciphertext)


@pytest.mark.parametrize("version", [2, 3])
def test_litellms_marked_ciphertexts_of_another_key_are_told(version: int) -> None:
    with pytest.raises(SecretUnreadable, match="LITELLM_SALT_KEY"):
        Vault(OTHER).open(gcm("sk-of-litellm", SALT.reveal(), version), "anywhere")


@pytest.mark.parametrize("text", ["", "sk-plain", "openai/gpt-4o", "https://api.example.com/v1", "A" * 80, "ä" * 50])
def test_other_text_is_what_it_says(text: str) -> None:
    assert Vault(SALT).open(text, "anywhere") == text


def test_every_purpose_has_a_key_of_its_own() -> None:
    keys = {derive(SALT, purpose) for purpose in Purpose}
    assert len(keys) == len(Purpose)
    assert hashlib.sha256(SALT.reveal().encode()).digest() not in keys
    assert not keys & {derive(OTHER, purpose) for purpose in Purpose}
