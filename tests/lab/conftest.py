"""Labs with real machines that several modules share: booted once, removed at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.lab import roles_lab
from tests.lab.machines_support import Lab


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Droplets web-1 and web-2 in one VPC, other-1 in a second, far-1 in another region. No firewall."""
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    lab = Lab(f"test-machines-{os.getpid()}", tmp_path_factory.mktemp("lab"))
    try:
        lab.build()
        yield lab
    finally:
        lab.purge()


@pytest.fixture(scope="session")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[roles_lab.RolesLab]:
    """Two web droplets and a collector for the roles' tests: untouched for test_roles_converge, which comes first,
    hardened for the modules after it (each hardens again, which changes nothing there)."""
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("machines need root and systemd-nspawn")
    with roles_lab.running(tmp_path_factory.mktemp("roles")) as running:
        yield running
