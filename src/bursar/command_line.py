"""What all commands share: options, and how errors are told."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bursar.domain.errors import BursarError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

Command = Callable[..., None]

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where keys, journal and embedded database live. [default: $BURSAR_DATA_DIR, else ~/.local/share/bursar]",
)


@contextmanager
def told(*, code: int = 1) -> Iterator[None]:
    """Errors raised on purpose become one message and this exit code."""
    try:
        yield
    except BursarError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(code)
