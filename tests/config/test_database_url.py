"""PostgreSQL URLs with Prisma's parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.config.database_url import DatabaseTarget, database_url_from_parts, parse_database_url
from bursar.domain.errors import ConfigError
from bursar.domain.secrets import Secret


def parse(url: str) -> DatabaseTarget:
    return parse_database_url(Secret(url))


def test_every_parameter() -> None:
    target = parse(
        "postgresql://u%40x:p%2Fw@db.example:6543/litellm?schema=tenant&connection_limit=5&pool_timeout=20&pgbouncer=false"
        "&sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=7&application_name=gw&socket_timeout=3"
    )
    assert target == DatabaseTarget(
        host="db.example",
        port=6543,
        user="u@x",
        password=Secret("p/w"),
        database="litellm",
        schema="tenant",
        pool_max=5,
        pool_timeout_s=20.0,
        connect_timeout_s=7.0,
        pgbouncer=False,
        sslmode="verify-full",
        sslrootcert="/ca.pem",
        application_name="gw",
        ignored=("socket_timeout",),
    )
    assert target.label == "db.example:6543/litellm"
    assert parse("postgresql://h/d?pgbouncer=true").pgbouncer


@pytest.mark.parametrize(
    ("url", "host", "port", "label"),
    [
        ("postgres://h/d", "h", 5432, "h:5432/d"),
        ("POSTGRESQL://h/d", "h", 5432, "h:5432/d"),
        ("postgresql:///d", "localhost", 5432, "localhost:5432/d"),
        ("postgresql://[::1]:5433/d", "::1", 5433, "[::1]:5433/d"),
        ("postgresql://u@/d?host=/Run/Pg", "/Run/Pg", 5432, "/Run/Pg:5432/d"),
        ("postgresql://u@%2FRun%2FPg/d", "/Run/Pg", 5432, "/Run/Pg:5432/d"),
    ],
)
def test_hosts(url: str, host: str, port: int, label: str) -> None:
    target = parse(url)
    assert (target.host, target.port, target.label) == (host, port, label)


def test_a_pool_timeout_of_0_has_no_end() -> None:
    assert parse("postgresql://h/d?pool_timeout=0").pool_timeout_s is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///x", 'DATABASE_URL: begins with "sqlite"; only PostgreSQL works'),
        (
            "postgresql+asyncpg://h/d",
            "DATABASE_URL: begins with postgresql+asyncpg://, which names a driver; write postgresql",
        ),
        ("prisma://x/?api_key=s3cret", "DATABASE_URL: is the URL of a Prisma proxy"),
        ("host=x user=s3cret", "DATABASE_URL: is no URL"),
        ("postgresql://h", "DATABASE_URL: names no database"),
        ("postgresql://u:s3cret/w@h/d", "DATABASE_URL: host or port cannot be read; percent-encode"),
        ("postgresql://u:12/s3cret@h", "DATABASE_URL: names no database"),
        ("postgresql://u:s3cret#w@h/d", "DATABASE_URL: "),
        ("postgresql://u:p@h/d#s3cret", "DATABASE_URL: holds a bare #"),
        ("postgresql://a:1,b:2/d", "DATABASE_URL: "),
        ("postgresql://a,b/d", "DATABASE_URL: names several hosts"),
        (
            "postgresql://h/d?connection_limit=0",
            'DATABASE_URL: connection_limit: expected a whole number of 1 or more, got "0"',
        ),
        ("postgresql://h/d?pool_timeout=5s", 'DATABASE_URL: pool_timeout: expected seconds as a number, got "5s"'),
        ("postgresql://h/d?schema=s&pgbouncer=true", "DATABASE_URL: schema: cannot be set through PgBouncer"),
        ("postgresql://h/d?pgbouncer=maybe", 'DATABASE_URL: pgbouncer: expected true or false, got "maybe"'),
        (
            "postgresql://h/d?sslmode=on",
            "DATABASE_URL: sslmode: expected one of disable, allow, prefer, require, verify-ca",
        ),
        ("postgresql://h/d?shema=x", "DATABASE_URL: shema: is not a parameter of a PostgreSQL URL; remove it"),
    ],
)
def test_mistakes(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert str(caught.value).startswith(message)
    assert "s3cret" not in str(caught.value)


def test_the_repr_does_not_show_the_password() -> None:
    assert "s3cret" not in repr(parse("postgresql://u:s3cret@h/d"))


@given(url=st.text(max_size=60).map("postgresql://".__add__) | st.text(max_size=40))
def test_any_text_is_a_target_or_a_config_error(url: str) -> None:
    try:
        target = parse(url)
    except ConfigError as error:
        assert str(error).startswith("DATABASE_URL")  # noqa: PT017 (both outcomes are right)
    else:
        assert target.database


@given(
    user=st.text(min_size=1), password=st.text(), name=st.text(min_size=1).filter(lambda n: not set(n) & set("/@\0"))
)
def test_parts_survive_the_url_they_make(user: str, password: str, name: str) -> None:
    environ = {"DATABASE_HOST": "h", "DATABASE_USERNAME": user, "DATABASE_PASSWORD": password, "DATABASE_NAME": name}
    url = database_url_from_parts(environ)
    assert url is not None
    target = parse_database_url(url)
    assert (target.user, target.database) == (user, name)
    assert (target.password.reveal() if target.password else "") == password


def test_no_host_no_url() -> None:
    assert database_url_from_parts({"DATABASE_NAME": "d"}) is None
