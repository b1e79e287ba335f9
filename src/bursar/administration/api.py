"""The management API as commands ask it: in the administrator's name, without a gateway between."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import msgspec

from bursar.domain.errors import BursarError, ConfigError
from bursar.wire.http import Request

if TYPE_CHECKING:
    from bursar.management.api import ManagementApi

T = TypeVar("T")


class Refused(BursarError):
    """The API answered with an error, whose words these are."""

    code = "refused"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Administration:
    """The management API, asked by the administrator."""

    def __init__(self, runner: asyncio.Runner, api: "ManagementApi", *, name: str, stores_models: bool) -> None:
        """`name`: whom changes are put down to."""
        self._runner = runner
        self._api = api
        self._name = name
        self.stores_models = stores_models

    def get(self, path: str, **query: object) -> bytes:
        """What a route answers, in JSON; members of the query that are None are left out. Raises Refused."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", path, query=_utf8(lambda: urlencode(given)))

    def post(self, path: str, body: Mapping[str, object]) -> bytes:
        """The same, with a body. Raises Refused."""
        return self._ask("POST", path, body=_utf8(lambda: msgspec.json.encode(body)))

    def _ask(self, method: str, path: str, *, query: str = "", body: bytes = b"") -> bytes:
        request = Request(
            method=method,
            path=path,
            query=query,
            headers=[],
            fields={b"litellm-changed-by": self._name.encode("utf-8", "replace")},
            body=body,
            client_host="",
            received_s=time.perf_counter(),
        )
        status, _, answer = self._runner.run(self._api.answer(request))
        if status != 200:
            raise Refused(status, _words(answer))
        return answer


class _Mistake(msgspec.Struct):
    msg: str
    loc: list[str | int]


class _Problem(msgspec.Struct):
    message: str


class _Errors(msgspec.Struct):
    error: _Problem | None = None
    detail: list[_Mistake] = []


def _words(answer: bytes) -> str:
    """What an error says, in either of its forms."""
    errors = msgspec.json.decode(answer, type=_Errors)
    if errors.error is not None:
        return errors.error.message
    return "; ".join(f"{'.'.join(str(step) for step in wrong.loc[1:])}: {wrong.msg}" for wrong in errors.detail)


def _utf8(encode: Callable[[], T]) -> T:
    """Raises ConfigError: a word of the command line is no UTF-8."""
    try:
        return encode()
    except UnicodeEncodeError as error:
        raise ConfigError("the command line holds bytes that are not UTF-8") from error
