"""The command line. Heavy imports happen inside the commands, so that `--help` is quick."""

import click

from bursar import LITELLM_CONTRACT_VERSION, __version__
from bursar.administration.budgets import budgets
from bursar.administration.keys import keys
from bursar.administration.models import models
from bursar.administration.teams import teams
from bursar.administration.users import users
from bursar.command_line import CONTEXT
from bursar.commands.database import db
from bursar.commands.ledger import ledger
from bursar.commands.oracle import upstream
from bursar.commands.secrets import secrets
from bursar.commands.serving import check, serve
from bursar.commands.show_admin import show_admin


@click.group(context_settings=CONTEXT)
@click.version_option(
    __version__, prog_name="bursar", message=f"%(prog)s %(version)s (LiteLLM contract {LITELLM_CONTRACT_VERSION})"
)
def main() -> None:
    """An LLM gateway that keeps the books.

    \b
    bursar serve                     start with embedded defaults and a demo model
    bursar serve -c config.yaml      start with your LiteLLM configuration
    bursar check config.yaml         see what was understood of it
    bursar keys create --alias me    make a virtual key
    bursar db shell                  look into the books with psql
    bursar ledger verify             see whether the books close
    bursar upstream                  a local provider to try things with
    """


keys.add_command(show_admin)
for command in (serve, check, db, ledger, keys, teams, users, budgets, models, secrets, upstream):
    main.add_command(command)
