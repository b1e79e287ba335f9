"""How a program that goes on tells a person something."""

import sys
from contextlib import suppress

import click


def say(message: str) -> None:
    """One message of a program that goes on where nobody listens any more: the terminal was closed, or whoever read
    the pipe has ended."""
    with suppress(OSError):
        click.echo(message)
        sys.stdout.flush()
