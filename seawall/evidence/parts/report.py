"""``report.html`` and ``report.pdf``: the answer first, then one row a requirement, then everything it rests on.

The HTML is one file that asks no network for anything. The PDF is the same without each host's details, which stand in
the HTML and in ``findings.jsonl``.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pygal
from pygal.style import Style

from seawall.drawing import network
from seawall.evidence.catalogue import Row, Standing, catalogue, family
from seawall.evidence.context import Context
from seawall.evidence.lists import LISTS
from seawall.findings import Finding, Severity, Status, ordered

TEMPLATES = Path(__file__).parents[1] / "templates"
COLOURS = {
    Standing.FAIL: "#c0362c",
    Standing.MISSING: "#8a5a0f",
    Standing.WAIVED: "#7a5ea8",
    Standing.ATTESTED: "#2b6cb0",
    Standing.INHERITED: "#356577",
    Standing.PASS: "#236b43",
    Standing.NOT_OWED: "#5f6873",
}
PRINTED_ROWS = 25
"""A list's rows in the PDF; the whole is in its CSV file."""


def write(context: Context, folder: Path) -> None:
    held = material(context)
    (folder / "report.html").write_text(render(held, printed=False))
    pdf(render(held, printed=True), folder / "report.pdf", context)


def material(context: Context) -> dict[str, Any]:
    """What the template shows, worked out."""
    standing = context.rows
    families = [
        (number, title, family(mine), mine, Counter(each.standing for each in mine))
        for number, title in catalogue().families.items()
        if (mine := [each for each in standing if each.requirement.family == number])
    ]
    failed = [each for each in ordered(context.findings) if each.status is Status.FAIL]
    return {
        "context": context,
        "rows": standing,
        "families": families,
        "counts": Counter(each.standing for each in standing),
        "verdict": verdict(standing, context),
        "failed": [(severity, [f for f in failed if f.severity is severity]) for severity in Severity],
        "failures": len(failed),
        "chart": chart(families),
        "drawing": network(context.outputs),
        "lists": [make(context) for make in LISTS],
        "Standing": Standing,
        "colours": COLOURS,
        "grouped": grouped,
        "PRINTED_ROWS": PRINTED_ROWS,
    }


def verdict(standing: Iterable[Row], context: Context) -> tuple[str, str]:
    """The state in a word, and the sentence below it."""
    counts = Counter(each.standing for each in standing)
    if counts[Standing.FAIL]:
        word = "Not met"
    elif counts[Standing.MISSING]:
        word = "Not shown yet"
    else:
        word = "Shown"
    owed = sum(counts.values()) - counts[Standing.NOT_OWED]
    settled = owed - counts[Standing.FAIL] - counts[Standing.MISSING]
    said = [f"{settled} of {owed} requirements are shown"]
    said += [f"{counts[Standing.FAIL]} fail"] if counts[Standing.FAIL] else []
    said += [f"{counts[Standing.MISSING]} have nothing that shows them"] if counts[Standing.MISSING] else []
    return word, ", ".join(said) + "."


def grouped(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings of one control that say the same, with the hosts they were made on: a row for thirty droplets."""
    held: dict[tuple, tuple[Finding, list[str]]] = {}
    for each in ordered(findings):
        key = (each.control, each.status, each.expected, each.seen, each.reason)
        held.setdefault(key, (each, []))[1].append(each.subject.name)
    return list(held.values())


def chart(families: Iterable[tuple]) -> str:
    """The twelve requirements as bars, by what shows them."""
    families = list(families)[::-1]
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="currentColor",
        foreground_strong="currentColor",
        foreground_subtle="currentColor",
        colors=tuple(COLOURS.values()),
        opacity="1",
        opacity_hover="1",
        font_family="inherit",
        label_font_size=15,
        legend_font_size=15,
        guide_stroke_color="transparent",
        major_guide_stroke_color="transparent",
    )
    bars = pygal.HorizontalStackedBar(
        style=style,
        js=[],
        disable_xml_declaration=True,
        show_legend=False,
        width=900,
        height=340,
        show_x_labels=False,
        margin=4,
        spacing=4,
        truncate_label=-1,
        truncate_legend=-1,
        print_values=False,
        show_y_guides=False,
        explicit_size=False,
    )
    bars.x_labels = [f"{number}" for number, *_ in families]
    for standing in Standing:
        bars.add(standing.value, [counts[standing] for *_, counts in families])
    # pygal puts its configuration for tooltips into every picture as a script; without its library it does nothing.
    return re.sub(r"<script.*?</script>", "", bars.render(is_unicode=True), flags=re.DOTALL)


def render(held: dict[str, Any], *, printed: bool) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(printed=printed, **held)


def pdf(html: str, path: Path, context: Context) -> None:
    """Typeset by WeasyPrint, which fetches nothing: everything is in the page."""
    from weasyprint import HTML

    # It warns of each style for screens that paper has no use for.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)

    def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"the report asks for {url}")

    HTML(string=html, url_fetcher=refuse).write_pdf(path, pdf_identifier=context.stack.encode())
