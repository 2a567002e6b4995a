"""``seawall:index:Hardening``: that a droplet is hardened, and that its controls passed.

Creating or updating one runs the roles and the controls on its droplet, over ssh, with the controller's own key; all
that are asked for side by side share one Ansible run. A refresh reads the host back. What decides stands apart from
what acts: ``check``, ``changes`` and ``waves`` are pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gathering import Gathering
from pulumi.provider.experimental import provider as rpc
from pulumi.runtime.rpc import UNKNOWN
from values import honest, plain, properties, unknown

from infra.said import REASON

Inputs = Mapping[str, Any]
Tell = Callable[..., None]
"""``tell(urn, text, passing=False, warning=False)``: a line of the engine's log; passing ones show while it lasts."""

NEEDED = ("name", "dropletId", "network", "roles", "controls", "settings")
SHOWN = 20
"""Of so many differences a refresh tells; the rest it counts."""


@dataclass(frozen=True)
class Job:
    """One droplet to harden. ``update``: it was hardened before and may serve; ``port``: where its sshd was."""

    urn: str
    inputs: Inputs = field(compare=False)
    update: bool
    port: int | None = None

    @property
    def name(self) -> str:
        return self.inputs["name"]

    @property
    def tier(self) -> str:
        return self.inputs["network"]["droplets"][self.name]["tier"]

    @property
    def stack(self) -> str:
        return self.urn.split("::")[0].rpartition(":")[2]


class Hosts(Protocol):
    """What is done to hosts, and asked of them (``hosts.py``)."""

    def harden(self, jobs: list[Job], tell: Tell) -> Mapping[Job, Mapping[str, Any] | Exception]: ...
    def drift(self, stack: str, inputs: Inputs) -> list[str]: ...
    def leave(self, stack: str, inputs: Inputs) -> None: ...


class Refused(Exception):
    """Why a droplet was not touched: one paragraph."""


class Hardening:
    """Inputs: ``name``, ``dropletId``; ``network``, the outputs of the stack that concern this droplet; digests of
    ``roles``, ``controls`` and ``settings`` by name. Never a key. ``vars``, the droplet's own variables, and ``drift``,
    what a refresh found on the host, are added here.

    Outputs: the inputs, and ``verification``: the ``run`` of the controls that let it in, how many ``passed``, how many
    of the roles' tasks were ``ok`` and ``changed`` something.
    """

    def __init__(self, hosts: Hosts, variables: Callable[[Inputs, str], dict[str, Any]], tell: Tell) -> None:
        self.hosts, self.variables, self.tell = hosts, variables, tell
        self.gathering = Gathering(self._together)
        self.proven: set[str] = set()
        self.stopped = ""

    def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        self.gathering.expect(request.urn)  # a creation or an update follows, unless said otherwise
        inputs = plain(request.new_inputs)
        if failures := faults(inputs):
            self.gathering.forgo(request.urn)
            return rpc.CheckResponse(
                inputs=request.new_inputs,
                failures=[rpc.CheckFailure(name, said) for name, said in failures.items()],
            )
        inputs["vars"] = honest(self.variables(inputs["network"], inputs["name"]))
        inputs["drift"] = []
        return rpc.CheckResponse(inputs=properties(inputs))

    def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        found = changes(plain(request.old_state), plain(request.new_inputs))
        if found:
            self.tell(request.urn, f"{REASON}{because(found)}")
        else:
            self.gathering.forgo(request.urn)
        replaced = "dropletId" in found
        kind = rpc.PropertyDiffKind.UPDATE_REPLACE if replaced else rpc.PropertyDiffKind.UPDATE
        return rpc.DiffResponse(
            changes=bool(found),
            replaces=["dropletId"] if replaced else [],
            diffs=list(dict.fromkeys(path.partition(".")[0] for path in found)),
            detailed_diff={path: rpc.PropertyDiff(kind, path != "drift") for path in found},
        )

    def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        inputs = plain(request.properties)
        if request.preview:
            self.gathering.forgo(request.urn)
            return rpc.CreateResponse(
                "", properties({**inputs, "dropletId": UNKNOWN, "verification": UNKNOWN})
            )
        done = self.gathering.do(Job(request.urn, inputs, update=False), request.urn)
        return rpc.CreateResponse(f"{inputs['name']}.{inputs['dropletId']}", properties({**inputs, **done}))

    def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        inputs = plain(request.news)
        if request.preview:
            self.gathering.forgo(request.urn)
            return rpc.UpdateResponse(properties({**inputs, "verification": UNKNOWN}))
        port = plain(request.olds)["network"]["ssh_port"]
        done = self.gathering.do(Job(request.urn, inputs, update=True, port=port), request.urn)
        return rpc.UpdateResponse(properties({**inputs, **done}))

    def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        """The host as it is: what of it differs from what the last hardening left stands in ``drift``."""
        state, inputs = plain(request.properties), plain(request.inputs)
        if not inputs:
            return rpc.ReadResponse()
        found = self.hosts.drift(_stack(request.urn), inputs)
        for said in found[:SHOWN]:
            self.tell(request.urn, f"{inputs['name']}: {said}", warning=True)
        more = [f"and {len(found) - SHOWN} more: `seawall drift`"] if len(found) > SHOWN else []
        drift = {"drift": found[:SHOWN] + more}
        return rpc.ReadResponse(
            request.resource_id, properties({**state, **drift}), properties({**inputs, **drift})
        )

    def delete(self, request: rpc.DeleteRequest) -> None:
        """The droplet is about to go: it answers what it has begun first."""
        self.hosts.leave(_stack(request.urn), plain(request.properties))

    def _together(self, jobs: list[Job]) -> Mapping[Job, Mapping[str, Any] | Exception]:
        """A change reaches one droplet a tier first, then the rest; after a failure no further droplet that serves."""
        answers: dict[Job, Mapping[str, Any] | Exception] = {}
        for wave in waves(jobs, self.proven):
            allowed = [job for job in wave if not (job.update and self.stopped)]
            answers |= {
                job: Refused(f"{job.name} was left as it is: {self.stopped}")
                for job in wave
                if job not in allowed
            }
            if allowed:
                answers |= self.hosts.harden(allowed, self.tell)
            for job in allowed:
                if not isinstance(answers[job], Exception):
                    self.proven |= {job.tier} if job.update else set()
                elif not self.stopped:
                    self.stopped = f"the change stopped at {job.name}, whose error stands beside this."
        return answers


