"""What is read of LiteLLM's record of a call, and what is not."""

from collections.abc import Mapping
from types import SimpleNamespace
from uuid import UUID

import msgspec
import pytest

from bursar.domain.accounting import Evidence
from bursar.sdk.gateways import Gateways
from bursar.sdk.litellm_event import spend_of, untold
from bursar.sdk.prices import BookPrices
from bursar.wire.spend import Charge, Spend, Void, id_of, record_of

SECRET = "sk-a-secret-of-the-provider-0123456789"
MESSAGES = [{"role": "user", "content": "x" * 300}]


def details(**changes: object) -> dict[str, object]:
    told = {
        "id": "chatcmpl-1",
        "litellm_call_id": "call-1",
        "call_type": "acompletion",
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "startTime": 1_790_000_000.25,
        "endTime": 1_790_000_001.5,
        "metadata": {"usage_object": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}},
    }
    facts = {
        "standard_logging_object": told,
        "response_cost": 0.000225,
        "api_key": SECRET,
        "messages": MESSAGES,
        "litellm_params": {"api_key": SECRET, "metadata": {}},
    }
    return facts | changes


def told_of(facts: Mapping[str, object]) -> dict[str, object]:
    told = facts["standard_logging_object"]
    assert isinstance(told, dict)
    return told


def read(facts: Mapping[str, object], *, failed: bool = False, response: object = None) -> Spend:
    return spend_of(facts, response, failed=failed, price_of=BookPrices().find, version="1.0")


def failed_with(error_class: str, code: str, error: BaseException) -> Spend:
    facts = details(exception=error)
    told_of(facts)["error_information"] = {
        "error_class": error_class,
        "error_code": code,
        "error_message": f"Incorrect API key: {SECRET}",
    }
    return read(facts, failed=True)


class Written(str):
    """A name in a record in which another thread writes while the name is looked at."""

    record: dict[str, object]

    def __hash__(self) -> int:
        if hasattr(self, "record"):
            self.record[f"{len(self.record)}th"] = None
        return super().__hash__()


@pytest.mark.parametrize("failed", [True, False])
def test_a_record_may_be_written_in_while_it_is_read(*, failed: bool) -> None:
    name = Written("name")
    facts = details() | {name: None}
    told_of(facts)["status"] = "failure"
    name.record = facts
    size = len(facts)
    spend = read(facts, failed=True) if failed else read(untold(facts))
    assert len(facts) > size
    assert spend.told_id == ("call-1" if failed else "")


def test_no_secret_is_kept() -> None:
    metadata = {
        "user_api_key": SECRET,
        "headers": {"authorization": SECRET},
        "nested": {"my_api_key": SECRET},
        "Authorization": SECRET,
        "kept": "yes",
    }
    facts = details(
        litellm_params={
            "api_key": SECRET,
            "metadata": metadata,
            "api_base": f"https://u:{SECRET}@h/v1?key={SECRET}#{SECRET}",
        }
    )
    spend = read(facts)
    record = record_of(spend, id_of(spend)) + record_of(
        failed := failed_with("AuthenticationError", "401", ValueError()), id_of(failed)
    )
    assert SECRET.encode() not in record
    mask = msgspec.Raw('"•••"'.encode())
    assert spend.metadata == {
        "nested": msgspec.Raw('{"my_api_key":"•••"}'.encode()),
        "Authorization": mask,
        "kept": msgspec.Raw(b'"yes"'),
    }
    assert spend.api_base == "https://h/v1"
    assert len(spend.api_key) == 64, "the hash of the virtual key"


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, "\ud800", 1 << 70, [[[[[[[[[[1]]]]]]]]]], {"a": object()}, float("nan"), "\x00"]
)
def test_metadata_that_is_no_json_is_left_out(value: object) -> None:
    spend = read(details(litellm_params={"metadata": {"odd": value, "kept": 1}}, user="\ud800\x00", messages=value))
    assert spend.metadata["kept"] == msgspec.Raw(b"1")
    assert b"\\u0000" not in record_of(spend, id_of(spend))


