"""A database server of a test's own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bursar.store.embedded import EmbeddedPostgres


@contextmanager
def temporary_server() -> Iterator[EmbeddedPostgres]:
    """An embedded server, running; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bursar-test-"))
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory)
    server.start(lambda _: None)
    yield server
    server.stop()
    shutil.rmtree(directory)
