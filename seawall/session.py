"""What a command works on: a stack, its places, its lab if that runs, and somewhere to tell progress."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
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
    outputs_file: Path | None = None
    """Outputs to go by which are not (yet) the stack's own."""

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
        asked = {"SEAWALL_OUTPUTS_FILE": str(self.outputs)} if self.asked else {}
        return {**for_process(self.stack, self.where, self.lab), **asked}

    @property
    def outputs(self) -> Path:
        """The stack's outputs as a command last read them; none of them secret."""
        return self.outputs_file or self.where.root / f"outputs-{self.stack.name}.json"

    def engine(self) -> Engine:
        return Engine(self.stack, self.where, self.environment)

    def standing(self) -> dict[str, Any]:
        """The outputs of a stack that is up, or a ``Problem`` that says how to bring it up."""
        if self.stack.is_lab and not self.lab:
            raise Problem("The lab does not run. `make up` (or `seawall up`) starts it.")
        read, asked = self._as_read(), time.time_ns()
        outputs = json.loads(self.outputs.read_bytes()) if read else self.engine().outputs()
        if not outputs.get("droplets"):
            raise Problem(
                f"Stack {self.stack.name} has no droplets yet. `seawall up --stack {self.stack.name}` makes them."
            )
        if not read:
            write_private(self.outputs, json.dumps(outputs).encode())
            os.utime(self.outputs, ns=(asked, asked))  # a state written meanwhile is newer
        self.asked = True
        return outputs

    def _as_read(self) -> bool:
        """Whether the state has not been written since the outputs were read: then Pulumi, which takes longer to start
        than a host to answer, need not be asked. Only of the lab's state is it known, which lies here as a file."""
        state = self.where.state / f".pulumi/stacks/seawall/{self.stack.name}.json"
        try:
            return self.stack.is_lab and state.stat().st_mtime_ns < self.outputs.stat().st_mtime_ns
        except FileNotFoundError:
            return False
