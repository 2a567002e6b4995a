"""The controls there are, and the table of them: ``python -m tests.controls.catalogue > docs/controls.md``."""

from __future__ import annotations

import importlib
from pathlib import Path

from seawall.controls import Control


def by_concern() -> dict[str, tuple[str, list[Control]]]:
    """For each file of controls its first sentence and its controls, in the order they are written."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.controls.{path.stem}")
        controls = [held.control for held in vars(module).values() if hasattr(held, "control")]
        found[path.stem.removeprefix("test_")] = ((module.__doc__ or "").split("\n")[0], controls)
    return found


def every() -> list[Control]:
    return [control for _, controls in by_concern().values() for control in controls]


MACHINES = {"any": "container, QEMU", "own kernel": "QEMU"}


def markdown() -> str:
    """docs/controls.md."""
    lines = [
        "# Controls",
        "",
        f"What `seawall verify` and `pytest tests/controls` check on every droplet: {len(every())} controls. Made by",
        "`python -m tests.controls.catalogue > docs/controls.md`; a test holds it in step with the code.",
        "",
        "Requirement ids are PCI DSS v4.0.1 (`pci-`) and the CIS Debian Linux 12 Benchmark v1.1.0 (`cis-deb12-`).",
        "*On* is the group of hosts a control speaks of (`senders`: every host but the collectors); elsewhere it is",
        "*not applicable*. *Machine* is the kind of lab machine that can prove it.",
        "",
        "A failure that somebody answers for goes into `waivers.yml`, reviewed like code. When it lapses it fails:",
        "",
        "```yaml",
        "waivers:",
        "  - control: sshd-tcp-forwarding",
        "    subjects: [bastion-1]        # names or patterns, such as app-*",
        "    approver: head of platform",
        "    reason: The bastion forwards by design; flows limit where to.",
        "    start: 2026-11-01",
        "    expiry: 2027-04-30           # the last day it counts",
        "```",
    ]
    for concern, (sentence, controls) in by_concern().items():
        lines += ["", f"## {concern}", "", sentence, ""]
        lines += [
            "| id | what must hold | requirements | severity | on | machine |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{c.id}` | {c.title} | {', '.join(c.requirements)} | {c.severity} | {c.on} | {MACHINES[c.proven_on]} |"
            for c in controls
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
