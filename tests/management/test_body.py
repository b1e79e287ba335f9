"""Bodies and queries of the management API."""

from typing import Annotated

import msgspec
import pytest

from bursar.domain.errors import InvalidRequest, Unprocessable
from bursar.management.body import decode_body, query_value, unprocessable
from bursar.wire.http import Request


class Part(msgspec.Struct):
    """A part of a body."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0


class Body(msgspec.Struct):
    """A body."""

    name: str | None = None
    parts: list[Part] = []
    by_name: dict[str, Part] = {}


def request(body: bytes = b"", query: str = "") -> Request:
    return Request(
        method="POST", path="/x", query=query, headers=[], fields={}, body=body, client_host="", received_s=0.0
    )


def test_a_body() -> None:
    assert decode_body(request(b'{"name":"n","parts":[{"count":2}],"unknown":[1]}'), Body) == Body("n", [Part(2)])
    assert decode_body(request(b""), Body) == Body()


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b"[]", ["body"]),
        (b'{"name":7}', ["body", "name"]),
        (b'{"parts":[{},{"count":"x"}]}', ["body", "parts", 1, "count"]),
        (b'{"parts":[{"count":-1}]}', ["body", "parts", 0, "count"]),
        (b'{"by_name":{"a.b":{"count":"x"}}}', ["body", "by_name", "...", "count"]),
    ],
)
def test_fields_that_do_not_fit(body: bytes, location: list[str | int]) -> None:
    with pytest.raises(Unprocessable) as caught:
        decode_body(request(body), Body)
    [detail] = caught.value.details
    assert detail["loc"] == location
    assert detail["msg"] == caught.value.message
    assert " - at" not in caught.value.message


@pytest.mark.parametrize(
    "body", [b"{", b"x", b"\xff", b'{"name":"\xff"}', b'{"x":' * 3000, b'{"name":"\\ud800"}', b"{} {}"]
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="Invalid JSON payload") as caught:
        decode_body(request(body), Body)
    assert caught.value.param == "request_body"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("other=1", None),
        ("key=", ""),
        ("key=a", "a"),
        ("key=a%20b+c", "a b c"),
        ("key=a&key=b", "b"),
        ("key=%ff", "\ufffd"),
        ("&&key=a&=", "a"),
    ],
)
def test_queries(query: str, value: str | None) -> None:
    assert query_value(request(query=query), "key") == value


def test_an_error_of_ones_own() -> None:
    error = unprocessable("too large", ["query", "size"])
    assert error.details == [{"type": "value_error", "loc": ["query", "size"], "msg": "too large", "input": None}]
