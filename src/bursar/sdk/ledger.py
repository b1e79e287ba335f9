"""The books for apps that call providers with whatever client they like.

    ledger = Ledger()
    with ledger.call(provider="openai", model="gpt-4o", user="alice") as call:
        answer = client.chat.completions.create(...)
        call.usage(answer.usage)

A call is on record before its body runs: one whose process dies in the middle is booked at what it promised.
"""

import logging
import os
import random
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType

import msgspec

from bursar.domain.accounting import Evidence, Failure
from bursar.domain.errors import ConfigError
from bursar.domain.ids import call_id
from bursar.domain.money import NanoUsd, nano_from_usd
from bursar.domain.outcomes import Outcome
from bursar.domain.prices import cost_of, covers
from bursar.domain.secrets import Secret
from bursar.domain.usage import Usage
from bursar.sdk.app_words import kept_members, kept_message, kept_tags, kept_text
from bursar.sdk.litellm_failure import outcome_of_failure, status_of
from bursar.sdk.prices import BookPrices
from bursar.sdk.recorder import EXIT_S, Health, Recorder
from bursar.sdk.settings import Settings
from bursar.wire.openai_usage import MISSING, UsageReading, usage_from
from bursar.wire.spend import Charge, Spend, Void, promise_of, record_of
from bursar.wire.usage_report import encoded_report

log = logging.getLogger(__name__)


