"""The web tier: TLS as Mozilla's intermediate profile has it, shown by handshakes, and an application behind it."""

import re

from seawall.controls import control, expect, not_applicable

# Mozilla's intermediate profile, version 5.7: the TLS 1.2 suites in OpenSSL's names.
INTERMEDIATE = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)
YEAR = 31_536_000  # seconds
PROXY_PORT = 8443
"""Where TLS behind a header of the PROXY protocol is taken, if a flow leads there."""


def directive(host, name):
    """Every value of a directive in nginx's whole configuration."""
    return re.findall(rf"^\s*{name}\s+([^;]+);", host.check_output("nginx -T 2>/dev/null"), re.MULTILINE)


def page(host, path="/"):
    return host.tls(443).http(path, name=host.name)


# --- The daemon -------------------------------------------------------------------------------------------------


@control(
    "nginx-running", "nginx runs and starts at boot", severity="high", requirements=["pci-2.2.1"], on="web"
)
def test_running(host):
    expect(host.daemon("nginx.service").state, "nginx.service").to_be("active")
    expect(host.daemon("nginx.service").at_boot, "at boot").to_be("enabled")


@control(
    "nginx-current",
    "The running nginx has read its configuration and certificate as they are now",
    severity="high",
    requirements=["pci-2.2.1", "pci-2.2.6"],
    on="web",
)
def test_current(host):
    files = ["/etc/nginx", *directive(host, "ssl_certificate"), *directive(host, "ssl_certificate_key")]
    changed = host.daemon("nginx.service").changed_since(*files, reload_counts=True)
    expect(changed, "changed since nginx read it").to_be_empty()


@control(
    "nginx-valid", "nginx's configuration is valid", severity="medium", requirements=["pci-2.2.1"], on="web"
)
def test_valid(host):
    expect(host.run("nginx -t").rc, "nginx -t").to_be(0)


@control(
    "nginx-addresses",
    "nginx answers over IPv4 and IPv6",
    severity="low",
    requirements=["pci-2.2.1"],
    on="web",
)
def test_addresses(host):
    declared = {int(held["port"]) for held in host.vars["expected_listeners"]}
    for port in {443} | declared & {PROXY_PORT}:
        heard = {listener.address for listener in host.sockets if listener.port == port}
        expect(heard, f"{port} on").to_be_exactly({"0.0.0.0", "::"})


# --- TLS --------------------------------------------------------------------------------------------------------


@control(
    "tls-versions",
    "TLS 1.2 and 1.3 are spoken, older versions refused",
    severity="critical",
    requirements=["pci-4.2.1", "pci-2.2.7", "pci-12.3.3"],
    on="web",
)
def test_versions(host):
    modern = host.vars.get("nginx_tls_profile") == "modern"
    expect(host.tls(443).versions, "versions").to_be_exactly(
        {"TLS 1.3"} if modern else {"TLS 1.2", "TLS 1.3"}
    )


@control(
    "tls-suites",
    "No TLS 1.2 suite is agreed to but Mozilla's intermediate ones",
    severity="high",
    requirements=["pci-4.2.1", "pci-12.3.3"],
    on="web",
)
def test_suites(host):
    expect(host.tls(443).suite_outside(INTERMEDIATE), "weaker suite agreed to").to_be(None)


@control(
    "tls-tickets",
    "No session tickets: a stolen ticket key opens no recorded traffic",
    severity="medium",
    requirements=["pci-4.2.1"],
    on="web",
)
def test_tickets(host):
    expect(host.tls(443).tickets, "ticket offered").to_be(False)


@control(
    "tls-sessions",
    "Sessions are resumed from a cache the workers share",
    severity="low",
    requirements=["pci-4.2.1"],
    on="web",
)
def test_sessions(host):
    expect({held.partition(":")[0] for held in directive(host, "ssl_session_cache")}, "cache").to_be_only(
        {"shared"}
    )


@control(
    "tls-certificate",
    "The certificate is in force, with a strong key and signature",
    severity="high",
    requirements=["pci-4.2.1", "pci-12.3.3"],
    on="web",
)
def test_certificate(host):
    shown = host.tls(443).certificate
    expect(shown.get("valid", "none shown"), "in force").to_be("yes")
    elliptic = shown.get("algorithm") == "id-ecPublicKey"
    expect(int(shown.get("key", 0)), "bits of its key").to_be_at_least(256 if elliptic else 2048)
    expect("sha1" in shown.get("signature", "").lower(), "signed with SHA-1").to_be(False)


