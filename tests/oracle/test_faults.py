"""Each fault does to the wire what it says, and is billed by its rule."""

import asyncio
import time
from email.utils import parsedate_to_datetime

import pytest

from bursar.oracle.bill import BillLine, Ending
from bursar.oracle.serving import RunningOracle
from tests.oracle.raw_client import PROMPT_TOKENS, Connection, ask, ask_stream
from tests.patience import PATIENCE_S


async def the_line(oracle: RunningOracle) -> BillLine:
    """The bill's only line, once it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while not (lines := oracle.bill()):
            await asyncio.sleep(0.005)
    [line] = lines
    return line


# --- refusals ---


@pytest.mark.parametrize(
    ("form", "content_type", "beginning"),
    [
        ("openai", "application/json", b'{"error":{"message":"'),
        ("html", "text/html", b"<html>\r\n<head><title>502 Bad Gateway</title>"),
        ("text", "text/plain", b"502 Bad Gateway: "),
        ("empty", None, b""),
        ("detail", "application/json", b'{"detail":"'),
        ("message", "application/json", b'{"message":"'),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_error_in_many_forms(
    oracle: RunningOracle, form: str, content_type: str | None, beginning: bytes, streamed: bool
) -> None:
    answer = await ask(oracle.port, f"oracle?fault=status:502&body={form}", stream=streamed)
    assert (answer.status, answer.complete) == (502, True)
    assert answer.headers.get("content-type") == content_type
    assert answer.body.startswith(beginning)
    assert answer.headers["x-request-id"].startswith("req_")
    assert oracle.bill() == []


async def test_hints_when_to_retry(oracle: RunningOracle) -> None:
    answer = await ask(oracle.port, "oracle?fault=status:429&retry_after=date:7&retry_after_ms=7000")
    wait_s = parsedate_to_datetime(answer.headers["retry-after"]).timestamp() - time.time()
    assert 5 < wait_s < 8
    assert answer.headers["retry-after-ms"] == "7000"


async def test_statuses_that_no_registry_knows(oracle: RunningOracle) -> None:
    assert (await ask(oracle.port, "oracle?fault=status:529&body=html")).status == 529


async def test_a_refusal_can_be_billed(oracle: RunningOracle) -> None:
    await ask(oracle.port, "oracle?fault=error:content_filter&bill=input")
    line = await the_line(oracle)
    assert (line.prompt_tokens, line.completion_tokens, line.ending) == (PROMPT_TOKENS, 0, Ending.ERROR)
    assert line.cost_nano_usd == PROMPT_TOKENS * 1000


async def test_a_redirect(oracle: RunningOracle) -> None:
    answer = await ask(oracle.port, "oracle?fault=redirect:307")
    assert (answer.status, answer.headers["location"]) == (307, "/v1/elsewhere")
    assert oracle.bill() == []


async def test_an_error_that_comes_with_a_200(oracle: RunningOracle) -> None:
    answer = await ask(oracle.port, "oracle?fault=error_event:3")
    assert answer.status == 200
    assert answer.json["error"]["type"] == "server_error"
    assert oracle.bill() == []


async def test_only_some_calls_fail(oracle: RunningOracle) -> None:
    async def statuses(model: str, count: int) -> list[int]:
        return [(await ask(oracle.port, model)).status for _ in range(count)]

    assert await statuses("oracle?fault=status:500&times=2", 4) == [500, 500, 200, 200]
    assert await statuses("oracle?fault=status:500&times=2&label=another", 1) == [500]
    assert await statuses("oracle?fault=status:503&every=3", 6) == [200, 200, 503, 200, 200, 503]
    assert len(oracle.bill()) == 6


# --- answers that break off ---


@pytest.mark.parametrize("streamed", [True, False])
async def test_closing_without_an_answer(oracle: RunningOracle, streamed: bool) -> None:
    answer = await ask(oracle.port, "oracle?fault=close", stream=streamed)
    assert (answer.raw, answer.reset) == (b"", False)
    assert oracle.bill() == []


@pytest.mark.parametrize("streamed", [True, False])
async def test_resetting_without_an_answer(oracle: RunningOracle, streamed: bool) -> None:
    answer = await ask(oracle.port, "oracle?fault=reset", stream=streamed)
    assert (answer.raw, answer.reset) == (b"", True)
    assert oracle.bill() == []


async def test_closing_without_an_answer_can_be_billed(oracle: RunningOracle) -> None:
    await ask(oracle.port, "oracle?fault=close&bill=full&tokens=5")
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending) == (5, Ending.CUT)


async def test_a_cut_within_the_head(oracle: RunningOracle) -> None:
    answer = await ask(oracle.port, "oracle?fault=cut_head:12")
    assert answer.raw == b"HTTP/1.1 200"
    assert oracle.bill() == []


@pytest.mark.parametrize("offset", [0, 1, 100])
async def test_a_cut_body_of_known_length(oracle: RunningOracle, offset: int) -> None:
    whole = await ask(oracle.port, "oracle?tokens=9")
    cut = await ask(oracle.port, f"oracle?tokens=9&fault=cut:{offset}")
    assert (cut.status, cut.complete, cut.reset) == (200, False, False)
    assert cut.headers["content-length"] == whole.headers["content-length"]
    assert len(cut.body) == offset
    line = oracle.bill()[-1]
    assert (line.completion_tokens, line.ending) == (9, Ending.CUT)


async def test_a_cut_body_of_unknown_length(oracle: RunningOracle) -> None:
    cut = await ask(oracle.port, "oracle?tokens=9&fault=cut:50%&chunked")
    assert (cut.status, cut.complete, cut.headers["transfer-encoding"]) == (200, False, "chunked")
    assert cut.body.startswith(b'{"id":"chatcmpl-')


@pytest.mark.parametrize("chunks", [0, 1, 3, 9, 99])
async def test_a_stream_cut_after_so_many_chunks(oracle: RunningOracle, chunks: int) -> None:
    cut = await ask_stream(oracle.port, f"oracle?tokens=9&fault=cut:{chunks}c", usage=True)
    assert (cut.complete, cut.reset) == (False, False)
    assert len(cut.text()) == 4 * min(chunks, 9)
    assert "[DONE]" not in cut.events
    line = await the_line(oracle)
    assert (line.prompt_tokens, line.completion_tokens) == (PROMPT_TOKENS, min(chunks, 9))
    assert (line.ending, line.streamed) == (Ending.CUT, True)


@pytest.mark.parametrize("chunks", range(1, 9))
async def test_begun_tokens_count(oracle: RunningOracle, chunks: int) -> None:
    cut = await ask_stream(oracle.port, f"oracle?tokens=9&text=unicode&fault=cut:{chunks}c")
    assert (await the_line(oracle)).completion_tokens == -(-len(cut.text().encode()) // 4)


async def test_reasoning_is_billed_with_the_first_content(oracle: RunningOracle) -> None:
    await ask_stream(oracle.port, "oracle?reasoning=40&fault=cut:0c")
    await ask_stream(oracle.port, "oracle?reasoning=40&fault=cut:1c")
    assert [(line.reasoning_tokens, line.completion_tokens) for line in oracle.bill()] == [(0, 0), (40, 41)]


async def test_reasoning_that_is_shown_is_billed_as_it_is_shown(oracle: RunningOracle) -> None:
    cut = await ask_stream(oracle.port, "oracle?reasoning=40&thoughts&fault=cut:7c")
    shown = "".join(chunk["choices"][0]["delta"].get("reasoning_content", "") for chunk in cut.chunk_objects)
    assert len(shown) == 28
    assert (await the_line(oracle)).reasoning_tokens == 7


async def test_a_running_total_counts_as_a_chunk_but_not_as_output(oracle: RunningOracle) -> None:
    for chunks in (4, 5, 6, 10):
        await ask_stream(oracle.port, f"oracle?tokens=9&usage=running&fault=cut:{chunks}c", usage=True)
    assert [line.completion_tokens for line in oracle.bill()] == [4, 4, 5, 9]


async def test_a_stream_cut_within_a_chunk(oracle: RunningOracle) -> None:
    whole = await ask_stream(oracle.port, "oracle?tokens=9")
    # two bytes before the end of the third content event: its last two newlines are missing
    offset = sum(len(event) for event in whole.body.split(b"\n\n")[:4]) + 3 * 2
    cut = await ask_stream(oracle.port, f"oracle?tokens=9&fault=cut:{offset}")
    assert not cut.complete
    assert len(cut.body) == offset
    assert oracle.bill()[-1].completion_tokens == 2


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_reset_after_some_of_the_body(oracle: RunningOracle, streamed: bool) -> None:
    answer = await ask(oracle.port, "oracle?tokens=9&fault=reset:300", stream=streamed)
    assert (answer.status, answer.reset) == (200, True)
    line = await the_line(oracle)
    assert (line.ending, line.completion_tokens) == (Ending.CUT, 0 if streamed else 9)


async def test_a_reset_comes_after_a_large_body(oracle: RunningOracle) -> None:
    connection = await Connection.to(oracle.port)
    connection.ask("oracle?tokens=1000000&fault=reset:3000000")
    answer = await connection.answer()
    await connection.close()
    assert answer.reset


async def test_a_stream_that_ends_without_its_end(oracle: RunningOracle) -> None:
    answer = await ask_stream(oracle.port, "oracle?tokens=9&fault=truncate:3", usage=True)
    assert answer.complete
    assert len(answer.text()) == 12
    assert len(answer.events) == 4
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending) == (3, Ending.CUT)


async def test_an_error_in_a_stream(oracle: RunningOracle) -> None:
    answer = await ask_stream(oracle.port, "oracle?tokens=9&fault=error_event:3", usage=True)
    assert answer.complete
    *chunks, error = answer.chunk_objects
    assert len(chunks) == 4
    assert error["error"]["type"] == "server_error"
    assert (await the_line(oracle)).ending is Ending.ERROR


# --- stalls, and clients that leave ---


async def leave(oracle: RunningOracle, model: str, *, after: bytes = b"", **members: object) -> None:
    connection = await Connection.to(oracle.port)
    connection.ask(model, **members)  # type: ignore[arg-type]  # members of the body, none of which is called headers
    if after:
        await connection.until(after)
    else:
        async with asyncio.timeout(PATIENCE_S):
            while not oracle.requests:
                await asyncio.sleep(0.005)
    await connection.close()


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_call_that_is_never_answered_is_billed(oracle: RunningOracle, streamed: bool) -> None:
    await leave(oracle, "oracle?tokens=9&fault=stall", stream=streamed)
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending, line.client_there) == (9, Ending.CLIENT_GONE, False)


async def test_a_call_that_is_never_answered_and_not_billed(oracle: RunningOracle) -> None:
    await leave(oracle, "oracle?fault=stall&bill=none")
    await ask(oracle.port, "oracle?label=next")
    assert [line.model for line in oracle.bill()] == ["oracle?label=next"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stall_that_ends(oracle: RunningOracle, streamed: bool) -> None:
    began = time.monotonic()
    answer = await ask(oracle.port, "oracle?tokens=9&fault=stall&stall_ms=80", stream=streamed)
    assert answer.complete
    assert time.monotonic() - began >= 0.078
    assert (await the_line(oracle)).ending is Ending.COMPLETE


async def test_a_stall_within_a_stream(oracle: RunningOracle) -> None:
    connection = await Connection.to(oracle.port)
    connection.ask("oracle?tokens=9&fault=stall:3c", stream=True)
    await connection.until(b'"pay "')
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.reader.readuntil(b'"two "')
    assert oracle.bill() == []
    await connection.close()
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending, line.client_there) == (9, Ending.CLIENT_GONE, False)


@pytest.mark.parametrize("place", ["3c", "555", "0", "50%"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stall_within_the_body_that_ends(oracle: RunningOracle, place: str, streamed: bool) -> None:
    began = time.monotonic()
    answer = await ask(oracle.port, f"oracle?tokens=9&fault=stall:{place}&stall_ms=30", stream=streamed)
    assert time.monotonic() - began >= 0.028
    assert answer.complete
    text = answer.text() if streamed else answer.json["choices"][0]["message"]["content"]
    assert len(text) == 36
    assert (await the_line(oracle)).ending is Ending.COMPLETE


async def test_a_stall_within_a_body_of_known_length(oracle: RunningOracle) -> None:
    await leave(oracle, "oracle?tokens=9&fault=stall:20", after=b'{"id":"chatcmpl-')
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending) == (9, Ending.CLIENT_GONE)


async def test_who_hangs_up_pays_for_what_is_still_generated(oracle: RunningOracle) -> None:
    await leave(oracle, "oracle?tokens=500&delay_ms=5", after=b'"pay "', stream=True)
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending, line.client_there) == (500, Ending.CLIENT_GONE, False)


async def test_a_provider_that_stops_when_its_client_hangs_up(oracle: RunningOracle) -> None:
    await leave(oracle, "oracle?tokens=500&delay_ms=5&hangup=stop", after=b'"pay "', stream=True)
    line = await the_line(oracle)
    assert 3 <= line.completion_tokens < 500
    assert (line.ending, line.prompt_tokens) == (Ending.CLIENT_GONE, PROMPT_TOKENS)


async def test_who_hangs_up_before_the_first_byte(oracle: RunningOracle) -> None:
    await leave(oracle, "oracle?tokens=5&head_ms=60000&hangup=stop")
    line = await the_line(oracle)
    assert (line.completion_tokens, line.ending) == (0, Ending.CLIENT_GONE)


# --- answers that are whole and wrong ---


async def test_json_that_is_none(oracle: RunningOracle) -> None:
    answer = await ask(oracle.port, "oracle?tokens=9&fault=wrong_json")
    assert (answer.status, answer.complete) == (200, True)
    with pytest.raises(ValueError, match=r"Unterminated string|Expecting"):
        _ = answer.json
    assert (await the_line(oracle)).completion_tokens == 9


async def test_one_event_that_is_no_json(oracle: RunningOracle) -> None:
    answer = await ask_stream(oracle.port, "oracle?tokens=9&fault=wrong_json")
    assert answer.events[-1] == "[DONE]"
    with pytest.raises(ValueError):
        _ = answer.chunk_objects
    assert (await the_line(oracle)).completion_tokens == 9


async def test_json_that_is_no_answer(oracle: RunningOracle) -> None:
    assert "choices" not in (await ask(oracle.port, "oracle?fault=wrong_shape")).json
    answer = await ask_stream(oracle.port, "oracle?fault=wrong_shape")
    assert ["this is not a chunk"] in answer.chunk_objects


@pytest.mark.parametrize("streamed", [True, False])
async def test_another_content_type(oracle: RunningOracle, streamed: bool) -> None:
    answer = await ask(oracle.port, "oracle?fault=content_type:text/plain", stream=streamed)
    assert (answer.complete, answer.headers["content-type"]) == (True, "text/plain")
    assert (await the_line(oracle)).ending is Ending.COMPLETE


# --- requests that are wrong ---


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": "Hello"}, "messages"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"max_tokens": 0}, "max_completion_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": 5}, None),
        ({"model": "oracle?what=1"}, "model"),
        ({"model": "oracle?tokens=4000000", "stream": True}, "model"),
        ({"model": 5}, "model"),
    ],
)
async def test_bad_requests(oracle: RunningOracle, members: dict[str, object], param: str | None) -> None:
    answer = await ask(oracle.port, **({"model": "oracle"} | members))  # type: ignore[arg-type]  # that is the point
    assert answer.status == 400
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert answer.json["error"]["param"] == param
    assert oracle.bill() == []


async def test_a_body_that_is_no_json(oracle: RunningOracle) -> None:
    connection = await Connection.to(oracle.port)
    connection.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\n{")
    assert "not valid JSON" in (await connection.answer()).json["error"]["message"]
    await connection.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /v1/chat/completions", 405),
        ("POST /v1/models", 405),
        ("GET /v1/nothing", 404),
        ("GET /health", 200),
        ("GET /v1/models", 200),
        ("GET /models/oracle?tokens=5", 200),
    ],
)
async def test_paths(oracle: RunningOracle, line: str, status: int) -> None:
    connection = await Connection.to(oracle.port)
    connection.writer.write(f"{line} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
    answer = await connection.answer()
    assert answer.status == status
    assert answer.json
    await connection.close()


async def test_the_prefix_may_be_left_out(oracle: RunningOracle) -> None:
    connection = await Connection.to(oracle.port)
    body = b'{"model":"oracle","messages":[{"role":"user","content":"Hello"}]}'
    connection.writer.write(
        b"POST /chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert (await connection.answer()).json["object"] == "chat.completion"
    await connection.close()
