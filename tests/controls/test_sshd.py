"""sshd: keys only, nobody but declared administrators, nothing forwarded, strong algorithms; file and daemon alike.

Settings are the effective ones (`sshd -T`). Algorithms and login methods are asked of the running daemon, over the
network: an sshd that was never restarted still serves what its file no longer says.
"""

from ipaddress import ip_network

from seawall.controls import control, expect

# By hand: what OpenSSH has without known weakness. Which comes first is the daemon's affair.
KEY_EXCHANGES = {
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
}
CIPHERS = {
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
}
MACS = {"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "umac-128-etm@openssh.com"}
USER_KEYS = {"ssh-ed25519", "sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"}
HOST_KEYS = {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}


# --- The daemon ---------------------------------------------------------------------------------------


@control("sshd-running", "sshd runs and starts at boot", severity="high", requirements=["pci-2.2.7"])
def test_running(host):
    expect(host.daemon("ssh.service").state, "ssh.service").to_be("active")
    expect(host.daemon("ssh.service").at_boot, "at boot").to_be("enabled")


@control(
    "sshd-current",
    "The running sshd has read its configuration as it is now",
    severity="high",
    requirements=["pci-2.2.1", "pci-2.2.6"],
)
def test_current(host):
    files = ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d")
    changed = host.daemon("ssh.service").changed_since(*files, reload_counts=True)
    expect(changed, "changed since sshd read it").to_be_empty()


@control(
    "sshd-command-line",
    "sshd runs without options that overrule its configuration",
    severity="high",
    requirements=["pci-2.2.6"],
)
def test_command_line(host):
    # A running sshd writes its title over its arguments: "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups".
    words = host.daemon("ssh.service").arguments
    expect([word for word in words if word.startswith("-")], "options").to_be_only(["-D"])


@control(
    "sshd-socket-activation",
    "systemd does not open sshd's port in its stead",
    severity="high",
    requirements=["pci-2.2.6"],
)
def test_socket_activation(host):
    # ssh.socket ignores Port: with it sshd answers where no firewall rule expects it.
    expect(host.daemon("ssh.socket").state, "ssh.socket").to_be_one_of("inactive", "not installed")
    expect(host.daemon("ssh.socket").at_boot, "at boot").to_be_one_of("disabled", "masked", "not installed")


@control(
    "sshd-port",
    "sshd listens on its declared port only",
    severity="high",
    requirements=["pci-1.2.5", "pci-2.2.4"],
)
def test_port(host):
    ports = {listener.port for listener in host.sockets if listener.process == "sshd"}
    expect(ports, "ports sshd listens on").to_be_exactly({int(host.vars["sshd_port"])})


@control(
    "sshd-addresses",
    "sshd answers over IPv4 and IPv6 with one configuration",
    severity="low",
    requirements=["pci-2.2.6"],
)
def test_addresses(host):
    expect(host.sshd["addressfamily"], "AddressFamily").to_be("any")


# --- Who may log in, and how ------------------------------------------------------------------------------


@control(
    "sshd-root-login",
    "Root cannot log in over SSH",
    severity="critical",
    requirements=["pci-2.2.2", "pci-8.2.1", "cis-deb12-5.1.20"],
)
def test_root_login(host):
    expect(host.sshd["permitrootlogin"], "PermitRootLogin").to_be("no")


@control(
    "sshd-password-login",
    "No password opens an SSH session",
    severity="critical",
    requirements=["pci-8.3.1", "pci-8.3.2"],
)
def test_password_login(host):
    expect(host.sshd["passwordauthentication"], "PasswordAuthentication").to_be("no")


@control(
    "sshd-keyboard-interactive",
    "No keyboard-interactive exchange lets a password in by another name",
    severity="critical",
    requirements=["pci-8.3.1"],
)
def test_keyboard_interactive(host):
    expect(host.sshd["kbdinteractiveauthentication"], "KbdInteractiveAuthentication").to_be("no")


@control("sshd-public-keys", "SSH keys are what opens a session", severity="high", requirements=["pci-8.3.1"])
def test_public_keys(host):
    expect(host.sshd["pubkeyauthentication"], "PubkeyAuthentication").to_be("yes")


@control(
    "sshd-methods-offered",
    "The running sshd offers keys and nothing else",
    severity="critical",
    requirements=["pci-2.2.7", "pci-8.3.1"],
)
def test_methods_offered(host):
    expect(host.outside.login_methods("root"), "offered to root").to_be(["publickey"])
    expect(host.sshd["authenticationmethods"], "AuthenticationMethods").to_be("publickey")


@control(
    "sshd-empty-passwords",
    "An empty password opens nothing",
    severity="critical",
    requirements=["pci-8.3.1", "cis-deb12-5.1.19"],
)
def test_empty_passwords(host):
    expect(host.sshd["permitemptypasswords"], "PermitEmptyPasswords").to_be("no")


@control(
    "sshd-hostbased",
    "No host vouches for its users",
    severity="high",
    requirements=["pci-8.2.1", "cis-deb12-5.1.10"],
)
def test_hostbased(host):
    expect(host.sshd["hostbasedauthentication"], "HostbasedAuthentication").to_be("no")


@control(
    "sshd-rhosts",
    "rhosts files count for nothing",
    severity="medium",
    requirements=["pci-8.2.1", "cis-deb12-5.1.11"],
)
def test_rhosts(host):
    expect(host.sshd["ignorerhosts"], "IgnoreRhosts").to_be("yes")


@control("sshd-gssapi", "No GSSAPI login", severity="medium", requirements=["pci-2.2.4", "cis-deb12-5.1.9"])
def test_gssapi(host):
    expect(host.sshd["gssapiauthentication"], "GSSAPIAuthentication").to_be("no")


@control(
    "sshd-groups",
    "Only members of sshusers may log in (and a drift watch's bound account)",
    severity="critical",
    requirements=["pci-7.2.1", "pci-8.2.1", "cis-deb12-5.1.4"],
)
def test_groups(host):
    watch = (
        [host.vars.get("accounts_reader", "seawall-drift")] if host.vars.get("accounts_reader_keys") else []
    )
    expect(host.sshd["allowgroups"], "AllowGroups").to_be(["sshusers", *watch])


@control(
    "sshd-trusted-ranges",
    "Nobody logs in from outside the trusted ranges",
    severity="high",
    requirements=["pci-1.3.1", "cis-deb12-5.1.4"],
)
def test_trusted_ranges(host):
    user = host.vars["ansible_user"]
    stranger = host.sshd.judging(user=user, address="192.0.2.77")  # TEST-NET-1: nobody's trusted range
    expect(stranger["pubkeyauthentication"], "PubkeyAuthentication from 192.0.2.77").to_be("no")
    trusted = str(ip_network(host.vars["seawall_trusted_ranges"][0])[-1])
    friend = host.sshd.judging(user=user, address=trusted)
    expect(friend["pubkeyauthentication"], f"PubkeyAuthentication from {trusted}").to_be("yes")


@control(
    "sshd-strict-modes",
    "Keys that others could have written are not believed",
    severity="high",
    requirements=["pci-8.3.2"],
)
def test_strict_modes(host):
    expect(host.sshd["strictmodes"], "StrictModes").to_be("yes")


@control(
    "sshd-key-files",
    "Keys are read from the user's own file only",
    severity="medium",
    requirements=["pci-8.2.4"],
)
def test_key_files(host):
    expect(host.sshd["authorizedkeysfile"].split(), "AuthorizedKeysFile").to_be_only([".ssh/authorized_keys"])
    expect(host.sshd["authorizedkeyscommand"], "AuthorizedKeysCommand").to_be("none")


@control(
    "sshd-user-environment",
    "Users cannot set variables that change how their login runs",
    severity="medium",
    requirements=["pci-2.2.6", "cis-deb12-5.1.21"],
)
def test_user_environment(host):
    expect(host.sshd["permituserenvironment"], "PermitUserEnvironment").to_be("no")


@control(
    "sshd-pam",
    "PAM has its say on every login",
    severity="high",
    requirements=["pci-8.3.4", "cis-deb12-5.1.22"],
)
def test_pam(host):
    expect(host.sshd["usepam"], "UsePAM").to_be("yes")


# --- Limits -----------------------------------------------------------------------------------------------


@control(
    "sshd-login-grace",
    "A login is done within a minute, or cut",
    severity="low",
    requirements=["pci-2.2.6", "cis-deb12-5.1.13"],
)
def test_login_grace(host):
    expect(host.sshd.number("logingracetime"), "LoginGraceTime").to_be_within(1, 60)


@control(
    "sshd-auth-tries",
    "A connection gets at most four tries",
    severity="medium",
    requirements=["pci-8.3.4", "cis-deb12-5.1.16"],
)
def test_auth_tries(host):
    expect(host.sshd.number("maxauthtries"), "MaxAuthTries").to_be_within(1, 4)


@control(
    "sshd-sessions",
    "A connection carries at most ten sessions",
    severity="low",
    requirements=["pci-2.2.6", "cis-deb12-5.1.17"],
)
def test_sessions(host):
    expect(host.sshd.number("maxsessions"), "MaxSessions").to_be_within(1, 10)


@control(
    "sshd-startups",
    "A flood of half-open logins is turned away",
    severity="medium",
    requirements=["pci-2.2.6", "cis-deb12-5.1.18"],
)
def test_startups(host):
    start, rate, full = (int(number) for number in host.sshd["maxstartups"].split(":"))
    expect(start, "refusing begins at").to_be_within(1, 10)
    expect(rate, "per cent refused").to_be_at_least(30)
    expect(full, "all refused at").to_be_within(1, 60)
    expect(host.sshd["persourcemaxstartups"], "PerSourceMaxStartups").to_match(r"[1-9]|10")


@control(
    "sshd-dead-peers",
    "A connection whose peer is gone is closed",
    severity="low",
    requirements=["pci-2.2.6", "cis-deb12-5.1.7"],
)
def test_dead_peers(host):
    interval, count = host.sshd.number("clientaliveinterval"), host.sshd.number("clientalivecountmax")
    expect(interval, "ClientAliveInterval").to_be_at_least(1)
    expect(count, "ClientAliveCountMax").to_be_at_least(1)
    expect(interval * count, "seconds until a dead peer is noticed").to_be_at_most(900)
    # Anybody on the way can answer for a dead peer on TCP's level; not on sshd's.
    expect(host.sshd["tcpkeepalive"], "TCPKeepAlive").to_be("no")


@control(
    "sshd-names",
    "Who connects is judged by address, not by a name that its own DNS gives it",
    severity="low",
    requirements=["pci-2.2.6"],
)
def test_names(host):
    expect(host.sshd["usedns"], "UseDNS").to_be("no")


# --- What a session can do ----------------------------------------------------------------------------------


@control(
    "sshd-x11-forwarding",
    "No X11 is forwarded",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-5.1.8"],
)
def test_x11_forwarding(host):
    expect(host.sshd["x11forwarding"], "X11Forwarding").to_be("no")


@control(
    "sshd-agent-forwarding",
    "No agent is forwarded",
    severity="medium",
    requirements=["pci-2.2.4", "cis-deb12-5.1.8"],
)
def test_agent_forwarding(host):
    expect(host.sshd["allowagentforwarding"], "AllowAgentForwarding").to_be("no")


@control(
    "sshd-tcp-forwarding",
    "No port is forwarded through a host, but by a bastion to the hosts behind it",
    severity="high",
    requirements=["pci-1.3.2", "cis-deb12-5.1.8"],
)
def test_tcp_forwarding(host):
    targets = host.vars.get("sshd_jump_targets")
    expect(host.sshd["allowtcpforwarding"], "AllowTcpForwarding").to_be("local" if targets else "no")
    if targets:
        expect(set(host.sshd["permitopen"].split()), "PermitOpen").to_be_exactly(set(targets))
    expect(host.sshd["gatewayports"], "GatewayPorts").to_be("no")


@control(
    "sshd-stream-forwarding",
    "No local socket is forwarded",
    severity="medium",
    requirements=["pci-1.3.2", "cis-deb12-5.1.8"],
)
def test_stream_forwarding(host):
    expect(host.sshd["allowstreamlocalforwarding"], "AllowStreamLocalForwarding").to_be("no")


@control("sshd-tunnels", "No tunnel device", severity="high", requirements=["pci-1.3.2", "cis-deb12-5.1.8"])
def test_tunnels(host):
    expect(host.sshd["permittunnel"], "PermitTunnel").to_be("no")


@control(
    "sshd-compression",
    "Nothing is compressed: the library is code an attacker reaches, and sizes tell of contents",
    severity="low",
    requirements=["pci-2.2.4"],
)
def test_compression(host):
    expect(host.sshd["compression"], "Compression").to_be("no")


# --- What it says and writes down -----------------------------------------------------------------------------


@control(
    "sshd-log-level",
    "Every login is logged with its key's fingerprint",
    severity="high",
    requirements=["pci-10.2.1", "cis-deb12-5.1.14"],
)
def test_log_level(host):
    expect(host.sshd["loglevel"], "LogLevel").to_be("VERBOSE")
    expect(host.sshd["syslogfacility"], "SyslogFacility").to_be_one_of("AUTH", "AUTHPRIV")


@control(
    "sshd-banner",
    "Whoever connects is warned before logging in",
    severity="low",
    requirements=["cis-deb12-5.1.5"],
)
def test_banner(host):
    expect(host.sshd["banner"], "Banner").to_be("/etc/issue.net")


@control(
    "sshd-version",
    "sshd does not tell strangers which distribution and package it is",
    severity="low",
    requirements=["pci-2.2.6"],
)
def test_version(host):
    expect(host.outside.algorithms["version"][0], "version").to_match(r"SSH-2\.0-OpenSSH_[\d.]+p?\d*")


@control("sshd-motd", "sshd prints no message of the day", severity="low", requirements=["cis-deb12-1.6.1"])
def test_motd(host):
    expect(host.sshd["printmotd"], "PrintMotd").to_be("no")


@control(
    "sshd-last-login",
    "Whoever logs in is told when and from where their account last did",
    severity="low",
    requirements=["pci-10.2.1"],
)
def test_last_login(host):
    expect(host.sshd["printlastlog"], "PrintLastLog").to_be("yes")


# --- Algorithms, as the running daemon offers them --------------------------------------------------------------


@control(
    "sshd-key-exchange",
    "Only strong key exchanges are offered",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3", "cis-deb12-5.1.12"],
)
def test_key_exchange(host):
    expect(host.outside.algorithms["kex"], "key exchanges").to_be_only(KEY_EXCHANGES)


@control(
    "sshd-ciphers",
    "Only strong ciphers are offered",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3", "cis-deb12-5.1.6"],
)
def test_ciphers(host):
    expect(host.outside.algorithms["ciphers"], "ciphers").to_be_only(CIPHERS)


@control(
    "sshd-macs",
    "Only encrypt-then-MAC is offered, with strong hashes",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3", "cis-deb12-5.1.15"],
)
def test_macs(host):
    expect(host.outside.algorithms["macs"], "MACs").to_be_only(MACS)


@control(
    "sshd-host-key-algorithms",
    "The host proves itself with Ed25519 or RSA and SHA-2",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3"],
)
def test_host_key_algorithms(host):
    expect(host.outside.algorithms["host keys"], "host key algorithms").to_be_only(HOST_KEYS)


@control(
    "sshd-user-key-algorithms",
    "Users prove themselves with Ed25519, a security key, or at least 3072 bits of RSA and SHA-2",
    severity="high",
    requirements=["pci-2.2.7", "pci-8.3.2", "pci-12.3.3"],
)
def test_user_key_algorithms(host):
    for setting in ("pubkeyacceptedalgorithms", "casignaturealgorithms"):
        kinds = {
            name.removesuffix("@openssh.com").removesuffix("-cert-v01")
            for name in host.sshd[setting].split(",")
        }
        expect(kinds, setting).to_be_only(USER_KEYS)
    expect(host.sshd.number("requiredrsasize"), "RequiredRSASize").to_be_at_least(3072)


@control(
    "sshd-algorithms-served",
    "What the running sshd offers is what its configuration says",
    severity="high",
    requirements=["pci-2.2.1", "pci-2.2.6"],
)
def test_algorithms_served(host):
    offered = host.outside.algorithms
    expect(offered["kex"], "key exchanges").to_be(host.sshd.algorithms("kexalgorithms"))
    expect(offered["ciphers"], "ciphers").to_be(host.sshd.algorithms("ciphers"))
    expect(offered["macs"], "MACs").to_be(host.sshd.algorithms("macs"))


# --- Keys and files -------------------------------------------------------------------------------------------


@control(
    "sshd-host-key-strength",
    "Host keys are Ed25519, or RSA of at least 3072 bits",
    severity="high",
    requirements=["pci-2.2.7", "pci-12.3.3"],
)
def test_host_key_strength(host):
    keys = host.sshd.host_keys
    expect(set(keys), "host keys").to_be_only({"ED25519", "RSA"})
    expect(keys.get("RSA", 3072), "bits of RSA").to_be_at_least(3072)


@control(
    "sshd-host-key-files",
    "Private host keys are readable by root alone",
    severity="critical",
    requirements=["pci-2.2.6", "cis-deb12-5.1.2"],
)
def test_host_key_files(host):
    modes = {path: f"{host.file(path).user} {host.file(path).mode:04o}" for path in host.sshd["hostkey"]}
    loose = {path: mode for path, mode in modes.items() if mode not in ("root 0600", "root 0400")}
    expect(loose, "host keys others can read").to_be_empty()


@control(
    "sshd-first-contact-key",
    "The one-use host key of first boot is gone",
    severity="high",
    requirements=["pci-2.2.6", "pci-8.3.2"],
)
def test_first_contact_key(host):
    # User data can be read by any process of a droplet: that key proves nothing once the machine runs.
    first = host.vars["seawall_first_contact_host_key"].split()[1]
    shown = host.check_output("cat /etc/ssh/ssh_host_*_key.pub").splitlines()
    expect(
        [line.split()[0] for line in shown if first in line], "first-contact keys still there"
    ).to_be_empty()
    presented = host.backend.client.get_transport().get_remote_server_key().get_base64()
    expect(presented == first, "it is the key sshd proves itself with").to_be(False)


@control(
    "sshd-config-files",
    "Only root writes sshd's configuration",
    severity="high",
    requirements=["pci-2.2.6", "cis-deb12-5.1.1"],
)
def test_config_files(host):
    listed = host.check_output(
        "find /etc/ssh/sshd_config /etc/ssh/sshd_config.d -printf '%u %m %p\\n'"
    ).splitlines()
    loose = [line for line in listed if not line.startswith("root ") or int(line.split()[1], 8) & 0o022]
    expect(loose, "files others can write").to_be_empty()
