"""`bursar keys`: virtual keys."""

import click

from bursar.administration.desk import (
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
    team_option,
    together,
    user_option,
    yes_option,
)
from bursar.administration.names import Keys, key_hash
from bursar.administration.tables import KEY_COLUMNS
from bursar.command_line import CONTEXT


@click.group(context_settings=CONTEXT)
def keys() -> None:
    """Virtual keys: what callers of the gateway have.

    KEY is a key's alias, its hash, or the key itself. These commands work on the books directly, with nobody's key, and
    reach running gateways within a second.

    \b
    bursar keys create --alias ci-bot --max-budget 10 --budget-duration 30d
    bursar keys list
    bursar keys block ci-bot
    bursar keys show-admin
    """


@keys.command("list")
@team_option
@user_option
@organization_option
@click.option("--status", type=click.Choice(["active", "expired", "revoked", "deleted"]))
@click.option(
    "--sort-by", default="created_at", show_default=True, metavar="FIELD", help="Such as spend, key_alias, expires."
)
@page_option
@size_option
@administers()
def keys_list(
    desk: Desk,
    *,
    team: str | None,
    user: str | None,
    organization_id: str | None,
    status: str | None,
    sort_by: str,
    page: int,
    size: int,
) -> None:
    """List keys, the newest first.

    \b
    bursar keys list --team research --sort-by spend
    bursar keys list --json | jq -r '.keys[].token'
    """
    query = places(desk, team, user) | {"organization_id": organization_id, "status": status}
    answer = desk.api.get("/key/list", return_full_object="true", sort_by=sort_by, page=page, size=size, **query)
    desk.tell_page(answer, Keys, KEY_COLUMNS)


_key = click.argument("key", metavar="KEY")
_key_fields = together(
    team_option,
    user_option,
    organization_option,
    models_option,
    limit_options,
    click.option("--duration", metavar="TIME", help="How long the key is good: 24h, 30d; none: for ever."),
    click.option("--budget", "budget_id", metavar="ID", help="A budget whose limits hold where the key has none."),
    click.option("--tag", "tags", multiple=True, help="Added to all its calls. Repeatable."),
    set_options,
)


@keys.command("show")
@_key
@administers()
def keys_show(desk: Desk, *, key: str) -> None:
    """Show all that is known of a key.

    \b
    bursar keys show ci-bot
    """
    desk.tell_row(desk.api.get("/key/info", key=key_hash(desk.api, key)), within="info")


@keys.command("create")
@click.option("--alias", "key_alias", metavar="NAME", help="What to call it. Unique.")
@_key_fields
@quiet_option
@administers()
def keys_create(
    desk: Desk,
    *,
    team: str | None,
    user: str | None,
    sets: tuple[str, ...],
    clears: tuple[str, ...],
    quiet: bool,
    **fields: object,
) -> None:
    """Make a key, and print it this once.

    \b
    bursar keys create --alias ci-bot --team research --model gpt-4o --max-budget 10 --budget-duration 30d
    export OPENAI_API_KEY=$(bursar keys create -q --duration 24h)
    """
    from bursar.management.key_messages import GenerateKey

    body = fields_of(fields | places(desk, team, user), sets, clears, GenerateKey)
    desk.tell_made(desk.api.post("/key/generate", body), "key", quiet=quiet)


@keys.command("update")
@_key
@click.option("--alias", "key_alias", metavar="NAME", help="What to call it from now on. Unique.")
@_key_fields
@administers()
def keys_update(
    desk: Desk,
    *,
    key: str,
    team: str | None,
    user: str | None,
    sets: tuple[str, ...],
    clears: tuple[str, ...],
    **fields: object,
) -> None:
    """Change a key. What is not named stays as it is.

    \b
    bursar keys update ci-bot --max-budget 20 --clear duration
    bursar keys update ci-bot --set metadata='{"cost_center": 7}'
    """
    from bursar.management.key_messages import UpdateKey

    body = changes_of(fields | places(desk, team, user), sets, clears, UpdateKey)
    desk.tell_row(desk.api.post("/key/update", body | {"key": key_hash(desk.api, key)}))


@keys.command("block")
@_key
@administers()
def keys_block(desk: Desk, *, key: str) -> None:
    """Have a key refused.

    On every gateway, within a second.

    \b
    bursar keys block ci-bot
    """
    token = key_hash(desk.api, key)
    desk.tell_done(desk.api.post("/key/block", {"key": token}), f"Blocked the key {token}.")


@keys.command("unblock")
@_key
@administers()
def keys_unblock(desk: Desk, *, key: str) -> None:
    """Have a key accepted again.

    \b
    bursar keys unblock ci-bot
    """
    token = key_hash(desk.api, key)
    desk.tell_done(desk.api.post("/key/unblock", {"key": token}), f"Unblocked the key {token}.")


@keys.command("regenerate")
@_key
@click.option("--grace", "grace_period", metavar="TIME", help="How long the old one works, too: 24h.")
@quiet_option
@administers()
def keys_regenerate(desk: Desk, *, key: str, grace_period: str | None, quiet: bool) -> None:
    """Give a key another secret, and print it this once.

    All else stays, what it has spent included.

    \b
    bursar keys regenerate ci-bot --grace 24h
    """
    body = {"key": key_hash(desk.api, key), "grace_period": grace_period}
    desk.tell_made(desk.api.post("/key/regenerate", body), "key", quiet=quiet)


@keys.command("delete")
@_key
@yes_option
@administers()
def keys_delete(desk: Desk, *, key: str, yes: bool) -> None:
    """Delete a key. What it spent stays on the books.

    \b
    bursar keys delete ci-bot --yes
    """
    token = key_hash(desk.api, key)
    ask_first(f"Delete the key {token}?", yes=yes)
    desk.tell_done(desk.api.post("/key/delete", {"keys": [token]}), f"Deleted the key {token}.")
