"""A stream put together again as the answer it would have been."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wire.openai_assembly import StreamAssembly


def assembled(*chunks: object) -> dict[str, Any]:
    assembly = StreamAssembly()
    for chunk in chunks:
        assembly.feed(chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode())
    return assembly.answer()


def chunk(delta: object, index: int = 0, **choice: object) -> dict[str, object]:
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta} | choice]}


def test_text() -> None:
    answer = assembled(
        chunk({"role": "assistant", "content": ""}, finish_reason=None),
        chunk({"content": "one "}),
        chunk({"content": "two", "refusal": None}),
        chunk({}, finish_reason="stop"),
        {"id": "c1", "choices": [], "usage": {"total_tokens": 3}, "system_fingerprint": None},
    )
    assert answer == {
        "id": "c1",
        "object": "chat.completion",
        "usage": {"total_tokens": 3},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two", "refusal": None},
                "finish_reason": "stop",
            }
        ],
    }


def test_tool_calls() -> None:
    def call(index: int, **members: object) -> dict[str, object]:
        return chunk({"tool_calls": [{"index": index} | members]})

    answer = assembled(
        call(0, id="a", type="function", function={"name": "look", "arguments": ""}),
        call(0, function={"arguments": '{"at":'}),
        call(1, id="b", type="function", function={"name": "hear", "arguments": "{}"}),
        call(0, function={"arguments": " 1}"}),
    )
    assert answer["choices"][0]["message"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "hear", "arguments": "{}"}},
    ]


def test_several_choices_in_any_order() -> None:
    answer = assembled(chunk({"content": "b"}, 1), chunk({"content": "a"}, 0), chunk({"content": "B"}, 1))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "bB"]


def test_log_probabilities_are_one_list() -> None:
    answer = assembled(
        chunk({"content": "a"}, logprobs={"content": [{"token": "a"}]}),
        chunk({"content": "b"}, logprobs={"content": [{"token": "b"}]}),
        chunk({}, logprobs=None),
    )
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_what_is_repeated_is_not_doubled() -> None:
    answer = assembled(
        chunk({"role": "assistant", "content": "a"}),
        chunk({"role": "assistant", "content": "b"}, finish_reason="stop"),
        chunk({}, finish_reason="stop"),
    )
    [choice] = answer["choices"]
    assert (choice["message"]["role"], choice["finish_reason"], choice["message"]["content"]) == (
        "assistant",
        "stop",
        "ab",
    )


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"{",
        b"7",
        b"null",
        b"[]",
        b'"x"',
        b"[" * 100_000,
        b"\xff",
        b"[DONE]",
        {"choices": 7},
        {"choices": "text"},
        {"choices": {"a": 1}},
        {"choices": [7, None, "x"]},
        {"choices": [{"index": "x", "delta": 7}]},
        {"choices": [{"delta": {"tool_calls": 7}}]},
        {"choices": [{"delta": {"tool_calls": [7, None]}}]},
        {"choices": [{"index": None, "delta": {}}]},
    ],
)
def test_odd_chunks_spoil_nothing(odd: object) -> None:
    answer = assembled(chunk({"content": "a"}), odd, chunk({"content": "b"}))
    assert answer["choices"][0]["message"]["content"] == "ab"


def test_it_has_a_bound() -> None:
    assembly = StreamAssembly()
    piece = json.dumps(chunk({"content": "x" * 100_000})).encode()
    for _ in range(30):
        assembly.feed(piece)
    answer: dict[str, Any] = assembly.answer()
    assert answer["truncated"] is True
    assert 1_500_000 < len(answer["choices"][0]["message"]["content"]) <= 2 * 1024 * 1024


@given(text=st.text(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=10), choices=st.integers(1, 3))
def test_where_the_text_was_cut_changes_nothing(text: str, cuts: list[int], choices: int) -> None:
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    chunks = [chunk({"content": piece}, index) for piece in pieces for index in range(choices)]
    answer = assembled(*(chunk({"content": ""}, index) for index in range(choices)), *chunks)
    assert [choice["message"]["content"] for choice in answer["choices"]] == [text] * choices
