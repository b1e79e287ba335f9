"""The errors Bursar raises on purpose: one class wherever a caller would act differently.

`code` is public and stable. HTTP statuses are not here: `gateway.errors` maps classes to answers.
"""

from typing import ClassVar


class BursarError(Exception):
    """Base of all errors raised on purpose. The message says what happened, to what, and what to do next."""

    code: ClassVar[str] = "internal_error"


class ConfigError(BursarError):
    """A setting cannot be used. `path` is where it stands, e.g. `config.yaml: model_list[1].litellm_params.timeout`."""

    code = "config_error"

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def at(self, path: str) -> "ConfigError":
        """The same complaint, with its place."""
        return ConfigError(self.message, path=path)


class StoreError(BursarError):
    """The database cannot be used as it is; the message says why and what to do."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The database does not answer at the moment; trying again later may help."""

    code = "store_unavailable"


class StoreTooSlow(StoreUnavailable):
    """The database did not do it in time; it may do less in time."""


class StoreBusy(StoreUnavailable):
    """As many reports are being made as may be at a time; later there is room."""

    code = "store_busy"


class StoreRefused(StoreError):
    """The database will never take this content; trying it again is useless."""

    code = "store_refused"


class StoreConflict(StoreError):
    """The row has changed since the caller looked at it; the message is fit for them."""

    code = "store_conflict"


class SecretUnreadable(BursarError):
    """A stored secret cannot be opened; the message says why, what to do, and nothing of the secret."""

    code = "secret_unreadable"


class JournalTaken(BursarError):
    """Another poster has carried this journal on: whoever sees this must stop posting it."""

    code = "journal_taken"


class JournalError(BursarError):
    """The journal cannot take an entry, so no call may be sent: what is not on record does not happen."""

    code = "journal_unavailable"
    recorded: int = 0
    """Of several records that were to be written together, how many of the first ones are on record all the same."""


class JournalFull(JournalError):
    """Nothing was written: the disk does not give the room that was asked for. What needs less may still fit."""


class Refusal(BursarError):
    """A request is not served, and its caller is told why: the message is for them, and holds nothing of others'.

    `kind` is the envelope's `type`, which clients switch on; `param` names what in the request is to blame.
    """

    kind: ClassVar[str] = "invalid_request_error"

    def __init__(self, message: str, *, kind: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.type = kind or self.kind
        self.param = param


class InvalidRequest(Refusal):
    """The request cannot be understood, or asks for what is not possible."""

    code = "invalid_request"


class Unauthenticated(Refusal):
    """It is not known who calls."""

    code = "unauthenticated"
    kind = "auth_error"


class Forbidden(Refusal):
    """It is known who calls, and they may not do this."""

    code = "forbidden"
    kind = "auth_error"


class NotFound(Refusal):
    """What the request names does not exist, or not for this caller."""

    code = "not_found"
    kind = "not_found_error"


class MethodNotAllowed(Refusal):
    """The path exists, with other methods."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allow = allow
        """With which."""


class Conflict(Refusal):
    """What the request is based on has changed in the meantime, or what it would make exists already."""

    code = "conflict"
    kind = "bad_request_error"


class Unprocessable(Refusal):
    """The fields do not fit. `details` lists each, as clients of the management API parse them."""

    code = "validation_error"
    kind = "validation_error"

    def __init__(self, message: str, *, details: list[dict[str, object]]) -> None:
        super().__init__(message)
        self.details = details


class NotBuilt(Refusal):
    """Part of the contract, and not in this release."""

    code = "not_implemented"
    kind = "not_implemented_error"


class BudgetExceeded(Refusal):
    """The call does not fit into one of its budgets. The message says whose, what is spent and held, and until when."""

    code = "budget_exceeded"
    kind = "budget_exceeded"

    def __init__(self, message: str, *, retry_after_s: int | None = None, of_deployment: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.of_deployment = of_deployment
        """It is the deployment's budget, not the caller's: another deployment may serve the call."""
        self.status: int | None = None
        """The HTTP status, where the configuration chooses one (`budget_exceeded_status_code`)."""


class UnboundedCost(Refusal):
    """A hard budget applies, and nothing bounds what the call can cost. The message names what would."""

    code = "unbounded_cost"
    kind = "unbounded_cost"


class TooLarge(Refusal):
    """More bytes than allowed."""

    code = "request_too_large"


class RateLimited(Refusal):
    """A rate limit has no room for the call. `limit_type`: which, by LiteLLM's words; `reset_at`: when it has, as
    text."""

    code = "rate_limited"
    kind = "throttling_error"

    def __init__(self, message: str, *, limit_type: str, reset_at: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit_type = limit_type
        self.reset_at = reset_at
        self.retry_after_s = retry_after_s


class Unavailable(Refusal):
    """Cannot be served at the moment, for no fault of the request's. `retry_after_s`: when trying again may help; None:
    it does not."""

    code = "unavailable"
    kind = "service_unavailable"

    def __init__(
        self, message: str, *, kind: str | None = None, param: str | None = None, retry_after_s: int | None = 1
    ) -> None:
        super().__init__(message, kind=kind, param=param)
        self.retry_after_s = retry_after_s
