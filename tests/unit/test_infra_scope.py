"""Scope from flows: tables written by hand, and what must hold for any flows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.flows import Flow, cardholder_faults
from infra.scope import of_outputs, scopes
from seawall.scoping import Scoping

TIERS = ("bastion", "web", "app", "vault", "logs", "build")


def flow(source, target, port="443/tcp"):
    return Flow.model_validate(
        {"from": source, "to": target, "ports": [port], "reason": f"{source} needs {target}", "owner": "ops"}
    )


FLOWS = [
    flow("internet", "loadbalancer"),
    flow("loadbalancer", "web"),
    flow("web", "app", "8443/tcp"),
    flow("app", "vault", "5432/tcp"),
    flow("administrators", "bastion", "2222/tcp"),
    flow("bastion", "vault", "2222/tcp"),
    flow("bastion", "web", "2222/tcp"),
    flow("all", "logs", "6514/tcp"),
    flow("all", "packages"),
    flow("administrators", "all", "2222/tcp"),
]


def found(holding, flows=FLOWS):
    return {tier: each.scope for tier, each in scopes(flows, TIERS, holding).items()}


def test_a_vault_and_who_may_talk_to_it():
    assert found({"vault": "stored"}) == {
        "bastion": "connected",  # administers it
        "web": "out",  # reaches the application only
        "app": "connected",
        "vault": "in",
        "logs": "connected",  # takes its logs
        "build": "out",
    }


def test_two_tiers_that_are_in():
    assert found({"vault": "stored", "app": "handled"})["web"] == "connected"


def test_where_none_is_declared_what_the_world_reaches_is_in():
    assert found({}) == {
        "bastion": "connected", "web": "in", "app": "connected", "vault": "out", "logs": "connected", "build": "out",
    }  # fmt: skip


def test_a_flow_to_all_reaches_the_vault():
    assert found({"vault": "stored"}, [flow("build", "all", "9100/tcp")])["build"] == "connected"


def test_the_reason_names_the_flow():
    because = scopes(FLOWS, TIERS, {"vault": "stored"})["app"].because
    assert because == "app → vault (5432/tcp): app needs vault"


@given(
    st.lists(st.tuples(st.sampled_from((*TIERS, "all")), st.sampled_from((*TIERS, "all"))), max_size=8),
    st.sampled_from(TIERS),
    st.sampled_from(TIERS),
)
def test_out_means_no_flow_either_way(pairs, vault, other):
    flows = [flow(*pair) for pair in pairs]
    held = found({vault: "stored"}, flows)
    joined = any(
        (source in (vault, "all") and target in (other, "all"))
        or (source in (other, "all") and target in (vault, "all"))
        for source, target in pairs
    )
    assert held[other] == ("in" if other == vault else "connected" if joined else "out")


def test_from_outputs_and_as_printed():
    outputs = {
        "flows": [each.model_dump(mode="json", by_alias=True) for each in FLOWS],
        "tiers": {tier: {} for tier in TIERS} | {"vault": {"cardholder_data": "stored"}},
        "droplets": {f"{tier}-1": {"tier": tier} for tier in TIERS},
    }
    assert of_outputs(outputs)["vault"].because == "account data is stored here"
    printed = Scoping.of(outputs)
    assert printed.summary() == "in vault-1; connected app-1, bastion-1, logs-1; out build-1, web-1"
    assert printed.text().splitlines()[:4] == [
        "in         vault-1",
        "           account data is stored here",
        "connected  app-1",
        "           app → vault (5432/tcp): app needs vault",
    ]
    assert printed.document()["vault-1"] == {
        "tier": "vault", "scope": "in", "because": "account data is stored here",
    }  # fmt: skip


class TestWhatWouldOpenIt:
    def one(self, *declared, how="stored"):
        (problem,) = cardholder_faults(declared, {"vault": how})
        return problem

    def test_everybody(self):
        assert "opens vault, which has account data, to every tier" in self.one(flow("all", "vault"))
        assert "opens vault" in self.one(flow("all", "all"))

    def test_the_internet_by_way_of_the_load_balancer(self):
        assert "PCI DSS 1.4.4" in self.one(flow("loadbalancer", "vault"))
        assert cardholder_faults([flow("loadbalancer", "vault")], {"vault": "handled"}) == []

    def test_the_way_out(self):
        assert "PCI DSS 1.3.2" in self.one(flow("all", "internet"), how="handled")

    def test_named_flows_are_fine(self):
        assert cardholder_faults(FLOWS, {"vault": "stored"}) == []
