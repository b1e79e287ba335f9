"""Virtual keys as strings, as LiteLLM has them."""

from bursar.access.keys import LitellmKeyForms

FORMS = LitellmKeyForms()


def test_a_new_key() -> None:
    keys = {FORMS.generate() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("sk-") and len(key) == 46 and key.isascii() for key in keys)


def test_the_hash_is_the_one_in_the_tables() -> None:
    """SHA-256 of `sk-1234`, by any tool."""
    assert FORMS.hash("sk-1234") == "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
    assert len(FORMS.hash("sk-\udcff")) == 64, "bytes that are no characters have a hash too"


def test_what_is_shown_of_a_key() -> None:
    assert FORMS.abbreviate("sk-abcdefghijkl") == "sk-...ijkl"


def test_what_is_a_hash() -> None:
    assert FORMS.is_hash(FORMS.hash("sk-x"))
    for text in ("", "a" * 63, "A" * 64, "g" * 64, "sk-" + "a" * 61, "a" * 65):
        assert not FORMS.is_hash(text)
