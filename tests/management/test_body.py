"""Bodies and queries of the management API."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
import pytest

from bursar.domain.errors import InvalidRequest, TooLarge, Unprocessable
from bursar.management.body import (
    BODY_MAX_BYTES,
    DEPTH_MAX,
    LIST_MAX,
    Decoded,
    decode_body,
    decode_query,
    unprocessable,
)
from bursar.wire.http import Request


class Part(msgspec.Struct):
    """A part of a body."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0


class Body(msgspec.Struct):
    """A body."""

    name: str | None = None
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    deep: list[dict[str, dict[str, int]]] = []


def request(body: bytes = b"", query: str = "") -> Request:
    return Request(
        method="POST", path="/x", query=query, headers=[], fields={}, body=body, client_host="", received_s=0.0
    )


def test_a_body() -> None:
    assert decode_body(request(b'{"name":"n","parts":[{"count":2}],"unknown":[1]}'), Body) == Decoded(
        Body("n", [Part(2)]), ("unknown",)
    )
    assert decode_body(request(b""), Body) == Decoded(Body())


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (b"[]", ["body"]),
        (b'{"name":7}', ["body", "name"]),
        (b'{"parts":[{},{"count":"x"}]}', ["body", "parts", 1, "count"]),
        (b'{"parts":[{"count":-1}]}', ["body", "parts", 0, "count"]),
        (b'{"by_name":{"a.b":{"count":"x"}}}', ["body", "by_name", "a.b", "count"]),
        (b'{"by_name":{"a":{},"...":{"count":"x"},"b":{}}}', ["body", "by_name", "...", "count"]),
        (b'{"by_name":{"a":{},"b":{},"c":{"count":-1},"d":{}}}', ["body", "by_name", "c", "count"]),
        (b'{"by_name":{"a":{},"sk-canary-0123456789":{"count":-1}}}', ["body", "by_name", "•••", "count"]),
        (b'{"by_name":{"a":7}}', ["body", "by_name", "a"]),
        (b'{"deep":[{"x":{"y":1}},{"x":{"y":1,"z":"-"}}]}', ["body", "deep", 1, "x", "z"]),
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


class Query(msgspec.Struct):
    """A query."""

    key: str | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    full: bool = False
    ids: list[str] | None = None
    order: Literal["asc", "desc"] = "asc"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Query()),
        ("other=1", Query()),
        ("key=", Query(key="")),
        ("key=a%20b+c", Query(key="a b c")),
        ("key=a&key=b", Query(key="b")),
        ("key=%ff", Query(key="\ufffd")),
        ("&&key=a&=", Query(key="a")),
        ("page=7&full=true&order=desc", Query(page=7, full=True, order="desc")),
        ("full=False", Query(full=False)),
        ("ids=a,b&ids=c%2Fd", Query(ids=["a", "b", "c/d"])),
        ("ids=", Query(ids=[])),
    ],
)
def test_queries(query: str, expected: Query) -> None:
    assert decode_query(request(query=query), Query).value == expected


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=", "page=1.5", "full=maybe", "order=up", "page=9%00"])
def test_queries_that_do_not_fit(query: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        decode_query(request(query=query), Query)
    [detail] = caught.value.details
    assert detail.keys() == {"type", "loc", "msg", "input"}
    assert detail["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.parametrize(
    ("query", "param"), [("key=a%00", "key"), ("ids=a,%00b", "ids"), ("sk-canary-0123=%00", "•••")]
)
def test_texts_that_nothing_can_be(query: str, param: str) -> None:
    with pytest.raises(InvalidRequest, match="holds a NUL") as caught:
        decode_query(request(query=query), Query)
    assert caught.value.param == param


class Named(msgspec.Struct):
    """A body with a field that has to be there."""

    name: str
    kind: Literal["a", "b"] = "a"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Unprocessable) as caught:
        decode_body(request(b"{}"), Named)
    assert caught.value.details == [
        {"type": "missing", "loc": ["body", "name"], "msg": "Field required", "input": None}
    ]


def test_errors_do_not_repeat_what_was_sent() -> None:
    with pytest.raises(Unprocessable) as caught:
        decode_body(request(b'{"name":"n","kind":"a-secret"}'), Named)
    assert "a-secret" not in str(caught.value.details)


class Lists(msgspec.Struct):
    """Lists at two depths."""

    names: list[str] = []
    anything: dict[str, object] = {}


@pytest.mark.parametrize(("field", "loc"), [("names", ["names"]), ("anything", ["anything", "deep"])])
def test_lists_have_an_end(field: str, loc: list[str]) -> None:
    def body(size: int) -> bytes:
        names = ["n"] * size
        return msgspec.json.encode({field: names if field == "names" else {"deep": names}})

    decode_body(request(body(LIST_MAX)), Lists)
    with pytest.raises(Unprocessable, match="at most 10000 items, not 10001") as caught:
        decode_body(request(body(LIST_MAX + 1)), Lists)
    assert caught.value.details[0]["loc"] == ["body", *loc]


def test_size_has_an_end() -> None:
    decode_body(request(b" " * (BODY_MAX_BYTES - 2) + b"{}"), Lists)
    with pytest.raises(TooLarge, match="4194304 bytes"):
        decode_body(request(b" " * BODY_MAX_BYTES + b"{}"), Lists)


def test_depth_has_an_end() -> None:
    def body(depth: int) -> bytes:
        return b'{"anything":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"

    decode_body(request(body(DEPTH_MAX - 2)), Lists)
    for depth in (DEPTH_MAX, 200, 450, 900, 990, 5000):
        with pytest.raises(InvalidRequest, match="Invalid JSON payload"):
            decode_body(request(body(depth)), Lists)


