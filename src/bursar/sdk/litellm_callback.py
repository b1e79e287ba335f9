"""The callback for apps that call providers through the `litellm` SDK. The only module that imports it."""

import asyncio
import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import litellm
from litellm.integrations.custom_logger import CustomLogger

from bursar.domain.secrets import Secret
from bursar.sdk.gateways import Gateways
from bursar.sdk.litellm_event import MAPPINGS, is_silenced, spend_of, untold
from bursar.sdk.pending import Pending, Reader
from bursar.sdk.prices import BookPrices
from bursar.sdk.recorder import EXIT_S, Health, Recorder
from bursar.sdk.settings import Settings

Stream = TypeVar("Stream")

log = logging.getLogger(__name__)

_QUEUE = "queue_proxy"
NAMES = frozenset({"bursar", "prisma_proxy", _QUEUE})
"""In LiteLLM's lists they switch on the callback that `bursar.sdk` registers."""
_FAILED, _ANSWERED = "failure_callback", "success_callback"
_TOLD_BY_CHUNK = frozenset({"completion", "text_completion"})
"""LiteLLM's types of calls of whose streams it tells each chunk."""
_WITH_FALLBACKS = frozenset({"completion", "acompletion"})
"""Types of calls that have another within them for each attempt, which is answered, and told, before they are."""


