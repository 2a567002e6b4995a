"""Secrets are born private, and the environment for a shell names them without telling them."""

from __future__ import annotations

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from seawall import prepare
from seawall.environment import Stack, for_process, for_shell
from seawall.places import only_one, places, write_private
from seawall.problem import Problem
from seawall.progress import Progress
from seawall.pulumi import Engine, forget_salt
from seawall.session import Session


@pytest.fixture
def where(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAWALL_DIR", str(tmp_path / "seawall"))
    found = places()
    prepare.secrets_and_login(found)
    return found


def test_folders_and_secrets_are_private(where):
    assert stat.S_IMODE(where.root.stat().st_mode) == 0o700
    for path in (where.passphrase, where.token, where.ssh_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_made_once(where):
    before = where.token.read_bytes(), where.ssh_key.read_bytes()
    prepare.secrets_and_login(where)
    assert (where.token.read_bytes(), where.ssh_key.read_bytes()) == before


def test_a_private_file_is_never_open_to_others_even_under_a_wide_umask(tmp_path):
    old = os.umask(0)
    try:
        write_private(tmp_path / "secret", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_threads_that_write_the_same_file_do_not_meet(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: write_private(tmp_path / "kept", b"%d" % number), range(400)))
    assert (tmp_path / "kept").read_bytes().isdigit()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_shell_reads_the_secret_itself(where):
    lab = {"api": "http://127.0.0.1:7001", "spaces": "http://127.0.0.2:7001"}
    printed = for_shell(Stack("lab"), where, lab)
    token = where.token.read_text()
    assert token not in printed
    assert "export SPACES_ENDPOINT_URL=http://127.0.0.2:7001" in printed
    assert where.passphrase.read_text() not in printed
    seen = subprocess.run(
        ["bash", "-c", 'eval "$1"; printf %s "$DIGITALOCEAN_TOKEN"', "bash", printed],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout == token


def test_a_production_stack_keeps_its_operators_backend_and_token(where, monkeypatch):
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://state")
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", "theirs")
    found = for_process(Stack("prod"), where, None)
    assert found["PULUMI_BACKEND_URL"] == "s3://state"
    assert found["DIGITALOCEAN_TOKEN"] == "theirs"
    assert "DIGITALOCEAN_API_URL" not in found


def test_two_runs_never_overlap(where):
    with (
        only_one(where, "up"),
        pytest.raises(Problem, match=r"Another seawall is at work.*`seawall up`, process"),
        only_one(where, "down"),
    ):
        pass


def test_the_site_certificate_is_renewed_only_near_its_end_or_for_another_name(where):
    prepare.site_certificate(where, "app.seawall.test")
    leaf = where.site_certificate / "site.pem"
    first = leaf.read_bytes()
    prepare.site_certificate(where, "app.seawall.test")
    assert leaf.read_bytes() == first
    prepare.site_certificate(where, "other.seawall.test")
    assert leaf.read_bytes() != first
    assert stat.S_IMODE((where.site_certificate / "site.key").stat().st_mode) == 0o600


def test_settings_that_would_lock_the_labs_administrator_out_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Stack, "settings", property(lambda stack: tmp_path / "Pulumi.lab.yaml"))
    prepare.settings(Stack("lab"), {"outside": "198.18.7.3/32"})
    made = (tmp_path / "Pulumi.lab.yaml").read_text()
    assert '["198.18.7.3/32"]' in made
    prepare.settings(Stack("lab"), {"outside": "198.18.7.3/32"})
    with pytest.raises(Problem, match=r"does not trust 198\.18\.9\.3/32"):
        prepare.settings(Stack("lab"), {"outside": "198.18.9.3/32"})
    assert (tmp_path / "Pulumi.lab.yaml").read_text() == made


def test_the_salt_of_a_state_that_is_gone_is_dropped_but_never_with_secrets(tmp_path):
    settings = tmp_path / "Pulumi.lab.yaml"
    settings.write_text("config: {}\nencryptionsalt: v1:x\n")
    forget_salt(settings)
    assert settings.read_text() == "config: {}\n"
    settings.write_text("config:\n  a: {secure: v1:y}\nencryptionsalt: v1:x\n")
    forget_salt(settings)
    assert "encryptionsalt" in settings.read_text()


def test_pulumi_is_asked_again_only_when_the_state_was_written_since(where, monkeypatch):
    state = where.state / ".pulumi/stacks/seawall/lab.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    asked = []

    def outputs(engine):
        asked.append(engine.stack.name)
        return {"droplets": {"app-1": {"id": len(asked)}}}

    monkeypatch.setattr(Engine, "outputs", outputs)
    session = Session(
        Stack("lab"), where, {"api": "http://127.0.0.1:7001", "spaces": "http://127.0.0.2:7001"}, Progress()
    )
    assert session.standing() == session.standing() == {"droplets": {"app-1": {"id": 1}}}
    os.utime(state, ns=(2**62, 2**62))  # an update, a refresh, an import: each writes the state anew
    assert session.standing() == {"droplets": {"app-1": {"id": 2}}}
    assert asked == ["lab", "lab"]


def test_of_a_state_elsewhere_pulumi_is_always_asked(where, monkeypatch):
    asked = []
    monkeypatch.setattr(Engine, "outputs", lambda engine: asked.append(1) or {"droplets": {"app-1": {}}})
    session = Session(Stack("prod"), where, None, Progress())
    session.standing()
    session.standing()
    assert len(asked) == 2