def test_forms() -> None:
    form = request(b"name=n+m&kind=b")
    form.fields[b"content-type"] = b"application/x-www-form-urlencoded; charset=utf-8"
    assert decode_body(form, Named, form=True).value == Named("n m", "b")
    with pytest.raises(InvalidRequest):
        decode_body(form, Named)


def test_an_error_of_ones_own() -> None:
    error = unprocessable("too large", ["query", "size"])
    assert error.details == [{"type": "value_error", "loc": ["query", "size"], "msg": "too large", "input": None}]


class Limited(msgspec.Struct):
    """Fields that clients write numbers and truths into."""

    rpm_limit: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | msgspec.UnsetType | None = msgspec.UNSET
    max_budget: float | msgspec.UnsetType | None = msgspec.UNSET
    blocked: bool | msgspec.UnsetType | None = msgspec.UNSET
    key_alias: str | msgspec.UnsetType | None = msgspec.UNSET
    updated_at: datetime | None = None
    per_model: dict[str, int] = {}
    metadata: dict[str, object] | None = None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"rpm_limit":"10"}', Limited(rpm_limit=10)),
        ('{"rpm_limit":10.0}', Limited(rpm_limit=10)),
        ('{"rpm_limit":"0"}', Limited(rpm_limit=0)),
        ('{"max_budget":"10"}', Limited(max_budget=10.0)),
        ('{"max_budget":"0.5"}', Limited(max_budget=0.5)),
        ('{"max_budget":5}', Limited(max_budget=5.0)),
        ('{"blocked":"true"}', Limited(blocked=True)),
        ('{"blocked":"False"}', Limited(blocked=False)),
        ('{"blocked":1}', Limited(blocked=True)),
        ('{"blocked":0}', Limited(blocked=False)),
        ('{"key_alias":"10"}', Limited(key_alias="10")),
        ('{"key_alias":"null"}', Limited(key_alias="null")),
        ('{"per_model":{"m":"5"}}', Limited(per_model={"m": 5})),
        ('{"metadata":{"a":"5","b":"true","c":"null"}}', Limited(metadata={"a": "5", "b": "true", "c": "null"})),
    ],
)
def test_numbers_and_truths_in_text(body: str, expected: Limited) -> None:
    decoded = decode_body(request(body.encode()), Limited).value
    assert decoded == expected
    assert type(decoded.max_budget) is type(expected.max_budget)


@pytest.mark.parametrize(
    "body",
    [
        *('{"rpm_limit":"-1"}', '{"rpm_limit":-1}', '{"rpm_limit":"1.5"}', '{"rpm_limit":1.5}', '{"rpm_limit":"x"}'),
        *('{"rpm_limit":""}', '{"rpm_limit":" 5"}', '{"rpm_limit":true}', '{"rpm_limit":"null"}'),
        *('{"rpm_limit":"99999999999999999999"}', '{"max_budget":"nan"}', '{"max_budget":"inf"}'),
        *('{"max_budget":"-Infinity"}', '{"max_budget":"null"}', '{"max_budget":""}', '{"max_budget":false}'),
        *('{"blocked":"maybe"}', '{"blocked":2}', '{"blocked":"null"}', '{"blocked":""}'),
        *('{"key_alias":10}', '{"key_alias":true}', '{"updated_at":5}', '{"updated_at":"5"}', '{"updated_at":"null"}'),
        *('{"per_model":{"m":"x"}}', '{"metadata":"null"}'),
    ],
)
def test_what_is_no_number_and_no_truth(body: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        decode_body(request(body.encode()), Limited)
    [detail] = caught.value.details
    assert str(detail["loc"]).startswith(f"['body', '{body.split(chr(34))[1]}'")


class Member(msgspec.Struct):
    """Somebody."""

    user_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    note: str | None = None


class Naming(msgspec.Struct):
    """Fields that name something."""

    team_id: Annotated[str, msgspec.Meta(min_length=1)] | None = "default"
    key_alias: Annotated[str, msgspec.Meta(description="Unique.")] | msgspec.UnsetType | None = msgspec.UNSET
    user_email: str | msgspec.UnsetType | None = msgspec.UNSET
    status: Literal["a", "b"] | None = None
    note: str | None = None
    member: Member | list[Member] | None = None
    metadata: dict[str, object] | None = None


def test_an_empty_text_is_no_name() -> None:
    """As null is none."""
    body = b'{"team_id":"","key_alias":"","user_email":"","status":"","note":"","metadata":{"job_id":""}}'
    expected = Naming(team_id=None, key_alias=None, user_email=None, note="", metadata={"job_id": ""})
    assert decode_body(request(body), Naming).value == expected
    for member in (b'{"user_id":"","note":""}', b'[{"user_id":"","note":""}]'):
        found = decode_body(request(b'{"member":' + member + b"}"), Naming).value.member
        assert found in (Member(None, ""), [Member(None, "")])
    query = decode_query(request(query="team_id=&status=&note="), Naming).value
    assert query == Naming(team_id=None, note="")


class Needed(msgspec.Struct):
    """A body that has to name something."""

    team_id: Annotated[str, msgspec.Meta(min_length=1)]


def test_a_name_that_has_to_be_there_cannot_be_empty() -> None:
    with pytest.raises(Unprocessable):
        decode_body(request(b'{"team_id":""}'), Needed)
