"""What a call costs on the books, beside what its provider billed: entries, evidence, and when they are written.

For every fault of docs/oracle.md: where usage is known the books are the bill; where it is not they hold an estimate
that says so; and only what the provider certainly did not run is void.
"""

import asyncio
import socket
from enum import Enum, auto

import msgspec
import pytest

from bursar.ledger.reader import JournalReader
from bursar.oracle.serving import RunningOracle
from tests.gateway.conftest import StartGateway
from tests.gateway.running import PRICE, PROMPT_TOKENS, Books, Gateway, request_bytes
from tests.gateway.scripted_upstream import answering, scripted_upstream, streaming, whole
from tests.oracle.raw_client import Answer

streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Told(Enum):
    """How much the books know."""

    BILL = auto()
    """Everything: they equal the bill."""
    INPUT = auto()
    """That the request was sent: its input is estimated."""
    OUTPUT = auto()
    """What output came as well: input and output are estimated."""
    FREE = auto()
    """That nothing was billed."""


EXPECTED_KINDS = {
    Told.BILL: ["settle", "call"],
    Told.INPUT: ["unknown", "settle", "call"],
    Told.OUTPUT: ["unknown", "settle", "call"],
    Told.FREE: ["void", "call"],
}


async def check(books: Books, oracle: RunningOracle, told: Told) -> None:
    """The entries are those of `told`, and the row is their sum."""
    row = await books.row()
    assert await books.kinds() == EXPECTED_KINDS[told]
    cost = await books.cost_nano_usd()
    assert round(row["spend"] * 1e9) == cost
    own = row["metadata"]["bursar"]
    billed = sum(line.cost_nano_usd for line in oracle.bill())
    tokens = (row["prompt_tokens"], row["completion_tokens"])
    match told:
        case Told.BILL:
            [line] = oracle.bill()
            assert (cost, tokens) == (billed, (line.prompt_tokens, line.completion_tokens))
            assert own["evidence"] == "provider"
        case Told.FREE:
            assert (cost, tokens, billed) == (0, (0, 0), 0)
            assert "evidence" not in own
        case Told.INPUT | Told.OUTPUT:
            assert own["evidence"] == "estimated"
            assert "usage_estimated" in own["flags"]
            assert tokens[0] >= PROMPT_TOKENS
            assert (tokens[1] > 0) == (told is Told.OUTPUT)
            assert cost == tokens[0] * PRICE[0] + tokens[1] * PRICE[2]


# --- answers: however usage is told ---

KNOWN = [
    *("told", "each", "last_chunk", "running", "contradictory", "wrong_total", "strings", "floats"),
    *("deepseek", "xai", "cost"),
]


@streamed_or_not
@pytest.mark.parametrize("form", KNOWN)
async def test_the_books_are_the_bill(
    gateway: Gateway, oracle: RunningOracle, books: Books, form: str, stream: bool
) -> None:
    await gateway.chat(f"at/usage={form}&cached=2&reasoning=3", stream=stream)
    await check(books, oracle, Told.BILL)


@streamed_or_not
@pytest.mark.parametrize(
    "scenario",
    [
        "usage=bare",
        "cached=3&cache_write=2&reasoning=4&audio_in=1",
        "audio_out=4",
        "prompt=123457&tokens=1",
        "tokens=0",
        "gzip",
        "done=0",
        "split=1&eol=crlf&comments",
        "refusal",
        "finish=content_filter",
        "finish=length&text=escapes&tokens=77",
    ],
)
async def test_every_class_of_tokens(
    gateway: Gateway, oracle: RunningOracle, books: Books, scenario: str, stream: bool
) -> None:
    await gateway.chat(f"at/{scenario}", stream=stream)
    await check(books, oracle, Told.BILL)


