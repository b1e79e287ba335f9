"""How the configured database is reached, in the words of the store. Part of the composition."""

import ssl

from bursar.config.database_url import DatabaseTarget
from bursar.store.database import DEFAULT_CONNECT_TIMEOUT_S, DEFAULT_POOL_MAX, DatabaseOptions


def database_options(target: DatabaseTarget) -> DatabaseOptions:
    """As the store takes it."""
    address: dict[str, object] = {"host": target.host, "port": target.port, "database": target.database}
    if target.user is not None:
        address["user"] = target.user
    if target.password is not None:
        address["password"] = target.password.reveal()
    if target.sslmode is not None:
        address["ssl"] = _database_tls(target)
    return DatabaseOptions(
        address,
        schema=target.schema,
        pool_max=target.pool_max or DEFAULT_POOL_MAX,
        behind_pgbouncer=target.pgbouncer,
        connect_timeout_s=target.connect_timeout_s or DEFAULT_CONNECT_TIMEOUT_S,
    )


def _database_tls(target: DatabaseTarget) -> object:
    if target.sslrootcert is None or target.sslmode not in ("verify-ca", "verify-full"):
        return target.sslmode
    context = ssl.create_default_context(cafile=target.sslrootcert)
    context.check_hostname = target.sslmode == "verify-full"
    return context
