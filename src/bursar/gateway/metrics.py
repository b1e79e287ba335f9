"""`/metrics`: what Prometheus scrapes. What it tells is read from the database, so every worker tells the same."""

from collections.abc import Awaitable, Callable

from bursar import __version__
from bursar.domain.errors import MethodNotAllowed, Refusal, StoreError
from bursar.ports.http import Reply
from bursar.ports.ledger import BooksState
from bursar.ports.users import Authenticator
from bursar.wire.exposition import CONTENT_TYPE, Metric, Sample, exposition
from bursar.wire.http import Request
from bursar.wire.refusals import refusal_answer


class Metrics:
    """Implements `ports.http.Handler` for `/metrics`."""

    def __init__(
        self, authenticator: Authenticator, state: Callable[[], Awaitable[BooksState]], *, public: bool
    ) -> None:
        """`public`: without a key."""
        self._authenticator = authenticator
        self._state = state
        self._public = public

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer a scrape."""
        try:
            if request.method not in ("GET", "HEAD"):
                raise MethodNotAllowed("Method Not Allowed")
            if not self._public:
                await self._authenticator.authenticate(request)
        except Refusal as refusal:
            reply.send(*refusal_answer(refusal))
            return
        try:
            state = await self._state()
        except StoreError:
            state = None
        reply.send(200, CONTENT_TYPE, exposition(_metrics(state)))


def _metrics(state: BooksState | None) -> list[Metric]:
    found = [
        _gauge("bursar_build_info", "The running version.", 1, version=__version__),
        _gauge(
            "bursar_database_up",
            "Whether the database answers; else what it knows is missing.",
            state is not None,
        ),
    ]
    if state is None:
        return found
    found += [
        _gauge(
            "bursar_ledger_quarantined_records",
            "Records that were set aside.",
            state.quarantined,
        ),
        _gauge(
            "bursar_budgets_over_limit",
            "Budgets that have been passed in this period.",
            state.budgets_over_limit,
        ),
        _gauge(
            "bursar_ledger_incidents",
            "Databases restored, processes declared lost, records that could not be read: ever.",
            state.incidents,
        ),
    ]
    if (last := state.audit) is not None:
        found += [
            _gauge(
                "bursar_ledger_drift_nano_usd",
                "How far what is kept beside the entries is from what they add up to. 0, or the books do not close.",
                last.drift_nano_usd,
            ),
            _gauge("bursar_ledger_audit_differences", "What differed at the last look.", last.differences),
            _gauge("bursar_ledger_audit_entries", "Entries at the last look.", last.entries),
            _gauge("bursar_ledger_audit_timestamp_seconds", "When the last look ended.", last.ended_at.timestamp()),
            _gauge("bursar_ledger_audit_duration_seconds", "How long the last look took.", last.seconds),
        ]
    return found


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    return Metric(name, "gauge", text, [Sample(value, labels)])