@control(
    "tls-key-file",
    "The certificate's private key is root's alone",
    severity="critical",
    requirements=["pci-2.2.6", "pci-4.2.1"],
    on="web",
)
def test_key_file(host):
    for path in directive(host, "ssl_certificate_key"):
        held = host.file(path)
        expect(f"{held.user} {held.mode:04o}", path).to_be_one_of("root 0600", "root 0400")


# --- HTTP -------------------------------------------------------------------------------------------------------


@control(
    "nginx-hsts",
    "Browsers are told to come by TLS only, for at least a year",
    severity="medium",
    requirements=["pci-4.2.1"],
    on="web",
)
def test_hsts(host):
    age = re.search(r"max-age=(\d+)", page(host).headers.get("strict-transport-security", ""))
    expect(int(age[1]) if age else 0, "max-age").to_be_at_least(YEAR)


@control(
    "nginx-headers",
    "Browsers are told not to guess types, not to be framed, not to leak addresses",
    severity="medium",
    requirements=["pci-2.2.6"],
    on="web",
)
def test_headers(host):
    headers = page(host).headers
    expect(headers.get("x-content-type-options", ""), "X-Content-Type-Options").to_be("nosniff")
    expect(headers.get("x-frame-options", ""), "X-Frame-Options").to_be_one_of("DENY", "SAMEORIGIN")
    expect("default-src" in headers.get("content-security-policy", ""), "Content-Security-Policy").to_be(True)
    expect(headers.get("referrer-policy", ""), "Referrer-Policy").to_be_one_of(
        "no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"
    )


@control(
    "nginx-headers-on-errors",
    "Error pages carry the same headers",
    severity="low",
    requirements=["pci-2.2.6"],
    on="web",
)
def test_headers_on_errors(host):
    answer = page(host, "/%")  # nginx itself refuses a broken escape, whatever the application is
    expect(answer.status, "status").to_be_within(400, 499)
    needed = {"x-content-type-options", "x-frame-options", "strict-transport-security"}
    expect(needed - set(answer.headers), "missing").to_be_empty()


@control(
    "nginx-tokens",
    "nginx does not tell its version",
    severity="low",
    requirements=["pci-2.2.6"],
    on="web",
)
def test_tokens(host):
    expect(page(host).headers.get("server", ""), "Server").to_be_one_of("nginx", "")
    expect(bool(re.search(r"nginx/\d", page(host, "/%").body)), "version on an error page").to_be(False)


