"""A role's README is what the role says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from roles import readme


@pytest.mark.parametrize("role", readme.every(), ids=lambda role: role.name)
def test_the_readme_is_current(role: Path) -> None:
    assert (role / "README.md").read_text() == readme.rendered(role), "run: python -m roles.readme"


def test_every_role_says_what_it_takes() -> None:
    assert {path.parent.parent.name for path in readme.ROLES.glob("*/tasks/main.yml")} == {
        role.name for role in readme.every()
    }


def test_what_it_says(tmp_path: Path) -> None:
    role = tmp_path / "lamp"
    for folder in ("meta", "tasks", "defaults"):
        (role / folder).mkdir(parents=True)
    options = {
        "lamp_watts": {"type": "int", "description": "How bright", "required": True},
        "lamp_colours": {
            "type": "list",
            "elements": "str",
            "choices": ["red"],
            "description": "Which | ones",
        },
    }
    spec = {"argument_specs": {"main": {"short_description": "A lamp", "options": options}}}
    (role / "meta/argument_specs.yml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (role / "tasks/main.yml").write_text("- name: The lamp is lit\n  lamp:\n")
    (role / "defaults/main.yml").write_text("# Bright enough to read by.\nlamp_colours: [red]\n")
    assert readme.rendered(role) == (
        "# lamp\n\nA lamp.\n\nMade by `python -m roles.readme`; a test holds it in step with the role.\n\n"
        "## What it does\n\n1. The lamp is lit\n\n## What can be set\n\n| variable | type | |\n|---|---|---|\n"
        "| `lamp_watts` | int | How bright. Required. |\n"
        "| `lamp_colours` | list of str | Which \\| ones. One of red. |\n\n"
        "## Defaults, and why\n\n```yaml\n# Bright enough to read by.\nlamp_colours: [red]\n```\n"
    )
