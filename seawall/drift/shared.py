"""What the cloud's and the strangers' layer both need, read once a look."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pydantic import ValidationError

from infra.drift import Drift
from seawall.drift.account import Account, read
from seawall.drift.cloud import Resource, resources
from seawall.drift.run import Look
from seawall.environment import Stack
from seawall.problem import USAGE, Problem


def settings_of(stack: Stack) -> Drift:
    """``seawall:drift`` of the stack's settings; all defaults where it has none."""
    try:
        return Drift.model_validate(stack.config.get("seawall:drift") or {})
    except FileNotFoundError:
        return Drift()
    except (OSError, yaml.YAMLError, ValidationError, AttributeError) as error:
        said = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else " ".join(str(error).split())
        raise Problem(
            f"seawall:drift in {stack.settings.name} cannot be used: {why}. Pulumi.prod.example.yaml says what it "
            "takes. Put it right; nothing was looked at.",
            code=USAGE,
        ) from None


def settings(looking: Look) -> Drift:
    return looking.once("drift_settings", lambda: settings_of(looking.session.stack))


def stated(looking: Look) -> list[Resource]:
    """What Pulumi's state holds."""
    return looking.once("stated", lambda: resources(looking.deployment))


def declared(looking: Look) -> list[Resource]:
    """What the code declares: in a full look by the program itself, in a quick one by the last update.

    A program that could not be asked leaves the last update's word; ``unheard`` says why.
    """
    if looking.mode == "quick" or unheard(looking):
        return stated(looking)
    return resources(looking.deployment, _preview(looking))


def unheard(looking: Look) -> str:
    """Why the program could not be asked in a full look; empty where it was, or need not be."""
    answer = _preview(looking) if looking.mode == "full" else {}
    return answer if isinstance(answer, str) else ""


def _preview(looking: Look) -> Any:
    def ask() -> Any:
        try:
            return json.loads(
                looking.session.engine().ask("preview", "--json", "--show-sames", "--suppress-progress")
            )
        except Problem as problem:
            return str(problem)
        except ValueError:
            return "`pulumi preview --json` answered something other than JSON."

    return looking.once("preview", ask)


def account(looking: Look) -> Account:
    """The account as its API answers it."""
    ours = tuple(each.id for each in stated(looking) if each.kind == "vpc")
    return looking.once("account", lambda: read(looking.session.environment, ours))
