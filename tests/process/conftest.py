"""Fixtures that start processes, and see to it that none survives its test."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.gateway import EVERYTHING, MASTER_KEY, Gateway, MakeGateway, Oracle, start_oracle
from tests.process.process_table import signal_all

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # what is left behind is looked up in /proc


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, for sockets, that others may pass through."""
    directory = Path(tempfile.mkdtemp(prefix="bp-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def oracle(place: Path) -> Iterator[Oracle]:
    """A provider with its bill, in a process of its own, which outlives every gateway of the test."""
    oracle = start_oracle(place / "oracle")
    yield oracle
    oracle.program.close()


@pytest.fixture
def database(place: Path) -> Iterator[EmbeddedPostgres]:
    """A server that is nobody's child but ours: as far as the gateway knows, one on another machine."""
    directory = place / "server"
    directory.mkdir()
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory)
    server.start(lambda _: None)
    yield server
    signal_all(directory, signal.SIGCONT)
    server.stop()


@pytest.fixture
def make_gateway(place: Path) -> Iterator[MakeGateway]:
    """Gateways with a data directory of their own: by themselves, or before an oracle."""
    with ExitStack() as gateways:

        def make(
            *arguments: str,
            oracle: Oracle | None = None,
            config: str | None = None,
            environ: Mapping[str, str] | None = None,
            identity: str = "self",
            name: str = "gateway",
        ) -> Gateway:
            settings = {"LITELLM_MASTER_KEY": MASTER_KEY} | dict(environ or {})
            if oracle is not None:
                settings["ORACLE_BASE"] = oracle.base_url
            gateway = Gateway(place / name, arguments, settings, identity)
            gateways.callback(gateway.close)
            if config is not None or oracle is not None:
                gateway.configure(config or EVERYTHING)
            return gateway

        yield make
