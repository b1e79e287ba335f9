"""One stream on its way through: what the client gets of each piece, and what the books need to know."""

from collections.abc import Callable

from bursar.domain.money import usd_float
from bursar.gateway.call import Attempt, Call, Charge
from bursar.wire.openai_assembly import StreamAssembly
from bursar.wire.openai_error import UpstreamError
from bursar.wire.openai_stream import DONE, ChunkReader, usage_event
from bursar.wire.openai_usage import UsageReading
from bursar.wire.sse import SseEventTooLarge, SseSplitter, event_data


class StreamRelay:
    """Feed it what the upstream sends; send on what it returns. The end is kept back until the books are closed."""

    def __init__(
        self,
        call: Call,
        attempt: Attempt,
        cost_of: Callable[[UsageReading], float | None],
        *,
        usage_wanted: bool,
        assembly: StreamAssembly | None = None,
    ) -> None:
        """`usage_wanted`: the client gets the usage chunk; `assembly` is given each event that the client gets."""
        upstream = attempt.deployment.upstream
        assert upstream is not None
        self._call = call
        self._splitter = SseSplitter()
        self._reader = ChunkReader(
            model=call.chat.model, usage_wanted=usage_wanted, rules=upstream.answers, cost_of=cost_of
        )
        self._too_large: UpstreamError | None = None
        self._assembly = assembly
        self._usage_wanted = usage_wanted

    def feed(self, data: bytes) -> bytes:
        """What the client gets for `data`. After it, look at `error` and `done`."""
        try:
            events = self._splitter.feed(data)
        except SseEventTooLarge as error:
            self._too_large = UpstreamError(message=str(error), code="malformed_event")
            return b""
        return self._pass_on(events)

    def finish(self) -> bytes:
        """The upstream has ended its answer: what was left over."""
        last = self._splitter.finish()
        return b"" if last is None else self._pass_on([last])

    def _pass_on(self, events: list[bytes]) -> bytes:
        read = self._reader.read
        if len(events) == 1 and self._assembly is None:
            out = read(events[0])
            return b"" if self._reader.done else out
        pieces = []
        for event in events:
            out = read(event)
            if self._reader.done or self._reader.error is not None:
                break
            pieces.append(out)
            if self._assembly is not None and (payload := event_data(out)) is not None:
                self._assembly.feed(payload)
        return b"".join(pieces)

    @property
    def error(self) -> UpstreamError | None:
        """The stream has failed in words."""
        return self._too_large or self._reader.error

    @property
    def done(self) -> bool:
        """`[DONE]` has come. It has not been returned: the caller closes the books first."""
        return self._reader.done

    @property
    def complete(self) -> bool:
        """The answer is whole: it said so, or each of its choices has its finish reason (some servers say no more)."""
        return self._reader.done or bool(self._reader.finish_reasons)

    @property
    def usage(self) -> UsageReading:
        """The latest report."""
        return self._reader.usage

    @property
    def assembled(self) -> dict[str, object] | None:
        """The answer so far as a whole; None when there is no assembly."""
        return None if self._assembly is None else self._assembly.answer()

    @property
    def output_bytes(self) -> int:
        """Bytes of generated text so far."""
        return self._reader.output_bytes

    @property
    def produced_output(self) -> bool:
        """Something was generated, so something will be billed."""
        return self._reader.output_bytes > 0 or bool(self._reader.finish_reasons)

    @property
    def service_tier(self) -> str | None:
        """The service tier the provider says it used."""
        return self._reader.service_tier

    @property
    def provider_id(self) -> str | None:
        """The provider's id of the answer."""
        return self._reader.id

    def ending(self, charge: Charge, *, created_s: int) -> bytes:
        """The last bytes: an estimated usage chunk where one is owed and none came, and `[DONE]`."""
        if self._usage_wanted and self._reader.usage.missing:
            event = usage_event(
                completion_id=self._reader.id,
                model=self._call.chat.model,
                created_s=created_s,
                usage=charge.usage,
                cost_usd=usd_float(charge.cost) if charge.priced else None,
            )
            return event + DONE
        return DONE
