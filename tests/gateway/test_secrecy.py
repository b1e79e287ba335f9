"""Secrets planted everywhere, then everything made to fail: none of them may turn up where others read.

Looked through: the answers' heads and bodies, the log at its most talkative, all rows of the database, the journal.
"""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import MESSAGES, Books, Gateway, config_text, running_gateway
from tests.gateway.scripted_upstream import Script, ScriptedUpstream, scripted_upstream, streaming, whole
from tests.oracle.raw_client import Answer

PROVIDER = "sk-proj-canaryprovider-4f9a2c"
HEADER = "canary-of-a-header-77b1"
MASTER = "sk-canarymaster-of-these-tests-91d3"
VIRTUAL = "sk-canaryvirtual-key-of-a-client-5e08"
COOKIE = "session-canary-at-the-provider-3d2f"
CHAT = "/v1/chat/completions"


@dataclass
class Witness:
    """Everything others could read."""

    secrets: list[str]
    answers: list[Answer] = field(default_factory=list)

    def leaks(self, texts: dict[str, str]) -> list[str]:
        """Which secret is where."""
        seen = texts | {
            f"answer {n}": answer.raw.decode("latin-1") + answer.body.decode("latin-1")
            for n, answer in enumerate(self.answers)
        }
        return [f"{secret} in {place}" for secret in self.secrets for place, text in seen.items() if secret in text]


@pytest.fixture
def witness(database_url: str) -> Witness:
    password = unquote(urlsplit(database_url).password or "")
    assert len(password) > 10
    return Witness([PROVIDER, HEADER, MASTER, VIRTUAL, COOKIE, password])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that is logged, by anybody, at any level."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text


async def whole_database(books: Books) -> str:
    """Every row of every table, as text."""
    await books.posted()
    tables = await books.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'bursar')"
    )
    texts = []
    for table in tables:
        rows = await books.fetch(f"SELECT t::text AS text FROM {table['name']} AS t")  # our own tables' names
        texts += [row["text"] for row in rows]
    quarantined = await books.fetch("SELECT convert_from(content, 'UTF8') AS text FROM bursar.quarantine")
    return "\n".join(texts + [row["text"] for row in quarantined])


def journals(gateway: Gateway) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in gateway.journals.rglob("*") if path.is_file())


ECHO = f'Incorrect API key provided: {PROVIDER}. Header was "Bearer {PROVIDER}", x-team: {HEADER}'.encode()


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


CHUNK = b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
ERROR = b'{"error":{"message":"%b","type":"%b","code":"%b","param":"%b"}}'
SAYING_IT = ERROR % (ECHO.replace(b'"', b"'"), PROVIDER.encode(), PROVIDER.encode(), HEADER.encode())
COOKIES = f"set-cookie: {COOKIE}; Path=/"
GOOD = b'{"id":"x","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'


INDISCREET: dict[str, Script] = {
    **{
        f"json {status}": whole(SAYING_IT, COOKIES, f"x-api-key: {PROVIDER}", status=f"{status} No")
        for status in (400, 401, 403, 404, 408, 422, 429, 500, 502, 503)
    },
    "text": whole(ECHO, COOKIES, status="401 No", content_type="text/plain"),
    "html": whole(b"<html>" + ECHO + b"</html>", status="502 No", content_type="text/html"),
    "detail": whole(b'{"detail":[{"msg":"' + PROVIDER.encode() + b'"}]}', status="422 No"),
    "traceback": whole(b"Traceback (most recent call last)\n  key=" + PROVIDER.encode(), status="500 No"),
    "error in a success": whole(SAYING_IT),
    "no json": whole(ECHO),
    "error as an event": streaming(event(SAYING_IT)),
    "error after chunks": streaming(event(CHUNK), event(CHUNK), event(SAYING_IT)),
    "no json as an event": streaming(event(CHUNK), event(ECHO)),
    "cut": streaming(event(CHUNK), b"data: " + ECHO),
    "a header of a good answer": whole(GOOD, f"x-key: {PROVIDER}"),
    "a header of a good stream": streaming(event(CHUNK), b"data: [DONE]\n\n", fields=[f"x-key: {PROVIDER}"]),
    "redirect": whole(b"", f"location: https://x/?key={PROVIDER}", status="307 Go"),
}


