"""Request bodies and queries of the management API: typed, with errors in the form its clients parse.

Values are taken as LiteLLM takes them: numbers, true and false may stand in text, 10.0 is a whole number, and an empty
text is no id and no alias. Errors do not repeat what was sent: it may be a secret that stands in the wrong place.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import isfinite
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec

from bursar.domain.errors import InvalidRequest, TooLarge, Unprocessable
from bursar.domain.masking import masked
from bursar.domain.misspellings import UNKNOWN_MAX, meant
from bursar.wire.http import Request

LIST_MAX = 10_000
"""Elements of any list in a body or a query."""
DEPTH_MAX = 100
"""Of what stands within what in a body: whoever looks at it later may go down by calling himself."""
BODY_MAX_BYTES = 4 * 1024 * 1024
"""Decoding more would hold up the calls that the same process serves."""

T = TypeVar("T")
_CONTAINERS = (list, tuple, dict, msgspec.Struct)
_AT = re.compile(r"^(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_ENTRY = "..."
"""How msgspec calls any entry of an object whose members have no names of their own."""
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_NAMING = re.compile(r"(?:.*_)?(?:id|alias|email)")
"""Fields whose value names something."""
_FORM = b"application/x-www-form-urlencoded"


@dataclass(slots=True, frozen=True)
class Decoded(Generic[T]):
    """What came, and what of it nobody looks at."""

    value: T
    passed_over: tuple[str, ...] = ()
    """Names of fields that `value` has no place for."""


def decode_body(request: Request, kind: type[T], *, form: bool = False) -> Decoded[T]:
    """The body as `kind`; an empty one counts as `{}`. `form`: it may come as a form as well.

    Raises InvalidRequest: not JSON; Unprocessable: JSON whose fields do not fit, or are misspelt; TooLarge.
    """
    if len(request.body) > BODY_MAX_BYTES:
        raise TooLarge(f"A body may have at most {BODY_MAX_BYTES} bytes here, not {len(request.body)}.")
    if form and (request.header(b"content-type") or b"").lower().startswith(_FORM):
        return _decode_pairs(request.body.decode("utf-8", "replace"), kind, "body")
    sent: object = None
    try:
        sent = _without_blanks(msgspec.json.decode(request.body or b"{}"), kind)
        body = msgspec.convert(sent, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _field_error(error, "body", sent, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"Invalid JSON payload: {error}", param="request_body") from error
    _check_size(body, "body")
    return Decoded(body, _passed_over(sent, body, "body"))


def decode_query(request: Request, kind: type[T]) -> Decoded[T]:
    """The query as `kind`. Of a parameter that comes twice the last counts; a list takes all, and parts at commas.

    Raises Unprocessable; InvalidRequest: a text that nothing in the database can be.
    """
    return _decode_pairs(request.query, kind, "query")


def unprocessable(message: str, location: list[str | int], *, error_type: str = "value_error") -> Unprocessable:
    """A field error as FastAPI words it, which is what scripts written for LiteLLM look into."""
    named = [masked(step) for step in location]  # names of entries are what somebody wrote
    return Unprocessable(message, details=[{"type": error_type, "loc": named, "msg": message, "input": None}])


def _decode_pairs(text: str, kind: type[T], source: str) -> Decoded[T]:
    """`text`, as queries and forms are written, as `kind`."""
    lists = _list_fields(kind)
    given: dict[str, object] = {}
    several: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in lists:
            several.setdefault(name, []).extend(part for part in value.split(",") if part)
        else:
            given[name] = value
    sent = _without_blanks(given | several, kind)
    try:
        decoded = msgspec.convert(sent, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _field_error(error, source, sent, kind) from error
    for name, texts in (given | several).items():
        if any("\x00" in str(one) for one in (texts if isinstance(texts, list) else [texts])):
            raise InvalidRequest(f"{masked(name)}: no text in the database holds a NUL.", param=str(masked(name)))
    _check_size(decoded, source)
    return Decoded(decoded, _passed_over(sent, decoded, source))


@cache
def _type_info(kind: type) -> msgspec.inspect.Type:
    """Made once for each kind: it takes longer than all else about a body."""
    return msgspec.inspect.type_info(kind)


def _list_fields(kind: type) -> frozenset[str]:
    """The fields of a Struct that take a list."""
    info = _type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType), "queries and forms are Structs"
    return frozenset(field.encode_name for field in info.fields if _takes_list(field.type))


def _takes_list(kind: msgspec.inspect.Type) -> bool:
    lists = msgspec.inspect.ListType | msgspec.inspect.VarTupleType
    return any(isinstance(one, lists) for one in _alternatives(kind))


def _alternatives(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """What a value may be, without what is only said about it."""
    if isinstance(kind, msgspec.inspect.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for one in kind.types:
            yield from _alternatives(one)
    else:
        yield kind


@dataclass(slots=True, frozen=True)
class _Blanks:
    """Where in what is to become a kind an empty text stands for null."""

    fields: Mapping[str, tuple[bool, "_Blanks | None"]] | None = None
    """Of a Struct: whether the field is such a place, and the places inside it."""
    items: "_Blanks | None" = None
    """Of a list."""


@cache
def _blanks(kind: type) -> _Blanks | None:
    """Made once for each kind, as bodies may have thousands of items."""
    return _blanks_of(_type_info(kind))


def _blanks_of(kind: msgspec.inspect.Type) -> _Blanks | None:
    fields, items = None, None
    for one in _alternatives(kind):
        if isinstance(one, msgspec.inspect.StructType):
            fields = {field.encode_name: (_may_be_blank(field), _blanks_of(field.type)) for field in one.fields}
        elif isinstance(one, msgspec.inspect.ListType):
            items = _blanks_of(one.item_type)
    return None if fields is None and items is None else _Blanks(fields, items)


def _without_blanks(sent: object, kind: type) -> object:
    """`sent`, which is to become `kind`, with null for each empty text that stands where a name or a choice may be
    left out."""
    blanks = _blanks(kind)
    return sent if blanks is None else _without(blanks, sent)


def _without(blanks: _Blanks, sent: object) -> object:
    if isinstance(sent, dict) and blanks.fields is not None:
        found: dict[object, object] = {}
        for name, value in sent.items():
            may_be_blank, inside = blanks.fields.get(name, (False, None))
            if may_be_blank and value == "":
                found[name] = None
            else:
                found[name] = value if inside is None else _without(inside, value)
        return found
    if isinstance(sent, list) and blanks.items is not None:
        return [_without(blanks.items, item) for item in sent]
    return sent


def _may_be_blank(field: msgspec.inspect.Field) -> bool:
    kinds = {type(one) for one in _alternatives(field.type)}
    names = _NAMING.fullmatch(field.encode_name) is not None and msgspec.inspect.StrType in kinds
    return msgspec.inspect.NoneType in kinds and (names or msgspec.inspect.LiteralType in kinds)


def _field_error(error: msgspec.ValidationError, source: str, sent: object, kind: type) -> Unprocessable:
    message, path = _told(error)
    location = [source, *_named(path, sent, kind)]
    if (missing := _MISSING.fullmatch(message)) is not None:
        return unprocessable("Field required", [*location, missing[1]], error_type="missing")
    if message.startswith("Invalid enum value"):
        message = "Input is not one of the values that are allowed here"
    return unprocessable(message, location)


def _told(error: msgspec.ValidationError) -> tuple[str, list[str | int]]:
    """What is wrong, and where."""
    match = _AT.match(str(error))
    assert match is not None, "the pattern fits any text"
    return match["text"], _location(match["path"] or "")


def _named(path: list[str | int], sent: object, kind: type) -> list[str | int]:
    """`path` with the names of entries, which msgspec does not tell: what is left of the entries that still fails."""
    found = list(path)
    for at, step in enumerate(path):
        entries = _inside(sent, found[:at])
        if step != _ENTRY or not isinstance(entries, dict):
            continue
        names = list(entries)
        while len(names) > 1:
            half = names[: len(names) // 2]
            fails = _fails(_replaced(sent, found[:at], {name: entries[name] for name in half}), kind)
            names = half if fails == path else names[len(half) :]
        sent = _replaced(sent, found[:at], {name: entries[name] for name in names})
        found[at : at + 1] = names
    return found


def _fails(sent: object, kind: type) -> list[str | int] | None:
    try:
        msgspec.convert(sent, kind, strict=False)
    except msgspec.ValidationError as error:
        return _told(error)[1]
    return None


def _inside(value: object, path: Sequence[str | int]) -> object:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _replaced(value: object, path: Sequence[str | int], new: object) -> object:
    """`value` with something else at `path`, which is in it."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        return value | {step: _replaced(value[step], rest, new)}
    assert isinstance(value, list), "there are no other containers in JSON"
    assert isinstance(step, int)
    return [*value[:step], _replaced(value[step], rest, new), *value[step + 1 :]]


