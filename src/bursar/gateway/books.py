"""A call's entries, in the order that matters: `open` before a byte is sent, the end before the client sees the end.

Ends are reported without waiting, so that a cancelled call can still close its books.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable

from bursar.domain.accounting import (
    EndBody,
    Entry,
    Failure,
    Pins,
    encode_entries,
    ended,
    opened,
    settled,
    unknown,
    voided,
)
from bursar.domain.errors import JournalError
from bursar.domain.ids import CallId, attempt_id, call_id
from bursar.domain.money import NanoUsd
from bursar.gateway.call import Attempt, Call, Charge, Estimate
from bursar.gateway.log_row import call_body, open_body, settle_body
from bursar.gateway.models import Deployment
from bursar.ports.budgets import BudgetHold
from bursar.ports.ledger import Recorder


def wall_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Books:
    """Puts calls on record."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        log_rows: bool = True,
        log_failures: bool = True,
        clock_us: Callable[[], int] = wall_us,
    ) -> None:
        """`log_rows` off: totals without rows; `log_failures` off: no rows of either table for calls that failed."""
        self._recorder = recorder
        self._log_rows = log_rows
        self._log_failures = log_failures
        self._clock_us = clock_us
        # Unique, not secret; seeded by the operating system, and anew in a forked process, which makes its own Books.
        self._random = random.Random(os.urandom(32))
        self._open = 0
        self.unpriced_attempts = 0
        self.estimated_attempts = 0

    def new_call_id(self) -> CallId:
        """An id for a call that begins now."""
        return call_id(self._clock_us() // 1000, self._random.getrandbits(66))

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return self._clock_us()

    async def open(
        self, call: Call, deployment: Deployment, *, estimate: Estimate, hold: BudgetHold | None = None
    ) -> Attempt:
        """Promise an attempt, whose end closes `hold`. Raises JournalError: it must not be sent."""
        now = self._clock_us()
        call.attempts += 1
        attempt = Attempt(
            id=attempt_id(call.id, call.attempts),
            deployment=deployment,
            price=deployment.prices.at(now / 1e6),
            opened_us=now,
            hold=hold,
            pins=None if hold is None else Pins(NanoUsd(hold.amount), hold.windows),
        )
        body = open_body(
            call,
            attempt,
            estimate=estimate,
            logged=self._log_rows and self._log_failures,
            error_logged=self._log_failures,
        )
        entry = opened(attempt_id=attempt.id, call_id=call.id, at_us=now, body=body, pins=attempt.pins)
        promise = self._recorder.promise(encode_entries([entry]))
        try:
            await promise
        except (JournalError, asyncio.CancelledError):
            if promise.recorded:
                end = _end_body(attempt, "not sent: cancelled, or not recorded as safely as is configured")
                void = voided(attempt_id=attempt.id, call_id=call.id, at_us=now, body=end, pins=attempt.pins)
                self._recorder.end(encode_entries([void]))
            raise
        self._open += 1
        call.attempt = attempt
        return attempt

    def settle(self, call: Call, attempt: Attempt, charge: Charge, *, failure: Failure | None = None) -> None:
        """The attempt cost `charge`, and the call is finished."""
        if charge.estimated and attempt.hold is not None and charge.cost > attempt.hold.amount:
            charge.cost, charge.parts = NanoUsd(attempt.hold.amount), None  # no estimate is better than the bound
            charge.flags = (*charge.flags, "estimate_at_hold")
        attempt.charge = charge
        now = self._clock_us()
        entries: list[Entry] = []
        if charge.estimated and failure is not None:
            mark = _end_body(attempt, failure.error_class)
            entries.append(unknown(attempt_id=attempt.id, call_id=call.id, at_us=now, body=mark, pins=attempt.pins))
        entries.append(_settle_entry(call, attempt, charge, now))
        entries.append(self._call_entry(call, attempt, now, failure))
        self._end(attempt, charge.cost, entries)
        self.unpriced_attempts += not charge.priced
        self.estimated_attempts += charge.estimated

    def void(self, call: Call, attempt: Attempt, failure: Failure) -> None:
        """It is certain that the attempt cost nothing; the call has failed."""
        now = self._clock_us()
        end = _end_body(attempt, failure.error_class)
        entries = [
            voided(attempt_id=attempt.id, call_id=call.id, at_us=now, body=end, pins=attempt.pins),
            self._call_entry(call, attempt, now, failure),
        ]
        self._end(attempt, NanoUsd(0), entries)

    def refuse(self, call: Call, failure: Failure) -> None:
        """A known caller's call ended before anything was tried."""
        now = self._clock_us()
        entry = self._call_entry(call, None, now, failure)
        self._recorder.report(encode_entries([entry]))

    def written(self) -> Awaitable[None]:
        """Wait until what was recorded is on disk: before the client sees the end of its answer."""
        return self._recorder.written()

    def flush(self) -> bool:
        """The same without waiting. False: the journal does not take all of it, for now."""
        return self._recorder.flush()

    def close(self) -> bool:
        """Whether every attempt that was promised has its end on disk."""
        return self.flush() and self._open == 0

    def _end(self, attempt: Attempt, cost: NanoUsd, entries: list[Entry]) -> None:
        """On record first: whatever happens to those who wait for the hold must not keep it from the books."""
        self._recorder.end(encode_entries(entries))
        attempt.booked = True
        self._open -= 1
        if attempt.hold is not None:
            attempt.hold.settle(cost)

    def _call_entry(self, call: Call, attempt: Attempt | None, now: int, failure: Failure | None) -> Entry:
        logged = self._log_rows and (failure is None or self._log_failures)
        body = call_body(call, attempt, end_us=now, failure=failure, logged=logged, error_logged=self._log_failures)
        return ended(call_id=call.id, at_us=now, body=body)


def _settle_entry(call: Call, attempt: Attempt, charge: Charge, now: int) -> Entry:
    return settled(
        attempt_id=attempt.id,
        call_id=call.id,
        at_us=now,
        cost=charge.cost,
        evidence=charge.evidence,
        body=settle_body(attempt, charge),
        pins=attempt.pins,
    )


def _end_body(attempt: Attempt, reason: str) -> EndBody:
    deployment = attempt.deployment
    return EndBody(
        opened_us=attempt.opened_us,
        provider=deployment.provider,
        model=deployment.upstream_model,
        deployment_id=deployment.id,
        price_version=None if attempt.price is None else attempt.price.version,
        reason=reason,
        status=attempt.status or None,
    )
