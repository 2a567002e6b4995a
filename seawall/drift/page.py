"""The history as one page that needs nothing beside it: no script, no font, no address. Light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from seawall.drift.history import Look, Spell

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#59636e;--line:#d1d9e0;--bad:#b3261e;--odd:#8a5a00;
--ok:#1a6e38}
@media(prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e6edf3;--dim:#9198a1;--line:#30363d;--bad:#ff8a80;
--odd:#f2c14e;--ok:#6fdd8b}}
body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p{color:var(--dim)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;
border-bottom:1px solid var(--line)}td{overflow-wrap:anywhere}
@media(max-width:62rem){thead{position:absolute;width:1px;height:1px;overflow:hidden}table,tbody,tr,td{display:block}
tr{border-bottom:1px solid var(--line);padding:.6rem 0}td{border:0;padding:.1rem 0}
td::before{content:attr(data-head) " ";color:var(--dim)}}
.differs{color:var(--bad)}.unknown{color:var(--odd)}.clean{color:var(--ok)}time{white-space:nowrap}
"""


def page(stack: str, spells: Iterable[Spell], runs: Iterable[Look]) -> str:
    """HTML. Everything that came from an account or a host is escaped."""
    spells, runs = list(spells), list(runs)
    lasting = [spell for spell in spells if not spell.went]
    state = f"{len(lasting)} last" if lasting else "nothing differs"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Drift of {escape(stack)}</title><style>{STYLE}</style></head><body><main>
<h1>Drift of {escape(stack)}</h1>
<p>Last looked: {_time(runs[0].ended or runs[0].began) if runs else "never"}. Now: {state}. Times are UTC.</p>
<h2>What lasts</h2>{_table(lasting)}
<h2>What came and went</h2>{_table([spell for spell in spells if spell.went])}
<h2>Looks</h2>{_runs(runs)}
</main></body></html>
"""


HEADS = (
    "State",
    "Layer",
    "Subject",
    "What",
    "Expected",
    "Seen",
    "Who",
    "Requirements",
    "Came",
    "Went or last seen",
)


def _table(spells: list[Spell]) -> str:
    if not spells:
        return '<p class="clean">Nothing.</p>'
    rows = []
    for spell in spells:
        each = spell.difference
        cells = (
            f'<span class="{each.status}">{escape(each.status)}</span>',
            escape(each.layer),
            escape(f"{each.subject.kind} {each.subject.name}"),
            escape(each.what),
            escape(each.expected),
            escape(each.seen),
            escape(each.who),
            escape(", ".join(each.requirements)),
            _time(spell.came),
            _time(spell.went) if spell.went else _time(spell.last),
        )
        rows.append(cells)
    return _frame(HEADS, rows)


def _runs(runs: list[Look]) -> str:
    rows = []
    for each in runs:
        kind = "differs" if each.differs else "unknown" if each.unknown or not each.ended else "clean"
        found = f"{each.differs} differ, {each.unknown} unknown" if each.ended else "never ended"
        found = f'<span class="{kind}">{found}</span>'
        rows.append((_time(each.began), escape(each.mode), escape(", ".join(each.layers)), found))
    return _frame(("When", "How", "Layers", "Found"), rows) if rows else "<p>None.</p>"


def _frame(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; on a narrow screen each row becomes a list, and each cell says its heading."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = ""
    for row in rows:
        cells = (f'<td data-head="{name}">{cell}</td>' for name, cell in zip(heads, row, strict=True))
        body += f"<tr>{''.join(cells)}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _time(text: str) -> str:
    return f'<time datetime="{escape(text)}">{escape(text[:16].replace("T", " "))}</time>'
