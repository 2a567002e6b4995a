"""A report in the forms people and machines read: plain words, JUnit, Prometheus' textfile."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from datetime import UTC
from pathlib import Path
from xml.etree import ElementTree

from seawall.drift.difference import Difference
from seawall.drift.run import Report
from seawall.places import write_private
from seawall.problem import Problem

WIDTH = 100


def text(report: Report) -> str:
    """For a person: every difference with what to do, and one sentence at the end."""
    parts = []
    for layer in report.layers:
        for each in (d for d in report.differences if d.layer == layer):
            parts.append(_paragraph(each))
    return "\n\n".join([*parts, summary(report)])


def _paragraph(each: Difference) -> str:
    word = "unknown" if each.status == "unknown" else "differs"
    lines = [f"[{each.layer}] {each.subject.kind} {each.subject.name}: {each.what} ({word})"]
    rows = [
        ("expected", each.expected),
        ("seen", each.seen),
        ("first seen", each.first_seen.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if each.first_seen else ""),
        ("who", each.who if each.status == "differs" else ""),
        ("touches", ", ".join(each.requirements)),
        ("to do", each.remedy),
        ("--fix", each.fix),
    ]  # fmt: skip
    for name, value in rows:
        if value:
            lines += textwrap.wrap(
                " ".join(value.split()),
                WIDTH,
                initial_indent=f"  {name:<10}  ",
                subsequent_indent=" " * 14,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def summary(report: Report) -> str:
    """One sentence."""
    counts = Counter(each.status for each in report.differences)
    looked = f"{report.mode} look at {', '.join(report.layers)} of {report.stack}"
    looked += f" ({', '.join(report.hosts)})" if report.hosts else ""
    took = f"{(report.ended - report.began).total_seconds():.1f} s"
    if not counts:
        return f"As declared: a {looked} found no difference in {took}."
    said = [f"{counts['differs']} differ{'s' if counts['differs'] == 1 else ''}"] if counts["differs"] else []
    said += [f"{counts['unknown']} could not be looked at"] if counts["unknown"] else []
    return f"{' and '.join(said)}: a {looked}, {took}."


def as_json(report: Report) -> str:
    return json.dumps(report.document(), indent=2, sort_keys=True)


def junit(report: Report) -> str:
    """A suite a layer: a failure for what differs, an error for what could not be asked, one pass where all is well."""
    suites = ElementTree.Element("testsuites", name=f"seawall drift {report.stack}")
    for layer in report.layers:
        found = [each for each in report.differences if each.layer == layer]
        failures = sum(each.status == "differs" for each in found)
        suite = ElementTree.SubElement(
            suites, "testsuite", name=f"drift.{layer}", tests=str(len(found) or 1), failures=str(failures),
            errors=str(len(found) - failures), skipped="0", time=f"{report.seconds.get(layer, 0.0):.3f}",
            timestamp=report.began.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        )  # fmt: skip
        for each in found:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"drift.{layer}.{each.subject.kind}",
                name=_printable(f"{each.subject.name}: {each.what}"), time="0",
            )  # fmt: skip
            verdict = "failure" if each.status == "differs" else "error"
            detail = ElementTree.SubElement(
                case, verdict, message=_printable(each.sentence()), type=each.status
            )
            detail.text = _printable(_paragraph(each))
        if not found:
            ElementTree.SubElement(
                suite, "testcase", classname=f"drift.{layer}", name="as declared", time="0"
            )
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _printable(value: str) -> str:
    """XML 1.0 has no way to write control characters, and a host may have any in a name."""
    return "".join(c if (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff") or c in "\n\t" else "�"
                   for c in value)  # fmt: skip


def prometheus(report: Report) -> str:
    """The text exposition format, for node_exporter's textfile collector."""
    stack = _label(report.stack)
    lines = [
        "# HELP seawall_drift_differences What differs, by layer.",
        "# TYPE seawall_drift_differences gauge",
        *(_count(report, layer, "differs", "differences", stack) for layer in report.layers),
        "# HELP seawall_drift_unknown What could not be looked at, by layer.",
        "# TYPE seawall_drift_unknown gauge",
        *(_count(report, layer, "unknown", "unknown", stack) for layer in report.layers),
        "# HELP seawall_drift_layer_seconds How long a layer took.",
        "# TYPE seawall_drift_layer_seconds gauge",
        *(
            f'seawall_drift_layer_seconds{{stack="{stack}",layer="{_label(layer)}"}} {report.seconds.get(layer, 0):.3f}'
            for layer in report.layers
        ),
        "# HELP seawall_drift_last_look_timestamp_seconds When the last look ended.",
        "# TYPE seawall_drift_last_look_timestamp_seconds gauge",
        f'seawall_drift_last_look_timestamp_seconds{{stack="{stack}",mode="{report.mode}"}} '
        f"{report.ended.timestamp():.0f}",
        "# HELP seawall_drift_exit_code What the last look answered: 0 as declared, 1 could not look, 2 differs.",
        "# TYPE seawall_drift_exit_code gauge",
        f'seawall_drift_exit_code{{stack="{stack}"}} {report.code}',
    ]
    return "\n".join(lines) + "\n"


def _count(report: Report, layer: str, status: str, metric: str, stack: str) -> str:
    number = sum(each.layer == layer and each.status == status for each in report.differences)
    return f'seawall_drift_{metric}{{stack="{stack}",layer="{_label(layer)}"}} {number}'


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(path: Path, content: str, *, mode: int) -> None:
    """Whole or not at all: a collector never reads half a file."""
    try:
        write_private(path.absolute(), content.encode(), mode=mode)
    except OSError as error:
        raise Problem(
            f"{path} could not be written: {error.strerror}. Name a file where you may write."
        ) from None
