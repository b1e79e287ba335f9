"""`bursar serve` and `bursar check`."""

import sys
from pathlib import Path

import click

from bursar.command_line import Command, data_dir_option, told
from bursar.commands.say import say

config_option = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A LiteLLM config.yaml. Without one: a built-in demo model, and the models your provider keys allow.",
)


def _litellm_flags(command: Command) -> Command:
    """Options of LiteLLM's own command line that have no meaning here: accepted, so that existing start lines work."""
    for name in (
        "--debug",
        "--detailed_debug",
        "--run_gunicorn",
        "--run_granian",
        "--run_hypercorn",
        "--use_prisma_db_push",
        "--use_prisma_migrate",
        "--skip_server_startup",
        "--drop_params",
        "--use_v2_migration_resolver",
    ):
        command = click.option(name, is_flag=True, hidden=True, expose_value=False)(command)
    for name in ("--telemetry", "--log_config", "--prometheus_metrics_port", "--keepalive_timeout", "--max_budget"):
        command = click.option(name, hidden=True, expose_value=False)(command)
    return command


@click.command()
@config_option
@click.option("--host", help="Address to listen on. [default: $HOST, else 127.0.0.1]")
@click.option("--port", "-p", type=int, help="Port to listen on; 0 takes a free one. [default: $PORT, else 4000]")
@click.option(
    "--workers", "--num_workers", "workers", type=int, help="Worker processes. [default: $NUM_WORKERS, else 1]"
)
@data_dir_option
@click.option(
    "--ssl-certfile",
    "--ssl_certfile_path",
    "certificate",
    type=click.Path(exists=True, path_type=Path),
    envvar="SSL_CERTFILE_PATH",
    help="Speak TLS with this certificate.",
)
@click.option(
    "--ssl-keyfile",
    "--ssl_keyfile_path",
    "key",
    type=click.Path(exists=True, path_type=Path),
    envvar="SSL_KEYFILE_PATH",
    help="The certificate's private key.",
)
@click.option(
    "--validate-config", "--validate_config", "validate", is_flag=True, help="Check the configuration and exit."
)
@_litellm_flags
def serve(  # one parameter an option
    config_path: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    data_dir: Path | None,
    certificate: Path | None,
    key: Path | None,
    validate: bool,
) -> None:
    """Run the gateway.

    Without DATABASE_URL an embedded PostgreSQL server is made in the data directory. Without a master key
    (LITELLM_MASTER_KEY or general_settings.master_key) one is made and shown once. SIGTERM or Ctrl-C lets running calls
    end within bursar_settings.grace_s; a second one ends them at once, booked.

    \b
    bursar serve --port 4001 --data-dir ./books
    DATABASE_URL=postgresql://… bursar serve -c config.yaml --host 0.0.0.0 --workers 4
    """
    from bursar.config.options import Flags
    from bursar.main import TlsFiles
    from bursar.main import serve as run

    if validate:
        _check(config_path)
        return
    if (certificate is None) != (key is None):
        raise click.UsageError("--ssl-certfile and --ssl-keyfile go together")
    tls = None if certificate is None or key is None else TlsFiles(certificate, key)
    flags = Flags(host=host, port=port, workers=workers, data_dir=data_dir)
    with told():
        sys.exit(run(config_path, flags, say=say, tls=tls))


@click.command()
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(dir_okay=False, path_type=Path))
def check(config_path: Path | None) -> None:
    """Explain what was understood of a configuration.

    Groups and deployments, prices found and missing, keys not set, settings without effect. Exit code 1 when the
    gateway could not run with it. Without CONFIG: what `bursar serve` would do by itself.

    \b
    bursar check config.yaml
    bursar check && bursar serve
    """
    _check(config_path)


def _check(config_path: Path | None) -> None:
    from bursar.main import check as explain

    with told():
        report = explain(config_path)
    click.echo(report.text)
    sys.exit(0 if report.ok else 1)
