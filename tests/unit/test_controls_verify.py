"""`seawall verify` where there is nothing to see: hosts that do not answer, hosts that are not there, nobody at all."""

import json
import os
import socket
from pathlib import Path

import pytest

from seawall import findings, verify
from seawall.places import Places
from seawall.problem import Problem


@pytest.fixture
def where(tmp_path):
    places = Places(tmp_path)
    for folder in (places.findings, places.logs):
        folder.mkdir()
    places.known_hosts.touch()
    return places


def inventory(where: Places, *names: str, **more) -> Path:
    """Hosts at a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    common = f"-o HostKeyAlias=gone.7 -o UserKnownHostsFile={where.known_hosts}"
    held = {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_common_args": common, **more}
    path = where.root / "hosts.json"
    listed = {"_meta": {"hostvars": dict.fromkeys(names, held)}, "web": {"hosts": list(names)}}
    # As Ansible lists what an inventory plugin said.
    marked = json.loads(json.dumps(listed), object_hook=lambda o: {k: _marked(v) for k, v in o.items()})
    path.write_text(json.dumps(marked))
    return path


def _marked(value):
    return {"__ansible_unsafe": value} if isinstance(value, str) else value


def test_a_host_that_does_not_answer_is_unknown_and_never_a_pass(where):
    seen = []
    file = inventory(where, "app-1")
    outcome = verify.run(
        where, os.environ, hosts_file=file, only="test_uid_zero or test_retention", progress=seen.append
    )
    assert outcome.code == 1
    statuses = {finding.control: finding.status for finding in outcome.findings}
    assert statuses == {"accounts-uid-zero": "unknown", "collector-retention": "not-applicable"}
    assert "app-1 could not be asked" in outcome.findings[0].reason
    assert "accounts: uid zero on app-1" in seen
    assert outcome.report.parent == where.findings
    assert findings.read(outcome.report) == outcome.findings
    assert outcome.summary() == "2 controls on 1 droplets: 1 unknown, 1 not-applicable"
    document = outcome.document()
    assert (document["run"], document["worst"]) == (outcome.findings[0].run, "unknown")
    json.dumps(document)
    assert "could not be asked" in outcome.text()


def test_a_host_that_is_not_in_the_inventory_is_bad_usage(where):
    with pytest.raises(Problem, match="no host web-9; it has app-1") as refusal:
        verify.run(where, os.environ, hosts=["web-9"], hosts_file=inventory(where, "app-1"))
    assert refusal.value.code == 64


def test_an_empty_inventory_is_no_pass(where):
    with pytest.raises(Problem, match="lists no host"):
        verify.run(where, os.environ, hosts_file=inventory(where))


def test_a_run_in_which_nothing_was_checked_is_no_pass(where):
    with pytest.raises(Problem, match="did not run to their end"):
        verify.run(where, os.environ, hosts_file=inventory(where, "app-1"), only="no_such_control")