@pytest.mark.parametrize(
    "key",
    ["hf_canary0123456789abcdef", "r8_canary01234", "key=canary0123", "0123456789abcdefcanary", "free form canary"],
)
@pytest.mark.parametrize("place", ["api_key", "litellm_params", "optional_params"])
def test_the_key_of_a_call_is_cut_out_of_what_a_provider_repeats(key: str, place: str) -> None:
    credentials: dict[str, object] = {"api_key": key} if place == "api_key" else {place: {"aws_session_token": key}}
    facts = details(exception=ValueError()) | credentials
    told_of(facts)["error_information"] = {"error_class": "AuthenticationError", "error_message": f"No: {key}. Sorry"}
    failure = read(facts, failed=True).failure
    assert failure is not None
    assert failure.error_message == "No: •••. Sorry"


def test_ids_of_other_types_are_taken_as_text() -> None:
    class Text(str):
        pass

    user = UUID(int=5)
    spend = read(details(user=user, litellm_params={"metadata": {"team_id": Text("blue"), "session_id": 7}}))
    assert (spend.user, spend.end_user, spend.team_id, spend.session_id) == (str(user), str(user), "blue", "7")
    assert type(spend.team_id) is str


@pytest.mark.parametrize("cost", [None, "much", float("nan"), float("inf"), -1.0, 1e30, True])
def test_a_cost_that_is_none_is_looked_up(cost: object) -> None:
    outcome = read(details(response_cost=cost)).outcome
    assert isinstance(outcome, Charge)
    assert (outcome.cost, outcome.evidence) == (225_000, Evidence.PROVIDER)
    assert outcome.price_version is not None
    assert not outcome.price_version.startswith("litellm")


@pytest.mark.parametrize("tokens", [10**12, -5])
def test_a_cost_of_usage_that_cannot_be_is_not_taken(tokens: int) -> None:
    facts = details(response_cost=3_000.0)
    told_of(facts)["metadata"] = {"usage_object": {"prompt_tokens": 10, "completion_tokens": tokens}}
    answer = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="y" * 300))])
    outcome = read(facts, response=answer).outcome
    assert isinstance(outcome, Charge)
    assert (outcome.evidence, outcome.usage.completion_tokens) == (Evidence.ESTIMATED, 100)
    assert 0 < outcome.cost < 10_000_000


def test_an_answer_without_usage_is_estimated() -> None:
    facts = details(response_cost=0.0)
    told_of(facts)["metadata"] = {}
    answer = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="y" * 300))])
    outcome = read(facts, response=answer).outcome
    assert isinstance(outcome, Charge)
    assert outcome.evidence is Evidence.ESTIMATED
    assert "usage_estimated" in outcome.flags
    assert outcome.usage.completion_tokens == 100
    assert outcome.usage.prompt_tokens > 100


def test_an_answer_that_is_a_plain_object_is_read_too() -> None:
    facts = details(response_cost=None, custom_llm_provider="anthropic", model="claude-3-5-haiku-20241022")
    del facts["standard_logging_object"]
    usage = {"input_tokens": 10, "output_tokens": 20, "service_tier": "standard"}
    spend = read(facts, response={"id": "msg-1", "content": [{"type": "text", "text": "y" * 30}], "usage": usage})
    assert isinstance(spend.outcome, Charge)
    assert (spend.request_id, spend.outcome.cost, spend.outcome.evidence) == ("msg-1", 88_000, Evidence.PROVIDER)
    assert (spend.outcome.usage.prompt_tokens, spend.outcome.usage.completion_tokens) == (10, 20)
    untold = read(facts, response={"id": "msg-1", "content": [{"type": "text", "text": "y" * 300}]}).outcome
    assert isinstance(untold, Charge)
    assert (untold.evidence, untold.usage.completion_tokens) == (Evidence.ESTIMATED, 100)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("call_type", "tokens"),
    [
        ("amoderation", 0),
        ("moderation", 0),
        ("acreate_batch", 0),
        ("retrieve_batch", 0),
        ("afile_content", 0),
        ("aembedding", 100),
    ],
)
def test_what_generates_nothing_has_no_usual_answer(call_type: str, tokens: int, told: bool) -> None:
    facts = details(response_cost=0.0, call_type=call_type, messages="x" * 300)
    told_of(facts)["metadata"] = {}
    told_of(facts)["call_type"] = call_type
    if not told:
        del facts["standard_logging_object"]
    outcome = read(facts, response=SimpleNamespace(id="modr-1", results=[])).outcome
    assert isinstance(outcome, Charge)
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (tokens, 0)


