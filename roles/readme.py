"""Each role's README, from what the role says of itself: ``python -m roles.readme`` writes them all.

The summary and the options come from meta/argument_specs.yml, defaults and the reasons for them from
defaults/main.yml, where the comments are the manual. A test holds the READMEs in step.
"""

from __future__ import annotations

from pathlib import Path

import yaml

ROLES = Path(__file__).parent


def every() -> list[Path]:
    """The roles: every folder that says what it takes."""
    return sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))


def rendered(role: Path) -> str:
    """A role's README.md."""
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    tasks = yaml.safe_load((role / "tasks/main.yml").read_text()) or []
    defaults = role / "defaults/main.yml"
    options: dict = spec.get("options") or {}
    lines = [f"# {role.name}", "", _sentence(spec["short_description"])]
    if description := spec.get("description"):
        paragraphs = [description] if isinstance(description, str) else description
        lines += [text for paragraph in paragraphs for text in ("", _sentence(paragraph))]
    lines += [
        "",
        "Made by `python -m roles.readme`; a test holds it in step with the role.",
        "",
        "## What it does",
        "",
    ]
    lines += [f"{number}. {task['name']}" for number, task in enumerate(tasks, 1) if "name" in task]
    if options:
        lines += ["", "## What can be set", "", "| variable | type | |", "|---|---|---|"]
        lines += [f"| `{name}` | {_type(option)} | {_meaning(option)} |" for name, option in options.items()]
    if defaults.exists():
        lines += ["", "## Defaults, and why", "", "```yaml", defaults.read_text().rstrip("\n"), "```"]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", ":")) else f"{text}."


def _type(option: dict) -> str:
    kind = option.get("type", "str")
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def _meaning(option: dict) -> str:
    description = option.get("description", "")
    text = " ".join((description if isinstance(description, str) else " ".join(description)).split())
    choices = f" One of {', '.join(map(str, option['choices']))}." if "choices" in option else ""
    required = " Required." if option.get("required") else ""
    return (_sentence(text) + choices + required).replace("|", "\\|")


if __name__ == "__main__":
    for role in every():
        (role / "README.md").write_text(rendered(role))