class Ledger:
    """The books of this process. Any thread may use it; nothing of it raises into a call."""

    def __init__(self, database_url: str | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        """`database_url`: else DATABASE_URL, when the first call begins; `data_dir`: else BURSAR_DATA_DIR or the
        user's."""
        settings = Settings(
            database_url=None if database_url is None else Secret(database_url),
            data_dir=None if data_dir is None else Path(data_dir),
        )
        self._recorder = Recorder(settings)
        self._prices = BookPrices()
        self._random = random.SystemRandom()

    def call(
        self,
        *,
        model: str,
        provider: str = "",
        call_type: str = "completion",
        user: str = "",
        team: str = "",
        organization: str = "",
        end_user: str = "",
        tags: Iterable[str] = (),
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        promised_usd: float = 0.0,
    ) -> "LedgerCall":
        """A call that begins where it is entered. `provider` and `model` by the names of the price book; `call_type` by
        LiteLLM's; `promised_usd`: what is booked if nobody ever learns what it cost. What is no name, no tag or no JSON
        is left out."""
        kept, dropped = kept_members(metadata)
        names, more = kept_tags(tags)
        spend = Spend(
            told_id="",
            request_id="",
            call_type=_name("call_type", call_type),
            provider=_name("provider", provider),
            model=_name("model", model),
            model_group=_name("model", model),
            start_us=0,
            end_us=0,
            outcome=Charge(
                cost=_nano(promised_usd) or NanoUsd(0), evidence=Evidence.ESTIMATED, price_version="promised"
            ),
            user=_name("user", user),
            team_id=_name("team", team),
            organization_id=_name("organization", organization),
            end_user=_name("end_user", end_user),
            session_id=_name("session_id", session_id) or None,
            request_tags=names,
            metadata=kept,
            metadata_dropped=dropped + more,
        )
        return LedgerCall(spend, self._recorder, self._prices, self._random)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until the database has all calls that have ended; whether it has."""
        return self._recorder.flush(timeout_s)

    def close(self, timeout_s: float = EXIT_S) -> bool:
        """Post everything and let go; whether the database has it. The end of the program does so too."""
        return self._recorder.close(timeout_s)

    def health(self) -> Health:
        """How the books of this process are."""
        return self._recorder.health()


class LedgerCall:
    """One call. What it is told counts when it ends: the last `usage`, or the exception that ended it. Entered again
    after that, it is another one."""

    def __init__(self, spend: Spend, recorder: Recorder, prices: BookPrices, draw: random.Random) -> None:
        self._spend = spend
        self._recorder = recorder
        self._prices = prices
        self._draw = draw
        self._running = False
        self._id = call_id(0, 0)
        self._forget()

    def _forget(self) -> None:
        """Nothing has been told."""
        self._reading: UsageReading = MISSING
        self._cost: NanoUsd | None = None
        self._request_id = ""
        self._first_token_us: int | None = None

    def usage(self, report: object = None, *, cost_usd: float | None = None, **counts: int) -> None:
        """What the call used: a provider's usage object, or `prompt_tokens=…, completion_tokens=…` and what else those
        have. `cost_usd`: what it cost, if that is known better than by the price book; what is no such amount is left
        out."""
        try:
            self._reading = usage_from(encoded_report(counts or report))
            self._cost = None if cost_usd is None else _nano(cost_usd)
        except Exception:  # the report is anybody's object: the call goes on, flagged
            log.exception("sdk.usage_not_read")

    def answered(self, request_id: str) -> None:
        """The provider's id of its answer."""
        self._request_id = _name("request_id", request_id)

    def first_token(self) -> None:
        """The answer begins."""
        self._first_token_us = time.time_ns() // 1000

    def __enter__(self) -> "LedgerCall":
        if self._running:
            log.warning("sdk.call_entered_twice: it is booked once; each call needs an object of its own")
            return self
        self._running = True
        start_us = time.time_ns() // 1000
        self._id = call_id(start_us // 1000, self._draw.getrandbits(66))
        self._spend = msgspec.structs.replace(self._spend, told_id=self._id, start_us=start_us, end_us=start_us)
        try:
            self._recorder.record(promise_of(self._spend, self._id))
        except Exception:  # whatever it is, the app's call goes on
            log.exception("sdk.promise_not_recorded")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._running:
            return
        self._running = False
        try:
            self._recorder.record(record_of(self._ended(error), self._id))
        except Exception as reason:  # whatever it is, the app's call goes on
            log.exception("sdk.not_booked")
            self._recorder.lose(f"a call could not be read: {type(reason).__name__}")
        self._forget()  # what was told is of this call, and not of one that enters after it

    def _ended(self, error: BaseException | None) -> Spend:
        return msgspec.structs.replace(
            self._spend,
            request_id=self._request_id or self._id,
            end_us=max(time.time_ns() // 1000, self._spend.start_us),
            first_token_us=self._first_token_us,
            outcome=self._outcome(error),
            failure=None if error is None else _failure(error, self._spend.provider),
        )

    def _outcome(self, error: BaseException | None) -> Charge | Void:
        if error is not None and self._reading.missing and self._cost is None:
            told = Failure(type(error).__name__, kept_text(getattr(error, "status_code", None)), "", "")
            if outcome_of_failure(told, error, self._spend.provider) is Outcome.VOID:
                return Void(status=status_of(told))
        return self._charge()

    def _charge(self) -> Charge:
        reading = self._reading
        flags: tuple[str, ...] = tuple(sorted(reading.flags))
        cost = reading.stated_cost if self._cost is None else self._cost
        if cost is not None:
            return Charge(
                cost=cost,
                evidence=Evidence.PROVIDER if cost else Evidence.FREE,
                usage=reading.usage,
                price_version="stated",
                provider_usage=reading.raw,
                flags=flags,
            )
        if reading.missing:
            promised = self._spend.outcome
            assert isinstance(promised, Charge)
            return msgspec.structs.replace(promised, flags=(*flags, "usage_estimated"))
        return self._priced(reading.usage, reading.raw, flags)

    def _priced(self, usage: Usage, raw: bytes, flags: tuple[str, ...]) -> Charge:
        spend = self._spend
        price = self._prices.find(spend.provider, spend.model, spend.start_us / 1e6)
        known = price is not None and covers(price, usage)
        return Charge(
            cost=NanoUsd(0) if price is None else cost_of(usage, price),
            evidence=Evidence.UNPRICED if price is None else Evidence.PROVIDER,
            usage=usage,
            price_version=None if price is None else price.version,
            provider_usage=raw,
            flags=flags if known else (*flags, "price_unknown"),
        )


def _failure(error: BaseException, provider: str) -> Failure:
    status = kept_text(getattr(error, "status_code", None))
    return Failure(type(error).__name__, status or "500", kept_message(error), provider)


def _name(what: str, value: object) -> str:
    text = kept_text(value)
    if not text and value is not None and not isinstance(value, str):
        log.warning("sdk.not_a_name argument=%s type=%s", what, type(value).__name__)
    return text


def _nano(usd: object) -> NanoUsd | None:
    """None: it is no amount that a call may cost."""
    try:
        if not isinstance(usd, float | int | str | Decimal):
            raise ConfigError(f"expected an amount in US dollars, got a {type(usd).__name__}")
        if (amount := nano_from_usd(usd)) < 0:
            raise ConfigError("a call costs no less than nothing")
    except (ConfigError, ValueError) as error:
        log.warning("sdk.cost_not_read reason=%s", error)
        return None
    return amount
