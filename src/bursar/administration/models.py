"""`bursar models`: the models on offer."""

import click

from bursar.administration.desk import Desk, administers, ask_first, assigned, quiet_option, together, yes_option
from bursar.administration.names import Models, model_id
from bursar.administration.tables import MODEL_COLUMNS, table
from bursar.command_line import CONTEXT

_model_argument = click.argument("model", metavar="MODEL")
_params = together(
    click.option(
        "--param",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        help="As in litellm_params; the value in JSON, or plain text; - reads it from standard input; os.environ/NAME "
        "is read by the gateway. Repeatable.",
    ),
    click.option("--info", "infos", multiple=True, metavar="NAME=VALUE", help="The same, as in model_info."),
)


@click.group(context_settings=CONTEXT)
def models() -> None:
    """Models on offer.

    Those of the database come and go without a restart: running gateways take them up within a second.

    They take `store_model_in_db: true` in the general_settings of the gateway's config.yaml, or STORE_MODEL_IN_DB=True:
    name that file with --config here, or set the variable here, too. MODEL is a model's id, or its public name if only
    one has it.

    \b
    bursar models list -c config.yaml
    bursar models add gpt-4o --model openai/gpt-4o --param api_key=- -c config.yaml < key.txt
    """


@models.command("list")
@administers(models=True)
def models_list(desk: Desk) -> None:
    """List models, of the configuration and of the database.

    Prices are US dollars for a million tokens.

    \b
    bursar models list -c config.yaml
    """
    desk.tell(desk.api.get("/model/info"), Models, lambda found: table(MODEL_COLUMNS, found.data))
    if not desk.with_config and not desk.as_json:
        click.echo(
            "Models of the gateway's file are not here: name it with --config. Without one, demo is served.", err=True
        )


@models.command("add")
@click.argument("name")
@click.option("--model", required=True, help="Whose model it is, and which: openai/gpt-4o.")
@click.option("--id", "model_id", metavar="ID", help="Its id; none: one is made.")
@_params
@quiet_option
@administers(models=True)
def models_add(
    desk: Desk,
    *,
    name: str,
    model: str,
    model_id: str | None,
    params: tuple[str, ...],
    infos: tuple[str, ...],
    quiet: bool,
) -> None:
    """Add a model under the public name NAME, which several may share.

    \b
    bursar models add gpt-4o --model openai/gpt-4o --param api_key=os.environ/OPENAI_API_KEY
    bursar models add local --model openai/llama --param api_base=http://10.0.0.7:8000/v1 --param api_key=- < key.txt
    """
    _need_stored_models(desk)
    info = assigned(infos, "--info") | ({} if model_id is None else {"id": model_id})
    body = {
        "model_name": name,
        "litellm_params": {"model": model, **assigned(params, "--param")},
        "model_info": info,
    }
    desk.tell_made(desk.api.post("/model/new", body), "model_id", quiet=quiet)


@models.command("update")
@_model_argument
@click.option("--name", "model_name", help="The public name from now on.")
@click.option("--model", "upstream", help="Whose model it is, and which.")
@_params
@click.option("--blocked/--unblocked", default=None, help="Whether calls to it are refused.")
@administers(models=True)
def models_update(
    desk: Desk,
    *,
    model: str,
    model_name: str | None,
    upstream: str | None,
    params: tuple[str, ...],
    infos: tuple[str, ...],
    blocked: bool | None,
) -> None:
    """Change a model of the database. What is not named stays as it is; null takes away.

    \b
    bursar models update gpt-4o --param rpm=100 --param timeout=null
    """
    _need_stored_models(desk)
    given = assigned(params, "--param") | ({} if upstream is None else {"model": upstream})
    body = {
        "model_name": model_name,
        "litellm_params": given,
        "model_info": assigned(infos, "--info") | {"id": model_id(desk.api, model)},
        "blocked": blocked,
    }
    desk.tell_row(desk.api.post("/model/update", body))


@models.command("delete")
@_model_argument
@yes_option
@administers(models=True)
def models_delete(desk: Desk, *, model: str, yes: bool) -> None:
    """Delete a model of the database. Calls that are under way end as they began.

    \b
    bursar models delete gpt-4o --yes
    """
    _need_stored_models(desk)
    found = model_id(desk.api, model)
    ask_first(f"Delete the model {found}?", yes=yes)
    desk.tell_done(desk.api.post("/model/delete", {"id": found}), f"Deleted the model {found}.")


def _need_stored_models(desk: Desk) -> None:
    """The API refuses it as well; a command has more to say about it."""
    from bursar.domain.errors import ConfigError

    if not desk.api.stores_models:
        raise ConfigError(
            "no models are kept in the database. Turn it on for the gateway: `store_model_in_db: true` in the "
            "general_settings of its config.yaml, or STORE_MODEL_IN_DB=True. Then name that file with --config, or set "
            "the variable, here as well."
        )
