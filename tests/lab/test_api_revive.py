"""Droplets that are off or gone: Pulumi calls them unchanged, the account's own API knows. Judged on the served API."""

from __future__ import annotations

from seawall.cloud import astray, power_on
from tests.lab.api_support import TOKEN, cloud


def in_state(name: str, identity: int | str) -> dict:
    kind = "digitalocean:index/droplet:Droplet"
    return {"urn": f"urn:pulumi:lab::seawall::{kind}::{name}", "type": kind, "id": str(identity)}


def test_what_is_off_is_started_and_what_is_gone_is_named(tmp_path):
    with cloud(tmp_path / "lab.sqlite") as lab:
        environment = {"DIGITALOCEAN_TOKEN": TOKEN, "DIGITALOCEAN_API_URL": lab.url}
        ids = {name: lab.droplet(name)["id"] for name in ("app-1", "app-2", "app-3")}
        state = [in_state(*each) for each in ids.items()]
        state.append(
            {
                "urn": "urn:pulumi:lab::seawall::pulumi:pulumi:Stack::seawall-lab",
                "type": "pulumi:pulumi:Stack",
            }
        )
        assert astray(state, environment) == ({}, {})

        lab.ask("POST", f"/v2/droplets/{ids['app-2']}/actions", {"type": "power_off"}, 201)
        lab.ask("DELETE", f"/v2/droplets/{ids['app-3']}", expect=204)
        lab.settle()
        gone, off = astray(state, environment)
        assert (gone, off) == ({"app-3": str(ids["app-3"])}, {"app-2": str(ids["app-2"])})

        power_on(off, environment)
        assert astray(state, environment) == (gone, {})


def test_nobody_is_asked_without_a_droplet_or_a_token():
    assert astray([], {"DIGITALOCEAN_TOKEN": TOKEN, "DIGITALOCEAN_API_URL": "http://127.0.0.1:9"}) == ({}, {})
    assert astray([in_state("app-1", 1)], {}) == ({}, {})
