"""The environment in which pulumi, ansible and pytest do what `seawall` does.

``seawall env`` prints it for a shell, every command of ours runs in it: what works in one works in the other.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.engine import choose
from lab.instance import own_name
from seawall.places import CHECKOUT, Places

AT_ONCE = 64
"""Resource operations that Pulumi begins side by side."""

LAB = "lab"
"""The embedded default stack: the DigitalOcean that runs on this machine."""


@dataclass(frozen=True)
class Stack:
    """A stack by name. The lab brings its own cloud, state and token; any other uses what its operator set up."""

    name: str

    @property
    def is_lab(self) -> bool:
        return self.name == LAB or self.name.startswith(f"{LAB}-")

    @property
    def settings(self) -> Path:
        """The stack's settings, where Pulumi looks for them."""
        return CHECKOUT / f"Pulumi.{self.name}.yaml"

    @property
    def config(self) -> dict[str, Any]:
        """What the settings say, as written; to judge it is the program's affair."""
        return (yaml.safe_load(self.settings.read_text()) or {}).get("config") or {}


def stack_environment(stack: Stack, where: Places, lab: Mapping[str, str] | None) -> dict[str, str]:
    """The variables to set, secrets by the file that holds them (see ``secret_files``).

    ``lab`` is what ``lab.control.start`` answered; None while the lab does not run.
    """
    toolchain = choose.toolchain()
    found = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *map(str, toolchain.path)]),
        "PULUMI_STACK": stack.name,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Hardenings under way only wait for the one run that does them all; the engine's own choice is four a core.
        "PULUMI_PARALLEL": str(AT_ONCE),
        "SEAWALL_DIR": str(where.root),
        "SEAWALL_INSTANCE": own_name(),
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        **toolchain.variables,
    }
    if stack.is_lab:
        found["PULUMI_BACKEND_URL"] = f"file://{where.state}"
        found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(where.passphrase)
        if lab:
            found["DIGITALOCEAN_API_URL"] = lab["api"]
            found["SPACES_ENDPOINT_URL"] = lab["spaces"]
    return found


def secret_files(stack: Stack, where: Places) -> dict[str, Path]:
    """Variables that tools only take by value, and the files to read them from at the last moment."""
    if stack.is_lab:
        return {
            "DIGITALOCEAN_TOKEN": where.token,
            "SPACES_ACCESS_KEY_ID": where.spaces_key / "access",
            "SPACES_SECRET_ACCESS_KEY": where.spaces_key / "secret",
        }
    named = os.environ.get("DIGITALOCEAN_TOKEN_FILE")  # systemd's LoadCredential=, a CI's secret file
    return {"DIGITALOCEAN_TOKEN": Path(named)} if named else {}


def for_process(stack: Stack, where: Places, lab: Mapping[str, str] | None) -> dict[str, str]:
    """A child's whole environment: ours, over the caller's."""
    found = dict(os.environ)
    ours = stack_environment(stack, where, lab)
    ours["PATH"] = ours["PATH"] + os.pathsep + os.environ.get("PATH", os.defpath)
    found.update(ours)
    for name, path in secret_files(stack, where).items():
        if path.exists():
            found[name] = path.read_text().strip()
    return found


def for_shell(stack: Stack, where: Places, lab: Mapping[str, str] | None) -> str:
    """Lines for ``eval``. A secret is read by the shell itself, so none is ever printed."""
    ours = stack_environment(stack, where, lab)
    path = ours.pop("PATH")
    lines = [f'export PATH={shlex.quote(path)}:"$PATH"']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in ours.items()]
    lines += [
        f'export {name}="$(cat {shlex.quote(str(path))})"'
        for name, path in secret_files(stack, where).items()
    ]
    return "\n".join(lines)