def _check_size(decoded: object, source: str) -> None:
    """Of what stands at whatever depth. Raises Unprocessable: too long a list; InvalidRequest: too deep."""
    left: list[tuple[object, tuple[str | int, ...]]] = [(decoded, (source,))]
    while left:
        value, at = left.pop()
        if len(at) > DEPTH_MAX:
            raise InvalidRequest("Invalid JSON payload: nested too deeply.", param="request_body")
        inside: Iterable[tuple[object, str | int]]
        if isinstance(value, list | tuple):
            if len(value) > LIST_MAX:
                message = f"List should have at most {LIST_MAX} items, not {len(value)}"
                raise unprocessable(message, list(at), error_type="too_long")
            inside = ((item, index) for index, item in enumerate(value))
        elif isinstance(value, dict):
            inside = ((item, str(name)) for name, item in value.items())
        else:
            inside = ((getattr(value, name), name) for name in getattr(value, "__struct_fields__", ()))
        left.extend((item, (*at, step)) for item, step in inside if isinstance(item, _CONTAINERS))


def _passed_over(sent: object, decoded: object, source: str) -> tuple[str, ...]:
    """The fields of `sent` that `decoded`, which was made of it, has no place for, at whatever depth.

    Raises Unprocessable: one of them is a known one, misspelt; a value has become something that it did not say.
    """
    found: dict[tuple[type, str], None] = {}
    left: list[tuple[object, object, tuple[str | int, ...]]] = [(sent, decoded, (source,))]
    while left:
        raw, value, at = left.pop()
        if isinstance(raw, list) and isinstance(value, list | tuple):
            left.extend((*pair, (*at, index)) for index, pair in enumerate(zip(raw, value, strict=True)))
        elif isinstance(raw, dict) and isinstance(value, dict):
            left.extend((inside, value[name], (*at, name)) for name, inside in raw.items() if name in value)
        elif isinstance(raw, dict) and isinstance(value, msgspec.Struct):
            fields = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
            for name, inside in raw.items():
                if name in fields:
                    left.append((inside, getattr(value, fields[name]), (*at, name)))
                elif (type(value), name) not in found and len(found) < UNKNOWN_MAX:
                    if (field := meant(name, fields)) is not None:
                        message = f"Extra inputs are not permitted: did you mean {field}?"
                        raise unprocessable(message, [*at, name], error_type="extra_forbidden")
                    found[type(value), name] = None
        else:
            _check_taken(raw, value, at)
    return tuple(dict.fromkeys(name for _, name in found))


def _check_taken(raw: object, value: object, at: tuple[str | int, ...]) -> None:
    """Raises Unprocessable: `raw` has become a number that is none, nothing, or a moment, without saying so."""
    if isinstance(value, float) and not isfinite(value):
        raise unprocessable("Input should be a finite number", list(at), error_type="finite_number")
    if raw is not None and value is None:
        raise unprocessable("Input should be null, not text that says so", list(at))
    if isinstance(value, datetime) and ":" not in str(raw):
        raise unprocessable("Input should be a date with a time", list(at))


def _location(path: str) -> list[str | int]:
    return [name or (int(index) if index.isdigit() else index) for name, index in _STEP.findall(path)]
