"""Logs: one line an event, a constant name first, then its facts. As text for people, or as JSON for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

_UNFIT = (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
"""Commands to a terminal, line ends, halves of characters, which no stream takes: JSON leaves them as they are."""
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *_UNFIT)}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _UNFIT}
_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}


def configure_logs(*, level: str = "", as_json: bool = False) -> None:
    """Send our logs to standard error. `level`: DEBUG, INFO, WARNING (the default) or ERROR."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter())
    logger = logging.getLogger("bursar")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(_LEVELS.get(level.upper(), logging.WARNING))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<8} {_one_line(record.getMessage())}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info is not None:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False).translate(_JSON_ESCAPES)


def _one_line(message: str) -> str:
    """What others said may hold line ends, which must not look like lines of ours, and commands to a terminal."""
    return message.translate(_CONTROLS)
