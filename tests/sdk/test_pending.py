"""What is remembered of calls whose event has not come."""

import gc
import time
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from bursar.sdk.pending import Pending, Reader, StreamSeen, Sweep


class Owner:
    """Stands for LiteLLM's object of a call: what matters is that it can be gone."""


def pending() -> tuple[Pending, list[tuple[Mapping[str, object], object]]]:
    booked: list[tuple[Mapping[str, object], object]] = []
    return Pending(lambda details, response: booked.append((details, response))), booked


def chunk(text: str) -> SimpleNamespace:
    return SimpleNamespace(id="chatcmpl-1", choices=[SimpleNamespace(delta=SimpleNamespace(content=text))])


def test_an_answer_waits_for_its_event() -> None:
    calls, booked = pending()
    told, untold = {"model": "a"}, {"model": "b"}
    for details in (told, untold):
        calls.answered(details, "the answer")
    calls.told(told)
    calls.sweep(Sweep.OVERDUE)
    assert booked == []
    calls.sweep(Sweep.ANSWERED)
    calls.sweep(Sweep.ALL)
    assert booked == [(untold, "the answer")]


def test_an_event_that_comes_after_its_call_was_booked_is_no_news() -> None:
    calls, booked = pending()
    early, late, copied = ({"litellm_call_id": "the app's", "start_time": moment} for moment in range(3))
    for details in (early, late, copied):
        calls.answered(details, "the answer")
    assert calls.told(early), "it came first"
    calls.sweep(Sweep.ANSWERED)
    assert booked == [(late, "the answer"), (copied, "the answer")]
    assert not calls.told(late)
    assert not calls.told(dict(copied)), "LiteLLM tells some callbacks of a copy"
    assert calls.told({"litellm_call_id": "the app's", "start_time": 3}), "another call of the same id"


def test_what_is_told_twice_is_news_once() -> None:
    calls, _ = pending()
    record = {"litellm_call_id": "call-1", "start_time": 1}
    assert calls.told(record, failed=True)
    assert calls.told(record), "its fallback"
    assert not calls.told(record), "another thread tells of it too"
    calls.answered(record, "the answer")
    assert calls.told(record), "the app is about to get it"
    assert calls.told({"start_time": 1})
    assert calls.told({"start_time": 1}), "nobody knows which call it is"


def test_one_that_cannot_be_booked_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    booked: list[object] = []

    def book(details: Mapping[str, object], _response: object) -> None:
        if details["model"] == "odd":
            raise RuntimeError("no")
        booked.append(details["model"])

    calls = Pending(book)
    owners = [Owner(), Owner()]
    records: list[dict[str, object]] = [{"model": "odd"}, {"model": "a"}, {"model": "b", "litellm_call_id": ["b"]}]
    streams = [{"model": "odd", "completion_start_time": 1}, {"model": "c", "completion_start_time": 1}]
    for details in records:
        calls.answered(details, None)
    for owner, details in zip(owners, streams, strict=True):
        calls.watch(owner, details)
    del owner
    owners.clear()
    gc.collect()
    calls.sweep(Sweep.ALL)
    calls.sweep(Sweep.ALL)
    assert booked == ["c", "a", "b"]
    assert [record.message for record in caplog.records] == ["sdk.not_booked"] * 2
    assert not calls.told(records[2])


def test_a_stream_that_is_left_is_booked_with_what_was_seen() -> None:
    calls, booked = pending()
    owner = Owner()
    details = {"model": "a", "completion_start_time": 1}
    calls.watch(owner, details)
    calls.streamed(details, chunk("How many "))
    calls.streamed(details, chunk("beans"))
    calls.sweep(Sweep.ANSWERED)
    assert booked == [], "it may still be read"
    del owner
    gc.collect()
    calls.sweep(Sweep.OVERDUE)
    [(found, response)] = booked
    assert found is details
    assert isinstance(response, StreamSeen)
    assert response.id == "chatcmpl-1"
    assert str(response.choices[0].message) == "namespace(content='How many beans')"


def test_a_stream_that_was_told_or_never_began_is_not() -> None:
    calls, booked = pending()
    owners = [Owner(), Owner()]
    told, never = {"completion_start_time": 1}, {"completion_start_time": None}
    calls.watch(owners[0], told)
    calls.watch(owners[1], never)
    calls.told(told)
    owners.clear()
    gc.collect()
    calls.sweep(Sweep.ALL)
    assert booked == []


def test_a_stream_that_is_read_when_the_program_ends_is_booked() -> None:
    calls, booked = pending()
    owner = Owner()
    calls.watch(owner, {"completion_start_time": 1})
    calls.sweep(Sweep.ALL)
    assert len(booked) == 1
    del owner


def test_a_stream_whose_reader_nobody_knows_is_left_when_nothing_comes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, booked = pending()
    begun, waiting, told = {"completion_start_time": 1}, {"completion_start_time": None}, {"completion_start_time": 1}
    for details in (begun, waiting, told):
        calls.asked(details)
        calls.streamed(details, chunk("beans"))
    calls.told(told)
    calls.streamed(told, chunk("late"))
    for what in (Sweep.OVERDUE, Sweep.ANSWERED):
        calls.sweep(what)
    assert booked == [], "they may still be read"
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    calls.streamed(begun, chunk("more"))
    calls.sweep(Sweep.OVERDUE)
    assert booked == [], "somebody read on"
    monkeypatch.setattr(time, "monotonic", lambda: later + 301)
    calls.sweep(Sweep.OVERDUE)
    assert [details for details, _ in booked] == [begun]


def test_what_is_watched_is_seen_once() -> None:
    calls, _ = pending()
    owner, details = Owner(), {"completion_start_time": 1}
    seen = calls.watch(owner, details, reader=Reader.WATCHED)
    seen.see(chunk("beans"))
    calls.streamed(details, chunk("beans"))
    assert seen.texts == ["beans"]
