"""nginx as a plain reverse proxy: one worker, connections kept alive on both sides, nothing logged."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.debian import ProgramMissing, find_program
from bench.programs import BenchError

_CURE = "Install it (Debian: apt-get install nginx-light), or name one: --nginx PATH"

_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen 127.0.0.1:{answers_port} backlog=2048;
        location / {{ proxy_pass http://provider; proxy_buffering on; }}
    }}
    server {{
        listen 127.0.0.1:{streams_port} backlog=2048;
        location / {{ proxy_pass http://provider; proxy_buffering off; }}
    }}
}}
"""


def configuration(*, directory: Path, upstream_port: int, answers_port: int, streams_port: int) -> str:
    """A configuration that needs nothing outside `directory`. Answers are buffered, streams are not."""
    return _CONFIGURATION.format(
        directory=directory, upstream_port=upstream_port, answers_port=answers_port, streams_port=streams_port
    )


def find_nginx(named: Path | None, say: Callable[[str], None]) -> Path:
    """The nginx to run: the one named, else of PATH, else, for root on Debian, one that is installed now.

    Raises BenchError: there is none.
    """
    if named is not None:
        if not os.access(named, os.X_OK):
            raise BenchError(f"{named} is not a program. {_CURE}")
        return named
    try:
        return find_program("nginx", "nginx-light", "nginx", say=say)
    except ProgramMissing as error:
        raise BenchError(f"{error}, or name one: --nginx PATH") from error


def version_of(nginx: Path) -> str:
    """Such as `1.22.1`."""
    done = subprocess.run([str(nginx), "-v"], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("/")[2]