class SpendCallback(CustomLogger):  # type: ignore[misc]  # litellm is not always there when types are checked
    """Books what calls through LiteLLM's SDK cost. Register it in `litellm.callbacks`.

    Its methods never raise, wait for no network, and take microseconds: a call is on disk when they return.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        gateway_urls: tuple[str, ...] = (),
        redis_url: str | None = None,
        use_redis_buffer: bool = False,
    ) -> None:
        """`database_url`: else DATABASE_URL, when the first call is told; `data_dir`: else BURSAR_DATA_DIR or the
        user's; `gateway_urls`: Bursar gateways, which book the calls that go through them (else BURSAR_GATEWAY_URL);
        `use_redis_buffer`: post through Redis, that of `redis_url`, else REDIS_URL."""
        super().__init__()
        settings = Settings(
            database_url=None if database_url is None else Secret(database_url),
            data_dir=None if data_dir is None else Path(data_dir),
            redis_url=None if redis_url is None else Secret(redis_url),
            uses_redis=lambda: use_redis_buffer or self._queues(),
        )
        self._recorder = Recorder(settings)
        self._gateways = Gateways(gateway_urls or os.environ.get("BURSAR_GATEWAY_URL", "").split())
        self._prices = BookPrices()
        self._version = _version()
        self._pending = Pending(self._book_untold)
        self._recorder.swept_by(self._pending.sweep, forget=self._pending.forget)
        self.destination = f"bursar-{id(self)}"
        """LiteLLM takes two callbacks of a class for one when what they show is equal."""

    # What the app may ask

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until the database has all calls told before; whether it has."""
        return self._recorder.flush(timeout_s)

    async def aclose(self, timeout_s: float = EXIT_S) -> bool:
        """Book what is still to be told, post everything, and let go; whether the database has it. Calls after that
        begin anew."""
        return await asyncio.to_thread(self._recorder.close, timeout_s)

    def health(self) -> Health:
        """How the books of this process are."""
        return self._recorder.health()

    def watch(self, stream: Stream) -> "WatchedStream[Stream]":
        """`stream`, of which is booked what was read of it if it is left before its end: LiteLLM tells nothing then."""
        owner = getattr(stream, "logging_obj", None)
        details = getattr(owner, "model_call_details", None)
        watched = WatchedStream(stream)
        if isinstance(details, Mapping) and self._wanted(_ANSWERED):
            watched.on_chunk = self._pending.watch(watched, details, reader=Reader.WATCHED).see
        return watched

    # LiteLLM's events, by its names

    def log_success_event(self, kwargs: object, response_obj: object, start_time: object, end_time: object) -> None:  # noqa: ARG002  # LiteLLM passes them by name
        """A synchronous call was answered."""
        self._tell(kwargs, response_obj, failed=False)

    def log_failure_event(self, kwargs: object, response_obj: object, start_time: object, end_time: object) -> None:  # noqa: ARG002
        """An attempt of a synchronous call failed."""
        self._tell(kwargs, response_obj, failed=True)

    async def async_log_success_event(
        self,
        kwargs: object,
        response_obj: object,
        start_time: object,  # noqa: ARG002
        end_time: object,  # noqa: ARG002
    ) -> None:
        """An asynchronous call was answered."""
        self._tell(kwargs, response_obj, failed=False)

    async def async_log_failure_event(
        self,
        kwargs: object,
        response_obj: object,
        start_time: object,  # noqa: ARG002
        end_time: object,  # noqa: ARG002
    ) -> None:
        """An attempt of an asynchronous call failed."""
        self._tell(kwargs, response_obj, failed=True)

    # LiteLLM's hooks, in the app's way: see `pending`

    def log_pre_api_call(self, model: object, messages: object, kwargs: object) -> None:  # noqa: ARG002
        """An attempt is about to be sent."""
        if isinstance(kwargs, MAPPINGS) and kwargs.get("stream"):
            self._unharmed(self._ask, kwargs)

    def log_stream_event(self, kwargs: object, response_obj: object, start_time: object, end_time: object) -> None:  # noqa: ARG002
        """The app has got a chunk of a synchronous stream."""
        if isinstance(kwargs, Mapping):
            self._unharmed(self._pending.streamed, kwargs, response_obj)

    async def async_pre_call_deployment_hook(self, kwargs: object, call_type: object) -> None:  # noqa: ARG002
        """An asynchronous call begins."""
        if not self._recorder.started or (isinstance(kwargs, MAPPINGS) and kwargs.get("stream")):
            self._unharmed(self._begin, kwargs)

    async def async_post_call_success_deployment_hook(
        self,
        request_data: object,
        response: object,
        call_type: object,  # noqa: ARG002
    ) -> None:
        """The app is about to get the answer."""
        try:
            self._remember(request_data, response)
        except Exception:  # whatever it is, the app's call goes on
            log.exception("sdk.not_remembered")

    async def async_post_call_streaming_deployment_hook(
        self,
        request_data: object,
        response_chunk: object,
        call_type: object,  # noqa: ARG002
    ) -> None:
        """The app is about to get a chunk."""
        if isinstance(request_data, Mapping) and self._wanted(_ANSWERED):
            self._unharmed(self._pending.streamed, request_data, response_chunk)

    # How

    def _queues(self) -> bool:
        """Whether the app's lists ask for Redis."""
        return False

    def _wanted(self, _list: str) -> bool:
        """Whether calls that end in events of `_list` are to be booked."""
        return True

    def _begin(self, kwargs: object) -> None:
        owner = kwargs.get("litellm_logging_obj") if isinstance(kwargs, Mapping) else None
        details = getattr(owner, "model_call_details", None)
        if not isinstance(kwargs, Mapping) or not isinstance(details, Mapping) or not self._wanted(_ANSWERED):
            return
        self._recorder.start()
        if kwargs.get("stream"):
            self._pending.watch(owner, details)

    def _ask(self, details: Mapping[str, object]) -> None:
        if details.get("call_type") in _TOLD_BY_CHUNK and self._wanted(_ANSWERED):
            self._pending.asked(details)

    def _remember(self, request_data: object, response: object) -> None:
        if not isinstance(request_data, MAPPINGS):
            return
        details = getattr(request_data.get("litellm_logging_obj"), "model_call_details", None)
        if not isinstance(details, MAPPINGS) or not self._wanted(_ANSWERED):
            return
        if not request_data.get("fallbacks") or details.get("call_type") not in _WITH_FALLBACKS:
            self._pending.answered(details, response)

    def _tell(self, details: object, response: object, *, failed: bool) -> None:
        if not isinstance(details, MAPPINGS):
            return
        if not self._pending.told(details, failed=failed) or not self._wanted(_FAILED if failed else _ANSWERED):
            return
        self._book_unharmed(details, response, failed=failed)

    def _book(self, details: Mapping[str, object], response: object, *, failed: bool) -> None:
        if self._gateways.serve(details, failed=failed) or is_silenced(details):
            return
        spend = spend_of(details, response, failed=failed, price_of=self._prices.find, version=self._version)
        self._recorder.book(spend)

    def _book_untold(self, details: Mapping[str, object], response: object) -> None:
        self._book_unharmed(details, response, failed=False, told=False)

    def _book_unharmed(
        self, details: Mapping[str, object], response: object, *, failed: bool, told: bool = True
    ) -> None:
        try:
            self._book(details if told else untold(details), response, failed=failed)
        except Exception as error:  # whatever it is, the app's call goes on
            log.exception("sdk.not_booked")
            self._recorder.lose(f"a call could not be read: {type(error).__name__}")

    def _unharmed(self, what: Callable[..., object], *arguments: object, **named: object) -> None:
        """Whatever goes wrong here, the app's call goes on."""
        try:
            what(*arguments, **named)
        except Exception:  # see above
            log.exception("sdk.not_booked")