@pytest.fixture
async def indiscreet(request: pytest.FixtureRequest) -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream(INDISCREET[request.param]) as upstream:
        yield upstream


@pytest.mark.parametrize("indiscreet", list(INDISCREET), indirect=True)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_providers_that_repeat_their_key(
    start_gateway: StartGateway,
    indiscreet: ScriptedUpstream,
    witness: Witness,
    books: Books,
    log: Callable[[], str],
    stream: bool,
) -> None:
    gateway = await start_gateway(
        models=f"""
        - model_name: odd
          litellm_params: {{{{model: openai/m, api_base: '{indiscreet.base_url}', api_key: {PROVIDER},
            extra_headers: {{{{x-team: {HEADER}}}}}}}}}
        """,
        settings="general_settings: {store_prompts_in_spend_logs: true}",
        master_key=MASTER,
    )
    await gateway.request("POST", "/key/generate", {"key": VIRTUAL}, key=MASTER)
    witness.answers.append(await gateway.chat("odd", key=VIRTUAL, stream=stream))
    assert PROVIDER.encode() in indiscreet.requests[0], "the canary was there to be told"
    assert HEADER.encode() in indiscreet.requests[0]
    texts = {"log": log(), "database": await whole_database(books), "journal": journals(gateway)}
    assert witness.leaks(texts) == []


