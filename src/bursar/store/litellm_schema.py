"""LiteLLM's tables and views as our migrations make them: what has to be in a LiteLLM database that we are to work in,
and what of our migrations is not for one."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

_TABLE = re.compile(r'^CREATE TABLE IF NOT EXISTS "(LiteLLM_\w+)" \(\n(.*?)^\);$', re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r'^    "?(\w+)"? [a-z]')
_UNIQUE = re.compile(r"^    (?:PRIMARY KEY|UNIQUE) \((.*)\),?$")

_INDEX = re.compile(r'^CREATE (?:UNIQUE )?INDEX IF NOT EXISTS "\w+" ON "(\w+)" .*;\n', re.MULTILINE)
_VIEW = re.compile(r'^CREATE VIEW "(\w+)" AS\n.*?;$', re.MULTILINE | re.DOTALL)
_HELPER = re.compile(r"^CREATE OR REPLACE FUNCTION round\(.*?;$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"^DO \$\$\n(?:(?!^\$\$;$).)*?ALTER DATABASE.*?^\$\$;$", re.MULTILINE | re.DOTALL)

_PARTITIONED = "LiteLLM_SpendLogs"
"""Operators may partition it, which changes its key; ours needs none."""


@dataclass(slots=True, frozen=True)
class Table:
    """One of LiteLLM's."""

    columns: frozenset[str]
    unique: frozenset[frozenset[str]]
    """Sets of columns that tell rows apart, and that our statements rely on."""


def litellm_tables(migrations: Iterable[str]) -> Mapping[str, Table]:
    """By name: the tables of LiteLLM that these migrations make."""
    return {
        name: Table(
            frozenset(found[1] for line in body.splitlines() if (found := _COLUMN.match(line))),
            frozenset(
                frozenset(column.strip('" ') for column in found[1].split(","))
                for line in body.splitlines()
                if name != _PARTITIONED and (found := _UNIQUE.match(line))
            ),
        )
        for sql in migrations
        for name, body in _TABLE.findall(sql)
    }


def litellm_views(migrations: Iterable[str]) -> Mapping[str, str]:
    """By name: the views of LiteLLM that these migrations make, each as the statement that makes it."""
    return {found[1]: found[0] for sql in migrations for found in _VIEW.finditer(sql)}


def without_views(migration: str, there: Collection[str]) -> str:
    """The migration for a database with the relations `there`: whoever made one of its views keeps it."""
    return _VIEW.sub(lambda found: "" if found[1] in there else found[0], migration)


def beside_litellm(migration: str, there: Collection[str]) -> str:
    """The migration for a database that is LiteLLM's as well, with the tables `there`: no indexes on those, no function
    or view among them, no settings of the database. Tables that are there stay as they are by `IF NOT EXISTS`.
    """
    migration = _INDEX.sub(lambda found: "" if found[1] in there else found[0], migration)
    return _SETTING.sub("", _HELPER.sub("", _VIEW.sub("", migration)))


def sql_helpers(migrations: Iterable[str]) -> str:
    """The functions that published queries need, which `beside_litellm` leaves out."""
    return "\n".join(found for sql in migrations for found in _HELPER.findall(sql))
