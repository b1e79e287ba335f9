"""A deployment of an OpenAI-compatible provider as the gateway calls it: implements `ports.upstream.ChatUpstream`."""

from bursar.ports.upstream import Timeouts, UpstreamRequest, UpstreamResponse
from bursar.providers.mock_response import MockResponse
from bursar.providers.openai_compatible import OpenAICompatible
from bursar.wire.http import FieldLines, RawHeaders, field_lines
from bursar.wire.openai_answer import AnswerRules
from bursar.wire.openai_chat import ChatRequest, bounded


class ProviderChat:
    """Where a call goes, and with which bytes."""

    def __init__(self, dialect: OpenAICompatible, *, mock_response: str | None = None) -> None:
        upstream = dialect.upstream
        self._mock_response = mock_response
        self._dialect = dialect
        self._headers = upstream.request_headers()
        self._lines = field_lines(self._headers)
        self.api_base = upstream.api_base
        self.answers: AnswerRules = dialect.answers
        self.refused = dialect.refused

    def request(self, chat: ChatRequest, *, extra_headers: RawHeaders, timeouts: Timeouts) -> UpstreamRequest:
        """See `ports.upstream.ChatUpstream.request`."""
        upstream = self._dialect.upstream
        return UpstreamRequest(
            method="POST",
            origin=upstream.origin,
            target=upstream.target,
            headers=upstream.request_headers(extra_headers) if extra_headers else self._headers,
            lines=b"" if extra_headers else self._lines,
            body=self._dialect.body(chat),
            timeouts=timeouts,
        )

    def output_limit(self, chat: ChatRequest) -> int | None:
        """See `ports.upstream.ChatUpstream.output_limit`."""
        return self._dialect.output_limit(chat)

    def bounded(self, chat: ChatRequest, tokens: int) -> ChatRequest:
        """See `ports.upstream.ChatUpstream.bounded`."""
        return bounded(chat, tokens)

    def conceal(self, text: str) -> str:
        """See `ports.upstream.ChatUpstream.conceal`."""
        return self._dialect.upstream.conceal(text)

    def conceal_lines(self, lines: FieldLines) -> FieldLines:
        """See `ports.upstream.ChatUpstream.conceal_lines`."""
        return self._dialect.upstream.conceal_lines(lines)

    def canned(self, chat: ChatRequest) -> UpstreamResponse | None:
        """See `ports.upstream.ChatUpstream.canned`."""
        if self._mock_response is None:
            return None
        return MockResponse(self._mock_response, chat, self._dialect.upstream.model)
