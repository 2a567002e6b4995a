"""What the network shows of a droplet to somebody who stands where the controller stands."""

from ipaddress import ip_address, ip_network

from seawall.controls import control, expect, not_applicable
from seawall.facts.outside import UNDECLARED


def declared(host):
    """TCP ports the flows open to where the controller stands."""
    here = ip_address(host.outside.controller)
    return {
        int(rule["ports"])
        for rule in host.vars["ufw_rules"]
        if rule["direction"] == "in" and rule["protocol"] == "tcp" and str(rule["ports"]).isdigit()
        if any(here in ip_network(held) for held in rule["addresses"])
    }


@control(
    "network-undeclared-ports",
    "No port answers that no flow declares",
    severity="critical",
    requirements=["pci-1.2.8", "pci-1.3.1", "pci-11.4.5"],
)
def test_undeclared(host):
    states = host.outside.ports(*sorted({*UNDECLARED, int(host.vars["sshd_port"])}))
    answering = {port for port, state in states.items() if state == "open"}
    expect(answering - declared(host), "open and undeclared").to_be_empty()


@control(
    "network-silence",
    "A closed port says nothing, not even that it is closed",
    severity="low",
    requirements=["pci-1.3.1", "pci-1.4.5"],
)
def test_silence(host):
    states = host.outside.ports(*sorted({*UNDECLARED, int(host.vars["sshd_port"])}))
    expect({port for port, state in states.items() if state == "refused"}, "refusing").to_be_empty()


@control(
    "network-standard-ssh-port",
    "sshd's well-known port does not answer",
    severity="high",
    requirements=["pci-2.2.2", "pci-1.3.1"],
)
def test_standard_port(host):
    if int(host.vars["sshd_port"]) == 22:
        not_applicable("22 is the declared port")
    expect(host.outside.ports(22)[22], "port 22").to_be("silent")


@control(
    "network-administration",
    "Administration is reachable from the trusted ranges, on the declared port",
    severity="medium",
    requirements=["pci-2.2.7"],
)
def test_administration(host):
    port = int(host.vars["sshd_port"])
    expect(host.outside.ports(port)[port], f"port {port}").to_be("open")
