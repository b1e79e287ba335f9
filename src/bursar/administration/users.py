"""`bursar users`: internal users."""

import click

from bursar.administration.desk import (
    Desk,
    administers,
    ask_first,
    changes_of,
    fields_of,
    limit_options,
    models_option,
    page_option,
    quiet_option,
    set_options,
    size_option,
    team_option,
    together,
    yes_option,
)
from bursar.administration.names import Users, team_id, user_id
from bursar.administration.tables import USER_COLUMNS, user_description
from bursar.command_line import CONTEXT

_user_argument = click.argument("user", metavar="USER")
_ROLE = click.Choice(["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"])
_user_fields = together(
    click.option("--name", "user_alias", help="What to call him."),
    click.option("--role", "user_role", type=_ROLE, help="What he may do."),
    models_option,
    limit_options,
    set_options,
)


@click.group(context_settings=CONTEXT)
def users() -> None:
    """Users: who own keys and log in.

    USER is a user's id or e-mail address.

    \b
    bursar users create --email ada@example.org --max-budget 50 --budget-duration 1mo
    bursar users list
    """


@users.command("list")
@click.option("--email", "user_email", metavar="TEXT", help="A part of it.")
@click.option("--role", type=_ROLE)
@team_option
@page_option
@size_option
@administers()
def users_list(desk: Desk, *, team: str | None, page: int, size: int, **query: object) -> None:
    """List users, the newest first.

    \b
    bursar users list --team research
    """
    query["team"] = None if team is None else team_id(desk.api, team)
    desk.tell_page(desk.api.get("/user/list", page=page, page_size=size, **query), Users, USER_COLUMNS)


@users.command("show")
@_user_argument
@administers()
def users_show(desk: Desk, *, user: str) -> None:
    """Show a user, his teams and keys.

    \b
    bursar users show ada@example.org
    """
    answer = desk.api.get("/user/info", user_id=user_id(desk.api, user))
    desk.tell(answer, dict[str, object], user_description)


@users.command("create")
@click.option("--email", "user_email", metavar="ADDRESS", help="Unique.")
@click.option("--id", "user_id", metavar="ID", help="His id; none: one is made.")
@_user_fields
@click.option("--with-key", "auto_create_key", is_flag=True, help="Make his first key, too, and print it this once.")
@quiet_option
@administers()
def users_create(
    desk: Desk,
    *,
    auto_create_key: bool,
    sets: tuple[str, ...],
    clears: tuple[str, ...],
    quiet: bool,
    **fields: object,
) -> None:
    """Make a user.

    \b
    bursar users create --email ada@example.org --max-budget 50 --budget-duration 1mo
    bursar users create --email root@example.org --role proxy_admin --set password=- < password.txt
    """
    from bursar.management.users import NewUser

    body = fields_of(fields | {"auto_create_key": auto_create_key}, sets, clears, NewUser)
    desk.tell_made(desk.api.post("/user/new", body), "key" if auto_create_key else "user_id", quiet=quiet)


@users.command("update")
@_user_argument
@click.option("--email", "user_email", metavar="ADDRESS", help="His address from now on. Unique.")
@_user_fields
@administers()
def users_update(desk: Desk, *, user: str, sets: tuple[str, ...], clears: tuple[str, ...], **fields: object) -> None:
    """Change a user. What is not named stays as it is.

    \b
    bursar users update ada@example.org --max-budget 80 --role proxy_admin_viewer
    """
    from bursar.management.users import UpdateUser

    body = changes_of(fields, sets, clears, UpdateUser) | {"user_id": user_id(desk.api, user)}
    desk.tell_row(desk.api.post("/user/update", body), within="data")


@users.command("delete")
@_user_argument
@yes_option
@administers()
def users_delete(desk: Desk, *, user: str, yes: bool) -> None:
    """Delete a user with his keys. What they spent stays on the books.

    \b
    bursar users delete ada@example.org --yes
    """
    found = user_id(desk.api, user)
    ask_first(f"Delete the user {found} with his keys?", yes=yes)
    desk.tell_done(desk.api.post("/user/delete", {"user_ids": [found]}), f"Deleted the user {found}.")
