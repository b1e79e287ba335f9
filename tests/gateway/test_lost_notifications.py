"""What is changed on one gateway binds on another within ten seconds, also when the database's word of it gets lost."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import config_text, running_gateway
from tests.patience import PATIENCE_S

NOTIFICATION = b"A"


class Swallower:
    """A proxy on the database's socket that keeps to itself what it is told to; connections stay open."""

    def __init__(self, url: str, directory: Path) -> None:
        before, target = url.split("host=")
        self._target = target.replace("%2F", "/") + "/.s.PGSQL.5432"
        self._socket = directory / ".s.PGSQL.5432"
        self.url = f"{before}host={directory}"
        self.swallows = ""
        """`notifications`; `everything`, on the connections there are."""
        self.swallowed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self._socket):
            yield
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self, what: str) -> None:
        """From now on."""
        self.swallows = what
        self._deaf = set(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        answers = asyncio.ensure_future(self._answer(up_reader, writer))
        own = asyncio.current_task()
        assert own is not None
        self._tasks |= {answers, own}
        try:
            while data := await reader.read(65536):
                up_writer.write(data)
        finally:
            up_writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        try:
            while True:
                head = await reader.readexactly(5)
                message = head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
                told = head.startswith(NOTIFICATION)
                if (self.swallows == "notifications" and told) or (self.swallows == "everything" and own in self._deaf):
                    self.swallowed += told
                else:
                    writer.write(message)
        except asyncio.IncompleteReadError:
            writer.close()


@pytest.fixture
async def swallower(database_url: str) -> AsyncIterator[Swallower]:
    with tempfile.TemporaryDirectory(prefix="b-") as short:
        swallower = Swallower(database_url, Path(short))
        async with swallower.running():
            yield swallower


def _lost(what: str, promised_s: float) -> list[Any]:
    return [
        pytest.param(what, PATIENCE_S, id=what or "nothing"),
        pytest.param(what, promised_s, id=f"{what or 'nothing'} in time", marks=pytest.mark.long),
    ]


@pytest.mark.parametrize(
    ("what", "at_most_s"), [*_lost("", 1.0), *_lost("notifications", 10.0), *_lost("everything", 10.0)]
)
async def test_a_blocked_key_is_refused_elsewhere(
    start_gateway: StartGateway,
    oracle: RunningOracle,
    swallower: Swallower,
    database_url: str,
    tmp_path: Path,
    what: str,
    at_most_s: float,
) -> None:
    """Within a second when it is told, within ten when it is not."""
    here = await start_gateway()
    key = await here.new_key()
    async with running_gateway(
        config_text(oracle.base_url), database_url=database_url, directory=tmp_path / "2", listen_url=swallower.url
    ) as there:
        async with asyncio.timeout(PATIENCE_S):
            while (await there.request("GET", "/health/readiness")).json["db"] != "connected":
                await asyncio.sleep(0.01)
        assert (await there.chat(key=key)).status == 200
        swallower.swallow(what)
        assert (await here.request("POST", "/key/block", {"key": key})).status == 200
        started = asyncio.get_running_loop().time()
        async with asyncio.timeout(at_most_s):
            while (await there.chat(key=key)).status != 401:
                await asyncio.sleep(0.05)
        took_s = asyncio.get_running_loop().time() - started
        assert (swallower.swallowed > 0) == bool(what)
        assert took_s > 1.0 or not what, "nobody told, and yet it is known"
