"""What holds for every scenario."""

from typing import Any

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.oracle.serving import running_oracle
from tests.oracle.raw_client import Answer, ask, ask_stream

TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.integers(0, 40).map(str),
        "text": st.sampled_from(["plain", "unicode", "escapes", "demo", "echo"]),
        "seed": st.integers(-3, 3).map(str),
        "reasoning": st.integers(0, 20).map(str),
        "thoughts": st.just("1"),
        "audio_out": st.integers(0, 5).map(str),
        "cached": st.integers(0, 20).map(str),
        "cache_write": st.integers(0, 20).map(str),
        "audio_in": st.integers(0, 20).map(str),
        "prompt": st.integers(0, 50).map(str),
        "refusal": st.just("1"),
        "calls": st.integers(0, 3).map(str),
        "per_chunk": st.integers(1, 5).map(str),
        "extra": st.just("1"),
        "eol": st.sampled_from(["lf", "crlf"]),
        "split": st.integers(0, 300).map(str),
        "burst": st.integers(0, 5).map(str),
    },
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(1, 3),
        "max_tokens": st.integers(1, 30),
        "tools": st.just([TOOL]),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    },
)


def model_of(words: dict[str, str]) -> str:
    return "oracle?" + "&".join(f"{word}={value}" for word, value in words.items())


def joined(answer: Answer) -> list[Any]:
    """The choices of a stream as an unstreamed answer has them."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in answer.chunk_objects:
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], {"content": "", "refusal": "", "thoughts": "", "calls": []})
            delta = part["delta"]
            choice["content"] += delta.get("content") or ""
            choice["refusal"] += delta.get("refusal") or ""
            choice["thoughts"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    choice["calls"].append({"id": call["id"], **call["function"]})
                else:
                    choice["calls"][call["index"]]["arguments"] += call["function"]["arguments"]
            choice["finish"] = part["finish_reason"]
    return [choices[index] for index in sorted(choices)]


def plain(choice: Any) -> Any:
    message = choice["message"]
    return {
        "content": message["content"] or "",
        "refusal": message["refusal"] or "",
        # thoughts belong to the answer, not to a choice: a stream shows them once
        "thoughts": message.get("reasoning_content", "") if choice["index"] == 0 else "",
        "calls": [{"id": call["id"], **call["function"]} for call in message.get("tool_calls", ())],
        "finish": choice["finish_reason"],
    }


@settings(max_examples=150)
@given(words=WORDS, members=MEMBERS)
def test_a_stream_adds_up_to_the_unstreamed_answer_and_costs_the_same(
    words: dict[str, str], members: dict[str, Any]
) -> None:
    async def compare() -> None:
        async with running_oracle() as oracle:
            model = model_of(words)
            whole = await ask(oracle.port, model, **members)
            again = await ask(oracle.port, model, **members)
            stream = await ask_stream(oracle.port, model, usage=True, **members)
            lines = oracle.bill()
        assert whole.complete
        assert stream.complete
        assert whole.json["choices"] == again.json["choices"]
        assert joined(stream) == [plain(choice) for choice in whole.json["choices"]]
        usage = whole.json["usage"]
        assert stream.chunk_objects[-1]["usage"] == usage
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        if "max_tokens" in members:
            assert usage["completion_tokens"] <= members["max_tokens"] * members.get("n", 1)
        assert {line.cost_nano_usd for line in lines} == {lines[0].cost_nano_usd}
        for line in lines:
            assert line.prompt_tokens == usage["prompt_tokens"]
            assert line.completion_tokens == usage["completion_tokens"]
            assert line.cached_tokens == usage["prompt_tokens_details"]["cached_tokens"]
            assert line.reasoning_tokens == usage["completion_tokens_details"]["reasoning_tokens"]
            prompt = (line.cached_tokens, line.cache_write_tokens, line.audio_prompt_tokens)
            completion = (line.reasoning_tokens, line.audio_completion_tokens)
            assert min(*prompt, *completion) >= 0
            assert sum(prompt) <= line.prompt_tokens
            assert sum(completion) <= line.completion_tokens

    uvloop.run(compare())


@settings(max_examples=150)
@given(words=WORDS, percent=st.integers(0, 100), members=MEMBERS)
def test_a_cut_stream_is_a_prefix_and_is_billed_for_its_whole_events(
    words: dict[str, str], percent: int, members: dict[str, Any]
) -> None:
    async def compare() -> None:
        async with running_oracle() as oracle:
            model = model_of(words)
            running = await ask_stream(oracle.port, model + "&usage=each", usage=True, **members)
            broken = await ask_stream(oracle.port, f"{model}&usage=each&fault=cut:{percent}%", usage=True, **members)
            full, line = oracle.bill()
        cut = len(running.body) * percent // 100
        assert len(broken.body) == cut
        assert not broken.complete
        ends = running.body.replace(b"\r\n", b"\n").split(b"\n\n")
        width = 4 if words.get("eol") == "crlf" else 2
        offset = seen = 0
        content = [chunk for chunk in running.chunk_objects if chunk["choices"] and not _finishes(chunk)]
        for event, chunk in zip(ends, content, strict=False):
            offset += len(event) + width
            if offset > cut:
                break
            seen = chunk["usage"]["completion_tokens"]
        assert line.completion_tokens == seen
        if "reasoning" not in words and "audio_out" not in words:
            assert seen == _tokens(content[: broken.body.replace(b"\r\n", b"\n").count(b"\n\n")])
        assert line.cost_nano_usd <= full.cost_nano_usd

    uvloop.run(compare())


def _tokens(chunks: list[Any]) -> int:
    """Counted anew from the text that came: each text of each choice by itself."""
    texts: dict[object, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name in ("content", "refusal"):
                key = (choice["index"], name)
                texts[key] = texts.get(key, "") + (delta.get(name) or "")
            for call in delta.get("tool_calls", ()):
                function = call["function"]
                key = (choice["index"], call["index"])
                texts[key] = texts.get(key, "") + function.get("name", "") + function["arguments"]
    return sum(-(-len(text.encode()) // 4) for text in texts.values())


def _finishes(chunk: Any) -> bool:
    return any(choice["finish_reason"] is not None for choice in chunk["choices"])
