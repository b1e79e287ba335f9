"""`bursar serve` and `bursar upstream` as a test has them: started, stopped, killed, and started again."""

import re
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bursar.oracle.bill import BillLine, read_bill
from bursar.store.embedded import EmbeddedPostgres
from tests.process.process_table import Process, survivors
from tests.process.program import BURSAR, Program

MASTER_KEY = "sk-master-of-the-process-tests"

EVERYTHING = """\
model_list:
  - model_name: "*"
    litellm_params:
      model: openai/*
      api_base: os.environ/ORACLE_BASE
      api_key: anything
      input_cost_per_token: 0.000001
      cache_read_input_token_cost: 0.00000025
      output_cost_per_token: 0.000004
  - model_name: dead
    litellm_params:
      model: openai/dead
      api_base: http://127.0.0.1:1/v1
      api_key: anything
      input_cost_per_token: 0.000001
      output_cost_per_token: 0.000004
general_settings:
  forward_client_headers_to_llm_api: true  # so that the client's mark of a call arrives on the bill
"""
"""Any name is a model of the oracle's, at the oracle's prices; `dead` is one that nobody serves."""


@dataclass
class Oracle:
    """A running `bursar upstream`."""

    program: Program
    base_url: str
    bill_path: Path

    def bill(self) -> list[BillLine]:
        """The bill so far."""
        return read_bill(self.bill_path)


def start_oracle(place: Path, *arguments: str) -> Oracle:
    """A provider in `place`, ready."""
    place.mkdir()
    bill = place / "bill.jsonl"
    program = Program("upstream", "--port", "0", "--bill", str(bill), *arguments, place=place)
    found = program.wait_for(r"^Oracle upstream: (http://\S+)$")
    return Oracle(program, found[1], bill)


@dataclass
class Gateway:
    """A place for a gateway, and the `bursar serve` that runs there."""

    place: Path
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    identity: str = "self"
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir()
        self.place.chmod(0o711)  # started by root, the database runs as another user, who passes through here

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.place / "data"

    @property
    def program(self) -> Program:
        """The one started last."""
        return self.programs[-1]

    def configure(self, text: str) -> None:
        """Give it a config file."""
        path = self.place / "config.yaml"
        path.write_text(text)
        path.chmod(0o644)
        self.arguments = (*self.arguments, "--config", str(path))

    def launch(self, *arguments: str, terminal: bool = False, command: tuple[str, ...] = BURSAR) -> Program:
        """Start, and wait for nothing."""
        program = Program(
            *("serve", "--port", "0", "--data-dir", str(self.data), *self.arguments, *arguments),
            place=self.place,
            environ=self.environ,
            identity=self.identity,
            command=command,
            terminal=terminal,
        )
        self.programs.append(program)
        return program

    def start(self, *arguments: str, terminal: bool = False, command: tuple[str, ...] = BURSAR) -> Program:
        """Start, and wait until it is ready."""
        program = self.launch(*arguments, terminal=terminal, command=command)
        program.wait_for(r"^Bursar is ready on ")
        return program

    @property
    def origin(self) -> str:
        """Where it listens."""
        return self.program.wait_for(r"^Bursar is ready on (http://\S+)$")[1]

    @property
    def port(self) -> int:
        """Of `origin`."""
        port = urlsplit(self.origin).port
        assert port is not None
        return port

    @property
    def key(self) -> str:
        """A key that it takes."""
        if given := self.environ.get("LITELLM_MASTER_KEY"):
            return given
        return (self.data / "keys" / "master_key").read_text().strip()

    def database_url(self) -> str:
        """Of its embedded server, or of the one it was given."""
        return self.environ.get("DATABASE_URL") or EmbeddedPostgres(self.data).url()

    def workers(self) -> list[Process]:
        """Its forked processes: workers, and the demo's upstream."""
        return [p for p in self.program.family() if p.parent == self.program.pid and "postgres" not in p.command]

    def database(self) -> Process:
        """Its embedded server."""
        [server] = [p for p in self.program.family() if p.parent == self.program.pid and "postgres" in p.command]
        return server

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in order; the exit code. Nothing of it may be left."""
        everything = self.program.family()
        self.program.signal(number)
        code = self.program.wait()
        assert survivors(everything, 10.0) == []
        return code

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for program in self.programs:
            program.close()
        if (self.data / "keys" / "postgres_password").exists():
            # A killed server's socket stays.
            sockets = parse_qs(urlsplit(EmbeddedPostgres(self.data).url()).query)["host"][0]
            assert re.fullmatch(r"bursar-[0-9a-f]{16}", Path(sockets).name)
            shutil.rmtree(sockets, ignore_errors=True)


MakeGateway = Callable[..., Gateway]
