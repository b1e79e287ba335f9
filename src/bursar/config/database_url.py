"""DATABASE_URL: PostgreSQL's URL, with the parameters that Prisma adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from bursar.config.findings import Mismatch, Place, Report, quoted
from bursar.config.values import BOOLEAN, COUNT, POSITIVE, SECONDS_OR_ZERO, Kind
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

DEFAULT_PORT = 5432

_SCHEMES = ("postgresql", "postgres")
_SSL_MODES: tuple[SslMode, ...] = get_args(SslMode)
_ENCODE = "percent-encode special characters in user and password: @ is %40, : %3A, / %2F, # %23, ? %3F, % %25"
_IGNORED = frozenset(
    {
        "channel_binding",
        "max_idle_connection_lifetime",
        "options",
        "socket_timeout",
        "sslaccept",
        "sslcert",
        "sslidentity",
        "sslkey",
        "sslpassword",
        "statement_cache_size",
        "target_session_attrs",
    }
)


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """Which database, as whom, and how many connections to it. Its repr does not show the password."""

    host: str
    """A name or address, or the directory of a Unix socket, which begins with `/`."""
    port: int
    user: str | None
    password: Secret | None
    database: str
    schema: str | None = None
    """The schema of the LiteLLM-named tables; None: the connection's own default, `public`."""
    pool_max: int | None = None
    """`connection_limit`: most connections of one process."""
    pool_timeout_s: float | None = None
    """How long to wait for a free connection; 0 in the URL is "without end", as in Prisma."""
    connect_timeout_s: float | None = None
    pgbouncer: bool = False
    """A pooler in transaction mode stands in between: no prepared statements, no session state."""
    sslmode: SslMode | None = None
    sslrootcert: str | None = None
    application_name: str | None = None
    ignored: tuple[str, ...] = ()
    """Parameters that were given and have no effect here."""

    @property
    def label(self) -> str:
        """The target for logs and messages, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def parse_database_url(url: Secret, *, source: str = "DATABASE_URL") -> DatabaseTarget:
    """Understand a PostgreSQL URL. `source` is what messages call it; they never show its user or password.

    Raises ConfigError: another database's URL, several hosts, no database, a parameter with a wrong value or that the
    other ones exclude, characters that should have been encoded.
    """
    text = url.reveal().strip()
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme not in _SCHEMES:
        raise ConfigError(_scheme_problem(scheme), path=source)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError(f"host or port cannot be read; {_ENCODE}", path=source) from None
    if parts.fragment or "#" in text:
        raise ConfigError(f"holds a bare #; {_ENCODE}", path=source)
    parameters = _Parameters(parts, source)
    host = parameters.text("host") or _host(parts) or "localhost"
    if "," in host:
        raise ConfigError("names several hosts; name one, or a pooler in front of them", path=source)
    database = unquote(parts.path.removeprefix("/"))
    if not database or any(char in database for char in "/@\0"):
        raise ConfigError("names no database; write postgresql://user:password@host:5432/database", path=source)
    schema, pgbouncer = parameters.text("schema"), parameters.boolean("pgbouncer")
    if schema is not None and pgbouncer:
        raise ConfigError(
            "cannot be set through PgBouncer, which keeps no session settings; remove it, and give the role its search "
            "path: ALTER ROLE … SET search_path TO …",
            path=f"{source}: schema",
        )
    return DatabaseTarget(
        host=host,
        port=port or DEFAULT_PORT,
        user=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        database=database,
        schema=schema,
        pool_max=parameters.whole("connection_limit", POSITIVE),
        pool_timeout_s=parameters.seconds("pool_timeout"),
        connect_timeout_s=parameters.seconds("connect_timeout"),
        pgbouncer=pgbouncer,
        sslmode=parameters.sslmode(),
        sslrootcert=parameters.text("sslrootcert"),
        application_name=parameters.text("application_name"),
        ignored=parameters.rest(),
    )


def database_url_from_parts(environ: Mapping[str, str]) -> Secret | None:
    """The URL that DATABASE_HOST, _USERNAME (or _USER), _PASSWORD, _NAME, _PORT and _SCHEMA make; None without a host.

    Raises ConfigError: a host, and no user or name.
    """
    host = environ.get("DATABASE_HOST")
    if not host:
        return None
    user = environ.get("DATABASE_USERNAME") or environ.get("DATABASE_USER")
    name = environ.get("DATABASE_NAME")
    if not user or not name:
        raise ConfigError("is set, so DATABASE_USERNAME and DATABASE_NAME are needed too", path="DATABASE_HOST")
    password = environ.get("DATABASE_PASSWORD")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    port = environ.get("DATABASE_PORT")
    authority = f"{host}:{port}" if port and not host.rpartition(":")[2].isdecimal() else host
    schema = environ.get("DATABASE_SCHEMA")
    query = f"?schema={quote(schema, safe='')}" if schema else ""
    return Secret(f"postgresql://{login}@{authority}/{quote(name, safe='')}{query}")


def _host(parts: SplitResult) -> str:
    """The host as written: a percent-encoded socket directory keeps its case, which `SplitResult.hostname` drops."""
    authority = parts.netloc.rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return unquote(authority.partition(":")[0])


def _scheme_problem(scheme: str) -> str:
    if scheme.startswith(_SCHEMES):
        return f"begins with {scheme}://, which names a driver; write postgresql://"
    if scheme in ("prisma", "prisma+postgres"):
        return "is the URL of a Prisma proxy; write the URL of the database itself, postgresql://…"
    if scheme:
        return f"begins with {quoted(scheme)}; only PostgreSQL works, postgresql://user:password@host:5432/database"
    return "is no URL; write postgresql://user:password@host:5432/database"


class _Parameters:
    """The query of the URL, taken apart once; what nobody takes is either known to be harmless or an error."""

    def __init__(self, parts: SplitResult, source: str) -> None:
        self._source = source
        self._values = dict(parse_qsl(parts.query, keep_blank_values=True))

    def text(self, name: str) -> str | None:
        return self._values.pop(name, None) or None

    def boolean(self, name: str) -> bool:
        return bool(self._read(name, BOOLEAN))

    def whole(self, name: str, kind: Kind = COUNT) -> int | None:
        value = self._read(name, kind)
        return value if isinstance(value, int) else None

    def seconds(self, name: str) -> float | None:
        value = self._read(name, SECONDS_OR_ZERO)
        return value if isinstance(value, float) and value > 0 else None

    def sslmode(self) -> SslMode | None:
        word = self.text("sslmode")
        mode = next((mode for mode in _SSL_MODES if mode == word), None)
        if word is not None and mode is None:
            raise self._wrong("sslmode", f"expected one of {', '.join(_SSL_MODES)}, got {quoted(word)}")
        return mode

    def rest(self) -> tuple[str, ...]:
        unknown = sorted(set(self._values) - _IGNORED)
        if unknown:
            raise self._wrong(unknown[0], "is not a parameter of a PostgreSQL URL; remove it")
        return tuple(sorted(self._values))

    def _read(self, name: str, kind: Kind) -> object:
        value = self.text(name)
        if value is None:
            return None
        try:
            return kind.read(value, Place(self._source), Report())
        except Mismatch as wrong:
            raise self._wrong(name, f"expected {wrong.expected}, got {quoted(value)}") from None

    def _wrong(self, name: str, text: str) -> ConfigError:
        return ConfigError(text, path=f"{self._source}: {name}")
