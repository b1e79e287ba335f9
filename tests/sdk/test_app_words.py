"""What apps say of their calls, and what is kept of it."""

import enum
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Never
from uuid import UUID

import msgspec
import pytest

from bursar.domain.secrets import MASK
from bursar.sdk.app_words import kept_members, kept_message, kept_tags, kept_text


class Text(str):
    pass


class Word(enum.StrEnum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


class Score(float):
    """As numpy's are."""


class Hostile(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise LookupError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1

    def __bool__(self) -> Never:
        raise ValueError("ambiguous, as numpy's arrays are")

    def __str__(self) -> Never:
        raise RuntimeError("no")


def circle() -> dict[str, object]:
    itself: dict[str, object] = {"secret": None}
    itself |= {f"{number}": itself for number in range(10)}
    return itself


def kept(members: object) -> dict[str, object]:
    return {name: msgspec.json.decode(raw) for name, raw in kept_members(members)[0].items()}


def test_what_derives_from_a_plain_type_becomes_plain() -> None:
    members = {
        "text": Text("x" * 20),
        "word": Word.A,
        "number": Number.ONE,
        "score": Score(0.5),
        Text("name"): defaultdict(list, {Word.A: [Text("y"), (1, None, True)]}),
    }
    assert kept(members) == {
        "text": "x" * 20,
        "word": "a",
        "number": 1,
        "score": 0.5,
        "name": {"a": ["y", [1, None, True]]},
    }


@pytest.mark.parametrize(
    "value",
    [object(), ValueError("x"), {1: 2}, {(1, 2): 3}, {1, 2}, 1 << 70, circle(), Hostile(), [Hostile()], "x" * 20_000],
)
def test_what_is_no_json_is_left_out_by_name(value: object) -> None:
    members, left_out = kept_members({"kept": 1, "odd": value})
    assert members == {"kept": msgspec.Raw(b"1")}
    assert left_out == ["odd"]


def test_what_the_database_does_not_take_is_replaced() -> None:
    assert kept({"a\ud800": "x\ud800", "b": {"c\ud800\x00": "\x00"}}) == {"a?": "x?", "b": {"c?\ufffd": "\ufffd"}}


@pytest.mark.parametrize("members", [Hostile(), 5, ["a"], "text"])
def test_metadata_that_is_none_is_left_out(members: object) -> None:
    assert kept_members(members) == ({}, ["metadata"])
    assert kept_members(None) == ({}, [])


def test_not_every_name_of_many_that_are_left_out_is_told() -> None:
    members, left_out = kept_members({str(number): object() for number in range(30)} | {1: "a"})
    assert members == {}
    assert len(left_out) == 21
    assert left_out[-1] == "… and 11 more"


@pytest.mark.parametrize(
    "members",
    [
        {"api_key": "canary", "api-key": "canary", "x-api-key": ["canary"], "apiKey": {"a": "canary"}},
        {"token": "canary", "github_token": "canary", "aws_session_token": "canary", "refresh_token": "canary"},
        {"private_key": "canary", "access_key": "canary", "AWS_ACCESS_KEY_ID": "canary", "openai_key": "canary"},
        {"passwd": "canary", "pwd": "canary", "cookie": "canary", "PGPASS": "canary", "conn": {"dsn": "canary"}},
        {"signing_key": "canary", "provider_key": "canary", "langfuse_secret": "canary", "pat": "canary"},
        {
            "db": "postgres://u:canary@h/d",
            "headers": ["Authorization: Bearer canary0123"],
            "a" * 100 + "token": "canary",
        },
        {
            "note": "use sk-canary-0123456789",
            "sk-canary-0123456789": 1,
            "object": {"ghp_canary0123456789abc": object()},
        },
        {"slack": "xoxb-123456-canary", "x": "glpat-canary0123456789", "y": "github_pat_canary0123456789"},
        {"hf": "hf_canary0123456789", "groq": "gsk_canary0123456789", "google": "AIza" + "canary0" * 5},
        {
            "hook": "https://hooks.slack.com/services/canary",
            "jwt": "eyJcanary01234.canary",
            "basic": "BASIC canary0123",
        },
        {"pem": "-----BEGIN RSA PRIVATE KEY-----"},
    ],
)
def test_secrets_are_masked(members: Mapping[str, object]) -> None:
    found = repr((kept(members), kept_members(members)[1]))
    assert "canary" not in found
    assert "PRIVATE" not in found


def test_what_is_no_secret_stays() -> None:
    members = {"monkey": "see", "max_tokens": 5, "cache_key": "abc", "path": "a/b", "model": "gpt-4o", "patient": "x"}
    assert kept(members) == members


def test_tags() -> None:
    assert kept_tags(["a", "a", Text("b"), 1, None, "", object(), "\ud800"]) == (["a", "b", "1", "?"], [])
    assert kept_tags("alone") == (["alone"], [])
    assert kept_tags(tag for tag in "ab") == (["a", "b"], [])
    assert kept_tags(5) == ([], ["tags"])
    assert kept_tags(None) == ([], [])
    assert kept_tags([f"{number}".ljust(512) for number in range(100)])[1] == ["68 tags"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (Text("a"), "a"),
        (Word.A, "a"),
        (7, "7"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (True, ""),
        (None, ""),
        (Hostile(), ""),
        (1 << 2000, ""),
        ("\ud800\x00", "?\ufffd"),
    ],
)
def test_names(value: object, text: str) -> None:
    found = kept_text(value)
    assert found == text
    assert type(found) is str


def test_messages() -> None:
    assert kept_message("No: r8_key and again r8_key", ["r8_key", None, "a"]) == f"No: {MASK} and again {MASK}"
    assert kept_message("No: r8_key", ["r8_k", "r8_key"]) == f"No: {MASK}"
    assert kept_message(KeyError("sk-abcdefghijklmnop")) == f"'{MASK}'"
    assert kept_message(Hostile()) == "Hostile"
    assert len(kept_message("x" * 5_000)) == 2_000
    assert "keyed" not in kept_message("x" * 1_998 + "keyed", ["keyed"]), "not even the half of it"


def test_more_than_can_be_looked_through_is_left_out() -> None:
    kept, left_out = kept_members({f"m{number}": "x" * 16_000 for number in range(1000)})
    assert list(kept) == ["m0"]
    assert left_out[:3] == ["…", "m1", "m2"], "and all that has no room beside the first"
