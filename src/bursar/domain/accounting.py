"""What happens to money, as immutable entries; every total is a fold of them.

Of an attempt: `open` before a byte is sent, perhaps `unknown` (a mark, not an end), then one terminal entry, `settle`
or `void`. Of a call: one `call` entry when it is finished. An entry is identified by (attempt id, kind, sequence), a
call's by its own id, so that one which arrives twice changes nothing.

These records are the journal's payload and, unchanged, what the database receives: `body` holds all of an entry that
no constraint or total needs.
"""

from enum import StrEnum

import msgspec

from bursar.domain.ids import AttemptId, CallId, DeploymentId, JournalId, KeyHash
from bursar.domain.money import NanoUsd
from bursar.domain.usage import Usage
from bursar.domain.windows import WindowId


class Evidence(StrEnum):
    """On what a charge rests."""

    PROVIDER = "provider"
    """The usage the provider reported with its answer."""
    DRAINED = "drained"
    """The same, read after the client had left."""
    ESTIMATED = "estimated"
    """The provider did not say; counted from what passed through, at a stated rate."""
    LOST = "lost"
    """Its process was declared lost with its journal: booked at what it held, until the truth comes after all."""
    CACHE = "cache"
    """Answered from a cache: nothing was asked of a provider."""
    FREE = "free"
    """Priced at zero by the operator."""
    UNPRICED = "unpriced"
    """No price is known: booked as zero, flagged, counted."""


class CallStatus(StrEnum):
    """How a call ended, as the log row's `status` knows it."""

    SUCCESS = "success"
    FAILURE = "failure"


NO_JSON = msgspec.Raw(b"{}")


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt's `open` says of it, and its end again: an `open` whose end comes soon stays in the journal."""

    opened_us: int | None = None
    """Microseconds since 1970, as all times here."""
    provider: str = ""
    model: str = ""
    """The provider's own name of the model."""
    deployment_id: DeploymentId | None = None
    price_version: str | None = None


class OpenBody(Sent, frozen=True, kw_only=True, omit_defaults=True):
    """What is promised before sending, and enough about the call to end it for a process that did not (`cut_off`)."""

    estimate_nano_usd: NanoUsd = NanoUsd(0)
    """What is booked if nobody ever learns what it cost: the hold, or what calls like it cost."""
    estimate_prompt_tokens: int = 0
    api_key: KeyHash | str
    start_us: int
    """Of the call, as everything from here on."""
    model_group: str = ""
    call_type: str = "acompletion"
    api_base: str = ""
    user: str = ""
    team_id: str = ""
    organization_id: str = ""
    end_user: str = ""
    requester_ip_address: str = ""
    session_id: str | None = None
    litellm_call_id: str = ""
    """Empty: the call's own id."""
    request_tags: list[str] = []
    metadata: dict[str, msgspec.Raw] = {}
    """The caller's own, if it is short."""
    key_names: msgspec.Raw = NO_JSON
    logged: bool = True
    """As `CallBody`'s, were it to fail; `error_logged` too."""
    error_logged: bool = True


