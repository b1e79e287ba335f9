"""Lines of the log: one an event, for people or for machines, whatever others put into it."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from bursar.telemetry.logs import configure_logs

log = logging.getLogger("bursar.somewhere")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """The logger is the process's: other tests want it as they know it."""
    logger = logging.getLogger("bursar")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == "", "standard output belongs to commands"
    return captured.err.split("\n")[:-1]


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    log.warning("attempt.failed call_id=%s status=%d", "c-1", 500)
    [line] = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING  attempt\.failed call_id=c-1 status=500", line)


def test_a_line_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(as_json=True)
    log.error('said="%s"', "ünï\n☃")
    [line] = lines(capsys)
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {"level": "error", "logger": "bursar.somewhere", "message": 'said="ünï\n☃"'}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "said", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "a\x9bb", "a\u2028b", "a\x85b", "a\x0bb\x0cc", "\ud800"]
)
def test_what_others_say_stays_on_its_line(capsys: pytest.CaptureFixture[str], said: str, as_json: bool) -> None:
    """And tells no terminal what to do."""
    configure_logs(as_json=as_json)
    log.warning("upstream.said %s", said)
    [line] = lines(capsys)
    assert "upstream.said" in line
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\ud800]", line)
    if as_json:
        assert json.loads(line)["message"] == f"upstream.said {said}"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("", ["warning", "error"]),
        ("nonsense", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, shown: list[str]) -> None:
    configure_logs(level=level, as_json=True)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    assert [json.loads(line)["level"] for line in lines(capsys)] == shown


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failure_shows_where(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logs(as_json=as_json)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        log.exception("task.failed")
    shown = lines(capsys)
    if as_json:
        [line] = shown
        assert "ValueError: what went wrong" in json.loads(line)["exception"]
    else:
        assert shown[0].endswith("ERROR    task.failed")
        assert shown[-1] == "ValueError: what went wrong"


def test_configured_twice_speaks_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    configure_logs()
    log.warning("x")
    assert len(lines(capsys)) == 1
