"""Prompts and answers, made ready to be stored."""

import json

import pytest

from bursar.gateway.kept_text import TextKeeper
from bursar.ports.ledger import CallText
from tests.gateway.parts import BODY, CALL_ID, a_call


def kept(call_body: object = None, answer: bytes | dict[str, object] | None = None) -> list[CallText]:
    texts: list[CallText] = []
    TextKeeper(texts.append).keep(a_call(call_body), answer)
    return texts


def test_a_call_and_its_answer() -> None:
    [text] = kept(BODY | {"metadata": {"a": 1}}, b'{"id": "x", "choices": []}')
    assert text.call_id == text.litellm_call_id == CALL_ID
    assert json.loads(text.messages) == BODY["messages"]
    assert json.loads(text.response) == {"id": "x", "choices": []}
    assert json.loads(text.request) == BODY | {"metadata": {"a": 1}}


def test_a_streams_answer_comes_put_together() -> None:
    [text] = kept(None, {"choices": [1]})
    assert json.loads(text.response) == {"choices": [1]}


def test_no_answer() -> None:
    [text] = kept()
    assert json.loads(text.response) == {}


def test_what_shall_not_be_kept() -> None:
    assert kept(BODY | {"no-log": True}, b"{}") == []


@pytest.mark.parametrize("answer", [b"", b"not json", b"[" * 100_000, b"\xff", b"7"])
def test_answers_that_are_none(answer: bytes) -> None:
    [text] = kept(None, answer)
    assert isinstance(json.loads(text.response), dict | int)


def test_what_the_database_would_not_take() -> None:
    messages = [{"role": "user", "content": "a\x00b", "n": 2**80, "f": [1e308, -5], "k\x00": "x" * 10_000}]
    [text] = kept(BODY | {"messages": messages}, b'{"lone": "\\ud800", "inf": 1e999, "nan": NaN}')
    assert b"\\u0000" not in text.messages
    [message] = json.loads(text.messages)
    assert message["content"] == "a\ufffdb"
    assert message["n"] == str(2**80)
    assert len(message["k\ufffd"]) < 2200
    assert json.loads(text.response) == {"lone": "?", "inf": "inf", "nan": "nan"}


def test_what_is_nested_too_deeply() -> None:
    depth = 500
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + b"[" * depth + b"]" * depth + b"}"
    [text] = kept(body)
    assert json.loads(text.messages) == [{"role": "user", "content": "x"}]
    assert text.request.count(b"[") == 100  # one for the messages, 99 for what is nested
    assert b"nested too deeply" in text.request
