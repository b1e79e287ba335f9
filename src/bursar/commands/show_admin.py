"""`bursar keys show-admin`, the one command of keys that asks nobody's API."""

import os
from pathlib import Path

import click

from bursar.command_line import data_dir_option, told


@click.command("show-admin")
@data_dir_option
def show_admin(data_dir: Path | None) -> None:
    """Print the admin key that `serve` made.

    One that you configured yourself is not stored.

    \b
    export OPENAI_API_KEY=$(bursar keys show-admin)
    """
    from bursar.config.options import data_directory
    from bursar.main import stored_master_key

    with told():
        click.echo(stored_master_key(data_directory(data_dir, os.environ)))
