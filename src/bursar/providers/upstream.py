"""One deployment's upstream: where its requests go, with which headers, and the name it is shown under.

Everything here is the operator's choice, made once when the configuration is read; a caller has no say in it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlsplit

from bursar.domain.egress import Egress, forbidden_host
from bursar.domain.errors import ConfigError
from bursar.providers.catalogue import Auth, Provider, Resolved
from bursar.wire.http import Origin, RawHeaders

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})
"""Headers that the transport and the dialect own."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where one deployment's chat completions go."""

    provider: Provider
    model: str
    """The provider's own name for the model."""
    origin: Origin
    target: str
    """Path and query of the request line."""
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Authentication and all else that every request carries, except what the transport adds. Secret."""
    secrets: tuple[str, ...] = field(repr=False)
    """Values among `headers` that nobody else may see."""
    api_base: str
    """For headers, logs and metric labels: stable per deployment, without credentials, query and trailing slash."""
    has_key: bool
    """A key is configured, or none is needed."""

    @property
    def name(self) -> str:
        """`provider/model`, as prices, headers and logs name it."""
        return f"{self.provider.name}/{self.model}"

    def request_headers(self, extra: Iterable[tuple[bytes, bytes]] = ()) -> RawHeaders:
        """The headers of one request, with `extra` ones from the caller: checked before, and never replacing ours."""
        headers = list(self.headers)
        ours = {name for name, _ in headers}
        headers += ((name, value) for name, value in extra if name not in ours)
        return headers

    def conceal(self, text: str) -> str:
        """`text` without this upstream's credentials."""
        for secret in self.secrets:
            text = text.replace(secret, "[redacted]")
        return text

    def conceal_lines(self, lines: bytes) -> bytes:
        """The same of header fields, in whose characters credentials are written."""
        for secret in self.secrets:
            if (written := secret.encode("latin-1", "replace")) in lines:
                lines = lines.replace(written, b"[redacted]")
        return lines


def build_upstream(
    resolved: Resolved,
    *,
    environ: Mapping[str, str],
    api_key: str | None = None,
    api_base: str | None = None,
    organization: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    egress: Egress = Egress.ANY,
) -> Upstream:
    """The upstream of a deployment; what is not configured comes from the provider's variables in `environ`. `egress`:
    where an address that is configured may lead.

    Raises ConfigError: no usable address, a key or header that HTTP cannot carry.
    """
    provider = resolved.provider
    configured = _filled(api_base) or _first_of(environ, provider.base_variables)
    base = configured or provider.base
    if base is None:
        variables = " or ".join(provider.base_variables)
        raise ConfigError(f"{provider.name} has no public address; set api_base or {variables}")
    address = _address(base)
    origin = _origin(address, Egress.ANY if _filled(api_base) is None else egress)
    key = _filled(api_key) or _first_of(environ, provider.key_variables) or provider.key_if_none
    return Upstream(
        provider=provider,
        model=resolved.upstream_model,
        origin=origin,
        target=_target(address, provider),
        headers=tuple(
            _headers(
                provider,
                key=key,
                organization=organization,
                # Who we are to this provider is nobody else's business.
                environ=environ if _is_at_home(address, provider) else {},
                extra=extra_headers or {},
            )
        ),
        secrets=tuple(secret for secret in (key, *(extra_headers or {}).values()) if secret and len(secret) >= 4),
        api_base=_shown(address, origin, is_default=configured is None, provider=provider),
        has_key=key is not None or provider.key_optional,
    )


def check_address(api_base: str, egress: Egress) -> None:
    """Raises ConfigError: this is no address, or none that calls may be sent to."""
    if (base := _filled(api_base)) is not None:
        _origin(_address(base), egress)


def _filled(value: str | None) -> str | None:
    """A setting without the blanks and line ends that secret files end with; None if nothing is left."""
    stripped = (value or "").strip()
    return stripped or None


