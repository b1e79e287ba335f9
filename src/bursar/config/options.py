"""What `serve` runs with: flags first, then what the config file and the environment say."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bursar.config.database_url import DatabaseTarget, database_url_from_parts, parse_database_url
from bursar.config.findings import Mismatch, Place, Report
from bursar.config.master_key import is_weak
from bursar.config.schema import Config, GeneralSettings
from bursar.config.values import BOOLEAN, Kind, count
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4000
WORKERS_MAX = 256

_PORT = count(least=0, most=65535)
_WORKERS = count(least=1, most=WORKERS_MAX)
_PERMIT = "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What stands on the command line; None: nothing."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The process-wide settings of `serve`."""

    host: str
    port: int
    """0: any free one."""
    workers: int
    data_dir: Path
    """Absolute."""
    database: DatabaseTarget | None = field(repr=False)
    """None: the embedded server."""
    direct_database: DatabaseTarget | None = field(repr=False)
    """Past the pooler, for migrations and LISTEN."""
    master_key: Secret | None
    """None: one is generated, or found in the data directory."""
    master_key_weak: bool
    """Set, and to something that can be guessed."""
    weak_master_key_permitted: bool
    salt_key: Secret | None
    """Encrypts stored credentials; None: the master key, or a generated one."""
    old_salt_key: Secret | None = None
    """The one before; still opens what it sealed."""

    @property
    def loopback(self) -> bool:
        """Only this machine can connect."""
        return is_loopback(self.host)


def resolve_options(flags: Flags, environ: Mapping[str, str], config: Config) -> ServerOptions:
    """Bring flags, environment and file together. `environ` is `LoadedConfig.environ`, with what the file exports.

    A flag wins. `general_settings.master_key` and `.database_url` win over LITELLM_MASTER_KEY and DATABASE_URL, which
    are their defaults, as in LiteLLM. Raises ConfigError naming the variable or flag.
    """
    general = config.general
    master_key = general.master_key or _secret(environ, "LITELLM_MASTER_KEY")
    permitted = general.dangerously_permit_weak_or_unset_master_key or bool(_variable(environ, _PERMIT, BOOLEAN))
    database = _database(environ, general)
    direct_url = _secret(environ, "DIRECT_URL")
    return ServerOptions(
        host=flags.host or environ.get("HOST") or DEFAULT_HOST,
        port=_number(flags.port, "--port", environ, "PORT", _PORT, DEFAULT_PORT),
        workers=_number(flags.workers, "--workers", environ, "NUM_WORKERS", _WORKERS, 1),
        data_dir=data_directory(flags.data_dir, environ),
        database=database,
        direct_database=parse_database_url(direct_url, source="DIRECT_URL") if direct_url else None,
        master_key=master_key,
        master_key_weak=master_key is not None and is_weak(master_key),
        weak_master_key_permitted=permitted,
        salt_key=_secret(environ, "LITELLM_SALT_KEY"),
        old_salt_key=_secret(environ, "LITELLM_SALT_KEY_OLD"),
    )


def refuse_open_door(options: ServerOptions) -> None:
    """Raise ConfigError when others than this machine could come in on a missing or guessable master key."""
    if options.loopback or options.weak_master_key_permitted:
        return
    if options.master_key is not None and not options.master_key_weak:
        return
    state = "can be guessed" if options.master_key_weak else "is not set"
    raise ConfigError(
        f"the master key {state}, and {options.host} is open to other machines. Set LITELLM_MASTER_KEY to a random key "
        "such as sk- and 32 random characters, listen on 127.0.0.1, or, at your own risk, set "
        "general_settings.dangerously_permit_weak_or_unset_master_key: true"
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def data_directory(flag: Path | None, environ: Mapping[str, str]) -> Path:
    """--data-dir, BURSAR_DATA_DIR, $XDG_DATA_HOME/bursar or ~/.local/share/bursar, the first that is set; absolute.

    Raises ConfigError: none is set, and the user has no home.
    """
    if flag is not None:
        return flag.absolute()
    if own := environ.get("BURSAR_DATA_DIR"):
        return Path(own).absolute()
    # The XDG base directory specification tells to ignore a relative path here.
    if (data_home := environ.get("XDG_DATA_HOME")) and Path(data_home).is_absolute():
        return Path(data_home) / "bursar"
    try:
        home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError as error:  # HOME is not set, and the system does not know the user
        raise ConfigError("is not set, and this user has no home directory", path="BURSAR_DATA_DIR") from error
    return home.absolute() / ".local" / "share" / "bursar"


def _database(environ: Mapping[str, str], general: GeneralSettings) -> DatabaseTarget | None:
    if general.database_url is not None:
        target = parse_database_url(general.database_url, source="general_settings.database_url")
    elif (url := _secret(environ, "DATABASE_URL")) is not None:
        target = parse_database_url(url)
    elif (url := database_url_from_parts(environ)) is not None:
        target = parse_database_url(url, source="DATABASE_HOST and its companions")
    else:
        return None
    # The URL's own parameters are closer to the database than the general setting.
    return replace(
        target,
        pool_max=target.pool_max or general.database_connection_pool_limit,
        pool_timeout_s=target.pool_timeout_s or general.database_connection_pool_timeout_s,
    )


def _secret(environ: Mapping[str, str], name: str) -> Secret | None:
    value = environ.get(name, "")
    return Secret(value) if value else None


def _variable(environ: Mapping[str, str], name: str, kind: Kind) -> object:
    value = environ.get(name, "")
    return _read(value, name, kind) if value else None


def _number(
    flag: int | None, flag_name: str, environ: Mapping[str, str], variable: str, kind: Kind, default: int
) -> int:
    value = _read(flag, flag_name, kind) if flag is not None else _variable(environ, variable, kind)
    return value if isinstance(value, int) else default


def _read(value: object, name: str, kind: Kind) -> object:
    try:
        return kind.read(value, Place(name), Report())
    except Mismatch as wrong:
        raise ConfigError(f'expected {wrong.expected}, got "{value}"', path=name) from None
