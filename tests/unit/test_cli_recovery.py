"""What an interrupted run left is found by name and tag, and becomes the state's own. Judged on a real API."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from seawall import cloud
from seawall.problem import Problem
from seawall.pulumi import AMBIENT, diagnosis

FIREWALL = "digitalocean:index/firewall:Firewall"
DROPLET = "digitalocean:index/droplet:Droplet"


def creating(kind: str, name: str, **inputs: object) -> dict:
    urn = f"urn:pulumi:lab::seawall::{kind}::{name}"
    return {
        "type": "creating",
        "resource": {"urn": urn, "type": kind, "custom": True, "inputs": {"name": name, **inputs}},
    }


DROPLETS = [
    {"id": 1, "name": "app-1", "tags": ["seawall-lab", "seawall-lab-app"]},
    {"id": 2, "name": "app-1", "tags": ["another-stack"]},
    {"id": 3, "name": "app-2", "tags": ["seawall-lab"]},
    {"id": 4, "name": "app-2", "tags": ["seawall-lab"]},
]


@pytest.fixture
def account(monkeypatch):
    """The account's listings as values: what is judged is the choice among them."""
    listings = {
        "/v2/droplets": DROPLETS,
        "/v2/firewalls": [{"id": "f-1", "name": "seawall-lab-app", "tags": []}],
    }
    monkeypatch.setattr(cloud, "every", lambda api, kind: iter(listings.get(kind.path, [])))
    return {"DIGITALOCEAN_TOKEN": "t", "DIGITALOCEAN_API_URL": "http://127.0.0.1:9"}


def test_a_lost_creation_is_found_by_name_and_the_stacks_tag(account):
    pending = [creating(DROPLET, "app-1", tags=["seawall-lab"])]
    assert cloud.find_created(pending, [], account) == {pending[0]["resource"]["urn"]: "1"}


def test_a_record_is_found_in_its_zone_by_all_that_it_says(account, monkeypatch):
    kind = "digitalocean:index/dnsRecord:DnsRecord"
    records = [
        {"id": 1, "type": "A", "name": "www", "data": "203.0.113.9"},
        {"id": 2, "type": "CAA", "name": "@", "data": "letsencrypt.org"},
        {"id": 3, "type": "CAA", "name": "@", "data": "another.example"},
    ]
    monkeypatch.setattr(
        cloud,
        "every",
        lambda api, kind: iter(records if kind.path == "/v2/domains/example.com/records" else []),
    )
    pending = [creating(kind, "@", domain="example.com", type="CAA", value="letsencrypt.org.")]
    assert cloud.find_created(pending, [], account) == {pending[0]["resource"]["urn"]: "2"}


def test_a_reserved_address_is_named_and_never_taken(account, monkeypatch):
    kind = "digitalocean:index/reservedIp:ReservedIp"
    addresses = [
        {"ip": "203.0.113.1", "region": {"slug": "fra1"}, "droplet": None},
        {"ip": "203.0.113.2", "region": {"slug": "fra1"}, "droplet": {"id": 1}},
        {"ip": "203.0.113.3", "region": {"slug": "ams3"}, "droplet": None},
        {"ip": "203.0.113.4", "region": {"slug": "fra1"}, "droplet": None},
    ]
    monkeypatch.setattr(cloud, "every", lambda api, kind: iter(addresses))
    pending, known = [creating(kind, "app-1", region="fra1")], [{"type": kind, "id": "203.0.113.4"}]
    assert cloud.find_created(pending, known, account) == {}
    (said,) = cloud.unclaimed(pending, known, account)
    assert "of 203.0.113.1, assigned to nobody, one may be its" in said
    assert cloud.unclaimed([creating(DROPLET, "app-1")], known, account) == []


def test_what_the_state_holds_is_not_taken_for_a_lost_one(account):
    known = [{"type": DROPLET, "id": "1"}]
    assert cloud.find_created([creating(DROPLET, "app-1", tags=["seawall-lab"])], known, account) == {}


def test_two_candidates_are_for_a_person_to_decide(account):
    with pytest.raises(Problem, match=r"2 of .*app-2.*ids 3, 4"):
        cloud.find_created([creating(DROPLET, "app-2", tags=["seawall-lab"])], [], account)


def test_without_a_token_nothing_is_guessed():
    with pytest.raises(Problem, match="takes the API token"):
        cloud.find_created([creating(DROPLET, "app-1")], [], {})


def test_adopted_creations_become_resources_and_nothing_stays_pending():
    pending = [
        creating(DROPLET, "app-1", userData="#cloud-config", __defaults=[]),
        creating(FIREWALL, "gone"),
    ]
    deployment = {
        "resources": [{"urn": "stack"}],
        "pending_operations": pending,
        "manifest": {"version": "v3"},
    }
    before = json.dumps(deployment)
    found = cloud.adopted(deployment, {pending[0]["resource"]["urn"]: "17"})
    assert [resource["urn"] for resource in found["resources"]] == ["stack", pending[0]["resource"]["urn"]]
    assert found["resources"][1]["id"] == "17"
    assert found["resources"][1]["outputs"] == {"name": "app-1", "userData": "#cloud-config", "id": "17"}
    assert found["pending_operations"] == []
    assert json.dumps(deployment) == before, "the state handed in stays as it was"


def test_an_ssh_key_is_told_by_the_key_not_its_comment():
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    kind = cloud.KINDS["digitalocean:index/sshKey:SshKey"]
    assert cloud._is({"public_key": f"{text} one"}, {"publicKey": f"{text} other"}, kind)
    assert not cloud._is({"public_key": f"{text}x one"}, {"publicKey": f"{text} one"}, kind)


def test_a_failure_after_a_preview_is_told_from_the_last_diagnostics(tmp_path):
    lines = [
        "Diagnostics:",
        "  pulumi:pulumi:Stack (seawall-lab):",
        f"    {AMBIENT}digitalocean from $PATH",
        "Updating (lab):",
        "Diagnostics:",
        f"    {AMBIENT}digitalocean from $PATH",
        "    error: it broke",
        "Resources:",
    ]
    assert diagnosis(lines, "up", tmp_path).startswith("`pulumi up` stopped. error: it broke (")