async def test_every_way_to_be_refused(
    start_gateway: StartGateway, oracle: RunningOracle, witness: Witness, books: Books, log: Callable[[], str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        nobody = sock.getsockname()[1]
    gateway = await start_gateway(
        models=f"""
        - model_name: refused
          litellm_params: {{{{model: openai/m, api_base: 'http://127.0.0.1:{nobody}/v1', api_key: {PROVIDER}}}}}
        - model_name: nowhere
          litellm_params: {{{{model: openai/m, api_base: 'http://provider.invalid/v1', api_key: {PROVIDER}}}}}
        - model_name: no-tls
          litellm_params: {{{{model: openai/m, api_base: 'https://127.0.0.1:{oracle.port}/v1', api_key: {PROVIDER}}}}}
        - model_name: bad
          litellm_params: {{{{model: openai/oracle?fault=close, api_base: '{oracle.base_url}', api_key: {PROVIDER}}}}}
        - model_name: native
          litellm_params: {{{{model: bedrock/x, api_key: {PROVIDER}}}}}
        """,
        master_key=MASTER,
    )
    answers = witness.answers
    answers.append(await gateway.request("POST", "/key/generate", {"key": VIRTUAL, "spend": "x"}, key=MASTER))
    answers.append(await gateway.request("POST", "/key/generate", {"key": MASTER + "\n"}, key=MASTER))
    assert (await gateway.request("POST", "/key/generate", {"key": VIRTUAL}, key=MASTER)).status == 200
    answers.append(await gateway.request("POST", "/key/generate", {"key": VIRTUAL}, key=MASTER))  # exists already
    for model in ("refused", "nowhere", "no-tls", "bad", "native", "nobody"):
        answers.append(await gateway.chat(model, key=VIRTUAL))
        answers.append(await gateway.chat(model, key=VIRTUAL, stream=True))
    for name, value in (
        ("authorization", VIRTUAL),
        ("authorization", f"Token {VIRTUAL}"),
        ("authorization", f"Bearer {VIRTUAL}{VIRTUAL[-1]}"),
        ("authorization", f"Bearer x{VIRTUAL}"),
        ("x-litellm-api-key", f"{MASTER}x"),
        ("api-key", f"-{MASTER}"),
        ("cookie", MASTER),
    ):
        answers.append(await gateway.chat(key=None, headers={name: value}))
    members: list[dict[str, Any]] = [
        {"api_key": PROVIDER},
        {"extra_headers": {"authorization": PROVIDER}},
        {"extra_headers": {"x-mine": PROVIDER + "\r\n"}},
        {"extra_headers": {PROVIDER + " ": "x", "a b": PROVIDER}},
        {"user_config": {"api_key": PROVIDER}},
        {"metadata": PROVIDER},
        {"messages": PROVIDER},
    ]
    for extra in members:
        answers.append(await gateway.chat(key=VIRTUAL, **extra))
    for path in (f"/v1/chat/completions?api_key={VIRTUAL}", f"/nowhere?key={VIRTUAL}", f"/key/info?x={VIRTUAL}"):
        answers.append(await gateway.request("POST", path, {"model": "nobody", "messages": MESSAGES}, key=VIRTUAL))
    for method, path, body in (
        ("POST", "/key/delete", {"keys": [MASTER]}),
        ("POST", "/key/delete", {"keys": "x"}),
        ("POST", "/key/generate", {}),
        ("GET", "/health", None),
    ):
        answers.append(await gateway.request(method, path, body, key=VIRTUAL))
    answers.append(await gateway.request("GET", "/health", key=MASTER))
    data = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer " + VIRTUAL.encode()
    answers.append(await gateway.exchange(data + b"\x00\r\n\r\n"))
    answers.append(await gateway.exchange(data + b"\r\nauthorization: Bearer " + MASTER.encode() + b"\r\n\r\n"))
    assert sum(answer.status >= 400 for answer in answers) == len(answers) - 2, "all but the two for health"
    texts = {"log": log(), "database": await whole_database(books), "journal": journals(gateway)}
    assert witness.leaks(texts) == []


async def test_a_mistake_of_ours(
    start_gateway: StartGateway, witness: Witness, books: Books, log: Callable[[], str]
) -> None:
    """A traceback in the log names modules and lines, and no secrets; the client gets a bare 500."""
    gateway = await start_gateway(master_key=MASTER)
    assert (await gateway.request("POST", "/key/generate", {"key": VIRTUAL}, key=MASTER)).status == 200
    await books.fetch('ALTER TABLE "LiteLLM_VerificationToken" RENAME TO gone')
    try:
        witness.answers.append(await gateway.chat(key=VIRTUAL))
        witness.answers.append(await gateway.request("GET", "/key/info", key=VIRTUAL))
        witness.answers.append(await gateway.request("POST", "/key/generate", {"key": VIRTUAL + "2"}, key=MASTER))
    finally:
        await books.fetch('ALTER TABLE gone RENAME TO "LiteLLM_VerificationToken"')
    for answer in witness.answers:
        assert (answer.status, answer.json["error"]["message"]) == (500, "An internal error occurred.")
    assert "http.handler_failed" in log()
    assert witness.leaks({"log": log()}) == []


async def test_a_database_that_is_away(
    oracle: RunningOracle, witness: Witness, tmp_path: Path, log: Callable[[], str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    password = "canary-password-of-the-database-61aa"
    witness.secrets.append(password)
    url = f"postgresql://bursar:{password}@127.0.0.1:{port}/bursar"
    async with running_gateway(
        config_text(oracle.base_url), database_url=url, directory=tmp_path, master_key=MASTER
    ) as gateway:
        witness.answers.append(await gateway.chat(key=MASTER))
        witness.answers.append(await gateway.chat(key=VIRTUAL))
        witness.answers.append(await gateway.request("GET", "/key/info", key=VIRTUAL))
        witness.answers.append(await gateway.request("POST", "/key/generate", {"key": VIRTUAL}, key=MASTER))
        witness.answers.append(await gateway.request("GET", "/health/readiness"))
        assert [answer.status for answer in witness.answers] == [200, 503, 503, 503, 200]
        assert witness.leaks({"log": log(), "journal": journals(gateway)}) == []
    assert witness.leaks({"log": log()}) == []


async def test_a_database_that_refuses_the_password(
    oracle: RunningOracle, witness: Witness, database_url: str, tmp_path: Path, log: Callable[[], str]
) -> None:
    """Also when it is changed while we run: away for the moment, not broken for good."""
    wrong = "canary-wrong-password-80c4"
    witness.secrets.append(wrong)
    url = database_url.replace(urlsplit(database_url).password or "?", wrong)
    async with running_gateway(
        config_text(oracle.base_url), database_url=url, directory=tmp_path, master_key=MASTER
    ) as gateway:
        witness.answers.append(await gateway.chat(key=MASTER))
        witness.answers.append(await gateway.chat(key=VIRTUAL))
        assert [answer.status for answer in witness.answers] == [200, 503]
    assert "task.failed" not in log(), "the poster goes on trying"
    assert witness.leaks({"log": log()}) == []
