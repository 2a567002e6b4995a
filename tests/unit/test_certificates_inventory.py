"""The inventory of certificates, from documents written by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from evidence_support import context

from seawall.certificates import Held, Inventory, at_load_balancers
from seawall.evidence.lists import certificates

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def document(identity, name, ends, kind="custom"):
    return {
        "id": identity, "name": name, "type": kind, "dns_names": ["app.seawall.test"],
        "not_after": ends, "sha1_fingerprint": "ab12",
    }  # fmt: skip


CERTIFICATES = [
    document("1", "seawall-lab-aaaa", "2026-12-04T00:00:00Z"),
    document("2", "seawall-lab-bbbb", "2027-02-22T00:00:00Z", "lets_encrypt"),
    document("3", "other-cccc", "2026-01-01T00:00:00Z"),
]
BALANCER = {"name": "seawall-lab", "forwarding_rules": [{"certificate_id": "2"}, {"certificate_id": ""}, {}]}


def test_who_serves_which():
    found = at_load_balancers(CERTIFICATES, [BALANCER], "seawall-lab")
    assert [(each.at, each.where, each.days(NOW)) for each in found] == [
        ("nobody", "certificate seawall-lab-aaaa", 10),
        ("load balancer seawall-lab", "certificate seawall-lab-bbbb", 90),
    ]
    assert found[1].renewal == "DigitalOcean, by Let's Encrypt"


def held(days, renewal):
    return Held(
        "app-1", "/etc/x.pem", (), datetime.fromtimestamp(NOW.timestamp() + days * 86400, UTC), "f", renewal
    )


def test_exit_codes():
    def code(*each, unasked=None):
        return Inventory(each, NOW, unasked or {}).code

    assert code(held(22, "you: new files")) == 0
    assert code(held(20, "you: new files")) == 2
    assert code(held(20, "the roles")) == 0  # they renew in time
    assert code(held(-1, "the roles")) == 2
    assert code(held(99, "you"), unasked={"app-2": "silence"}) == 1


def test_the_list_of_evidence_has_the_load_balancers():
    found = at_load_balancers(CERTIFICATES, [BALANCER], "seawall-lab")
    table = certificates.table(context(NOW, certificates=tuple(found)))
    assert [(row[0], row[6], row[7]) for row in table.rows] == [
        ("nobody", "2026-12-04 00:00Z", "10"),
        ("load balancer seawall-lab", "2027-02-22 00:00Z", "90"),
    ]
