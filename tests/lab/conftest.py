"""One small lab with real machines for all tests that only look at it: booted once, removed at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

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
