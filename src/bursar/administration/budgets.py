"""`bursar budgets`: limits that several share."""

import click

from bursar.administration.desk import (
    USD,
    Desk,
    administers,
    ask_first,
    changes_of,
    fields_of,
    limit_options,
    quiet_option,
    set_options,
    together,
    yes_option,
)
from bursar.administration.tables import BUDGET_COLUMNS
from bursar.command_line import CONTEXT

_budget_argument = click.argument("budget", metavar="ID")
_budget_fields = together(
    limit_options,
    click.option("--soft-budget", type=USD, help="US dollars; told about, never refused."),
    set_options,
)


@click.group(context_settings=CONTEXT)
def budgets() -> None:
    """Budgets that several share.

    Limits that keys, customers, tags, members and organizations have by naming them.

    \b
    bursar budgets create --id small --max-budget 5 --budget-duration 1d
    bursar keys create --budget small
    """


@budgets.command("list")
@administers()
def budgets_list(desk: Desk) -> None:
    """List budgets, the oldest first.

    \b
    bursar budgets list
    """
    desk.tell_rows(desk.api.get("/budget/list"), BUDGET_COLUMNS)


@budgets.command("create")
@click.option("--id", "budget_id", metavar="ID", help="Its id; none: one is made.")
@_budget_fields
@quiet_option
@administers()
def budgets_create(
    desk: Desk, *, sets: tuple[str, ...], clears: tuple[str, ...], quiet: bool, **fields: object
) -> None:
    """Make a budget.

    \b
    bursar budgets create --id small --max-budget 5 --budget-duration 1d
    """
    from bursar.management.budgets import NewBudget

    desk.tell_made(desk.api.post("/budget/new", fields_of(fields, sets, clears, NewBudget)), "budget_id", quiet=quiet)


@budgets.command("update")
@_budget_argument
@_budget_fields
@administers()
def budgets_update(
    desk: Desk, *, budget: str, sets: tuple[str, ...], clears: tuple[str, ...], **fields: object
) -> None:
    """Change a budget, of all that have it.

    \b
    bursar budgets update small --max-budget 8
    """
    from bursar.management.budgets import UpdateBudget

    body = changes_of(fields, sets, clears, UpdateBudget) | {"budget_id": budget}
    desk.tell_row(desk.api.post("/budget/update", body))


@budgets.command("delete")
@_budget_argument
@yes_option
@administers()
def budgets_delete(desk: Desk, *, budget: str, yes: bool) -> None:
    """Delete a budget that nobody has.

    \b
    bursar budgets delete small --yes
    """
    ask_first(f"Delete the budget {budget}?", yes=yes)
    desk.tell_done(desk.api.post("/budget/delete", {"id": budget}), f"Deleted the budget {budget}.")
