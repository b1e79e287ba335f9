"""`bursar teams`: teams and their members."""

import click

from bursar.administration.desk import (
    USD,
    Desk,
    administers,
    ask_first,
    changes_of,
    fields_of,
    limit_options,
    models_option,
    organization_option,
    page_option,
    places,
    quiet_option,
    set_options,
    size_option,
    together,
    user_option,
    yes_option,
)
from bursar.administration.names import Teams, member, team_id
from bursar.administration.tables import TEAM_COLUMNS, team_description
from bursar.command_line import CONTEXT

_team_argument = click.argument("team", metavar="TEAM")
_team_fields = together(
    organization_option,
    models_option,
    limit_options,
    click.option("--member-budget", "team_member_budget", type=USD, help="US dollars, of each member."),
    click.option("--member-budget-duration", "team_member_budget_duration", metavar="TIME"),
    click.option("--tag", "tags", multiple=True, help="Added to all its calls. Repeatable."),
    set_options,
)


@click.group(context_settings=CONTEXT)
def teams() -> None:
    """Teams: who keys belong to, and whose limits they share.

    TEAM is a team's id or alias, USER a user's id or e-mail address.

    \b
    bursar teams create --alias research --max-budget 500 --budget-duration 1mo
    bursar teams add-member research ada@example.org --max-budget 50
    bursar teams show research
    """


@teams.command("list")
@user_option
@organization_option
@click.option("--alias", "team_alias", metavar="TEXT", help="A part of it.")
@page_option
@size_option
@administers()
def teams_list(desk: Desk, *, user: str | None, page: int, size: int, **query: object) -> None:
    """List teams, the newest first.

    \b
    bursar teams list --user ada@example.org
    """
    query |= places(desk, None, user)
    desk.tell_page(desk.api.get("/v2/team/list", page=page, page_size=size, **query), Teams, TEAM_COLUMNS)


@teams.command("show")
@_team_argument
@administers()
def teams_show(desk: Desk, *, team: str) -> None:
    """Show a team, its members and keys.

    \b
    bursar teams show research
    """
    answer = desk.api.get("/team/info", team_id=team_id(desk.api, team))
    desk.tell(answer, dict[str, object], team_description)


@teams.command("create")
@click.option("--alias", "team_alias", metavar="NAME", help="What to call it.")
@click.option("--id", "team_id", metavar="ID", help="Its id; none: one is made.")
@_team_fields
@quiet_option
@administers()
def teams_create(desk: Desk, *, sets: tuple[str, ...], clears: tuple[str, ...], quiet: bool, **fields: object) -> None:
    """Make a team.

    \b
    bursar teams create --alias research --max-budget 500 --budget-duration 1mo --model gpt-4o
    """
    from bursar.management.teams import NewTeam

    desk.tell_made(desk.api.post("/team/new", fields_of(fields, sets, clears, NewTeam)), "team_id", quiet=quiet)


@teams.command("update")
@_team_argument
@click.option("--alias", "team_alias", metavar="NAME", help="What to call it from now on.")
@_team_fields
@administers()
def teams_update(desk: Desk, *, team: str, sets: tuple[str, ...], clears: tuple[str, ...], **fields: object) -> None:
    """Change a team. What is not named stays as it is.

    \b
    bursar teams update research --max-budget 800 --clear rpm_limit
    """
    from bursar.management.teams import UpdateTeam

    body = changes_of(fields, sets, clears, UpdateTeam) | {"team_id": team_id(desk.api, team)}
    desk.tell_row(desk.api.post("/team/update", body), within="data")


@teams.command("add-member")
@_team_argument
@click.argument("user", metavar="USER")
@click.option("--role", type=click.Choice(["admin", "user"]), default="user", show_default=True)
@click.option("--max-budget", "max_budget_in_team", type=USD, help="US dollars that he may spend in the team.")
@click.option("--budget-duration", metavar="TIME", help="The period: 24h, 30d, 1mo.")
@click.option("--tpm", "tpm_limit", type=click.IntRange(0), help="Tokens a minute.")
@click.option("--rpm", "rpm_limit", type=click.IntRange(0), help="Requests a minute.")
@administers()
def teams_add_member(desk: Desk, *, team: str, user: str, role: str, **terms: object) -> None:
    """Put somebody into a team.

    A user who does not exist is made: by his e-mail address if there is an @ in it, else with that id.

    \b
    bursar teams add-member research ada@example.org --role admin --max-budget 50
    """
    from bursar.management.team_members import AddMembers

    body = fields_of(terms, (), (), AddMembers)
    found = team_id(desk.api, team)
    body |= {"team_id": found, "member": {"role": role, **member(desk.api, user)}}
    desk.tell_done(desk.api.post("/team/member_add", body), f"{user} is in the team {found}.")


@teams.command("remove-member")
@_team_argument
@click.argument("user", metavar="USER")
@yes_option
@administers()
def teams_remove_member(desk: Desk, *, team: str, user: str, yes: bool) -> None:
    """Take somebody out of a team, and with him his keys of it.

    \b
    bursar teams remove-member research ada@example.org --yes
    """
    found = team_id(desk.api, team)
    ask_first(f"Take {user} out of the team {found}, and delete his keys of it?", yes=yes)
    answer = desk.api.post("/team/member_delete", {"team_id": found, **member(desk.api, user)})
    desk.tell_done(answer, f"{user} is not in the team {found} any more.")


@teams.command("block")
@_team_argument
@administers()
def teams_block(desk: Desk, *, team: str) -> None:
    """Have a team's keys refused.

    On every gateway, within a second.

    \b
    bursar teams block research
    """
    found = team_id(desk.api, team)
    desk.tell_done(desk.api.post("/team/block", {"team_id": found}), f"Blocked the team {found}.")


@teams.command("unblock")
@_team_argument
@administers()
def teams_unblock(desk: Desk, *, team: str) -> None:
    """Have its keys accepted again.

    \b
    bursar teams unblock research
    """
    found = team_id(desk.api, team)
    desk.tell_done(desk.api.post("/team/unblock", {"team_id": found}), f"Unblocked the team {found}.")


@teams.command("delete")
@_team_argument
@yes_option
@administers()
def teams_delete(desk: Desk, *, team: str, yes: bool) -> None:
    """Delete a team with its keys. What they spent stays on the books.

    \b
    bursar teams delete research --yes
    """
    found = team_id(desk.api, team)
    ask_first(f"Delete the team {found} with its keys?", yes=yes)
    desk.tell_done(desk.api.post("/team/delete", {"team_ids": [found]}), f"Deleted the team {found}.")
