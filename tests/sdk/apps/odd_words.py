"""An app whose metadata, users and teams are objects of all kinds: each call is tagged with what is odd about it."""

import collections
import enum
import uuid
from typing import Any

import litellm

import bursar.sdk


class Text(str):
    """As some libraries' are."""


class Score(float):
    """As numpy's are."""


class Word(enum.StrEnum):
    A = "a"


METADATA: dict[str, dict[Any, Any]] = {
    "score": {"a": Score(0.5)},
    "text": {"a": Text("x")},
    "enum": {"a": Word.A},
    "name": {"a": {"b\ud800": 1}},
    "object": {"a": object()},
    "dict": {"a": collections.defaultdict(list, x=[1])},
    "tuple as a name": {"a": {(1, 2): 3}},
    "team": {"team_id": Text("blue")},
    "session": {"session_id": "x\ud800\x00"},
}
USERS = {"user": Text("alice"), "enum as user": Word.A, "number as user": 42, "uuid as user": uuid.UUID(int=5)}


def call(tag: str, **more: Any) -> None:
    metadata = more.pop("metadata", {}) | {"tags": [tag]}
    messages = [{"role": "user", "content": "Hello"}]
    litellm.completion(model="gpt-4o", messages=messages, metadata=metadata, mock_response="Hello", **more)


litellm.success_callback = ["bursar"]
for tag, metadata in METADATA.items():
    call(tag, metadata=metadata)
for tag, user in USERS.items():
    call(tag, user=user)
assert bursar.sdk.health().lost == 0
print(*METADATA, *USERS, sep="\n")
