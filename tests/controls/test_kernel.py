"""The kernel takes no directions from strangers, and gives an intruder little to work with."""

from seawall.controls import control, expect

WHOLE = "its kernel is its host's, which sets this for all"
DENIED = {
    "cramfs",
    "freevxfs",
    "hfs",
    "hfsplus",
    "jffs2",
    "udf",
    "usb_storage",
    "dccp",
    "sctp",
    "rds",
    "tipc",
}
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")


@control(
    "kernel-routing",
    "The host forwards no packets and redirects nobody",
    severity="medium",
    requirements=["pci-2.2.6", "cis-deb12-3.3.1", "cis-deb12-3.3.2"],
    proven_on="own kernel",
)
def test_routing(host):
    host.kernel.must_have_own_network()
    expect(host.kernel["net.ipv4.ip_forward"], "net.ipv4.ip_forward").to_be("0")
    expect(host.kernel["net.ipv6.conf.all.forwarding"], "net.ipv6.conf.all.forwarding").to_be("0")
    expect(set(host.kernel.interfaces("ipv4", "send_redirects").values()), "send_redirects").to_be_only("0")


@control(
    "kernel-redirects",
    "Nobody can redirect the host's traffic, on any interface",
    severity="high",
    requirements=["pci-1.4.3", "cis-deb12-3.3.5", "cis-deb12-3.3.6", "cis-deb12-3.3.8"],
    proven_on="own kernel",
)
def test_redirects(host):
    host.kernel.must_have_own_network()
    for family, setting in (
        ("ipv4", "accept_redirects"),
        ("ipv6", "accept_redirects"),
        ("ipv4", "secure_redirects"),
        ("ipv4", "accept_source_route"),
        ("ipv6", "accept_source_route"),
    ):
        values = host.kernel.interfaces(family, setting).values()
        expect(set(values), f"{family} {setting}").to_be_only("0")


@control(
    "kernel-advertisements",
    "A neighbour's router advertisement changes nothing",
    severity="medium",
    requirements=["pci-1.4.3", "cis-deb12-3.3.11"],
    proven_on="own kernel",
)
def test_advertisements(host):
    host.kernel.must_have_own_network()
    expect(set(host.kernel.interfaces("ipv6", "accept_ra").values()), "accept_ra").to_be_only("0")


@control(
    "kernel-spoofing",
    "A packet with a source that cannot be there is dropped and logged, on every interface",
    severity="high",
    requirements=["pci-1.4.3", "cis-deb12-3.3.7", "cis-deb12-3.3.9"],
    proven_on="own kernel",
)
def test_spoofing(host):
    host.kernel.must_have_own_network()
    expect(set(host.kernel.interfaces("ipv4", "rp_filter").values()), "rp_filter").to_be_only("1")
    expect(set(host.kernel.interfaces("ipv4", "log_martians").values()), "log_martians").to_be_only("1")


@control(
    "kernel-floods",
    "Floods of half-open connections and broadcast pings are withstood",
    severity="medium",
    requirements=["pci-2.2.6", "cis-deb12-3.3.3", "cis-deb12-3.3.4", "cis-deb12-3.3.10"],
    proven_on="own kernel",
)
def test_floods(host):
    host.kernel.must_have_own_network()
    for name in (
        "tcp_syncookies",
        "icmp_echo_ignore_broadcasts",
        "icmp_ignore_bogus_error_responses",
        "tcp_rfc1337",
    ):
        expect(host.kernel[f"net.ipv4.{name}"], name).to_be("1")


@control(
    "kernel-memory",
    "Addresses are random, and no account reads the kernel's or another process's memory",
    severity="high",
    requirements=["pci-2.2.6", "cis-deb12-1.5.1", "cis-deb12-1.5.2"],
    proven_on="own kernel",
)
def test_memory(host):
    host.kernel.must_be_own(WHOLE)
    expect(host.kernel["kernel.randomize_va_space"], "kernel.randomize_va_space").to_be("2")
    expect(host.kernel["kernel.yama.ptrace_scope"], "kernel.yama.ptrace_scope").to_be("2")
    expect(host.kernel["kernel.dmesg_restrict"], "kernel.dmesg_restrict").to_be("1")
    expect(host.kernel["kernel.kptr_restrict"], "kernel.kptr_restrict").to_be("2")
    expect(int(host.kernel["kernel.perf_event_paranoid"]), "kernel.perf_event_paranoid").to_be_at_least(3)
    expect(int(host.kernel["vm.mmap_min_addr"]), "vm.mmap_min_addr").to_be_at_least(65536)


