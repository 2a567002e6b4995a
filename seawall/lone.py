"""`seawall audit-payment-system`: the same controls on one host that no stack made. Reads only.

What nobody declared for such a host (who may log in, which ports are meant to be open) is no expectation: a control
that needs it says *not applicable*, and why. Everything that holds for any host is judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from seawall import verify
from seawall.environment import Stack, for_process
from seawall.places import Places, write_private
from seawall.problem import USAGE, Problem
from seawall.progress import Progress
from seawall.verify import Outcome

LOCAL = "local"
"""Given as an address, this machine."""
SERVES = {"web": "web", "logs": "collectors"}


def audit(
    where: Places,
    progress: Progress,
    address: str,
    *,
    user: str,
    port: int,
    key: Path | None,
    known_hosts: Path,
    serves: Iterable[str] = (),
) -> Outcome:
    """Judge the host at ``address``, over ssh as ``user``, who is root or may become it by sudo without a password;
    ``local`` is this machine itself, without ssh.

    The host has to be known: its key in ``known_hosts``, as any login of yours would have it.
    """
    if address != LOCAL and not known_hosts.exists():
        raise Problem(
            f"{known_hosts} does not exist, so no host is known and anybody could be {address}. Log in once with ssh "
            "and compare the key's fingerprint with what the console shows, or name the file with --known-hosts.",
            code=USAGE,
        )
    # Apart from the stack's own places: these findings are not about its droplets.
    apart = Places(where.root / "audit")
    for folder in (apart.findings, apart.logs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    listed = apart.root / "host.json"
    write_private(listed, json.dumps(inventory(address, user, port, key, known_hosts, serves)).encode())
    with progress.phase("verify") as phase:
        environment = for_process(Stack("lab"), apart, None)
        outcome = verify.run(apart, environment, hosts_file=listed, progress=phase.now)
        phase.done(outcome.summary())
    return outcome


def inventory(
    address: str, user: str, port: int, key: Path | None, known_hosts: Path, serves: Iterable[str]
) -> dict:
    """The one host, as `ansible-inventory --list` would print it; ``seawall_undeclared`` says that no more is known."""
    # A port other than 22 is part of the name that known_hosts has (sshd(8)).
    alias = address if port == 22 else f"[{address}]:{port}"
    held = {
        "ansible_host": address,
        "ansible_port": port,
        "ansible_user": user,
        "ansible_ssh_common_args": f"-o HostKeyAlias={alias} -o UserKnownHostsFile={known_hosts}",
        "sshd_port": port,
        "seawall_undeclared": True,
        **({"ansible_connection": "local"} if address == LOCAL else {}),
        **({"ansible_ssh_private_key_file": str(key)} if key else {}),
    }
    groups = {SERVES[each]: {"hosts": [address]} for each in serves}
    return {"_meta": {"hostvars": {address: held}}, "all": {"hosts": [address]}, **groups}
