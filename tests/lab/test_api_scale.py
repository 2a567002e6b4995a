"""Many droplets within DigitalOcean's limits, on the record-only API whose clock the test moves: 260, more than one
minute's requests, and with SEAWALL_SOAK=1 a thousand.

250 requests a minute, 200 items a page, 10 droplets a firewall by id, 5 tags and 50 rules a firewall. Ours go by tag:
a tier's firewall is one, however many droplets it has.
"""

from __future__ import annotations

import math
import os

import httpx
import pytest

from infra.flows import Flow, Flows
from infra.patience import Patient
from lab.api.limits import Limits

from .api_support import TOKEN, Clock, cloud

TIERS = ("edge", "app", "vault", "db", "logs", "admin")
DROPLETS = 1_000 if os.environ.get("SEAWALL_SOAK") else 260


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Droplets in six tiers; DigitalOcean's own limits, and a clock that waiting moves."""
    clock = Clock()
    folder = tmp_path_factory.mktemp("scale")
    with cloud(
        folder / "api.sqlite3",
        clock=clock,
        limits=Limits(),
        public_range="198.18.0.0/20",
        droplet_limit=DROPLETS,
    ) as lab:
        patient = Patient(wait=clock.pass_by)
        with httpx.Client(
            base_url=lab.url, headers={"Authorization": f"Bearer {TOKEN}"}, transport=patient, timeout=60
        ) as http:
            lab.patient = http
            vpc = lab.vpc("10.20.0.0/16")
            for tier in TIERS:
                lab.tag(tier)
            left = DROPLETS
            while left:
                names = [f"{TIERS[n % 6]}-{n}" for n in range(left, left - min(10, left), -1)]
                body = {
                    "names": names, "region": "fra1", "size": "s-1vcpu-1gb", "image": "debian-12-x64",
                    "vpc_uuid": vpc["id"], "tags": [TIERS[left // 10 % 6]],
                }  # fmt: skip
                answer = lab.http.post("/v2/droplets", json=body)
                if answer.status_code == 429:
                    clock.pass_by(float(answer.headers["retry-after"]))
                    continue
                assert answer.status_code == 202, answer.text
                left -= len(names)
            lab.settle(120)
            yield lab


def test_the_whole_account_is_listed_by_two_hundred(lab):
    before = lab.clock.now
    found, url, pages = [], "/v2/droplets?per_page=200", 0
    while url:
        body = lab.patient.get(url).raise_for_status().json()
        found += [droplet["id"] for droplet in body["droplets"]]
        url = ((body.get("links") or {}).get("pages") or {}).get("next")
        pages += 1
    assert len(set(found)) == DROPLETS
    assert pages == math.ceil(DROPLETS / 200)
    assert (lab.clock.now - before).total_seconds() <= 60


def test_one_by_one_it_takes_the_minutes_that_the_limit_says_and_no_request_fails(lab):
    """What a refresh does: a read of each droplet. 250 a minute make four minutes of a thousand."""
    ids = [
        droplet["id"] for page in range(1, math.ceil(DROPLETS / 200) + 1) for droplet in page_of(lab, page)
    ]
    before = lab.clock.now
    answers = {lab.patient.get(f"/v2/droplets/{number}").status_code for number in ids}
    minutes = (lab.clock.now - before).total_seconds() / 60
    assert answers == {200}
    assert DROPLETS // 250 - 1 < minutes <= DROPLETS / 250 + 1, minutes


def page_of(lab, number):
    return lab.patient.get(f"/v2/droplets?per_page=200&page={number}").raise_for_status().json()["droplets"]


def test_a_tier_is_covered_by_one_firewall_by_its_tag_where_ten_ids_are_the_limit(lab):
    rules = [{"protocol": "tcp", "ports": "2222", "sources": {"addresses": ["198.51.100.7"]}}]
    ids = [droplet["id"] for droplet in page_of(lab, 1)[:11]]
    lab.clock.pass_by(60)
    refused = lab.http.post("/v2/firewalls", json={"name": "ids", "inbound_rules": rules, "droplet_ids": ids})
    assert refused.status_code == 422
    assert "10" in refused.json()["message"]
    made = lab.http.post("/v2/firewalls", json={"name": "tag", "inbound_rules": rules, "tags": ["app"]})
    assert made.status_code == 202, made.text
    lab.settle(60)
    wall = lab.http.get(f"/v2/firewalls/{made.json()['firewall']['id']}").json()["firewall"]
    assert (wall["status"], wall["pending_changes"], wall["tags"]) == ("succeeded", [], ["app"])
    tagged = lab.patient.get("/v2/droplets?tag_name=app&per_page=200").json()["meta"]["total"]
    assert tagged > 10
    covered = lab.patient.get(f"/v2/droplets/{first(lab, 'app')}/firewalls").json()["firewalls"]
    assert [each["name"] for each in covered] == ["tag"]


def first(lab, tag):
    return lab.patient.get(f"/v2/droplets?tag_name={tag}&per_page=1").json()["droplets"][0]["id"]


def test_rules_do_not_grow_with_droplets():
    """What is derived names tiers and ranges, never droplets: six tiers stay far below fifty rules a firewall."""
    flows = [
        Flow.model_validate({"from": a, "to": b, "ports": ["443/tcp"], "reason": "each to each", "owner": "all"})
        for a in TIERS for b in TIERS if a != b
    ]  # fmt: skip
    derived = Flows(tuple(flows), TIERS, ("198.51.100.7/32",), "10.20.0.0/16")
    assert max(len(derived.cloud_rules(tier)) for tier in TIERS) == 2, "one rule a port and direction"
