"""What people call keys, teams, users and models, as the ids that the management API takes.

An id goes before a name: nobody takes the place of another by giving a thing the other's id as its name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from bursar.access.keys import PREFIX, LitellmKeyForms
from bursar.administration.api import Administration, Refused
from bursar.administration.tables import plain
from bursar.domain.errors import BursarError

Row = Mapping[str, object]
_PAGE = 100
_NOT_FOUND = 404


class NotOne(BursarError):
    """No thing, or several, are called so; the message says how to name one."""

    code = "not_one"


class Page(Protocol):
    """Some of many rows."""

    @property
    def rows(self) -> Sequence[Row]:
        """Those on the page."""

    @property
    def count(self) -> int:
        """How many there are in all."""


class Keys(msgspec.Struct):
    """A page of keys."""

    rows: list[dict[str, object]] = msgspec.field(name="keys")
    count: int = msgspec.field(name="total_count")


class Teams(msgspec.Struct):
    """A page of teams."""

    rows: list[dict[str, object]] = msgspec.field(name="teams")
    count: int = msgspec.field(name="total")
    total_pages: int


class Users(msgspec.Struct):
    """A page of users."""

    rows: list[dict[str, object]] = msgspec.field(name="users")
    count: int = msgspec.field(name="total")
    total_pages: int


class Models(msgspec.Struct):
    """All models."""

    data: list[dict[str, object]]


def key_hash(api: Administration, name: str) -> str:
    """The hash of a key, by itself, its hash or its alias. Raises NotOne."""
    forms = LitellmKeyForms()
    if name.startswith(PREFIX) or forms.is_hash(name):
        token = name if forms.is_hash(name) else forms.hash(name)
        found = _keys(api, key_hash=token)
        shown = name if forms.is_hash(name) else forms.abbreviate(name)
    else:
        found, shown = _keys(api, key_alias=name), name
    return _one("key", shown, [str(row["token"]) for row in found.rows])


def team_id(api: Administration, name: str) -> str:
    """By its id or alias. Raises NotOne."""
    if _teams(api, 1, team_id=name).rows:
        return name
    found = [row["team_id"] for row in _teams_called(api, name) if row["team_alias"] == name]
    return _one("team", name, [str(one) for one in found])


def user_id(api: Administration, name: str) -> str:
    """By his id or e-mail address. Raises NotOne."""
    return _one("user", name, _users_named(api, name))


def member(api: Administration, name: str) -> dict[str, object]:
    """The same for a team's roster, which may know of somebody whom the table of users does not. Raises NotOne."""
    if found := _users_named(api, name):
        return {"user_id": _one("user", name, found)}
    return {"user_email" if "@" in name else "user_id": name}


def model_id(api: Administration, name: str) -> str:
    """By its id or its public name. Raises NotOne."""
    models = msgspec.json.decode(api.get("/model/info"), type=Models).data
    ids = {str(_info(row)["id"]): str(row["model_name"]) for row in models}
    if name in ids:
        return name
    return _one("model", name, [one for one, called in ids.items() if called == name])


def _one(kind: str, name: str, found: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotOne(f"there is no {kind} {name!r}. `bursar {kind}s list` shows those that there are.")
    raise NotOne(f"{name!r} is the name of {len(found)} {kind}s. Take the id of the one you mean: {', '.join(found)}")


def _users_named(api: Administration, name: str) -> list[str]:
    try:
        api.get("/v2/user/info", user_id=name)
    except Refused as refused:
        if refused.status != _NOT_FOUND:
            raise
    else:
        return [name]
    called = _users_called(api, name)
    return [str(row["user_id"]) for row in called if plain(row["user_email"]).lower() == name.lower()]


def _info(row: Row) -> Row:
    info = row["model_info"]
    assert isinstance(info, dict)
    return info


def _keys(api: Administration, **query: object) -> Keys:
    return msgspec.json.decode(api.get("/key/list", return_full_object="true", size=_PAGE, **query), type=Keys)


def _teams(api: Administration, page: int, **query: object) -> Teams:
    return msgspec.json.decode(api.get("/v2/team/list", page=page, page_size=_PAGE, **query), type=Teams)


def _teams_called(api: Administration, part: str) -> Iterator[Row]:
    page, pages = 1, 1
    while page <= pages:
        found = _teams(api, page, team_alias=part, sort_by="team_id")
        yield from found.rows
        page, pages = page + 1, found.total_pages


def _users(api: Administration, page: int, **query: object) -> Users:
    return msgspec.json.decode(api.get("/user/list", page=page, page_size=_PAGE, **query), type=Users)


def _users_called(api: Administration, part: str) -> Iterator[Row]:
    page, pages = 1, 1
    while page <= pages:
        found = _users(api, page, user_email=part, sort_by="user_id")
        yield from found.rows
        page, pages = page + 1, found.total_pages
