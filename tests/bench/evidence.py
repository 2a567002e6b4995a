"""What a bundle of thirty hosts costs once the findings are in: every part, the search, the signature, the disk.

`python -m tests.bench.evidence` measures it alone, without a lab.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from seawall.evidence import bundle
from seawall.evidence.context import Change, Context
from seawall.evidence.gather import declared
from seawall.evidence.hosts import Certificate, HostFacts, LogFile, Package, Patches, Upgrade, User
from seawall.evidence.profile import Channel, Profile
from seawall.evidence.signing import Keyring
from seawall.facts.sockets import Listener
from seawall.findings import By, Finding, Status, Subject
from tests.bench.support import Row
from tests.e2e.world import CHECKOUT, World

HOSTS = 30
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def measure(world: World | None = None) -> list[Row]:
    """In a process of its own, whose memory is that of nothing else."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.evidence"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, mebibytes = json.loads(told.stdout.splitlines()[-1])
    return [
        Row(f"evidence of {HOSTS} hosts after the findings are in", seconds, limit=60),
        Row(f"evidence of {HOSTS} hosts, at most resident", mebibytes, unit="MiB", limit=300),
    ]


def context(at: datetime, before, signer) -> Context:
    """Thirty hosts as a real one looks: every control, 450 packages, a few dozen accounts and logs."""
    controls, names = declared(), [f"app-{number}" for number in range(1, HOSTS + 1)]
    findings = [
        Finding(
            control=control.id,
            title=control.title,
            subject=Subject(kind="droplet", name=name),
            status=Status.FAIL if (index * 7 + place) % 97 == 0 else Status.PASS,
            severity=control.severity,
            expected="a value that was expected, as long as one usually is",
            seen="a value that was seen, as long as one usually is",
            requirements=control.requirements,
            at=NOW,
            run="20261124T090000Z-0000",
            by=By(version="0.1.0", commit="0" * 40),
        )
        for place, name in enumerate(names)
        for index, control in enumerate(controls)
    ]
    droplet = {"public_ip": "203.0.113.7", "private_ip": "10.20.0.7", "tier": "app", "serves": ["web"]}
    droplet |= {"id": "4711", "image": "debian-12-x64", "region": "fra1", "size": "s-1vcpu-1gb"}
    flow = {
        "from": "all",
        "to": "packages",
        "ports": ["443/tcp"],
        "reason": "Security updates",
        "owner": "operations",
    }
    return Context(
        stack="bench",
        at=at,
        outputs={
            "stack": "bench",
            "url": "https://www.example.com",
            "domain": "www.example.com",
            "loadbalancer_ip": "203.0.113.1",
            "admin_user": "ops",
            "ssh_port": 2222,
            "vpc_range": "10.20.0.0/20",
            "trusted_ranges": ["198.51.100.7/32"],
            "administrators": {"ops": []},
            "tiers": {
                "app": {"count": HOSTS, "size": "s-1vcpu-1gb", "image": "debian-12-x64", "serves": ["web"]}
            },
            "flows": [flow] * 40,
            "droplets": dict.fromkeys(names, droplet),
        },
        findings=tuple(findings),
        controls=controls,
        hosts={name: facts(name) for name in names},
        profile=Profile(Channel.OWN_FORM, 40_000, True),
        changes=tuple(Change(NOW, "git", f"{n:040x}", "maintainers", f"Change {n}") for n in range(500)),
        previous=before.model_dump(mode="json") if before else None,
        tools={"seawall": "0.1.0"},
        signer=signer,
    )


def facts(name: str) -> HostFacts:
    return HostFacts(
        name=name,
        os="Debian GNU/Linux 12 (bookworm)",
        os_id="debian-12",
        kernel="6.1.0-40-amd64",
        users=tuple(
            User(f"user{n}", n, "/usr/sbin/nologin", False, "locked", ("users",), False, ()) for n in range(40)
        ),
        packages=tuple(Package(f"package-{n}", f"1.{n}-1", "amd64", f"source-{n}") for n in range(450)),
        patches=Patches(
            pending=tuple(Upgrade(f"package-{n}", "1.0", "1.1", "Debian-Security:12", True) for n in range(20)),
            lists_updated=NOW,
            last_upgrade=NOW,
            last_unattended_run=NOW,
            booted=NOW,
            reboot_required=False,
        ),
        certificates=tuple(
            Certificate(
                f"/etc/ssl/site-{n}.pem", "CN=site", "CN=ca", ("site",), f"{n:x}", NOW, NOW + timedelta(days=90),
                "EC secp256r1", "ecdsa-with-SHA256", f"{n:064x}",
            )
            for n in range(5)
        ),
        listeners=(Listener("tcp", "0.0.0.0", 443, "nginx"), Listener("tcp", "0.0.0.0", 2222, "sshd")),
        ciphers={"ssh ciphers": "chacha20-poly1305@openssh.com", "nginx ssl_protocols": "TLSv1.2 TLSv1.3"},
        logs=tuple(LogFile(f"/var/log/remote/{name}/{n}.log", name, 4096, NOW) for n in range(30)),
    )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        keyring = Keyring(Path(folder))
        keyring.make()
        start = time.monotonic()
        bundle.make(Path(folder) / "bundles", keyring, context, {"a secret": "not-in-there-at-all"}, "bench")
        seconds = time.monotonic() - start
    used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps([round(seconds, 2), round(used / 1024, 1)]))


if __name__ == "__main__":
    main()