@control(
    "kernel-interfaces",
    "What only attackers and debuggers use of the kernel is closed",
    severity="medium",
    requirements=["pci-2.2.4", "pci-2.2.6"],
    proven_on="own kernel",
)
def test_interfaces(host):
    host.kernel.must_be_own(WHOLE)
    expect(host.kernel["kernel.unprivileged_bpf_disabled"], "unprivileged_bpf_disabled").to_be("1")
    expect(host.kernel["net.core.bpf_jit_harden"], "net.core.bpf_jit_harden").to_be("2")
    expect(host.kernel["kernel.kexec_load_disabled"], "kernel.kexec_load_disabled").to_be("1")
    expect(host.kernel["kernel.sysrq"], "kernel.sysrq").to_be("0")
    expect(host.kernel["vm.unprivileged_userfaultfd"], "vm.unprivileged_userfaultfd").to_be("0")
    expect(host.kernel["dev.tty.ldisc_autoload"], "dev.tty.ldisc_autoload").to_be("0")


@control(
    "kernel-links",
    "Links, pipes and files of others in shared folders are not followed",
    severity="medium",
    requirements=["pci-2.2.6"],
    proven_on="own kernel",
)
def test_links(host):
    host.kernel.must_be_own(WHOLE)
    for name, value in {"hardlinks": "1", "symlinks": "1", "fifos": "2", "regular": "2"}.items():
        expect(host.kernel[f"fs.protected_{name}"], f"fs.protected_{name}").to_be(value)


@control(
    "core-dumps",
    "No session's process leaves its memory on disk",
    severity="medium",
    requirements=["pci-3.3.1", "cis-deb12-1.5.3"],
)
def test_core_dumps(host):
    found = host.check_output(
        'cat /etc/security/limits.conf /etc/security/limits.d/*.conf | awk \'$2 == "hard" && $3 == "core"\''
    )
    held = {line.split()[0]: line.split()[3] for line in found.splitlines()}
    expect(held.get("*"), "hard core limit of everybody").to_be("0")
    expect(held.get("root"), "hard core limit of root").to_be("0")


@control(
    "core-dumps-kernel",
    "The kernel writes no dump, and none of a program with more rights than its caller",
    severity="medium",
    requirements=["pci-3.3.1", "cis-deb12-1.5.3"],
    proven_on="own kernel",
)
def test_core_dumps_kernel(host):
    host.kernel.must_be_own(WHOLE)
    expect(host.kernel["fs.suid_dumpable"], "fs.suid_dumpable").to_be("0")
    expect(host.kernel["kernel.core_pattern"], "kernel.core_pattern").to_be("|/bin/false")


@control(
    "modules-denied",
    "File systems, protocols and buses no droplet needs cannot be loaded",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-1.1.1.1", "cis-deb12-3.2.1", "cis-deb12-3.2.4"],
)
def test_modules_denied(host):
    expect(host.kernel.denied_modules, "denied").to_include(*DENIED)


@control(
    "modules-loaded",
    "None of them is loaded",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-1.1.1.1", "cis-deb12-3.2.1", "cis-deb12-3.2.4"],
    proven_on="own kernel",
)
def test_modules_loaded(host):
    host.kernel.must_be_own("the modules are its host's")
    expect(host.kernel.loaded_modules & DENIED, "loaded").to_be_empty()


@control(
    "mounts-temporary",
    "In folders everybody writes to, nothing can be run, become root or be a device",
    severity="medium",
    requirements=[
        "pci-2.2.6",
        "cis-deb12-1.1.2.1.2",
        "cis-deb12-1.1.2.1.4",
        "cis-deb12-1.1.2.2.4",
        "cis-deb12-1.1.2.5.4",
    ],
)
def test_temporary(host):
    for path in TEMPORARY:
        expect(host.kernel.mounts.get(path, {"no mount of its own"}), path).to_include(
            "nosuid", "nodev", "noexec"
        )


@control(
    "mounts-devices",
    "Among devices, nothing can be run or become root",
    severity="low",
    requirements=["pci-2.2.6"],
)
def test_devices(host):
    expect(host.kernel.mounts.get("/dev", {"no mount of its own"}), "/dev").to_include("nosuid", "noexec")


@control(
    "kernel-at-boot",
    "All this holds again after a reboot",
    severity="medium",
    requirements=["pci-2.2.6"],
)
def test_at_boot(host):
    expect(host.daemon("seawall-kernel.service").at_boot, "seawall-kernel.service").to_be("enabled")
    expect(host.daemon("seawall-kernel.service").state, "seawall-kernel.service").to_be("active")
    expect(host.file("/etc/sysctl.d/99-seawall.conf").mode, "mode").to_be(0o644)
