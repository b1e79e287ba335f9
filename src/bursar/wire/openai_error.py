"""Errors in OpenAI's dialect: the envelope we answer with, and what upstreams send in its place.

Servers that call themselves compatible answer with at least six shapes: OpenAI's `{"error": {...}}`, the same in a
list (Google), `{"error": "text"}` with `code` beside it (xAI, Ollama), `{"detail": …}` (FastAPI), `{"object": "error",
"message": …}` (vLLM, Mistral), and plain text or HTML from whatever stands in front of them.
"""

import json
import re
from collections.abc import Mapping

import msgspec

_MESSAGE_MAX_CHARS = 2000
_HTML = re.compile(rb"\s*(?:<!doctype|<html|<head|<body|<\?xml|<title|<h1)", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


class UpstreamError(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream said went wrong."""

    message: str = ""
    """For the log. Not for clients as it is: see `redacted`."""
    type: str | None = None
    code: str | None = None
    """Always text: providers send numbers too."""
    param: str | None = None
    shaped: bool = False
    """It came in a JSON shape that inference servers use, so the provider itself is speaking."""
    html: bool = False
    """A web page: something in front of the provider is speaking."""

    @property
    def status(self) -> int | None:
        """The HTTP status that some providers repeat as `code`, the only one there is inside a 200 or a stream."""
        code = self.code
        return int(code) if code is not None and len(code) == 3 and code.isdigit() and code[0] in "45" else None


def error_body(
    message: str,
    error_type: str,
    param: str | None,
    code: str | None,
    *,
    provider_fields: Mapping[str, str] | None = None,
) -> bytes:
    """OpenAI's error envelope. `code` is text or null, never a number: typed clients depend on it.

    `provider_fields`: the provider's own words for what went wrong, where `type` and `code` are the gateway's.
    """
    error: dict[str, object] = {"message": message, "type": error_type, "param": param, "code": code}
    if provider_fields:
        error["provider_specific_fields"] = provider_fields
    return _encode({"error": error})


def read_error(body: bytes) -> UpstreamError:
    """Make out an upstream's complaint, whatever its shape. Never fails; the less is understood, the less is filled."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        html = _HTML.match(body) is not None
        return UpstreamError(message="" if html else _bounded(body.decode("utf-8", "replace").strip()), html=html)
    if isinstance(decoded, list) and decoded:
        decoded = decoded[0]
    if not isinstance(decoded, dict):
        return UpstreamError(message=_bounded(decoded) if isinstance(decoded, str) else "")
    inner = decoded.get("error")
    if isinstance(inner, dict):
        return UpstreamError(
            message=_text_of(inner.get("message")),
            type=_word(inner.get("type")) or _word(inner.get("status")),
            code=_reason(inner.get("details")) or _word(inner.get("code")),
            param=_word(inner.get("param")),
            shaped=True,
        )
    for name in ("error", "detail", "message"):
        if decoded.get(name):
            return UpstreamError(
                message=_text_of(decoded[name]),
                type=_word(decoded.get("type")),
                code=_word(decoded.get("code")),
                param=_word(decoded.get("param")),
                shaped=True,
            )
    return UpstreamError()


_SECRETS = re.compile(
    r"(?:sk|pk|rk|gsk|xai|key|r8|hf|nvapi|fw|pplx|csk|tgp)[-_][A-Za-z0-9_*.…-]{6,}"  # keys, also half masked ones
    r"|\b(?:Bearer|Basic)\s+\S+"
    r"|\bAIza[A-Za-z0-9_*-]{6,}|\bAKIA[A-Z0-9*]{6,}|\beyJ[A-Za-z0-9_.-]{10,}"
    r"|\b[A-Za-z0-9]{3,8}\*{3,}[A-Za-z0-9]*",
    re.IGNORECASE,
)
_PLACES = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]]+"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"
    r"|\[[0-9a-f:]+:[0-9a-f:]*\](?::\d+)?"
    r"|\blocalhost(?::\d+)?\b"
    r"|\b(?:[a-z0-9-]+\.)+(?:internal|local|svc|cluster|lan|corp)(?:\.[a-z]+)*(?::\d+)?\b",
    re.IGNORECASE,
)


def redacted(message: str) -> str:
    """`message` fit for a client: without credentials, addresses and tracebacks, which belong into the log."""
    message = message.split("Traceback (most recent call last)", 1)[0]
    message = _SECRETS.sub("[redacted]", message)
    return _bounded(_PLACES.sub("[address]", message).strip())


def _bounded(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair can be read from JSON, not written
    return text if len(text) <= _MESSAGE_MAX_CHARS else text[: _MESSAGE_MAX_CHARS - 1] + "…"


def _word(value: object) -> str | None:
    """A short identifier: text, or a number as text; anything else is not one."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    return text if 0 < len(text) <= 200 and text.isprintable() else None


def _text_of(value: object) -> str:
    """A message from text, from pydantic's list of complaints, or from whatever else stands there."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _bounded(value)
    if isinstance(value, list):
        parts = [item.get("msg") or item.get("message") for item in value if isinstance(item, dict)]
        if parts:
            return _bounded("; ".join(str(part) for part in parts))
    return _bounded(_encode(value).decode("utf-8", "replace"))


def _reason(details: object) -> str | None:
    """Google's machine-readable reason (`google.rpc.ErrorInfo`), which is finer than its status."""
    if isinstance(details, list):
        for item in details:
            if isinstance(item, dict) and isinstance(item.get("reason"), str):
                return _word(item["reason"])
    return None
