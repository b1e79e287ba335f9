"""Attempts that failed, as LiteLLM tells of them: why, and whether they may have been billed all the same."""

from collections.abc import Iterable, Iterator, Mapping

from bursar.domain.accounting import Failure
from bursar.domain.outcomes import Failure as Facts
from bursar.domain.outcomes import Outcome, outcome_of
from bursar.sdk.app_words import kept_message
from bursar.sdk.app_words import kept_text as _text

_UNANSWERED = frozenset({"APIConnectionError", "Timeout"})
"""LiteLLM gives them a status too, which nobody sent."""
_NEVER_SENT = frozenset(
    {"ClientConnectorError", "ConnectError", "ConnectionRefusedError", "ConnectTimeout", "gaierror"}
)
"""What its HTTP clients raise before they have a connection."""


def failure_of(told: Mapping[str, object], error: object, provider: str, credentials: Iterable[object] = ()) -> Failure:
    """What the row says. Providers repeat a wrong key in what they complain of: `credentials` are left out."""
    found = told.get("error_information")
    said: Mapping[str, object] = found if isinstance(found, Mapping) else {}
    message = said.get("error_message") or told.get("error_str") or error or ""
    return Failure(
        error_class=_text(said.get("error_class")) or type(error).__name__,
        error_code=_text(said.get("error_code")) or _text(getattr(error, "status_code", None)),
        error_message=kept_message(message, credentials),
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
    """What it was raised from."""
    seen: set[int] = set()
    cause = error if isinstance(error, BaseException) else None
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or _wrapped(cause)


def _wrapped(error: BaseException) -> BaseException | None:
    """What it was raised while, if that is what it is about: LiteLLM does not say so, others name it. The error of a
    fallback is raised while that of the attempt before is handled, which may never have been sent."""
    found = error.__context__
    of_litellm = type(error).__module__.startswith("litellm.")
    if of_litellm and found is not None and type(found).__module__ != "litellm.exceptions":
        return found
    return found if any(argument is found for argument in error.args) else None
