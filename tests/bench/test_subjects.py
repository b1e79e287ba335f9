"""Real processes: what the driver is told of them must be true."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as command
from bench.litellm import litellm_version, start_litellm
from bench.load import Closed, Plan
from bench.measure import Meter
from bench.nginx import configuration, find_nginx
from bench.programs import ROOT, BenchError, Program, clean_environment, free_port, run_plan
from bench.sizes import QUICK, once
from bench.subjects import direct, plan_for, start_floor
from bench.upstream import ANSWER_MODEL, STREAM_MODEL, Upstream
from bursar.config.load import load_config


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="bench-test-"))
    yield directory
    shutil.rmtree(directory)


def test_the_floor_is_measured_and_billed(place: Path) -> None:
    with ExitStack() as stack:
        upstream = Upstream(place, workers=1)
        stack.callback(upstream.stop)
        floor = start_floor(place, upstream, stack)
        meter = Meter(upstream, msgspec.structs.replace(QUICK, latency_s=0.2))
        measured = meter.together(floor, 300)
        assert (measured.result.calls, meter.answered) == (300, {"floor": 300})
        assert 0.001 < measured.cpu.gateway < 2.0
        assert (measured.cpu.supervisor, measured.cpu.database) == (0.0, 0.0)
        assert measured.upstream_cpu_s > 0
        streams = run_plan(plan_for(floor, Closed(3, 3), streamed=True))
        assert (streams.calls, streams.events) == (3, 306)
        assert len(upstream.bill_of(floor.answers.key)) == 303
        assert upstream.bill_of("sk-nobody") == []
        latency = meter.latency(floor, direct(upstream), capacity_per_s=1000.0, seed=1)
        assert latency.through.offered_per_s == latency.direct.offered_per_s == 500.0
        assert latency.through.calls == latency.direct.calls


_STAND_IN = """#!/bin/sh
[ "$1" = --version ] && echo "LiteLLM: Current Version = 1.2.3" && exit
while [ "$1" != --port ]; do shift; done
cd {root} && exec {python} -m bench.floor --port "$2" --upstream {upstream}
"""
"""Takes LiteLLM's options, and answers models by any name as the floor does."""


def test_another_gateway_is_started_with_its_configuration(place: Path) -> None:
    with ExitStack() as stack:
        upstream = Upstream(place, workers=1)
        stack.callback(upstream.stop)
        program = place / "litellm"
        program.write_text(_STAND_IN.format(root=ROOT, python=sys.executable, upstream=upstream.port))
        program.chmod(0o755)
        assert litellm_version(program) == "1.2.3"
        subject = start_litellm(program, place, upstream, stack)
        measured = Meter(upstream, once(QUICK)).together(subject, 50)
        assert measured.result.calls == 50
        assert measured.cpu.gateway > 0
        config = load_config(place / "litellm.yaml", {}).config
        assert [deployment.model_name for deployment in config.deployments] == [
            subject.answers.model,
            subject.streams.model,
        ]
        assert {deployment.model for deployment in config.deployments} == {
            f"openai/{ANSWER_MODEL}",
            f"openai/{STREAM_MODEL}",
        }


def test_what_is_no_litellm_is_refused(place: Path) -> None:
    with pytest.raises(BenchError, match="cannot be run"):
        litellm_version(place / "nothing")
    with pytest.raises(BenchError, match="--version failed"):
        litellm_version(Path("/bin/false"))


def test_failed_calls_end_the_run(place: Path) -> None:
    with ExitStack() as stack:
        upstream = Upstream(place, workers=1)
        stack.callback(upstream.stop)
        plan = plan_for(direct(upstream), Closed(1, 3))
        with pytest.raises(BenchError, match=r"3 × status 404 \(0 were"):
            run_plan(Plan(port=plan.port, body=plan.body, path="/elsewhere", pace=plan.pace))


def test_a_program_that_ends_says_why(place: Path) -> None:
    program = Program("sh", ["sh", "-c", "echo the reason >&2; exit 3"], log=place / "log")
    with pytest.raises(BenchError, match=r"ended without saying 'ready'\. It said:\nthe reason"):
        program.wait_for("ready")
    program.stop()


def test_a_program_is_ended(place: Path) -> None:
    program = Program("sh", ["sh", "-c", "echo ready; exec sleep 60"], log=place / "log")
    assert program.wait_for("ready") == "ready"
    program.check()
    program.stop()
    program.stop()
    with pytest.raises(BenchError, match="ended with code -15"):
        program.check()


def test_settings_of_the_machine_do_not_reach_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/books")
    monkeypatch.setenv("NUM_WORKERS", "7")
    assert not {"DATABASE_URL", "NUM_WORKERS"} & clean_environment().keys()
    assert "PATH" in clean_environment()


def test_nginx_keeps_connections_and_logs_nothing(place: Path) -> None:
    text = configuration(directory=place, upstream_port=1, answers_port=2, streams_port=3)
    assert text.count("{") == text.count("}")
    for setting in ("worker_processes 1;", "access_log off;", 'proxy_set_header Connection "";', "keepalive 512;"):
        assert setting in text


def test_an_nginx_that_is_none_is_refused(place: Path) -> None:
    with pytest.raises(BenchError, match="--nginx PATH"):
        find_nginx(place / "nginx", print)


def test_a_run_that_cannot_be_made_has_a_code_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--nginx", str(place / "nginx")])
    assert command.main() == 2
    assert "is not a program" in capsys.readouterr().err


def test_help_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for words in ("--quick", "--json", "--nginx", "exit codes", "examples", "docs/benchmarks.md"):
        assert words in text


def test_free_ports_are_ports() -> None:
    assert 1024 <= free_port() < 65536
