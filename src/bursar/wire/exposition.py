"""Metrics as Prometheus reads them: its text format, version 0.0.4.

Written here because that is all we need of a client library so far: `prometheus-client` takes 15 MB and a third of a
second.
"""

from collections.abc import Mapping, Sequence

import msgspec

CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Sample(msgspec.Struct, frozen=True):
    """One value of a metric."""

    value: float
    labels: Mapping[str, str] = {}


class Metric(msgspec.Struct, frozen=True):
    """A metric and its values. `kind`: `gauge` or `counter`."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def exposition(metrics: Sequence[Metric]) -> bytes:
    """The answer to a scrape."""
    lines: list[str] = []
    for metric in metrics:
        lines += (f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
        for sample in metric.samples:
            labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels.items())
            lines.append(f"{metric.name}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}")
    return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
