"""What is noticed while a configuration is read: where it stands, what is wrong, and what to do about it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

import msgspec

from bursar.domain.errors import ConfigError

_SHOWN_MAX = 60
_ERRORS_MAX = 20
_POSITION = re.compile(r"\[[0-9]+\]")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Place(msgspec.Struct, frozen=True):
    """Where a value stands: a file and the way down to it, written `config.yaml: model_list[1].model_info.id`."""

    file: str
    path: str = ""

    def key(self, name: str) -> "Place":
        """The place of `name` in the mapping that stands here."""
        if not _PLAIN_KEY.fullmatch(name):
            return Place(self.file, f"{self.path}[{quoted(name)}]")
        return Place(self.file, f"{self.path}.{name}" if self.path else name)

    def index(self, position: int) -> "Place":
        """The place of the item at `position` (from 0) in the list that stands here."""
        return Place(self.file, f"{self.path}[{position}]")

    def __str__(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file


class Finding(msgspec.Struct, frozen=True):
    """Something worth telling the operator that does not keep the gateway from starting."""

    place: Place
    text: str

    @property
    def path(self) -> str:
        """The key path within its file."""
        return self.place.path

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@final
class Mismatch(Exception):
    """A value that is not of the kind its key takes. Whoever knows its place makes a message of it."""

    def __init__(self, expected: str, cure: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.cure = cure


@dataclass(slots=True)
class Report:
    """Collects errors, warnings and settings without effect, so that one run tells them all."""

    from_environment: dict[Place, str] = field(default_factory=dict)
    """Values that came through `os.environ/NAME`, with their variable: messages name it and never show the value."""
    unset: list[tuple[Place, str]] = field(default_factory=list)
    """References to variables that are not set."""
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    inactive: list[Finding] = field(default_factory=list)
    discreet: bool = False
    """Messages show no values at all: whoever reads them need not be who wrote the configuration."""

    def error(self, place: Place, text: str) -> None:
        """Something that cannot be used; reading goes on, to find the next one."""
        self.errors.append(ConfigError(text, path=str(place)))

    def mismatch(self, place: Place, value: object, wrong: Mismatch, *, secret: bool = False) -> None:
        """An error for a value of the wrong kind: expected, got, cure. A `secret` value is described, not shown."""
        if (variable := self.from_environment.get(place)) is not None:
            got = f"what the environment variable {variable} holds"
        elif secret or self.discreet:
            got = kind_of(value)
        else:
            got = shown(value)
        cure = f"; {wrong.cure}" if wrong.cure else ""
        self.error(place, f"expected {wrong.expected}, got {got}{cure}")

    def warn(self, place: Place, text: str) -> None:
        """Something that probably does not mean what was meant."""
        self.warnings.append(Finding(place, text))

    def not_active(self, place: Place, text: str) -> None:
        """A setting that is accepted and has no effect yet."""
        self.inactive.append(Finding(place, text))

    def raise_errors(self) -> None:
        """Raise ConfigError with all errors so far, if there are any."""
        if not self.errors:
            return
        if len(self.errors) == 1:
            raise self.errors[0]
        lines = [f"  {error}" for error in self.errors[:_ERRORS_MAX]]
        if len(self.errors) > _ERRORS_MAX:
            lines.append(f"  and {len(self.errors) - _ERRORS_MAX} more")
        raise ConfigError("\n".join([f"{len(self.errors)} mistakes in the configuration:", *lines]))


def condensed(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings with those that differ only in a list's positions made one, `model_list[*]…` and their number."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        pattern = _POSITION.sub("[*]", finding.path)
        alike.setdefault((finding.place.file, pattern, finding.text), []).append(finding)
    return tuple(
        group[0] if len(group) == 1 else Finding(Place(file, pattern), f"{text} ({len(group)} times)")
        for (file, pattern, text), group in alike.items()
    )


_USER_OF_URL = re.compile(r"(?<=://)[^/?#]*(?=@)")
_QUERY_OF_URL = re.compile(r"(?<=\?).+", re.DOTALL)


def quoted(text: str) -> str:
    """`text` in double quotes on one line, shortened; of a URL neither user and password nor the query."""
    if "://" in text:
        text = _QUERY_OF_URL.sub("…", _USER_OF_URL.sub("…", text))
    short = text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
    printable = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in short
    )
    return f'"{printable}"'


def shown(value: object) -> str:
    """A value as a message shows it: scalars as YAML would write them, anything larger by its kind."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = str(value)
        return text if len(text) <= _SHOWN_MAX else "a very large number"
    return kind_of(value)


def kind_of(value: object) -> str:
    """The kind of a value, without the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return "something else"
