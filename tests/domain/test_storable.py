"""What a caller said, made fit for the database."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.storable import TEXT_MAX_CHARS, shortened_json, storable_list, storable_members, storable_text

ANY_TEXT = st.text(st.characters(), max_size=40)  # half characters too
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def replaced(value: object) -> object:
    """`value` with each NUL replaced, by a walk through it."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [replaced(item) for item in value]
        case dict():
            return {str(replaced(name)): replaced(item) for name, item in value.items()}
        case _:
            return value


@given(ANY_TEXT, st.integers(0, 50))
def test_text(text: str, bound: int) -> None:
    stored = storable_text(text, bound)
    assert len(stored) <= bound
    assert "\x00" not in stored
    stored.encode()
    assert storable_text(stored, bound) == stored


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain", "plain"), ("é☃", "é☃"), ("a\x00b", "a\ufffdb"), ("\ud800", "?"), ("x" * 600, "x" * TEXT_MAX_CHARS)],
)
def test_texts(text: str, stored: str) -> None:
    assert storable_text(text) == stored


@given(st.lists(ANY_TEXT), st.integers(0, 60))
def test_lists(texts: list[str], bound: int) -> None:
    kept, dropped = storable_list(texts, max_bytes=bound)
    assert len(kept) == len(set(kept))
    assert sum(len(text.encode()) for text in kept) <= bound
    assert dropped <= len(texts)
    assert set(kept) <= {storable_text(text) for text in texts}
    everything, none = storable_list(texts, max_bytes=10**6)
    assert everything == list(dict.fromkeys(storable_text(text) for text in texts))
    assert none == 0


def test_a_list_goes_on_behind_what_is_too_large() -> None:
    assert storable_list(["a", "b" * 9, "c", "a"], max_bytes=3) == (["a", "c"], 1)


@given(st.dictionaries(TEXT, JSON, max_size=6))
def test_members_stay_what_they_are_but_for_nul(members: dict[str, object]) -> None:
    kept, dropped = storable_members(members, max_bytes=10**6)
    assert dropped == []
    found = {name: json.loads(bytes(raw)) for name, raw in kept.items()}
    assert found == {storable_text(name): replaced(value) for name, value in members.items()}


@pytest.mark.parametrize("text", ["\x00", "\\u0000", "\\\x00", "\\\\u0000", "\\\\\x00\x00", '"\x00"', "\\u\x00000"])
def test_what_only_looks_like_nul_stays(text: str) -> None:
    kept, _ = storable_members({"a": text, "b": {text: [text]}}, max_bytes=10**6)
    clean = text.replace("\x00", "\ufffd")
    assert json.loads(bytes(kept["a"])) == clean
    assert json.loads(bytes(kept["b"])) == {clean: [clean]}


@given(st.dictionaries(TEXT, JSON, max_size=8), st.integers(0, 200))
def test_members_within_bounds(members: dict[str, object], bound: int) -> None:
    kept, dropped = storable_members(members, max_bytes=bound)
    assert sum(len(bytes(raw)) for raw in kept.values()) <= bound + 2 * sum(json.dumps(members).count(c) for c in "\\u")
    assert len(kept) + len(dropped) <= len(members) or not members
    for name in dropped:
        assert len(name) <= 64


def test_many_members_left_out_are_counted() -> None:
    kept, dropped = storable_members({f"m{n}": "x" * 50 for n in range(100)}, max_bytes=60)
    assert list(kept) == ["m0"]
    assert dropped == [*(f"m{n}" for n in range(1, 21)), "… and 79 more"]


def test_what_is_too_large_does_not_keep_the_rest_out() -> None:
    kept, dropped = storable_members({"a": 1, "huge": "x" * 1000, "b": 2}, max_bytes=100)
    assert (list(kept), dropped) == (["a", "b"], ["huge"])


@given(
    st.recursive(
        JSON | st.just("a\ud800") | st.just(math.inf) | st.just(2**90), lambda inner: st.lists(inner, max_size=2)
    )
)
def test_any_json_becomes_json_the_database_takes(value: object) -> None:
    encoded = shortened_json(value)
    encoded.decode()
    json.loads(encoded, parse_constant=pytest.fail)
    assert replaced(json.loads(encoded)) == json.loads(encoded)


def test_long_strings_keep_their_ends() -> None:
    text = "".join(f"{n:05}" for n in range(4000))
    [short] = json.loads(shortened_json([text]))
    head, mark, tail = short.split("...")
    assert (head.strip(), tail.strip()) == (text[:716], text[-1332:])
    assert mark.strip() == f"({20_000 - 2048} characters left out)"
    assert json.loads(shortened_json("x" * 2048)) == "x" * 2048


def test_numbers_that_are_none() -> None:
    value = {"nan": math.nan, "inf": -math.inf, "big": 2**64, "small": -(2**63) - 1, "fits": 2**64 - 1}
    assert json.loads(shortened_json(value)) == {
        "nan": "nan",
        "inf": "-inf",
        "big": str(2**64),
        "small": str(-(2**63) - 1),
        "fits": 2**64 - 1,
    }
