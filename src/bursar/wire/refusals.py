"""Refusals as HTTP answers: the one table of statuses, and the envelope clients parse.

What a refusal names came with the request, and may be a key that stands in the wrong place: it is masked here, since
clients log the errors they get.
"""

import msgspec

from bursar.domain import errors
from bursar.domain.masking import masked
from bursar.wire.http import JSON, FieldLines
from bursar.wire.openai_error import error_body

_STATUS: dict[type, int] = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.Unprocessable: 422,
    errors.RateLimited: 429,
    errors.NotBuilt: 501,
    errors.BudgetExceeded: 422,
    errors.UnboundedCost: 400,
    errors.Unavailable: 503,
}


def status_of(refusal: errors.Refusal) -> int:
    """The HTTP status of a refusal."""
    if isinstance(refusal, errors.BudgetExceeded) and refusal.status is not None:
        return refusal.status
    return next(_STATUS[kind] for kind in type(refusal).__mro__ if kind in _STATUS)


def refusal_answer(refusal: errors.Refusal) -> tuple[int, FieldLines, bytes]:
    """Status, header fields and body that tell a client of `refusal`."""
    status = status_of(refusal)
    fields = JSON
    retry = errors.Unavailable | errors.RateLimited | errors.BudgetExceeded
    if isinstance(refusal, retry) and refusal.retry_after_s is not None:
        fields += b"retry-after: %d\r\n" % refusal.retry_after_s
    if isinstance(refusal, errors.RateLimited):
        fields += f"rate_limit_type: {refusal.limit_type}\r\nreset_at: {refusal.reset_at}\r\n".encode()
    if isinstance(refusal, errors.MethodNotAllowed) and refusal.allow:
        fields += f"allow: {', '.join(refusal.allow)}\r\n".encode()
    if isinstance(refusal, errors.Unprocessable):
        return status, fields, msgspec.json.encode({"detail": refusal.details})
    return status, fields, error_body(str(masked(refusal.message)), refusal.type, refusal.param, str(status))