def _first_of(environ: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((value for name in names if (value := _filled(environ.get(name)))), None)


def _address(base: str) -> SplitResult:
    if any(char <= " " or char == "\x7f" for char in base):
        raise ConfigError("api_base: an address has no blanks or control characters in it")
    try:
        address = urlsplit(base)
        port = address.port
    except ValueError as error:
        raise ConfigError(f"api_base: not an address: {error}") from None
    if address.scheme not in ("http", "https") or "://" not in base:
        raise ConfigError(f"api_base: expected an address that begins with http:// or https://, got {_masked(base)!r}")
    if "@" in address.netloc:
        raise ConfigError("api_base: put credentials into api_key, not into the address")
    if not address.hostname:
        raise ConfigError("api_base: the address names no host")
    if port == 0:
        raise ConfigError("api_base: port 0 cannot be connected to")
    if "#" in base:
        raise ConfigError("api_base: a fragment (#…) is never sent to a server; leave it out")
    return address


def _is_at_home(address: SplitResult, provider: Provider) -> bool:
    """Whether the address is the provider's public one."""
    return provider.base is not None and urlsplit(provider.base).hostname == address.hostname


def _masked(base: str) -> str:
    """The beginning of what was configured, in case it is a secret in the wrong place."""
    return base if len(base) <= 12 else base[:12] + "…"


def _origin(address: SplitResult, egress: Egress) -> Origin:
    host = address.hostname or ""
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ConfigError(f"api_base: {host!r} is not a host name") from None
    if not _HOST.fullmatch(host):
        raise ConfigError(f"api_base: {host!r} is not a host name")
    if (reason := forbidden_host(host, egress)) is not None:
        raise ConfigError(f"api_base: {reason}, so no model of the database may be there")
    return Origin(address.scheme, host, address.port or (443 if address.scheme == "https" else 80), egress)


_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"


def _target(address: SplitResult, provider: Provider) -> str:
    path = quote(address.path.rstrip("/"), safe=_PATH_SAFE)
    if not path.endswith(provider.chat_path):
        version = provider.version_in_path
        path += provider.chat_path if path.endswith(version) else version + provider.chat_path
    query = quote(address.query, safe=_PATH_SAFE + "?")
    return f"{path}?{query}" if query else path


def _shown(address: SplitResult, origin: Origin, *, is_default: bool, provider: Provider) -> str:
    shown = f"{origin.scheme}://{origin.authority}"
    if is_default and provider.name == "openai":
        return shown  # as LiteLLM's users know it from their dashboards
    return shown + quote(address.path.rstrip("/"), safe=_PATH_SAFE)


def _headers(
    provider: Provider,
    *,
    key: str | None,
    organization: str | None,
    environ: Mapping[str, str],
    extra: Mapping[str, str],
) -> RawHeaders:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",  # usage is read from the bytes that pass
        "user-agent": "bursar",
    }
    if key is not None:
        name, prefix = _AUTH_HEADERS[provider.auth]
        headers[name] = _header_value("api_key", prefix + key)
    for name, variable in provider.header_variables:
        value = _filled(environ.get(variable))
        if value is not None:
            headers[name] = _header_value(variable, value)
    if organization is not None and _filled(organization):
        headers["openai-organization"] = _header_value("organization", organization.strip())
    for written, value in extra.items():
        name = written.strip().lower()
        if not name or not _TOKEN.issuperset(name):
            raise ConfigError(f"extra_headers: {written!r} is not a header name")
        if name in _OURS:
            raise ConfigError(f"extra_headers: {name} is set by the gateway itself; leave it out")
        headers[name] = _header_value(f"extra_headers.{name}", str(value).strip())
    return [(name.encode(), value.encode()) for name, value in headers.items()]


_AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    Auth.BEARER: ("authorization", "Bearer "),
    Auth.OAUTH: ("authorization", "Bearer "),
    Auth.SIGV4: ("authorization", "Bearer "),
    Auth.X_API_KEY: ("x-api-key", ""),
    Auth.API_KEY: ("api-key", ""),
    Auth.GOOGLE: ("x-goog-api-key", ""),
}


def _header_value(setting: str, value: str) -> str:
    if not all(" " <= char <= "~" for char in value):
        raise ConfigError(f"{setting}: has characters that a header cannot carry, such as a line end or an accent")
    return value
