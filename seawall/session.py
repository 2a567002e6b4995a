"""What a command works on: a stack, its places, its lab if that runs, and somewhere to tell progress."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from lab.instance import own_name
from seawall.environment import Stack, for_process
from seawall.places import Places, places, write_private
from seawall.problem import Problem
from seawall.progress import Progress
from seawall.pulumi import Engine


@dataclass
class Session:
    """What most commands need: the stack, its places, its lab if it runs, and somewhere to tell progress."""

    stack: Stack
    where: Places
    lab: dict[str, Any] | None
    progress: Progress
    asked: bool = False

    @classmethod
    def open(cls, stack: str) -> Session:
        if Stack(stack).is_lab and os.geteuid() != 0:
            raise Problem(
                "The lab makes namespaces, mounts and machines, which only root may: run this as root, where you "
                "may take things apart. A stack in a DigitalOcean account needs no root: name it with --stack."
            )
        where = places()
        lab = None
        if Stack(stack).is_lab:
            from lab import control

            status = control.status(own_name())
            lab = status if status["running"] else None
        return cls(Stack(stack), where, lab, Progress())

    @property
    def environment(self) -> dict[str, str]:
        """For what this command runs: once Pulumi has said what stands, nobody else has to ask it again."""
        asked = {"SEAWALL_OUTPUTS_FILE": str(self.where.outputs)} if self.asked else {}
        return {**for_process(self.stack, self.where, self.lab), **asked}

    def engine(self) -> Engine:
        return Engine(self.stack, self.where, self.environment)

    def standing(self) -> dict[str, Any]:
        """The outputs of a stack that is up, or a ``Problem`` that says how to bring it up."""
        if self.stack.is_lab and not self.lab:
            raise Problem("The lab does not run. `make up` (or `seawall up`) starts it.")
        outputs = self.engine().outputs()
        if not outputs.get("droplets"):
            raise Problem(
                f"Stack {self.stack.name} has no droplets yet. `seawall up --stack {self.stack.name}` makes them."
            )
        write_private(self.where.outputs, json.dumps(outputs).encode())
        self.asked = True
        return outputs
