"""Response headers, by LiteLLM's names. A value that is not known is left out, never sent as zero.

Better than LiteLLM on purpose: no `0.0` cost breakdown on streams, version, model and attempt counts on errors too, the
provider's Retry-After passed on. They are written as bytes at once: there are thirty in an answer.
"""

from time import perf_counter

from bursar import LITELLM_CONTRACT_VERSION, __version__
from bursar.domain.money import usd_float
from bursar.domain.prices import usd_of_scaled
from bursar.domain.principals import Principal
from bursar.gateway.call import Attempt, Call, Charge
from bursar.gateway.key_spend import KeySpend
from bursar.gateway.models import Deployment
from bursar.wire.http import JSON, FieldLines

EVENT_STREAM: FieldLines = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_VERSIONS: FieldLines = f"x-litellm-version: {LITELLM_CONTRACT_VERSION}\r\nx-bursar-version: {__version__}\r\n".encode()
_COPIED = frozenset(
    {
        b"x-ratelimit-limit-requests",
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-requests",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-requests",
        b"x-ratelimit-reset-tokens",
    }
)
"""The provider's own limits, which clients pace themselves by."""
_HIDDEN = frozenset(
    {
        b"set-cookie",
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-amz-security-token",
    }
)
"""Not passed on even with a prefix: a session at the provider, or a credential that a proxy on the way gives back, is
nobody else's."""
_ORGANIZATION = frozenset({b"openai-organization", b"openai-project"})
_DEPLOYMENTS_MAX = 4000
_FORMS_MAX = 1000
_Form = tuple[bytes, tuple[int, ...]]


class HeaderWriter:
    """Makes the headers of answers; what is constant for a deployment is made once."""

    def __init__(self, key_spend: KeySpend, *, hide_organization: bool = False) -> None:
        self._key_spend = key_spend
        self._hidden = _HIDDEN | _ORGANIZATION if hide_organization else _HIDDEN
        self._by_deployment: dict[int, tuple[Deployment, FieldLines]] = {}
        self._forms: dict[tuple[bytes, ...], _Form] = {}
        """By the names of a provider's headers, in their order: a provider sends the same ones again and again."""

    def answer(self, call: Call, attempt: Attempt, charge: Charge) -> FieldLines:
        """For a complete, non-streamed answer."""
        cost = _cost(charge) if charge.priced and (charge.cost or charge.evidence == "free") else b""
        durations = _durations(call, upstream_s=attempt.body_s - attempt.sent_s)
        return b"".join(
            (
                self._common(call, attempt),
                cost,
                self._key(call.principal),
                call.admitted.lines(attempt.upstream_headers),
                durations,
                JSON,
                self._upstream(attempt),
            )
        )

    def stream(self, call: Call, attempt: Attempt) -> FieldLines:
        """For a stream about to begin: what it costs is not known yet, and comes in its usage chunk."""
        durations = _durations(call, upstream_s=attempt.first_s - attempt.sent_s)
        return b"".join(
            (
                self._common(call, attempt),
                self._key(call.principal),
                call.admitted.lines(attempt.upstream_headers),
                durations,
                EVENT_STREAM,
                self._upstream(attempt),
            )
        )

    def refusal(self, call_id: str, principal: Principal | None) -> FieldLines:
        """For a request that was not tried; content-type and the like are the refusal's own."""
        who = b"" if principal is None else b"x-litellm-response-cost: 0\r\n" + self._key(principal)
        return b"".join((_field(b"x-litellm-call-id", call_id), _VERSIONS, who))

    def failure(self, call: Call, attempt: Attempt) -> FieldLines:
        """For an attempt that failed. What it cost is not always nothing, and never unknown any more."""
        retry_after = b"".join(
            b"retry-after: %b\r\n" % value for name, value in attempt.upstream_headers if name == b"retry-after"
        )
        return b"".join(
            (
                JSON,
                self._common(call, attempt),
                b"x-litellm-response-cost: %r\r\n" % (0 if attempt.charge is None else usd_float(attempt.charge.cost)),
                self._key(call.principal),
                b"x-litellm-timeout: %r\r\n" % attempt.timeout_s,
                _concealed(retry_after, attempt),
                self._upstream(attempt),
            )
        )

    def _common(self, call: Call, attempt: Attempt) -> FieldLines:
        fields = _field(b"x-litellm-call-id", call.attribution.litellm_call_id) + self._deployment(attempt.deployment)
        if attempt.hold is not None and attempt.hold.bound is not None:
            fields += b"x-bursar-max-tokens: %d\r\n" % attempt.hold.bound
        return fields

    def _key(self, principal: Principal) -> FieldLines:
        fields = b"x-litellm-key-spend: %r\r\n" % usd_float(self._key_spend.of(principal))
        if principal.max_budget is not None:
            fields += b"x-litellm-key-max-budget: %r\r\n" % principal.max_budget
        if principal.tpm_limit is not None:
            fields += b"x-litellm-key-tpm-limit: %d\r\n" % principal.tpm_limit
        if principal.rpm_limit is not None:
            fields += b"x-litellm-key-rpm-limit: %d\r\n" % principal.rpm_limit
        return fields

    def _deployment(self, deployment: Deployment) -> FieldLines:
        known = self._by_deployment.get(id(deployment))
        if known is not None and known[0] is deployment:
            return known[1]
        fields = [
            _VERSIONS,
            _field(b"x-litellm-model-group", deployment.group),
            _field(b"x-litellm-model-name", deployment.qualified_model),
            _field(b"x-litellm-model-id", deployment.id),
            b"x-litellm-attempted-retries: 0\r\nx-litellm-attempted-fallbacks: 0\r\n",
        ]
        if deployment.upstream is not None and deployment.upstream.api_base:
            fields.append(_field(b"x-litellm-model-api-base", deployment.upstream.api_base))
        if len(self._by_deployment) >= _DEPLOYMENTS_MAX:
            self._by_deployment.clear()
        lines = b"".join(fields)
        self._by_deployment[id(deployment)] = (deployment, lines)
        return lines

    def _upstream(self, attempt: Attempt) -> FieldLines:
        """Every header of the provider's under `llm_provider-`, some under their own names as well."""
        headers = attempt.upstream_headers
        if not headers:
            return b""
        names, values = zip(*headers, strict=True)
        form = self._forms.get(names)
        if form is None:
            if len(self._forms) >= _FORMS_MAX:
                self._forms.clear()
            form = self._forms[names] = _form(names, self._hidden)
        template, chosen = form
        return _concealed(template % tuple([values[index] for index in chosen]), attempt)


