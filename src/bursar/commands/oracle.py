"""`bursar upstream`: a local provider."""

from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4010, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--bill",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Append a line of JSON for each served call to this file.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes to serve with.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="MODEL=prompt:USD,completion:USD[,…]",
    help="US dollars per million tokens; also cached, cache_write, audio_in, reasoning, audio_out. "
    "The model * stands for all others (default: prompt:1,cached:0.25,completion:4). Repeatable.",
)
@click.option("--grace", "grace_s", default=2.0, show_default=True, help="Seconds that calls get to end in.")
def upstream(*, host: str, port: int, bill: Path | None, workers: int, prices: tuple[str, ...], grace_s: float) -> None:
    """Run a local provider to try things with.

    It answers, fails and stalls on demand, and keeps its own bill. It speaks OpenAI's chat completions, streamed and
    not. Point a gateway or client at it and say in the model's name how it shall answer; any API key will do.

    \b
    Fifty tokens, one each 10 ms:       oracle?tokens=50&delay_ms=10
    A price of its own, cached input:   gpt-4o?cached=100
    Too many requests, twice:           oracle?fault=status:429&retry_after=1&times=2
    Cut after three chunks:             oracle?fault=cut:3c
    Never answers:                      oracle?fault=stall
    No usage, no [DONE]:                oracle?usage=none&done=0

    \b
    Try it:
      bursar upstream --bill bill.jsonl --price gpt-4o=prompt:2.5,cached:1.25,completion:10
      curl http://127.0.0.1:4010/v1/chat/completions -H 'content-type: application/json' \\
        -d '{"model": "oracle?tokens=5", "messages": [{"role": "user", "content": "Hi"}]}'

    docs/oracle.md has all words of the language and the rules of the bill.
    """
    import socket

    from bursar.oracle.serving import serve_in_workers, serve_oracle
    from bursar.oracle.tariff import TariffError, parse_tariffs

    try:
        tariffs = parse_tariffs(prices)
    except TariffError as error:
        raise click.BadParameter(str(error), param_hint="--price") from None
    if bill is not None:
        try:
            bill.touch(mode=0o600)
        except OSError as error:
            raise click.BadParameter(f"{bill} cannot be written: {error.strerror}", param_hint="--bill") from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host} port {port}: {error.strerror}") from None
    authority = f"[{host}]" if ":" in host else host
    url = f"http://{authority}:{sock.getsockname()[1]}/v1"

    def ready() -> None:
        click.echo(f"Oracle upstream: {url}")
        click.echo(f"Bill:            {bill if bill is not None else 'none (--bill FILE keeps one)'}")
        click.echo(f'Use it:          base_url="{url}", any API key, model="oracle?tokens=20" (bursar upstream --help)')

    if workers == 1:
        serve_oracle(sock, ready, bill=bill, tariffs=tariffs, grace_s=grace_s)
    else:
        raise SystemExit(serve_in_workers(sock, workers, bill=bill, tariffs=tariffs, grace_s=grace_s, on_ready=ready))
