"""What keeps a gateway from starting: said in one message, exit code 1, and nothing left running or changed."""

import os
import socket
from pathlib import Path

import asyncpg
import pytest

from bursar.store.embedded import EmbeddedPostgres
from tests.process.checks import check_served, until_served
from tests.process.gateway import Gateway, MakeGateway
from tests.process.program import ordinary_user

STRONG = "sk-3b1cf6a08e5d49719d0c7a52e4f8b6d1"


def refusal(gateway: Gateway, *arguments: str) -> str:
    """What it says when it cannot start."""
    program = gateway.launch(*arguments)
    assert program.wait() == 1, program.output
    assert program.family() == []
    assert "Traceback" not in program.output
    errors = [line for line in program.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, program.output
    return errors[0]


async def test_twice_on_one_data_directory(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    first = gateway.start()
    workers = gateway.workers()
    second = Gateway(gateway.place / "second", environ=gateway.environ)
    program = second.launch("--data-dir", str(gateway.data))
    try:
        assert program.wait() == 1
        assert f"is in use by another bursar (pid {first.pid})" in program.output
        assert f"kill {first.pid}" in program.output
        assert "--data-dir" in program.output
    finally:
        second.close()
    assert [worker.pid for worker in gateway.workers()] == [worker.pid for worker in workers]
    assert all(worker.alive for worker in workers)
    await check_served(gateway)
    assert gateway.stop() == 0


async def test_a_port_in_use(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(gateway, "--port", str(port)) == (
            f"Error: port {port} on 127.0.0.1 is in use. Choose another with --port, or stop its owner."
        )
        assert not (gateway.data / "pg").exists()
    gateway.start("--port", str(port))
    await check_served(gateway)
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"- model_list\n", "is not a mapping"),
        (b"model_list:\n\t- model_name: x\n", "line 2, column 1: YAML error"),
        (b"model_list: {a: 1}\n", "model_list: expected a list"),
        (b"bursar_settings: {grace: 3}\n", "bursar_settings.grace: unknown key; did you mean grace_s?"),
        (b"bursar_settings: {grace_s: 20s}\n", 'bursar_settings.grace_s: expected seconds as a number, got "20s"'),
        (None, "Config file not found"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_configuration_that_is_none(config: bytes | None, said: str, make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    path = gateway.place / "config.yaml"
    if config is not None:
        path.write_bytes(config)
    error = refusal(gateway, "--config", str(path))
    assert str(path) in error
    assert said in error
    assert not gateway.data.exists()


@pytest.mark.parametrize("key", ["", "sk-1234", "password"])
def test_a_weak_master_key_off_loopback(key: str, make_gateway: MakeGateway) -> None:
    gateway = make_gateway(environ={"LITELLM_MASTER_KEY": key})
    error = refusal(gateway, "--host", "0.0.0.0")
    assert ("can be guessed" if key else "is not set") in error
    assert "open to other machines" in error
    assert "Set LITELLM_MASTER_KEY to a random key" in error
    assert key == "" or key not in error
    assert not gateway.data.exists()


async def test_a_strong_master_key_off_loopback(make_gateway: MakeGateway, database_url: str) -> None:
    gateway = make_gateway(environ={"LITELLM_MASTER_KEY": STRONG, "DATABASE_URL": database_url})
    gateway.start("--host", "0.0.0.0")
    await check_served(gateway)
    assert STRONG not in gateway.program.output
    assert gateway.stop() == 0


async def test_a_database_that_is_late_or_never_there(make_gateway: MakeGateway, place: Path) -> None:
    """It gets a moment, since it may have been started together with us."""
    late = EmbeddedPostgres(place / "server")
    (place / "server").mkdir()
    (place / "server").chmod(0o711)
    late.start(lambda _: None)
    url = late.url("postgres")
    late.stop()
    never = make_gateway(name="never", environ={"DATABASE_URL": "postgresql://someone:hush-hush@127.0.0.1:1/books"})
    hopeless = never.launch()
    gateway = make_gateway(environ={"DATABASE_URL": url})
    gateway.launch()
    gateway.program.wait_for("^Waiting for the database: the database does not answer")
    try:
        late.start(lambda _: None)
        gateway.program.wait_for("^Bursar is ready on ")
        await check_served(gateway)
        assert gateway.stop() == 0
    finally:
        late.stop()
    assert hopeless.wait() == 1
    assert "Error: the database does not answer: Connect" in hopeless.output
    assert "(waited 15 s)" in hopeless.output
    assert "hush" not in hopeless.output
    assert "Traceback" not in hopeless.output


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("INSERT INTO bursar.migrations VALUES (99, 'future', 'x')", "the database is newer than this bursar"),
        ("UPDATE bursar.migrations SET checksum = 'x'", "made by a different build"),
        ("DROP TABLE bursar.migrations", "a schema called bursar that bursar did not make"),
        ("DROP SCHEMA bursar CASCADE", "the database of a LiteLLM proxy"),
    ],
    ids=["newer", "other-build", "foreign-schema", "litellm"],
)
async def test_a_database_that_is_not_for_us(
    prepare: str, said: str, make_gateway: MakeGateway, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(prepare)
    await connection.close()
    assert said in refusal(make_gateway(environ={"DATABASE_URL": database_url}))


def test_a_database_that_refuses_us(make_gateway: MakeGateway, database_url: str) -> None:
    """At once: waiting would not help."""
    wrong = database_url.replace("bursar:", "bursar:wrong", 1)
    gateway = make_gateway(environ={"DATABASE_URL": wrong})
    error = refusal(gateway)
    assert "the database refuses the connection: password authentication failed" in error
    assert "Check DATABASE_URL" in error
    assert "Waiting" not in gateway.program.output


@pytest.mark.parametrize("closed", [".", "keys", "journal", "lock", "keys/master_key"])
def test_a_data_directory_that_is_not_writable(closed: str, make_gateway: MakeGateway, place: Path) -> None:
    """To anybody but root, who may write everywhere."""
    gateway = make_gateway(environ={"LITELLM_MASTER_KEY": ""})
    gateway.identity = ordinary_user(gateway.place)
    for name in (".", "keys", "journal"):
        (gateway.data / name).mkdir(exist_ok=True)
    for name in ("lock", "keys/master_key"):
        (gateway.data / name).write_text("x")
    owner = gateway.place.stat()
    for path in [gateway.data, *gateway.data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    shut = gateway.data / closed
    shut.chmod(0o500 if shut.is_dir() else 0)
    error = refusal(gateway)
    shut.chmod(0o700)
    assert f"the data directory {gateway.data} cannot be used: {shut}: Permission denied" in error
    assert "--data-dir" in error


@pytest.mark.parametrize("who", ["root", "ordinary"])
async def test_whoever_starts_it(who: str, make_gateway: MakeGateway) -> None:
    """PostgreSQL refuses to run as root; as anybody else everything is that user's."""
    gateway = make_gateway(environ={"LITELLM_MASTER_KEY": ""})
    if who == "ordinary":
        gateway.identity = ordinary_user(gateway.place)
    program = gateway.start()
    await check_served(gateway)
    server = Path(f"/proc/{gateway.database().pid}").stat().st_uid
    supervisor = Path(f"/proc/{program.pid}").stat().st_uid
    assert server == supervisor or (supervisor, who) == (0, "root")
    key = gateway.key
    assert f"Admin key  {key}   (made just now" in program.output
    assert gateway.stop() == 0
    gateway.start()
    assert gateway.key == key
    assert key not in gateway.program.output
    await check_served(gateway)
    assert gateway.stop() == 0


async def test_root_after_its_owner_and_back(make_gateway: MakeGateway) -> None:
    """What root leaves behind in somebody's data directory does not stop them (it is told, and adopted by root)."""
    gateway = make_gateway()
    owner = ordinary_user(gateway.place)
    for identity in (owner, "self", owner):
        gateway.identity = identity
        gateway.start()
        await until_served(gateway)
        assert gateway.stop() == 0


def test_a_certificate_that_is_none(make_gateway: MakeGateway, database_url: str) -> None:
    """Only a worker finds out."""
    config = "model_list: []\nlitellm_settings: {ssl_verify: /no/such.pem}\n"
    gateway = make_gateway(config=config, environ={"DATABASE_URL": database_url})
    error = refusal(gateway)
    assert "before it was ready; its own words are above" in error
    assert "litellm_settings.ssl_verify: /no/such.pem cannot be used: No such file" in gateway.program.output
