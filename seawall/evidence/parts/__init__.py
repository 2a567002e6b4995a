"""The files of a bundle. A part is one function in one file, ``parts/<noun>.py``:

    def write(context: Context, folder: Path) -> None:
        '''What it is, for which requirement.'''
        (folder / "lists" / "flows.csv").write_text(…)

``folder`` is the bundle's own, still being made: private, on the disk it will stay on, and empty but for what parts
before this one wrote. A part reads ``context`` (everything is gathered already) and, if it comes later, earlier parts'
files; it contacts nobody. The same context gives the same bytes: take times from ``context.at``, sort what has no
order. It makes the folders it needs. Names are ASCII letters, digits, ``.``, ``-``, ``_``; no links, no empty folder,
no hidden file: the manifest refuses them. What it cannot know it says in its file. A ``Problem`` it raises stops the
bundle: nothing is left of it.

Add one to ``PARTS`` and it is in the manifest, searched for card numbers and secrets, and signed. The report comes
last, since it may show what the others wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seawall.evidence.context import Context
from seawall.evidence.parts import findings, imported, lists, oscal, report, requirements, software

Part = Callable[[Context, Path], None]

PARTS: tuple[Part, ...] = (
    findings.write,
    imported.write,
    lists.write,
    software.write,
    requirements.write,
    oscal.write,
    report.write,
)
