"""The examples for GitHub and GitLab: what they run exists, looks never overlap, no secret is an argument."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
import yaml

from seawall.cli import app
from seawall.places import CHECKOUT

EXAMPLES = CHECKOUT / "docs" / "examples"


def job(name: str) -> dict:
    held = yaml.safe_load((EXAMPLES / name).read_text())
    return held["jobs"]["drift"] if "jobs" in held else held["drift"]


def typed(held: dict) -> list[str]:
    """Every line of shell."""
    blocks = held["script"] if "script" in held else [step["run"] for step in held["steps"] if "run" in step]
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("name", ["drift-github.yml", "drift-gitlab.yml"])
def test_what_an_example_runs_exists(name):
    lines = typed(job(name))
    targets = [line.split()[1] for line in lines if line.startswith("make ")]
    made = (Path(CHECKOUT) / "Makefile").read_text()
    assert targets == ["setup"]
    assert f"\n{targets[0]}: " in made
    (look,) = [shlex.split(line)[1:] for line in lines if "bin/seawall " in line]
    seawall = typer.main.get_command(app)
    context = seawall.make_context("seawall", look)
    called, command, rest = seawall.resolve_command(context, [*context._protected_args, *context.args])
    assert called == "drift"
    read = command.make_context(called, rest).params
    assert (read["stack"], read["full"], read["tell"], str(read["junit"])) == (
        "prod",
        True,
        True,
        "drift.xml",
    )


def test_looks_of_github_never_overlap_and_change_nothing():
    held = yaml.safe_load((EXAMPLES / "drift-github.yml").read_text())
    assert held["concurrency"] == {"group": "drift", "cancel-in-progress": False}
    assert held["permissions"] == {"contents": "read"}
    assert all("--fix" not in line for line in typed(held["jobs"]["drift"]))


def test_looks_of_gitlab_never_overlap_and_change_nothing():
    held = job("drift-gitlab.yml")
    assert held["resource_group"] == "drift"
    assert all("--fix" not in line for line in typed(held))


@pytest.mark.parametrize("name", ["drift-github.yml", "drift-gitlab.yml"])
def test_no_secret_is_an_argument(name):
    assert not [line for line in typed(job(name)) if "secrets." in line]