class SettleBody(Sent, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt cost, and why."""

    usage: Usage
    prompt_tokens: int = 0
    """A sum of `usage`, as the other three are: what rows and totals show."""
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    """Of the prompt tokens, as `cache_creation_tokens`."""
    cache_creation_tokens: int = 0
    provider_usage: msgspec.Raw | None = None
    """The provider's own usage object, byte for byte, so that the charge can be computed again."""
    input_cost: float | None = None
    """In US dollars, as `output_cost`; None where the charge is not the sum of its parts."""
    output_cost: float | None = None
    flags: tuple[str, ...] = ()
    """What was odd: `usage_missing`, `usage_contradictory`, `price_unknown` …"""


class EndBody(Sent, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt was void, or is unknown for now."""

    reason: str
    status: int | None = None


class AdjustBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found out after the end. Tokens are differences, as the cost beside them is, and may be negative."""

    reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    """Of the prompt tokens, as `cache_creation_tokens`."""
    cache_creation_tokens: int = 0


class Failure(msgspec.Struct, frozen=True):
    """Why a call failed, as the row's `error_information` tells it. The message is the one the client got."""

    error_class: str
    error_code: str
    error_message: str
    llm_provider: str = ""


class KeyNames(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose key it was, by the names that the row's metadata gives them."""

    user_api_key_alias: str | None = None
    user_api_key_user_id: str | None = None
    user_api_key_team_id: str | None = None
    user_api_key_team_alias: str | None = None
    user_api_key_org_id: str | None = None


class CallBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts of one finished call, each once; times in microseconds since 1970.

    What it cost is not among them: that is what the entries of its attempts say. The query that posts it
    (`store/queries/ledger.sql`) makes the row of `LiteLLM_SpendLogs` of both. What is left out is the default.
    """

    request_id: str
    call_type: str = "acompletion"
    attempt_id: AttemptId | None = None
    """The attempt that answered, or the last one that failed."""
    attempts: int = 1
    """How many there were. Means nothing without `attempt_id`."""
    api_key: KeyHash | str
    start_us: int
    end_us: int
    first_token_us: int | None = None
    """None: as `end_us`."""
    model: str
    model_id: str = ""
    """Empty: as the end of `attempt_id` says, which stands before this entry in its record."""
    model_group: str
    custom_llm_provider: str = ""
    api_base: str = ""
    user: str = ""
    team_id: str = ""
    organization_id: str = ""
    end_user: str = ""
    requester_ip_address: str = ""
    user_agent: str = ""
    session_id: str | None = None
    status: CallStatus = CallStatus.SUCCESS
    cache_hit: str = "None"
    litellm_call_id: str = ""
    """Empty: the call's own id."""
    request_tags: list[str] = []
    metadata: dict[str, msgspec.Raw] = {}
    """The caller's own."""
    key_names: msgspec.Raw = NO_JSON
    spend_logs_metadata: dict[str, msgspec.Raw] | None = None
    error_information: Failure | None = None
    client_left: bool = False
    metadata_dropped: list[str] = []
    logged: bool = True
    """Whether the call gets a row; totals grow either way (`disable_spend_logs`)."""
    error_logged: bool = True
    """Whether its failure gets a row in the table of errors (`disable_error_logs`)."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an entry that constraints and totals rest on."""

    kind: str
    attempt_id: AttemptId | CallId
    call_id: CallId
    at_us: int
    """When it happened, in microseconds since 1970."""
    seq: int = 0
    cost_nano_usd: NanoUsd | None = None
    evidence: Evidence | None = None
    hold_nano_usd: NanoUsd | None = None
    """What the attempt holds, or held, of each of `windows`."""
    windows: tuple[WindowId, ...] | None = None
    """The budget windows it is charged to."""
    owner: JournalId | None = None
    """Whose grants the hold came from, where another instance tells how the attempt came out."""
    body: OpenBody | SettleBody | EndBody | AdjustBody | CallBody | msgspec.Raw


class Pins(msgspec.Struct, frozen=True):
    """What an attempt holds, and of which budget windows."""

    hold: NanoUsd
    windows: tuple[WindowId, ...]
    owner: JournalId | None = None


def opened(
    *, attempt_id: AttemptId, call_id: CallId, at_us: int, body: OpenBody | msgspec.Raw, pins: Pins | None = None
) -> Entry:
    """The attempt is about to be sent."""
    return _entry("open", attempt_id, call_id, at_us, body, pins)


def settled(
    *,
    attempt_id: AttemptId,
    call_id: CallId,
    at_us: int,
    cost: NanoUsd,
    evidence: Evidence,
    body: SettleBody,
    pins: Pins | None = None,
) -> Entry:
    """The attempt cost this much. Terminal."""
    if cost < 0:
        raise ValueError(f"attempt {attempt_id} cannot cost {cost} nano-dollars")
    return _entry("settle", attempt_id, call_id, at_us, body, pins, cost=cost, evidence=evidence)


def voided(*, attempt_id: AttemptId, call_id: CallId, at_us: int, body: EndBody, pins: Pins | None = None) -> Entry:
    """It is certain that nothing was billed. Terminal."""
    return _entry("void", attempt_id, call_id, at_us, body, pins)


def unknown(*, attempt_id: AttemptId, call_id: CallId, at_us: int, body: EndBody, pins: Pins | None = None) -> Entry:
    """It was sent, and what it cost is not known yet: a mark, followed by a terminal entry later."""
    return _entry("unknown", attempt_id, call_id, at_us, body, pins)


def adjusted(
    *,
    attempt_id: AttemptId,
    call_id: CallId,
    at_us: int,
    number: int,
    difference: NanoUsd,
    evidence: Evidence,
    body: AdjustBody,
    pins: Pins | None = None,
) -> Entry:
    """A settled attempt cost `difference` more than was booked, or less. `number` tells adjustments apart: from 0."""
    return _entry("adjust", attempt_id, call_id, at_us, body, pins, number=number, cost=difference, evidence=evidence)


def _entry(
    kind: str,
    attempt_id: AttemptId,
    call_id: CallId,
    at_us: int,
    body: OpenBody | SettleBody | EndBody | AdjustBody | msgspec.Raw,
    pins: Pins | None,
    *,
    number: int = 0,
    cost: NanoUsd | None = None,
    evidence: Evidence | None = None,
) -> Entry:
    return Entry(
        kind=kind,
        attempt_id=attempt_id,
        call_id=call_id,
        at_us=at_us,
        seq=number,
        cost_nano_usd=cost,
        evidence=evidence,
        hold_nano_usd=None if pins is None else pins.hold,
        windows=None if pins is None else pins.windows,
        owner=None if pins is None else pins.owner,
        body=body,
    )


def ended(*, call_id: CallId, at_us: int, body: CallBody) -> Entry:
    """The call is finished; each of its attempts has its terminal entry already."""
    return Entry(kind="call", attempt_id=call_id, call_id=call_id, at_us=at_us, body=body)


_encoder = msgspec.json.Encoder()


def encode_entries(entries: list[Entry]) -> bytes:
    """One journal record: a JSON array of entries, all of them or none."""
    return _encoder.encode(entries)
