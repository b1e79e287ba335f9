"""`bursar secrets`: those that the database holds."""

import os
import sys
from pathlib import Path

import click

from bursar.command_line import data_dir_option, told
from bursar.commands.books import running_books_of


@click.group()
def secrets() -> None:
    """Secrets that the database holds: providers' keys, credentials.

    \b
    bursar secrets rotate
    """


@secrets.command("rotate")
@data_dir_option
def rotate(data_dir: Path | None) -> None:
    """Seal all stored secrets with a new key.

    In two steps, between which every gateway learns the new key. With LITELLM_SALT_KEY: set it to the new key, set
    LITELLM_SALT_KEY_OLD to the one before, restart the gateways, run this, and take LITELLM_SALT_KEY_OLD away. Without:
    run this, which makes a new key beside the old one; restart the gateway; run it again.

    It can be interrupted, and run again, at any time. What LiteLLM encrypted is sealed anew, too: LiteLLM itself cannot
    read it afterwards.

    \b
    bursar secrets rotate
    LITELLM_SALT_KEY=… LITELLM_SALT_KEY_OLD=… DATABASE_URL=postgresql://… bursar secrets rotate
    """
    from bursar.administration.desk import operator
    from bursar.config.options import data_directory
    from bursar.main import books_vault, salt_key_is_configured
    from bursar.secret_rotation import begin_new_key, forget_old_key, rotate_secrets

    with told():
        directory = data_directory(data_dir, os.environ)
        books = running_books_of(data_dir)
        own = not salt_key_is_configured(os.environ, directory)
        if own and begin_new_key(directory):
            click.echo(
                "A new key was made beside the old one. Restart the gateway, so that it knows it; then run this again."
            )
            return
        with click.progressbar(length=1, label="Sealing", file=sys.stderr) as bar:

            def progress(done: int, rows: int) -> None:
                bar.length = max(rows, 1)
                bar.update(done - bar.pos)

            found = rotate_secrets(books, books_vault(os.environ, directory), progress, name=operator())
        for reason in found.unreadable:
            click.echo(f"Not readable: {reason}", err=True)
        click.echo(f"{found.sealed} of {found.rows} rows were sealed anew; the others were already, or hold no secret.")
        if found.unreadable:
            sys.exit(1)
        if own:
            forget_old_key(directory)
            click.echo("The old key is not needed any more, and gone.")
        else:
            click.echo("LITELLM_SALT_KEY_OLD is not needed any more.")