@control(
    "nginx-redirect",
    "What comes unencrypted is sent to TLS",
    severity="high",
    requirements=["pci-4.2.1", "pci-1.2.6"],
    on="web",
)
def test_redirect(host):
    if not any(int(held["port"]) == 80 for held in host.vars["expected_listeners"]):
        expect([held for held in host.sockets if held.port == 80], "listening on 80").to_be_empty()
        not_applicable("no flow leads to port 80, and nothing listens there")
    answer = host.check_output(
        "bash -c %s", "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    )
    expect(answer.split("\n")[0].split(" ")[1:2], "status").to_be(["301"])


@control(
    "nginx-forwarded",
    "A forwarded address is believed from the VPC only",
    severity="high",
    requirements=["pci-1.4.3", "pci-10.2.1"],
    on="web",
)
def test_forwarded(host):
    expect(set(directive(host, "set_real_ip_from")), "set_real_ip_from").to_be_only(
        {host.vars["seawall_vpc_range"]}
    )


@control(
    "nginx-body-limit",
    "A request has a limit to its size and to its time",
    severity="low",
    requirements=["pci-2.2.6"],
    on="web",
)
def test_body_limit(host):
    expect(directive(host, "client_max_body_size"), "client_max_body_size").to_be_only(
        {"1m", "512k", "2m", "4m", "8m"}
    )
    slow = [
        int(value.rstrip("s"))
        for value in directive(host, "client_header_timeout")
        if value.rstrip("s").isdigit()
    ]
    expect(max(slow, default=60), "client_header_timeout").to_be_at_most(30)


# --- The application --------------------------------------------------------------------------------------------


@control(
    "app-answers",
    "The application answers through nginx",
    severity="high",
    requirements=["pci-2.2.1"],
    on="web",
)
def test_answers(host):
    expect(page(host).status, "status of /").to_be(200)


@control(
    "app-local",
    "The application itself listens on the host only",
    severity="high",
    requirements=["pci-1.4.4", "pci-2.2.4"],
    on="web",
)
def test_local(host):
    heard = [
        held for held in host.sockets if held.process not in ("sshd", "nginx", "systemd") and held.reachable
    ]
    expect(heard, "besides sshd and nginx").to_be_empty()


@control(
    "app-unprivileged",
    "The application does not run as root",
    severity="high",
    requirements=["pci-7.2.5", "pci-2.2.6"],
    on="web",
)
def test_unprivileged(host):
    units = list(upstream_units(host))
    expect(len(units), "units behind nginx").to_be_at_least(1)
    for unit in units:
        pid = host.daemon(unit).properties["MainPID"]
        expect(host.check_output("stat -c %%u /proc/%s", pid) == "0", f"{unit} is root").to_be(False)


def upstream_units(host):
    """The systemd units of the processes nginx passes requests to, found by the port they listen on."""
    ports = re.findall(
        r"^\s*server\s+127\.0\.0\.1:(\d+)", host.check_output("nginx -T 2>/dev/null"), re.MULTILINE
    )
    for port in ports:
        line = host.check_output("ss -Htlnp sport = :%s", port)
        pid = re.search(r"pid=(\d+)", line)
        if pid:
            unit = re.search(r"([\w@.-]+\.service)", host.check_output("cat /proc/%s/cgroup", pid[1]))
            if unit:
                yield unit[1]


@control(
    "tls-both-keys",
    "Clients with and without ECDSA are both served, by keys of good size",
    severity="medium",
    requirements=["pci-4.2.1"],
    on="web",
)
def test_both_keys(host):
    if host.vars.get("nginx_tls_profile") == "modern":
        not_applicable("whoever speaks TLS 1.3 knows ECDSA")
    for kind in ("ECDSA", "RSA"):
        suite = host.tls(443).handshake(f"-tls1_2 -cipher ECDHE-{kind}-AES128-GCM-SHA256")
        expect(suite or "no agreement", f"a client that knows {kind} only").to_be(
            f"ECDHE-{kind}-AES128-GCM-SHA256"
        )


@control(
    "nginx-request-limits",
    "One address cannot ask without limit",
    severity="medium",
    requirements=["pci-6.4.1", "pci-2.2.6"],
    on="web",
)
def test_request_limits(host):
    for name in ("limit_req_zone", "limit_conn_zone", "limit_req", "limit_conn"):
        expect(len(directive(host, name)), name).to_be_at_least(1)


@control(
    "nginx-sandbox",
    "A web server that was taken over gains no rights, writes nowhere else and meets no devices",
    severity="medium",
    requirements=["pci-2.2.6", "pci-6.4.1"],
    on="web",
)
def test_sandbox(host):
    names = ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateDevices", "RestrictNamespaces")
    shown = host.check_output(f"systemctl show nginx.service {' '.join(f'-p {name}' for name in names)}")
    settings = dict(line.split("=", 1) for line in shown.splitlines())
    for name, value in (
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateDevices", "yes"),
        ("RestrictNamespaces", "yes"),
    ):
        expect(settings.get(name), name).to_be(value)
    running = host.check_output("cat /run/nginx.pid")
    status = host.check_output("cat /proc/%s/status", running)
    expect(re.findall(r"NoNewPrivs:\s+(\d)", status), "no new privileges of what runs").to_be(["1"])


@control(
    "nginx-tls-everywhere",
    "No site on this host falls back to a TLS older than 1.2, or tells nginx's version",
    severity="medium",
    requirements=["pci-4.2.1", "pci-2.2.6"],
    on="web",
)
def test_everywhere(host):
    spoken = {word for value in directive(host, "ssl_protocols") for word in value.split()}
    expect(spoken, "ssl_protocols").to_be_only({"TLSv1.2", "TLSv1.3"})
    expect(set(directive(host, "server_tokens")), "server_tokens").to_be_only({"off"})


@control(
    "nginx-access-log",
    "Every request of somebody is written down",
    severity="medium",
    requirements=["pci-10.2.1"],
    on="web",
)
def test_access_log(host):
    logs = directive(host, "access_log")
    expect(len(logs), "access logs").to_be_at_least(1)
    expect([log for log in logs if log.strip() == "off"], "switched off").to_be_empty()
