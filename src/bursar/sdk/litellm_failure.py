"""Attempts that failed, as LiteLLM tells of them: why, and whether they may have been billed all the same."""

import re
from collections.abc import Iterator, Mapping

from bursar.domain.accounting import Failure
from bursar.domain.outcomes import Failure as Facts
from bursar.domain.outcomes import Outcome, outcome_of
from bursar.domain.storable import storable_text

_MESSAGE_MAX = 2_000
_UNANSWERED = frozenset({"APIConnectionError", "Timeout"})
"""LiteLLM gives them a status too, which nobody sent."""
_NEVER_SENT = frozenset(
    {"ClientConnectorError", "ConnectError", "ConnectionRefusedError", "ConnectTimeout", "gaierror"}
)
"""What its HTTP clients raise before they have a connection."""
_KEYS = re.compile(r"\b(sk|pk|rk|gsk|xai|AIza|AKIA)[-_]?[A-Za-z0-9_\-]{12,}|(?<=[Bb]earer )\S+")


def failure_of(told: Mapping[str, object], error: object, provider: str) -> Failure:
    """What the row says. Providers repeat a wrong key in what they complain of: it is left out."""
    found = told.get("error_information")
    said: Mapping[str, object] = found if isinstance(found, Mapping) else {}
    message = said.get("error_message") or told.get("error_str") or str(error or "")
    return Failure(
        error_class=_text(said.get("error_class")) or type(error).__name__,
        error_code=_text(said.get("error_code")) or str(getattr(error, "status_code", None) or ""),
        error_message=_KEYS.sub("•••", storable_text(str(message), _MESSAGE_MAX)),
        llm_provider=_text(said.get("llm_provider")) or provider,
    )


def outcome_of_failure(failure: Failure, error: object, provider: str) -> Outcome:
    """Whether it is void, by the gateway's own table. A status that LiteLLM tells is taken for the provider's word."""
    unanswered = failure.error_class in _UNANSWERED
    return outcome_of(
        Facts(
            provider=provider,
            sent=_NEVER_SENT.isdisjoint(type(cause).__name__ for cause in _causes(error)),
            status=status_of(failure) if not unanswered else None,
            shaped=not unanswered,
            timed_out=failure.error_class == "Timeout",
        )
    )


def status_of(failure: Failure) -> int | None:
    """As a number."""
    return int(failure.error_code) if failure.error_code.isdecimal() else None


def _causes(error: object) -> Iterator[BaseException]:
    """What it was raised from, and while."""
    seen: set[int] = set()
    cause = error if isinstance(error, BaseException) else None
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _text(value: object) -> str:
    return storable_text(value) if isinstance(value, str) else ""
