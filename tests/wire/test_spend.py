"""What an app writes of a call, and the entries that it becomes."""

import msgspec
import pytest

from bursar.domain.accounting import CallBody
from bursar.wire.spend import Charge, Spend, Stated, entries_of, id_of, record_of, written
from tests.sdk.telling import charge, failed, spend

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(CallBody)}
REPORT = msgspec.Raw(b'{"prompt_tokens":10,"completion_tokens":20,"total_tokens":0,"service_tier":"default"}')
STATED = Stated(cost_usd=0.000225, usage=REPORT, price_version="litellm 1.0")


class Told(msgspec.Struct):
    """An entry, as far as it depends on what was told."""

    kind: str
    attempt_id: str
    body: dict[str, object]
    cost_nano_usd: int | None = None
    evidence: str | None = None


def understood(record: bytes) -> list[Told]:
    """The entries of a record, whichever defaults they leave out."""
    entries = msgspec.json.decode(record, type=list[Told])
    for told in entries:
        told.body = {name: value for name, value in told.body.items() if DEFAULTS.get(name) != value}
    return entries


ODD = msgspec.structs.replace(charge(), provider_usage=b'{"prompt_tokens":1}', flags=("odd",))


@pytest.mark.parametrize(
    "told",
    [
        spend(
            "a", metadata={"x": msgspec.Raw(b'{"y":[1]}')}, request_tags=["é", "b"], session_id="s", cache_hit="True"
        ),
        spend("a", outcome=ODD),
        spend("a", outcome=STATED, api_key="0" * 64, metadata_dropped=["long"], first_token_us=1),
        failed("a"),
    ],
)
def test_it_becomes_the_entries_that_it_would_have_been(told: Spend) -> None:
    record = written(told)
    assert len(record) < len(record_of(told, id_of(told)))
    assert understood(entries_of(record)) == understood(record_of(told, id_of(told)))


def test_what_was_stated_is_read_with_the_record() -> None:
    settle = understood(entries_of(written(spend("a", outcome=STATED))))[0]
    assert (settle.cost_nano_usd, settle.evidence) == (225_000, "provider")
    assert settle.body["usage"] == {"uncached_prompt_tokens": 10, "answer_tokens": 20}
    assert (settle.body["prompt_tokens"], settle.body["completion_tokens"]) == (10, 20)
    assert settle.body["provider_usage"] == {"prompt_tokens": 10, "completion_tokens": 20}, "what counts something"


@pytest.mark.parametrize(
    "record",
    [
        b"[]",
        record_of(spend("a"), id_of(spend("a"))),
        written(spend("a"))[:-1],
        written(spend("a")).replace(b'"charge"', b'"gift"'),
        written(spend("a", outcome=STATED)).replace(b"0.000225", b"1e300"),
    ],
)
def test_any_other_record_stays_as_it_is(record: bytes) -> None:
    assert entries_of(record) == record


def test_a_charge_is_told_apart_from_what_was_stated() -> None:
    assert isinstance(spend("a").outcome, Charge)
    assert id_of(spend("a")) == id_of(spend("a", outcome=STATED)), "what it cost is not in its id"
