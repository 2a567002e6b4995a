"""The host's own firewall: what no flow declares neither comes in nor goes out, as the kernel enforces it."""

from ipaddress import ip_network

from seawall.controls import control, expect
from seawall.facts.ufw import IPV4, IPV6, Allowed


def declared(host, direction):
    """The rules the stack's flows come to. ICMP has none: ufw answers what a host has to answer by itself."""
    return {
        Allowed(rule["protocol"], str(rule["ports"]), str(ip_network(address)))
        for rule in host.vars["ufw_rules"]
        if rule["direction"] == direction and rule["protocol"] != "icmp"
        for address in rule["addresses"]
    }


@control(
    "ufw-active",
    "ufw is on",
    severity="critical",
    requirements=["pci-1.2.1", "pci-1.4.1", "cis-deb12-4.2.3"],
)
def test_active(host):
    expect(host.ufw.status.get("Status", "not installed"), "ufw status").to_be("active")


@control(
    "ufw-at-boot",
    "ufw is on again after a reboot",
    severity="critical",
    requirements=["pci-1.2.1", "cis-deb12-4.2.3"],
)
def test_at_boot(host):
    expect(host.daemon("ufw.service").at_boot, "ufw.service").to_be("enabled")
    expect(host.file("/etc/ufw/ufw.conf").contains("^ENABLED=yes"), "ENABLED=yes in ufw.conf").to_be(True)


@control(
    "ufw-incoming",
    "What no rule admits does not come in",
    severity="critical",
    requirements=["pci-1.3.1", "cis-deb12-4.2.7"],
)
def test_incoming(host):
    expect(host.ufw.policy(IPV4, "INPUT"), "IPv4").to_be("DROP")


@control(
    "ufw-outgoing",
    "What no rule lets out does not go out",
    severity="high",
    requirements=["pci-1.3.2", "cis-deb12-4.2.5", "cis-deb12-4.2.7"],
)
def test_outgoing(host):
    expect(host.ufw.policy(IPV4, "OUTPUT"), "IPv4").to_be("DROP")


@control(
    "ufw-forwarding",
    "The host passes nothing on between networks",
    severity="high",
    requirements=["pci-1.3.1", "pci-1.4.1", "cis-deb12-4.2.7"],
)
def test_forwarding(host):
    expect(host.ufw.policy(IPV4, "FORWARD"), "IPv4").to_be("DROP")


@control(
    "ufw-ipv6",
    "IPv6 is filtered as IPv4 is",
    severity="critical",
    requirements=["pci-1.3.1", "pci-1.3.2", "cis-deb12-4.2.7"],
)
def test_ipv6(host):
    for chain in ("INPUT", "OUTPUT", "FORWARD"):
        expect(host.ufw.policy(IPV6, chain), f"IPv6 {chain}").to_be("DROP")


@control(
    "ufw-rules-in",
    "What comes in is what the flows declare, with nothing left over",
    severity="critical",
    requirements=["pci-1.2.5", "pci-1.2.8", "pci-1.3.1", "cis-deb12-4.2.6"],
)
def test_rules_in(host):
    expect(host.ufw.allowed("in"), "admitted").to_be_exactly(declared(host, "in"))


@control(
    "ufw-rules-out",
    "What goes out is what the flows declare, with nothing left over",
    severity="high",
    requirements=["pci-1.2.5", "pci-1.2.8", "pci-1.3.2", "cis-deb12-4.2.5"],
)
def test_rules_out(host):
    expect(host.ufw.allowed("out"), "let out").to_be_exactly(declared(host, "out"))


@control(
    "ufw-ssh-sources",
    "sshd's port admits the trusted ranges only",
    severity="critical",
    requirements=["pci-1.3.1", "pci-1.4.2"],
)
def test_ssh_sources(host):
    port = str(host.vars["sshd_port"])
    sources = {rule.address for rule in host.ufw.allowed("in") if rule.ports in (port, "any")}
    expect(sources, "sources").to_be_only(
        {str(ip_network(held)) for held in host.vars["seawall_trusted_ranges"]}
    )


@control(
    "ufw-world",
    "Nothing on a droplet is open to the whole world",
    severity="critical",
    requirements=["pci-1.4.2", "pci-1.4.4"],
)
def test_world(host):
    wide = {rule for rule in host.ufw.allowed("in") if ip_network(rule.address).prefixlen == 0}
    expect(wide, "open to the world").to_be_empty()


@control(
    "ufw-first",
    "No rule stands before ufw's",
    severity="critical",
    requirements=["pci-1.2.8", "cis-deb12-4.1.1"],
)
def test_first(host):
    for family in (IPV4, IPV6):
        for chain in ("INPUT", "OUTPUT", "FORWARD"):
            others = [
                " ".join(rule) for rule in host.ufw.rules(family, chain) if not rule[-1].startswith("ufw")
            ]
            expect(others, f"{family} {chain}").to_be_empty()


@control(
    "ufw-loopback",
    "The loopback addresses are believed on the loopback interface only",
    severity="medium",
    requirements=["pci-1.4.3", "cis-deb12-4.2.4"],
)
def test_loopback(host):
    rules = [" ".join(rule) for rule in host.ufw.rules(IPV4, "ufw-before-input")]
    expect(rules, "ufw-before-input").to_include("-i lo -j ACCEPT")


@control(
    "ufw-invalid",
    "Packets of no known connection are dropped",
    severity="medium",
    requirements=["pci-1.4.3"],
)
def test_invalid(host):
    rules = [" ".join(rule) for rule in host.ufw.rules(IPV4, "ufw-before-input")]
    expect(rules, "ufw-before-input").to_include("-m conntrack --ctstate INVALID -j DROP")


@control(
    "ufw-logging",
    "What is turned away is logged",
    severity="medium",
    requirements=["pci-10.2.1", "pci-1.2.7"],
)
def test_logging(host):
    expect(host.ufw.status.get("Logging", "off").split()[0], "logging").to_be("on")


@control(
    "ufw-alone",
    "ufw is the only one to own the ruleset",
    severity="high",
    requirements=["pci-1.2.1", "cis-deb12-4.1.1", "cis-deb12-4.2.2"],
)
def test_alone(host):
    for unit in ("nftables.service", "netfilter-persistent.service", "firewalld.service"):
        expect(host.daemon(unit).state, unit).to_be_one_of("inactive", "not installed")
        expect(host.daemon(unit).at_boot, f"{unit} at boot").to_be_one_of(
            "disabled", "masked", "not installed"
        )


@control(
    "ufw-ssh-limit",
    "A flood of ssh connections from one address is cut, from a trusted range too",
    severity="medium",
    requirements=["pci-8.3.4", "pci-2.2.6"],
)
def test_ssh_limit(host):
    port = str(host.vars["sshd_port"])
    for family, chain in ((IPV4, "ufw-before-input"), (IPV6, "ufw6-before-input")):
        limits = [
            words for words in host.ufw.rules(family, chain) if "hashlimit" in words and words[-1] == "DROP"
        ]
        expect(port in {word for words in limits for word in words}, f"{family} limits port {port}").to_be(
            True
        )


@control(
    "ufw-sysctl",
    "ufw sets no kernel settings of its own over the hardened ones",
    severity="medium",
    requirements=["pci-2.2.6"],
)
def test_sysctl(host):
    text = host.text("/etc/default/ufw")
    lines = [
        line.partition("=")[2].strip('"') for line in text.splitlines() if line.startswith("IPT_SYSCTL=")
    ]
    expect(lines[-1] if lines else "/etc/ufw/sysctl.conf", "IPT_SYSCTL").to_be("")