@streamed_or_not
async def test_several_choices_and_tools(gateway: Gateway, oracle: RunningOracle, books: Books, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    await gateway.chat("at/calls=2", stream=stream, n=3, tools=[tool])
    await check(books, oracle, Told.BILL)


@streamed_or_not
@pytest.mark.parametrize("form", ["none", "null", "negative", "absurd"])
async def test_usage_that_is_not_told_is_estimated(
    gateway: Gateway, oracle: RunningOracle, books: Books, form: str, stream: bool
) -> None:
    """Rather too high than too low, and never nothing; the answer is as good as any other."""
    answer = await gateway.chat(f"at/usage={form}", stream=stream)
    assert (answer.status, answer.complete) == (200, True)
    row = await books.row()
    assert await books.kinds() == ["settle", "call"]
    [line] = oracle.bill()
    assert line.cost_nano_usd <= await books.cost_nano_usd() < 2 * line.cost_nano_usd
    assert row["metadata"]["bursar"]["evidence"] == "estimated"
    assert {"usage_estimated", "missing"} <= set(row["metadata"]["bursar"]["flags"])
    assert row["status"] == "success"


async def test_an_estimated_stream_still_tells_its_usage(gateway: Gateway, books: Books) -> None:
    """Who asked for the usage chunk gets one, with the estimate that was booked."""
    answer = await gateway.stream("at/usage=none", usage=True)
    usage = answer.chunk_objects[-1]["usage"]
    row = await books.row()
    assert usage["cost"] == row["spend"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row["prompt_tokens"], row["completion_tokens"])
    assert answer.events[-1] == "[DONE]"


async def test_estimates_learn(gateway: Gateway, books: Books) -> None:
    """Until a provider has told its usage three bytes count as a token; then what its tokens have been."""

    async def completion_tokens(scenario: str) -> int:
        await gateway.chat(extra_headers={"x-oracle": scenario})
        tokens = (await books.rows())[-1]["completion_tokens"]
        assert isinstance(tokens, int)
        return tokens

    assert await completion_tokens("tokens=60&usage=none") == 80
    assert await completion_tokens("tokens=60") == 60
    assert await completion_tokens("tokens=60&usage=none") == 60


@streamed_or_not
async def test_more_than_the_parts_can_be(gateway: Gateway, oracle: RunningOracle, books: Books, stream: bool) -> None:
    """Where a report contradicts itself, what books more is believed, and the contradiction is on record."""
    await gateway.chat("at/usage=excess_details&cached=2", stream=stream)
    assert await books.cost_nano_usd() >= sum(line.cost_nano_usd for line in oracle.bill())
    assert "contradictory" in (await books.row())["metadata"]["bursar"]["flags"]


# --- faults ---

FAULTS = [
    # what, status the client gets unstreamed and streamed, what is known of each
    ("status:429", 429, Told.FREE, 429, Told.FREE),
    ("status:401", 401, Told.FREE, 401, Told.FREE),
    ("status:403", 403, Told.FREE, 403, Told.FREE),
    ("status:404&body=html", 404, Told.INPUT, 404, Told.INPUT),
    ("status:404&body=text", 404, Told.FREE, 404, Told.FREE),
    ("status:413&body=empty", 400, Told.FREE, 400, Told.FREE),
    ("status:500", 500, Told.FREE, 500, Told.FREE),
    ("status:500&body=detail", 500, Told.FREE, 500, Told.FREE),
    ("status:500&body=message", 500, Told.FREE, 500, Told.FREE),
    ("status:500&body=html", 500, Told.INPUT, 500, Told.INPUT),
    ("status:500&body=empty", 500, Told.INPUT, 500, Told.INPUT),
    ("status:502", 502, Told.INPUT, 502, Told.INPUT),
    ("status:503", 503, Told.FREE, 503, Told.FREE),
    ("status:503&body=text", 503, Told.FREE, 503, Told.FREE),
    ("status:504&body=html", 408, Told.INPUT, 408, Told.INPUT),
    ("status:529&body=html", 503, Told.INPUT, 503, Told.INPUT),
    ("status:408", 408, Told.INPUT, 408, Told.INPUT),
    ("error:context_length_exceeded", 400, Told.FREE, 400, Told.FREE),
    ("redirect:307", 502, Told.FREE, 502, Told.FREE),
    ("close", 500, Told.INPUT, 500, Told.INPUT),
    ("reset", 500, Told.INPUT, 500, Told.INPUT),
    ("cut_head:12", 500, Told.INPUT, 500, Told.INPUT),
    ("cut_head:30", 500, Told.INPUT, 500, Told.INPUT),
    ("cut:0", 500, Told.INPUT, 500, Told.INPUT),
    ("cut:100", 500, Told.INPUT, 500, Told.INPUT),
    ("cut:3c", 500, Told.INPUT, 200, Told.OUTPUT),
    ("cut:50%&chunked", 500, Told.INPUT, 200, Told.OUTPUT),
    ("cut:50%&gzip", 500, Told.INPUT, 200, Told.OUTPUT),
    ("reset:3c", 500, Told.INPUT, 200, Told.OUTPUT),
    ("truncate:3", 200, Told.BILL, 200, Told.OUTPUT),
    ("truncate:0", 200, Told.BILL, 200, Told.INPUT),
    ("error_event:3", 500, Told.INPUT, 500, Told.OUTPUT),
    ("error_event:3&delay_ms=1", 500, Told.INPUT, 200, Told.OUTPUT),
    ("wrong_json", 500, Told.INPUT, 500, Told.OUTPUT),
    ("wrong_shape", 500, Told.INPUT, 500, Told.OUTPUT),
    ("content_type:text/html", 200, Told.BILL, 200, Told.BILL),
    ("stall", 408, Told.INPUT, 408, Told.INPUT),
    ("stall:3c", 408, Told.INPUT, 200, Told.OUTPUT),
    ("stall:3c&stall_ms=10", 200, Told.BILL, 200, Told.BILL),
]


def told_of_error(answer: Answer, *, started: bool) -> object:
    """The error the client was told of: as the answer, or as the last event of a stream, with no [DONE] after it."""
    if not started:
        return answer.json["error"]
    assert answer.events[-1] != "[DONE]"
    return answer.chunk_objects[-1]["error"]


@streamed_or_not
@pytest.mark.parametrize(("fault", "status", "told", "stream_status", "stream_told"), FAULTS)
async def test_faults(
    gateway: Gateway,
    oracle: RunningOracle,
    books: Books,
    fault: str,
    status: int,
    told: Told,
    stream_status: int,
    stream_told: Told,
    stream: bool,
) -> None:
    if stream:
        status, told = stream_status, stream_told
    answer = await gateway.chat(f"at/fault={fault}", stream=stream, timeout=0.3 if "stall" in fault else 20)
    assert (answer.status, answer.complete) == (status, True), answer.raw
    await check(books, oracle, told)
    row = await books.row()
    if told is Told.BILL:
        assert row["status"] == "success"
        return
    error = told_of_error(answer, started=status == 200)
    assert isinstance(error, dict)
    assert error["code"] == row["metadata"]["error_information"]["error_code"]
    assert row["status"] == "failure"
    if status != 200:
        assert float(answer.headers["x-litellm-response-cost"]) == row["spend"]


async def test_nothing_is_put_into_the_providers_mouth(gateway: Gateway) -> None:
    """That a stream cannot be read is what we say, not the provider."""
    answer = await gateway.stream("at/fault=wrong_json")
    assert "provider_specific_fields" not in answer.json["error"]


async def test_a_long_stream_that_breaks_off(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """What came before the break was relayed, and is booked: close to what the provider bills."""
    answer = await gateway.stream("at/tokens=2000&delay_ms=1&burst=50&fault=cut:1500c")
    assert len(answer.text()) / 4 == pytest.approx(1500, abs=50)
    [line] = oracle.bill()
    assert line.completion_tokens == pytest.approx(1500, abs=50)
    cost = await books.cost_nano_usd()
    assert line.cost_nano_usd <= cost < 1.5 * line.cost_nano_usd


@streamed_or_not
async def test_nobody_listens_at_the_providers_address(start_gateway: StartGateway, books: Books, stream: bool) -> None:
    """Nothing was sent, which is proof enough."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    gateway = await start_gateway(
        models=f"""
        - model_name: nobody
          litellm_params: {{{{model: openai/x, api_base: 'http://127.0.0.1:{port}/v1', api_key: x}}}}
        - model_name: nowhere
          litellm_params: {{{{model: openai/x, api_base: 'http://provider.invalid/v1', api_key: x}}}}
        """
    )
    for model in ("nobody", "nowhere"):
        answer = await gateway.chat(model, stream=stream)
        assert answer.status == 500
        assert "127.0.0.1" not in answer.json["error"]["message"]
        assert "provider.invalid" not in answer.json["error"]["message"]
    assert await books.kinds() == ["void", "call"] * 2


@pytest.mark.parametrize(
    "script",
    [
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-length: 20\r\n\r\n{}"),
        answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
        answering(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000),
        whole(b""),
        whole(b"null"),
        whole(b"[]"),
        whole(b"{}"),
        whole(b'"text"'),
        whole(b'{"choices":7}'),
        whole(b"[" * 100_000),
        whole(b'{"choices":[]', status="201 Created"),
        whole(b"\x1f\x8bnot gzip", "content-encoding: gzip"),
        whole(b"{}", "content-encoding: br"),
    ],
)
@streamed_or_not
async def test_answers_that_are_none(start_gateway: StartGateway, books: Books, script: object, stream: bool) -> None:
    async with scripted_upstream(script) as upstream:  # type: ignore[arg-type]
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/m, api_base: '{upstream.base_url}', api_key: x,
                input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}}}
            """
        )
        answer = await gateway.chat("odd", stream=stream)
    assert answer.status == 500, answer.body
    assert answer.json["error"]["type"] == "internal_server_error"
    assert await books.kinds() == ["unknown", "settle", "call"]
    assert await books.cost_nano_usd() == PROMPT_TOKENS * PRICE[0]


# --- prices ---


async def test_the_price_is_on_record(gateway: Gateway, books: Books) -> None:
    await gateway.chat("at/usage=cost")
    settled, _ = await books.entries()
    [promised] = msgspec.json.decode(journaled(gateway)[0])
    for name in ("provider", "model", "deployment_id", "price_version"):
        assert settled["body"][name] == promised["body"][name] != "", name
    assert settled["body"]["opened_us"] == promised["at_us"]
    assert settled["body"]["provider_usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert settled["evidence"] == "provider"


PRICED = """
- model_name: unpriced
  litellm_params: {{model: openai/nobody-knows-its-price, api_base: '{base}', api_key: x}}
- model_name: free
  litellm_params: {{model: openai/f, api_base: '{base}', api_key: x, input_cost_per_token: 0, output_cost_per_token: 0}}
- model_name: dear
  litellm_params: {{model: openai/d, api_base: '{base}', api_key: x, input_cost_per_token: 0.1,
    output_cost_per_token: 0.25}}
- model_name: catalogued
  litellm_params: {{model: openai/gpt-4o, api_base: '{base}', api_key: x}}
"""


async def test_unknown_costs_of_what_costs_nothing(start_gateway: StartGateway, books: Books) -> None:
    """Free or without a price: that nobody knows what was used is on record all the same."""
    gateway = await start_gateway(models=PRICED)
    for name in ("unpriced", "free"):
        await gateway.chat(name, extra_headers={"x-oracle": "fault=close"})
    assert await books.kinds() == ["unknown", "settle", "call"] * 2
    assert await books.cost_nano_usd() == 0
    unpriced, free = await books.rows()
    assert (unpriced["metadata"]["bursar"]["evidence"], free["metadata"]["bursar"]["evidence"]) == ("unpriced", "free")
    assert all("usage_estimated" in row["metadata"]["bursar"]["flags"] for row in (unpriced, free))


@streamed_or_not
async def test_prices(start_gateway: StartGateway, books: Books, stream: bool) -> None:
    gateway = await start_gateway(models=PRICED)
    for name in ("unpriced", "free", "dear", "catalogued"):
        await gateway.chat(name, stream=stream)
    unpriced, free, dear, catalogued = await books.rows()
    assert (unpriced["spend"], unpriced["metadata"]["bursar"]["evidence"]) == (0.0, "unpriced")
    assert "price_unknown" in unpriced["metadata"]["bursar"]["flags"]
    assert unpriced["prompt_tokens"] > 0
    assert (free["spend"], free["metadata"]["bursar"]["evidence"]) == (0.0, "free")
    assert dear["spend"] == 0.1 * PROMPT_TOKENS + 0.25 * 16
    assert catalogued["spend"] == (2_500 * PROMPT_TOKENS + 10_000 * 16) / 1e9
    assert len({row["metadata"]["bursar"]["price"] for row in (unpriced, free, dear, catalogued)}) == 4


async def test_what_has_no_price_can_be_refused(
    start_gateway: StartGateway, oracle: RunningOracle, books: Books
) -> None:
    gateway = await start_gateway(models=PRICED, settings="bursar_settings: {unknown_price: refuse}")
    answer = await gateway.chat("unpriced")
    assert (answer.status, answer.json["error"]["type"]) == (400, "model_cost_map_missing")
    assert await books.kinds() == ["call"]
    assert not oracle.requests
    assert (await gateway.chat("free")).status == 200


# --- the order of writes ---


def journaled(gateway: Gateway) -> list[bytes]:
    """The records in the gateway's journal at this moment."""
    [directory] = gateway.journals.iterdir()
    reader = JournalReader(directory, directory.name)  # type: ignore[arg-type]
    reader.seek(1)
    found = []
    while records := reader.read(1 << 20):
        found += [record.tobytes() for record in records]
    reader.close()
    return found


async def test_open_is_on_record_before_anything_is_sent(start_gateway: StartGateway) -> None:
    seen: list[list[bytes]] = []
    gateway: Gateway | None = None

    async def look(writer: asyncio.StreamWriter) -> None:
        assert gateway is not None
        seen.append(journaled(gateway))
        await whole(b"{}")(writer)

    async with scripted_upstream(look) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/m, api_base: '{upstream.base_url}', api_key: x}}}}
            """
        )
        await gateway.chat("odd")
    [[record]] = seen
    assert b'"kind":"open"' in record


@streamed_or_not
async def test_the_end_is_on_record_before_the_client_sees_it(gateway: Gateway, stream: bool) -> None:
    """At the moment the last byte is read there is nothing left to write: the journal is complete."""
    connection = await gateway.connect()
    connection.writer.write(
        request_bytes(
            "POST",
            "/v1/chat/completions",
            {"model": "at/tokens=3&delay_ms=5", "messages": [{"role": "user", "content": "x"}], "stream": stream},
        )
    )
    if stream:
        await connection.until(b'"finish_reason":"stop"')
        await connection.until(b"[DONE]")
    else:
        await connection.until(b"\r\n\r\n")
    opened, ended = journaled(gateway)
    assert b'"kind":"open"' in opened
    assert b'"kind":"settle"' in ended
    assert b'"kind":"call"' in ended
    await connection.close()


async def test_mixed_calls_at_once(gateway: Gateway, oracle: RunningOracle, books: Books) -> None:
    """Two hundred calls of all kinds: each on the books once, to the nano-dollar."""
    kinds = [
        "tokens=3",
        "tokens=30&delay_ms=1",
        "usage=each&cached=1",
        "reasoning=7",
        "fault=status:429",
        "gzip&split=9",
    ]
    gate = asyncio.Semaphore(40)

    async def call(number: int) -> Answer:
        async with gate:
            return await gateway.chat(f"at/{kinds[number % len(kinds)]}", stream=number % 2 == 0, user=f"u{number}")

    answers = await asyncio.gather(*(call(number) for number in range(200)))
    assert {answer.status for answer in answers} == {200, 429}
    rows = await books.rows()
    assert {row["end_user"] for row in rows} == {f"u{number}" for number in range(200)}
    assert len(rows) == 200
    bill = {line.id: line.cost_nano_usd for line in oracle.bill()}
    assert {row["request_id"]: round(row["spend"] * 1e9) for row in rows if row["status"] == "success"} == bill
    assert await books.cost_nano_usd() == sum(bill.values())


async def test_a_stream_of_another_tongue_is_read_by_its_end(start_gateway: StartGateway, books: Books) -> None:
    """Finish reasons without [DONE] and usage: complete, estimated."""
    chunk = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":%b}]}\n\n'
    events = [chunk % (b"abcabcabc", b"null"), chunk % (b"", b'"stop"')]
    async with scripted_upstream(streaming(*events)) as upstream:
        gateway = await start_gateway(
            models=f"""
            - model_name: odd
              litellm_params: {{{{model: openai/m, api_base: '{upstream.base_url}', api_key: x}}}}
            """
        )
        answer = await gateway.stream("odd")
    assert answer.events[-1] == "[DONE]"
    row = await books.row()
    assert (row["status"], row["completion_tokens"]) == ("success", 3)