def _form(names: tuple[bytes, ...], hidden: frozenset[bytes]) -> _Form:
    """How headers of these names are told, of whatever values: lines with gaps, and which value each gap takes."""
    told = [(b"llm_provider-" + name, index) for index, name in enumerate(names) if name not in hidden]
    last = {name: index for index, name in enumerate(names)}
    told += [(name, last[name]) for name in sorted(_COPIED & last.keys())]
    request_id = last.get(b"request-id", last.get(b"x-request-id"))
    if request_id is not None:
        told.append((b"request-id", request_id))
    template = b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name, _ in told])
    return template, tuple([index for _, index in told])


def _concealed(lines: FieldLines, attempt: Attempt) -> FieldLines:
    """The provider's headers without our credentials, which some repeat."""
    upstream = attempt.deployment.upstream
    return lines if upstream is None else upstream.conceal_lines(lines)


def _cost(charge: Charge) -> FieldLines:
    total = usd_float(charge.cost)
    written = repr(total).encode()
    fields = b"x-litellm-response-cost: %b\r\nx-litellm-response-cost-original: %b\r\n" % (written, written)
    parts = charge.parts
    if parts is not None:
        usage = charge.usage
        fields += b"x-litellm-response-cost-input: %r\r\nx-litellm-response-cost-output: %r\r\n" % (
            usd_of_scaled(parts.input),
            usd_of_scaled(parts.output),
        )
        if usage.cached_prompt_tokens:
            fields += b"x-litellm-response-cost-cache-read: %r\r\n" % usd_of_scaled(parts.cache_read)
        if usage.cache_write_5m_tokens or usage.cache_write_1h_tokens:
            fields += b"x-litellm-response-cost-cache-creation: %r\r\n" % usd_of_scaled(parts.cache_creation)
        if usage.reasoning_tokens:
            fields += b"x-litellm-response-cost-reasoning: %r\r\n" % usd_of_scaled(parts.reasoning)
    return fields


def _durations(call: Call, *, upstream_s: float) -> FieldLines:
    """From the request's first byte to the answer's first, and the part of it that was ours."""
    total_s = perf_counter() - call.request.received_s
    total_us, own_us = int(total_s * 1e6), int((total_s - upstream_s) * 1e6)
    return b"x-litellm-response-duration-ms: %d.%03d\r\nx-litellm-overhead-duration-ms: %d.%03d\r\n" % (
        total_us // 1000,
        total_us % 1000,
        own_us // 1000,
        own_us % 1000,
    )


def _field(name: bytes, text: str) -> FieldLines:
    """A field whose value is text from elsewhere; none where HTTP could not carry it."""
    return b"%b: %b\r\n" % (name, text.encode("latin-1", "replace")) if text.isprintable() else b""