def test_a_batch_that_is_looked_at_again_is_the_same_call() -> None:
    def look(number: int, status: str, cost: float, **moments: int) -> Spend:
        facts = details(response_cost=cost, call_type="aretrieve_batch", litellm_params={"metadata": {"look": number}})
        moment = 1_790_000_000.25 + number
        told = {"id": "batch-1", "litellm_call_id": f"call-{number}", "call_type": "aretrieve_batch"}
        told_of(facts).update(told | {"startTime": moment, "endTime": moment + 0.5})
        if not cost:
            told_of(facts)["metadata"] = {}
        return read(facts, response=SimpleNamespace(id="batch-1", status=status, created_at=1_789_990_000, **moments))

    waiting, first, second = look(0, "in_progress", 0.0), look(1, "completed", 0.5), look(2, "completed", 0.5)
    assert (waiting.told_id, first.told_id) == ("call-0", "openai/batch-1")
    assert id_of(first) != id_of(waiting)
    assert first == second, "the books take what is the same in all"
    assert (first.start_us, first.end_us) == (1_789_990_000_000_000,) * 2
    assert look(3, "completed", 0.5, completed_at=1_789_995_000).start_us == 1_789_995_000_000_000


@pytest.mark.parametrize(
    ("error_class", "code", "error", "void"),
    [
        ("RateLimitError", "429", ValueError(), True),
        ("InternalServerError", "500", ValueError(), True),
        ("Timeout", "408", ValueError(), False),
        ("APIConnectionError", "500", ConnectionResetError(), False),
        ("APIConnectionError", "500", ConnectionRefusedError(), True),
        ("BadGatewayError", "502", ValueError(), False),
    ],
)
def test_a_failure_is_void_only_with_proof(error_class: str, code: str, error: Exception, void: bool) -> None:
    outcome = failed_with(error_class, code, error).outcome
    assert isinstance(outcome, Void) == void
    if isinstance(outcome, Charge):
        assert outcome.evidence is Evidence.ESTIMATED
        assert outcome.cost > 0


def test_the_same_attempt_has_the_same_id_and_no_other() -> None:
    first = id_of(read(details()))
    assert first == id_of(read(details(response_cost=None, user="somebody")))
    assert first != id_of(failed_with("RateLimitError", "429", ValueError()))
    other = details()
    told_of(other)["startTime"] = 1_790_000_000.250_001
    assert first != id_of(read(other))
    assert first.endswith("00"), "its attempts count up from it"


@pytest.mark.parametrize(
    ("base", "is_one"),
    [
        ("http://h/bursar/v1", True),
        ("http://h:80/bursar", True),
        ("http://h/bursar/", True),
        ("http://h/bursar/anthropic/v1/messages", True),
        ("http://h/vllm/v1", False),
        ("http://h/bursary/v1", False),
        ("http://h", False),
        ("https://h/bursar/v1", False),
    ],
)
def test_a_gateway_is_what_is_below_its_url(base: str, is_one: bool) -> None:
    assert Gateways(["http://h/bursar"]).serve({"litellm_params": {"api_base": base}}) is is_one


def test_a_gateway_is_known_by_its_url_or_by_its_mark() -> None:
    here = {"litellm_params": {"api_base": "https://gate.example:443/v1"}}
    assert Gateways(["https://gate.example"]).serve(here)
    gateways = Gateways()
    assert not gateways.serve(here)
    assert gateways.serve(here | {"response_headers": {"x-bursar-version": "1"}})
    assert gateways.serve(here), "from then on"
    assert not gateways.serve({"litellm_params": {"api_base": "https://gate.example/vllm/v1"}})
    other = {"litellm_params": {"api_base": "https://other.example/v1"}}
    assert not gateways.serve(other)
    refused = SimpleNamespace(litellm_response_headers={"x-bursar-version": "1"})
    assert not gateways.serve(other | {"exception": refused}), "of the attempt before this answer"
    assert gateways.serve(other | {"exception": refused}, failed=True)
