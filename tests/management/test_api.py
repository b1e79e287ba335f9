"""The door of the management API: who is let in, and how errors of the rooms come out."""

import time
from collections.abc import Sequence

import msgspec
import pytest

from bursar.access.directory import Directory
from bursar.access.keys import LitellmKeyForms
from bursar.domain.errors import StoreConflict, StoreRefused, StoreUnavailable
from bursar.gateway.authenticate import KeyAuthenticator
from bursar.management.api import ManagementApi
from bursar.management.route import Asked, Plain, Route
from bursar.store.database import Database, DatabaseOptions
from bursar.store.keys import PostgresKeys
from bursar.store.memberships import PostgresMemberships
from bursar.tasks import TaskOwner
from bursar.wire.http import FieldLines, Request
from tests.gateway.parts import NullReply
from tests.gateway.running import MASTER_KEY, Books, Gateway
from tests.management.matrix import furnish, key_of

AWAY = Database(DatabaseOptions({"dsn": "postgresql://nobody@127.0.0.1:1/none"}, connect_timeout_s=0.2))


class Kept(NullReply):
    """Keeps the answer."""

    status = 0
    fields: FieldLines = b""
    body = b""

    def send(self, status: int, fields: FieldLines, body: bytes) -> None:
        self.status, self.fields, self.body = status, fields, body


class Named(msgspec.Struct):
    """A body."""

    name: str = ""


class ErringRoom:
    """Raises what it was made with."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    @property
    def routes(self) -> Sequence[Route]:
        return (
            Route(method="POST", path="/tag/new", tag="t", summary="s", endpoint=self.raises, body=Named),
            Route(method="GET", path="/credentials/{name}", tag="t", summary="s", endpoint=self.echoes),
            Route(method="GET", path="/key/list", tag="t", summary="s", endpoint=self.echoes),
            Route(method="GET", path="/docs", tag="t", summary="s", endpoint=self.plain),
        )

    async def raises(self, _: Asked[Named, None]) -> object:
        assert self._error is not None
        raise self._error

    async def echoes(self, asked: Asked[None, None]) -> object:
        return dict(asked.path)

    async def plain(self, asked: Asked[None, None]) -> Plain:
        return Plain(303, [(b"location", b"/ui/")], asked.caller.role.value.encode())


async def ask(
    database: Database,
    method: str,
    path: str,
    *,
    error: Exception | None = None,
    key: str = MASTER_KEY,
    raw_path: bytes = b"",
) -> Kept:
    """What the API answers while the database that knows who belongs where is away."""
    forms = LitellmKeyForms()
    directory = Directory(PostgresKeys(database), TaskOwner("test"), clock=time.monotonic, fresh_s=60)
    authenticator = KeyAuthenticator(directory, master_key=MASTER_KEY, hash_key=forms.hash, wall_clock=time.time)
    api = ManagementApi(authenticator, PostgresMemberships(AWAY), [ErringRoom(error)])
    request = Request(
        method=method,
        path=path,
        query="",
        headers=[],
        fields={b"authorization": b"Bearer " + key.encode()},
        body=b"",
        client_host="",
        received_s=0.0,
        raw_path=raw_path,
    )
    reply = Kept()
    await api(request, reply)
    return reply


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (StoreUnavailable("host db.internal is down"), 503, "The database does not answer"),
        (StoreRefused("The tag exists."), 400, "The tag exists."),
        (StoreConflict("changed in the meantime"), 409, "changed in the meantime"),
    ],
)
async def test_errors_of_the_store(database: Database, error: Exception, status: int, word: str) -> None:
    reply = await ask(database, "POST", "/tag/new", error=error)
    assert (reply.status, b"db.internal" in reply.body) == (status, False)
    assert word in reply.body.decode()


async def test_other_methods_are_told_which_there_are(database: Database) -> None:
    reply = await ask(database, "PUT", "/tag/new")
    assert reply.status == 405
    assert b"allow: POST\r\n" in reply.fields


async def test_head_is_get(database: Database) -> None:
    assert (await ask(database, "HEAD", "/credentials/x")).status == 200


async def test_parameters_arrive_decoded(database: Database) -> None:
    reply = await ask(database, "GET", "/credentials/a/b+=%", raw_path=b"/credentials/a%2Fb+%3D%25")
    assert (reply.status, reply.body) == (200, b'{"name":"a/b+=%"}')


async def test_an_answer_of_another_form_and_a_caller_who_is_nobody(database: Database) -> None:
    reply = await ask(database, "GET", "/docs")
    assert (reply.status, reply.fields, reply.body) == (303, b"location: /ui/\r\n", b"nobody")


async def test_memberships_that_cannot_be_looked_up(database: Database, books: Books) -> None:
    """Whoever may do nothing here, whatever he is a member of, is told so without the database."""
    await furnish(books)
    for path, status in (("/key/list", 503), ("/credentials/x", 403)):
        assert (await ask(database, "GET", path, key=key_of("member"))).status == status
    assert (await ask(database, "GET", "/key/list", key=key_of("key"))).status == 403
    assert (await ask(database, "GET", "/key/list", key=key_of("admin"))).status == 200


async def test_words_of_refusals(gateway: Gateway, books: Books) -> None:
    await furnish(books)
    viewer = await gateway.request("POST", "/key/generate", {}, key=key_of("viewer"))
    assert viewer.json["error"] == {
        "message": "user not allowed to access this route, role= proxy_admin_viewer. Trying to access: /key/generate",
        "type": "auth_error",
        "param": None,
        "code": "403",
    }
    member = await gateway.request("POST", "/user/bulk_update", b"{", key=key_of("member"))
    assert member.status == 403
    assert "Your role=internal_user. Your user_id=member" in member.json["error"]["message"]