# --- Deciding: pure ------------------------------------------------------------------------------------


def faults(inputs: Inputs) -> dict[str, str]:
    """What is wrong with inputs, by name."""
    found = {name: f"{name} is missing" for name in NEEDED if name not in inputs}
    found |= {
        name: f"{name} is no input of a hardening; it takes {', '.join(NEEDED)}"
        for name in inputs.keys() - {*NEEDED}
    }
    found |= {
        name: f"{name} holds a private key, which would lie in the state. Ansible finds keys by path or agent"
        for name, value in inputs.items()
        if re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", str(value))
    }
    if not found and inputs["name"] not in inputs["network"].get("droplets", {}):
        found["network"] = f"network lists no droplet {inputs['name']}"
    return found


SAID = {"roles": "role", "controls": "control", "settings": "setting", "vars": "variable"}


def changes(old: Inputs, new: Inputs) -> dict[str, str]:
    """Why a droplet has to be hardened again: property path → what to call it. Empty where nothing asks for it.

    What a preview can't know yet is a change: it says "will be", never "as it was".
    """
    found = {}
    if unknown(new.get("dropletId")) or old.get("dropletId") != new.get("dropletId"):
        found["dropletId"] = "a new droplet"
    for group, called in SAID.items():
        was, now = old.get(group) or {}, new.get(group) or {}
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key) or unknown(now.get(key)):
                found[f"{group}.{key}" if re.fullmatch(r"\w+", key) else f'{group}["{key}"]'] = (
                    f"{called} {key}"
                )
    if old.get("drift"):
        found["drift"] = f"drift on the host ({len(old['drift'])})"
    return found


def because(found: Mapping[str, str]) -> str:
    """Reasons as a sentence. A new droplet needs no other."""
    return found.get("dropletId") or ", ".join(found.values())


def waves(jobs: Iterable[Job], proven: Iterable[str]) -> list[list[Job]]:
    """In which order: new droplets and the first of each tier that serves; then the rest, if those passed."""
    ordered = sorted(
        jobs, key=lambda job: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", job.name)]
    )
    first, rest, seen = [], [], set(proven)
    for job in ordered:
        if job.update and job.tier in seen:
            rest.append(job)
        else:
            first.append(job)
            seen |= {job.tier} if job.update else set()
    return [wave for wave in (first, rest) if wave]


def _stack(urn: str) -> str:
    return Job(urn, {}, False).stack