class WatchedStream(Generic[Stream]):
    """A stream of LiteLLM's that somebody watches. All that it can, this can."""

    def __init__(self, stream: Stream) -> None:
        self._stream: Any = stream
        self.on_chunk: Callable[[object], None] = _nobody

    def __iter__(self) -> "WatchedStream[Stream]":
        return self

    def __next__(self) -> Any:  # noqa: ANN401  # LiteLLM's chunk
        chunk = next(self._stream)
        self.on_chunk(chunk)
        return chunk

    def __aiter__(self) -> "WatchedStream[Stream]":
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401  # LiteLLM's chunk
        chunk = await self._stream.__anext__()
        self.on_chunk(chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # LiteLLM's
        return getattr(self._stream, name)


def _nobody(_chunk: object) -> None:
    """Nobody watches."""


class _Name(CustomLogger):  # type: ignore[misc]  # as above
    """One of our names, in the place where the app put it, and a logger that logs nothing.

    While there is a name in `success_callback` that LiteLLM has no logger of, it does for each asynchronous call, in a
    thread, all that it does for synchronous ones. Names that it knows it replaces by their loggers, in the app's list.
    It equals its name: apps look whether that is in the list.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __eq__(self, other: object) -> bool:
        return self.name == (other.name if isinstance(other, _Name) else other)

    def __hash__(self) -> int:
        return hash(self.name)


class NamedCallback(SpendCallback):
    """The one that `bursar.sdk` registers. It books what the app's lists name it for: `success_callback` successes,
    `failure_callback` failures, `callbacks` both. They are read at each event, since apps set them late."""

    def _queues(self) -> bool:
        """`queue_proxy` is among them when the first call is told."""
        lists = (getattr(litellm, name, ()) for name in (_ANSWERED, _FAILED, "callbacks"))
        return any(getattr(one, "name", one) == _QUEUE for callbacks in lists for one in callbacks)

    def _wanted(self, list_name: str) -> bool:
        return _names(getattr(litellm, list_name, ()), replace=True) or _names(litellm.callbacks)


def _names(callbacks: object, *, replace: bool = False) -> bool:
    """Whether there is a name of ours among them; they are replaced as `_Name` says."""
    found = False
    if isinstance(callbacks, list):
        for number, one in enumerate(callbacks):
            if type(one) is _Name:
                found = True
            elif isinstance(one, str) and one in NAMES:
                found = True
                if replace:
                    callbacks[number] = _Name(one)
    return found


def _version() -> str:
    for name in ("litellm", "litellm-core"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return "unknown"
