"""Attempts that failed: what they cost, and what the client is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from bursar.domain.accounting import Failure as LoggedFailure
from bursar.domain.outcomes import (
    ClientAnswer,
    Failure,
    Outcome,
    UpstreamErrorClass,
    classify,
    client_answer,
    outcome_of,
)
from bursar.domain.storable import storable_text
from bursar.ports.upstream import FailureKind, TransportError
from bursar.wire.openai_error import UpstreamError, redacted

_TRANSPORT_WORDS = {
    FailureKind.DNS: "The provider's address could not be resolved.",
    FailureKind.CONNECT: "The provider refused the connection.",
    FailureKind.CONNECT_TIMEOUT: "The provider did not accept a connection in time.",
    FailureKind.TLS: "No secure connection to the provider could be made.",
    FailureKind.POOL: "All connections to the provider are in use.",
    FailureKind.RESPONSE_TIMEOUT: "The provider did not answer in time.",
    FailureKind.IDLE_TIMEOUT: "The provider stopped in the middle of its answer.",
    FailureKind.CLOSED: "The provider closed the connection without an answer.",
    FailureKind.TRUNCATED: "The provider's answer broke off.",
    FailureKind.PROTOCOL: "The provider's answer is not valid HTTP.",
}
_OWN_CREDENTIAL = frozenset({UpstreamErrorClass.AUTHENTICATION, UpstreamErrorClass.PERMISSION_DENIED})
_TIMEOUTS = frozenset({FailureKind.RESPONSE_TIMEOUT, FailureKind.IDLE_TIMEOUT, FailureKind.CONNECT_TIMEOUT})


@dataclass(slots=True, frozen=True)
class AttemptFailure:
    """One failed attempt, decided about."""

    outcome: Outcome
    error_class: UpstreamErrorClass
    answer: ClientAnswer
    message: str
    """For the client: no credentials, hosts or tracebacks in it."""
    detail: str
    """For the log: what the upstream or the transport said."""
    param: str | None = None
    provider: str = ""
    provider_fields: Mapping[str, str] = field(default_factory=dict)
    """The provider's own type and code, which clients may know better than ours."""

    @property
    def logged(self) -> LoggedFailure:
        """As the log row tells it."""
        said = storable_text(self.message, len(self.message))
        return LoggedFailure(self.error_class, str(self.answer.status), said, self.provider)


def upstream_failure(provider: str, error: UpstreamError, *, status: int, output: bool = False) -> AttemptFailure:
    """The provider answered with an error, by status or in words."""
    facts = Failure(
        provider=provider,
        sent=True,
        status=(error.status or status) if status < 300 else status,
        error_type=error.type,
        error_code=error.code,
        shaped=error.shaped,
        html=error.html,
        output=output,
        message=error.message,
    )
    error_class = classify(facts)
    said = redacted(error.message) or "The provider answered with an error and no message."
    if error_class in _OWN_CREDENTIAL:
        said = "The provider refused the gateway's credentials. Its message is in the gateway's log."
    return AttemptFailure(
        outcome=outcome_of(facts),
        error_class=error_class,
        answer=client_answer(error_class, facts.status),
        message=_worded(error_class, provider, said),
        detail=error.message,
        param=error.param,
        provider=provider,
        provider_fields=_own_words(error) if error.shaped and error_class not in _OWN_CREDENTIAL else {},
    )


def _own_words(error: UpstreamError) -> dict[str, str]:
    words = {"type": error.type, "code": error.code}
    return {name: redacted(word) for name, word in words.items() if word}


def transport_failure(provider: str, error: TransportError, *, output: bool = False) -> AttemptFailure:
    """The way to the provider or back failed."""
    answered = error.kind in (FailureKind.TRUNCATED, FailureKind.IDLE_TIMEOUT)
    facts = Failure(
        provider=provider,
        sent=error.sent,
        status=200 if answered else None,
        output=output,
        timed_out=error.kind in _TIMEOUTS,
    )
    error_class = UpstreamErrorClass.TIMEOUT if facts.timed_out else UpstreamErrorClass.CONNECTION
    return AttemptFailure(
        outcome=outcome_of(facts),
        error_class=error_class,
        answer=client_answer(error_class, None),
        message=_worded(error_class, provider, _TRANSPORT_WORDS[error.kind]),
        detail=str(error),
        provider=provider,
    )


def broken_answer(provider: str, detail: str, *, status: int, output: bool = False) -> AttemptFailure:
    """The provider answered with success, and what it sent is no answer."""
    facts = Failure(provider=provider, sent=True, status=status, output=output)
    error_class = UpstreamErrorClass.CONNECTION
    return AttemptFailure(
        outcome=outcome_of(facts),
        error_class=error_class,
        answer=client_answer(error_class, None),
        message=_worded(error_class, provider, "The provider's answer cannot be read."),
        detail=detail,
        provider=provider,
    )


class Stop(Enum):
    """Why we ended an attempt ourselves: what the client is told, and what the log row calls it."""

    OUT_OF_TIME = (UpstreamErrorClass.TIMEOUT, None, "Request timed out.")
    CLIENT_GONE = (UpstreamErrorClass.TIMEOUT, ClientAnswer(499, "client_disconnect"), "The client left.")
    SHUTDOWN = (UpstreamErrorClass.SERVICE_UNAVAILABLE, None, "The gateway is shutting down.")


def stopped(provider: str, why: Stop, *, sent: bool, answered: bool, output: bool) -> AttemptFailure:
    """We ended the attempt ourselves. If it was sent, what it cost is not known."""
    facts = Failure(provider=provider, sent=sent, status=200 if answered else None, output=output, timed_out=True)
    error_class, answer, said = why.value
    return AttemptFailure(
        outcome=outcome_of(facts),
        error_class=error_class,
        answer=answer or client_answer(error_class, None),
        message=_worded(error_class, provider, said),
        detail=why.name.lower(),
        provider=provider,
    )


def _worded(error_class: UpstreamErrorClass, provider: str, said: str) -> str:
    """In LiteLLM's form, which people search their logs for."""
    return f"litellm.{error_class}: {error_class}: {_camel(provider)}Exception - {said}"


def _camel(provider: str) -> str:
    return "OpenAI" if provider == "openai" else "".join(part.capitalize() for part in provider.split("_"))
