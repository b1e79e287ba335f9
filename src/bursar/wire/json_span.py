"""Where a member stands in a JSON object, found without decoding the object.

What a gateway changes in a body is one value (`model`, `usage`); everything else must stay byte for byte. So the place
of the value is looked up and the bytes around it are kept.

The scanner steps from top-level member to top-level member with one regular expression each, and over nested values
bracket by bracket. It expects JSON (RFC 8259) and validates no more than it needs: on anything else it finds nothing,
or what stands where a member would. Of a repeated name the first is found.
"""

import functools
import json
import re
from typing import NamedTuple

_STRING = rb'"[^"\\]*+(?:(?>\\.[^"\\]*+))*+"'
_FLAT = rb'[^"\[\]{}]*+(?:(?>' + _STRING + rb'[^"\[\]{}]*+))*+'
"""Anything without brackets outside strings. All repeats here are possessive: JSON never needs a second try.

What is repeated stands in an atomic group: where it fails half-way, CPython before 3.11.5 goes on from there otherwise.
"""

_WS = rb"[ \t\r\n]*+"
_SCALAR = _STRING + rb"|[-+.0-9A-Za-z]++"
_PLAIN_STRING = rb'"[^"\\]*+"'

_OPEN = re.compile(_WS + rb"\{")
_MEMBER = re.compile(
    _WS + rb"(" + _STRING + rb")" + _WS + rb":" + _WS + rb"(?:(" + _SCALAR + rb")" + _WS + rb"(,)?)?", re.DOTALL
)
"""A name; behind it the value and a comma, where the value is neither an object nor an array."""

_RUN = re.compile(_FLAT + rb"(?:(?>(?:\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])" + _FLAT + rb"))*+", re.DOTALL)
"""As far as one gets without entering a container that holds another."""

_COMMA = re.compile(_WS + rb",")
_BRACKETS = {0x7B: 1, 0x5B: 1, 0x7D: -1, 0x5D: -1}


class Member(NamedTuple):
    """Indices of one top-level member: of its name's first quote, and of its value from first to behind the last."""

    name_start: int
    value_start: int
    value_end: int


def member_span(body: bytes, name: bytes, start: int = 0) -> tuple[int, int] | None:
    """The value of member `name` of the object at `start`, as a half-open range; None where there is none.

    `name` is in UTF-8; names in `body` may be written with escapes.
    """
    member = find_member(body, name, start)
    return None if member is None else (member.value_start, member.value_end)


def find_member(body: bytes, name: bytes, start: int = 0) -> Member | None:
    """Like `member_span`, with the place of the name."""
    early = _early(name).match(body, start)
    if early is not None:
        return Member(early.start(1), early.start(2), early.end(2))
    opening = _OPEN.match(body, start)
    if opening is None:
        return None
    quoted = b'"' + name + b'"'
    position = opening.end()
    while (found := _MEMBER.match(body, position)) is not None:
        value_start, value_end = found.span(2)
        is_scalar = value_end >= 0
        if not is_scalar:
            value_start = found.end()
            value_end = _end_of_container(body, value_start)
            if value_end < 0:
                return None
        key = found[1]
        if key == quoted or (b"\\" in key and _unescaped(key) == name):
            return Member(found.start(1), value_start, value_end)
        position = found.end(3) if is_scalar else _after_comma(body, value_end)
        if position < 0:
            return None
    return None


def removal_span(body: bytes, member: Member) -> tuple[int, int]:
    """What to cut out so that `member` and one comma beside it disappear."""
    before = member.name_start - 1
    while body[before] in b" \t\r\n":
        before -= 1
    if body[before] == 0x2C:
        return before, member.value_end
    after = _after_comma(body, member.value_end)
    return member.name_start, after if after > 0 else member.value_end


def _after_comma(body: bytes, position: int) -> int:
    """Index behind the comma that comes next; -1 if something else does."""
    comma = _COMMA.match(body, position)
    return -1 if comma is None else comma.end()


@functools.cache
def _early(name: bytes) -> re.Pattern[bytes]:
    """Finds a scalar member that only scalar members stand before, in one go. Names are ours, so they are few."""
    before = _PLAIN_STRING + _WS + rb":" + _WS + rb"(?:" + _PLAIN_STRING + rb"|[-+.0-9A-Za-z]++)" + _WS + rb"," + _WS
    wanted = rb'("' + re.escape(name) + rb'")' + _WS + rb":" + _WS + rb"(" + _SCALAR + rb")"
    return re.compile(_WS + rb"\{" + _WS + rb"(?:" + before + rb")*?" + wanted, re.DOTALL)


def _end_of_container(body: bytes, start: int) -> int:
    """Index behind the object or array that begins at `start`; -1 if none does, or it never ends."""
    depth, position = 0, start
    while position < len(body):
        step = _BRACKETS.get(body[position])
        if step is None:
            return -1
        depth += step
        position += 1
        if depth <= 0:
            return position if depth == 0 else -1
        run = _RUN.match(body, position)
        position = position if run is None else run.end()
    return -1


def _unescaped(quoted: bytes) -> bytes | None:
    """The text of a JSON string, in UTF-8; None if it is not one."""
    try:
        text = json.loads(quoted)
    except ValueError:
        return None
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else None
