"""`/audit`: who changed what."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bursar.domain.errors import NotFound
from bursar.management.body import unprocessable
from bursar.management.route import Asked, Route
from bursar.ports.audits import AuditFilter, AuditLog, AuditRow


class AuditQuery(msgspec.Struct, kw_only=True):
    """Which changes, and which page of them."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Meta(ge=1, le=100)] = 10
    changed_by: str | None = None
    changed_by_api_key: str | None = None
    action: Literal["created", "updated", "deleted", "blocked", "unblocked", "rotated"] | None = None
    table_name: str | None = None
    object_id: str | None = None
    start_date: str | None = None
    """ISO 8601; a date alone is its beginning."""
    end_date: str | None = None
    """ISO 8601; a date alone is included."""
    sort_by: Literal["updated_at", "changed_by", "action", "table_name", "object_id"] = "updated_at"
    sort_order: Literal["asc", "desc"] = "desc"


class AuditEntry(msgspec.Struct, kw_only=True):
    """A change to one row of one table. Secrets are masked."""

    id: str
    updated_at: datetime
    changed_by: str
    changed_by_api_key: str
    action: str
    table_name: str
    object_id: str
    before_value: dict[str, object] | None
    updated_values: dict[str, object] | None


class AuditEntries(msgspec.Struct, kw_only=True):
    """A page of changes."""

    audit_logs: list[AuditEntry]
    total: int
    page: int
    page_size: int
    total_pages: int


class AuditEndpoints:
    """Looking at the log of changes."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    @property
    def routes(self) -> Sequence[Route]:
        """See `management.route.Room`."""
        return (
            Route(
                method="GET",
                path="/audit",
                tag="audit",
                summary="List changes",
                endpoint=self.entries,
                query=AuditQuery,
                answer=AuditEntries,
            ),
            Route(
                method="GET",
                path="/audit/{id}",
                tag="audit",
                summary="Look at one change",
                endpoint=self.entry,
                answer=AuditEntry,
                errors=(404,),
            ),
        )

    async def entries(self, asked: Asked[None, AuditQuery]) -> object:
        """Newest first, unless asked for otherwise."""
        query = asked.query
        wanted = AuditFilter(
            changed_by=query.changed_by,
            changed_by_api_key=query.changed_by_api_key,
            action=query.action,
            table_name=query.table_name,
            object_id=query.object_id,
            since=_moment(query.start_date, "start_date"),
            before=_moment(query.end_date, "end_date", end=True),
            sort_by=query.sort_by,
            downwards=query.sort_order == "desc",
        )
        found = await self._log.page(wanted, limit=query.page_size, offset=(query.page - 1) * query.page_size)
        return {
            "audit_logs": found.rows,
            "total": found.total,
            "page": query.page,
            "page_size": query.page_size,
            "total_pages": -(-found.total // query.page_size),
        }

    async def entry(self, asked: Asked[None, None]) -> AuditRow:
        """By the id that the list shows."""
        row = await self._log.find(asked.path["id"])
        if row is None:
            raise NotFound("Audit log not found")
        return row


def _moment(text: str | None, name: str, *, end: bool = False) -> datetime | None:
    """When a period begins, or the first moment after it; None: it has no such end, as none comes after the last day
    of the calendar. Raises Unprocessable."""
    if not text or (end and text == date.max.isoformat()):
        return None
    try:
        moment = datetime.fromisoformat(text)
        whole_day = end and len(text) == len("2026-01-31")
        zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return zoned.astimezone(UTC) + timedelta(days=1 if whole_day else 0)
    except (ValueError, OverflowError):
        raise unprocessable("Expected a date such as 2026-01-31 or 2026-01-31T12:00:00Z", ["query", name]) from None
