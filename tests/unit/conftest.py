"""Properties are judged by what they find, never by how long that took: a busy machine is no failure."""

import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _this_machine_is_no_host(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the modules note of a change is noted in a folder of the tests, not on the machine that runs them."""
    if host := sys.modules.get("ansible.module_utils.seawall_host"):
        host.CHANGED = str(tmp_path_factory.mktemp("noted") / "changed")
