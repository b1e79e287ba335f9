"""Error envelopes out, and every shape of complaint in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.wire.openai_error import UpstreamError, error_body, read_error, redacted


def test_the_envelope() -> None:
    assert json.loads(error_body("no", "invalid_request_error", "model", "400")) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "400"}
    }
    assert error_body("é", "t", None, None) == '{"error":{"message":"é","type":"t","param":null,"code":null}}'.encode()


@pytest.mark.parametrize(
    ("raw", "message", "error_type", "code", "param"),
    [
        (
            {"error": {"message": "m", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}},
            "m",
            "invalid_request_error",
            "model_not_found",
            "model",
        ),
        ({"error": {"message": "m", "type": None, "param": None, "code": None}}, "m", None, None, None),
        ({"error": {"message": "m", "code": 429, "metadata": {}}}, "m", None, "429", None),
        (
            [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}],
            "m",
            "INVALID_ARGUMENT",
            "400",
            None,
        ),
        (
            {
                "error": {
                    "code": 400,
                    "message": "m",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"@type": "x"}, {"@type": "ErrorInfo", "reason": "API_KEY_INVALID"}],
                }
            },
            "m",
            "INVALID_ARGUMENT",
            "API_KEY_INVALID",
            None,
        ),
        ({"error": "m"}, "m", None, None, None),
        (
            {"code": "Some requested entity was not found", "error": "m"},
            "m",
            None,
            "Some requested entity was not found",
            None,
        ),
        ({"detail": "m"}, "m", None, None, None),
        ({"detail": [{"loc": ["body", "n"], "msg": "m"}, {"msg": "k", "type": "x"}]}, "m; k", None, None, None),
        (
            {"object": "error", "message": "m", "type": "NotFoundError", "param": None, "code": 404},
            "m",
            "NotFoundError",
            "404",
            None,
        ),
        (
            {"object": "error", "message": {"detail": [{"msg": "m"}]}, "type": "invalid_request_error", "code": 3001},
            '{"detail":[{"msg":"m"}]}',
            "invalid_request_error",
            "3001",
            None,
        ),
        ({"message": "m"}, "m", None, None, None),
    ],
)
def test_shapes(raw: Any, message: str, error_type: str | None, code: str | None, param: str | None) -> None:
    assert read_error(json.dumps(raw).encode()) == UpstreamError(
        message=message, type=error_type, code=code, param=param, shaped=True
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"Service Unavailable\n", UpstreamError(message="Service Unavailable")),
        (b"", UpstreamError()),
        (b"<!DOCTYPE html><html>secret</html>", UpstreamError(html=True)),
        (b"\n <html><head><title>502 Bad Gateway</title>", UpstreamError(html=True)),
        (b"{}", UpstreamError()),
        (b"[]", UpstreamError()),
        (b'"text"', UpstreamError(message="text")),
        (b"[" * 100_000, UpstreamError(message="[" * 1999 + "…")),
        (b"\xff", UpstreamError(message="\ufffd")),
    ],
)
def test_what_no_inference_server_says(raw: bytes, expected: UpstreamError) -> None:
    assert read_error(raw) == expected


@given(raw=st.binary(max_size=80) | st.text('{}[]":,error1 ', max_size=60).map(str.encode))
def test_reading_an_error_never_fails(raw: bytes) -> None:
    error = read_error(raw)
    assert len(error.message) <= 2000


@pytest.mark.parametrize(
    ("code", "status"), [("429", 429), ("502", 502), ("3001", None), ("200", None), ("x", None), (None, None)]
)
def test_the_status_in_a_code(code: str | None, status: int | None) -> None:
    assert UpstreamError(code=code).status == status


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ("Incorrect API key provided: sk-proj-abcdef123456.", "abcdef"),
        ("Incorrect API key provided: sk-pr**********3456. You can find", "3456"),
        ("Invalid key gsk_abcdefghijk", "abcdefghijk"),
        ("header Authorization: Bearer eyJhbGciOi.abc", "eyJ"),
        ("API key AIzaSyA1234567890 not valid", "1234567890"),
        ("cannot connect to http://10.0.0.5:8000/v1/chat?key=1", "10.0.0.5"),
        ("upstream 10.1.2.3:8000 refused", "10.1.2.3"),
        ("host vllm-0.llm.svc.cluster.local:8000 unreachable", "vllm-0"),
        ("see https://platform.openai.com/docs", "platform"),
        ("boom Traceback (most recent call last): File x.py", "x.py"),
        ("connect to localhost:11434 failed", "11434"),
    ],
)
def test_clients_see_no_credentials_addresses_or_tracebacks(message: str, gone: str) -> None:
    assert gone not in redacted(message)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "Invalid value for 'temperature': expected at most 2.0, got 5.",
        "The model `gpt-9` does not exist (v1.2.3).",
        "Rate limit reached for gpt-4o in organization on tokens per min (TPM): Limit 30000, Used 29000",
    ],
)
def test_ordinary_messages_stay(message: str) -> None:
    assert redacted(message) == message
