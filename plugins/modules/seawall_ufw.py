#!/usr/bin/python
"""The host's firewall, whole, as one atomic transaction."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_ufw
short_description: ufw's rules, policies and state as declared, swapped in as one transaction
description:
  - ufw itself (its Python backend and its start script) builds the declared firewall in a network namespace of
    its own. What iptables-save says there is the truth to compare the running rules with, strangers included,
    and is swapped in with one iptables-restore per family, so no moment is without a firewall.
  - Arms commit-confirm before it changes anything and returns confirm_id; run it through seawall_confirmed.
options:
  role: {type: str, default: "", description: Whose files these are; the action plugin says it}
  rules: {type: list, elements: dict, required: true, description: "direction, protocol, ports, addresses, comment"}
  incoming: {type: str, choices: [deny, reject, allow], default: deny}
  outgoing: {type: str, choices: [deny, reject, allow], default: deny}
  logging: {type: str, choices: ["off", low, medium, high, full], default: low}
  ipv6: {type: bool, default: true}
  limit:
    type: dict
    description: "port, per_minute, burst: new connections to a port that one source address may open"
"""

RULES = {"4": "/etc/ufw/user.rules", "6": "/etc/ufw/user6.rules"}
BEFORE = {"4": "/etc/ufw/before.rules", "6": "/etc/ufw/before6.rules"}
LIMIT_BEGIN, LIMIT_END = "# Seawall: a limit to new connections\n", "# Seawall: end of the limit\n"
SAVED = "/var/lib/seawall/ufw-before"
OPEN = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"

# Runs inside the candidate (seawall_host.Candidate) under the host's Python, next to ufw's own modules.
BUILD = """
import gettext, json, subprocess, sys
gettext.install("ufw")
import ufw.backend_iptables, ufw.common
ufw.common.do_checks = False
want = json.load(sys.stdin)
backend = ufw.backend_iptables.UFWBackendIptables(False)
def rule(r, v6):
    ends = {"src": "::/0" if v6 else "0.0.0.0/0", "dst": "::/0" if v6 else "0.0.0.0/0"}
    ends["src" if r["direction"] == "in" else "dst"] = r["address"]
    made = ufw.common.UFWRule(
        "allow", r["protocol"], r["ports"], direction=r["direction"], comment=r["comment"].encode().hex(), **ends)
    made.set_v6(v6)
    made.normalize()
    return made
backend.rules = [rule(r, False) for r in want if r["family"] == "4"]
backend.rules6 = [rule(r, True) for r in want if r["family"] == "6"]
backend._write_rules(False)
backend._write_rules(True)
subprocess.run(["/lib/ufw/ufw-init", "start"], check=True, stdout=sys.stderr)
show = lambda *argv: subprocess.run(argv, check=True, capture_output=True, text=True).stdout
print(json.dumps({
    "files": {path: open(path).read() for path in ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")},
    "live": {"4": show("iptables-save", "-t", "filter"), "6": show("ip6tables-save", "-t", "filter")}}))
"""


def main():
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "default": ""},
            "rules": {"type": "list", "elements": "dict", "required": True},
            "incoming": {"type": "str", "choices": ["deny", "reject", "allow"], "default": "deny"},
            "outgoing": {"type": "str", "choices": ["deny", "reject", "allow"], "default": "deny"},
            "logging": {"type": "str", "choices": ["off", "low", "medium", "high", "full"], "default": "low"},
            "ipv6": {"type": "bool", "default": True},
            "limit": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def expanded(rules):
    """The declared rules, one per address, validated and with their family; duplicates once. Pure."""
    one_each = []
    for rule in rules:
        direction, protocol, ports = rule.get("direction"), rule.get("protocol"), rule.get("ports")
        if direction not in ("in", "out") or protocol not in ("tcp", "udp", "icmp"):
            raise host.HostError(
                f"No firewall rule: {rule}. It needs direction in|out and protocol tcp|udp|icmp."
            )
        if protocol == "icmp":
            # ufw has no ICMP rules: its before.rules admit what a host has to answer, and no more is let out.
            continue
        first, _, last = str(ports).partition(":")
        if not re.fullmatch(r"\d+(:\d+)?", str(ports)) or not 0 < int(first) <= int(last or first) <= 65535:
            raise host.HostError(f"No firewall rule: {rule}. Ports are 443 or 8000:8100, from 1 to 65535.")
        for address in rule.get("addresses") or []:
            try:
                network = ipaddress.ip_network(address)
            except ValueError as error:
                raise host.HostError(f"No firewall rule: {rule}. {error}.") from None
            one = {
                "direction": direction,
                "protocol": protocol,
                "ports": str(ports),
                "address": str(network),
                "family": str(network.version),
                "comment": str(rule.get("comment") or ""),
            }
            if not any({**one, "comment": ""} == {**other, "comment": ""} for other in one_each):
                one_each.append(one)
    return one_each


def ruleset(saved):
    """iptables-save's text as chain → (policy, rules), without counters and comments. Pure."""
    chains = {}
    for line in saved.splitlines():
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[name] = (policy, [])
        elif line.startswith("-A "):
            chains[line.split()[1]][1].append(line)
    return chains


def strangers(running, wanted):
    """Rules that run and are not declared. Pure."""
    return [
        rule
        for chain, (_, rules) in running.items()
        for rule in rules
        if rule not in wanted.get(chain, ("", []))[1]
    ]


def settings(defaults, conf, options):
    """ufw's own two settings files with the declared values in them. Pure."""
    policy = {"deny": "DROP", "reject": "REJECT", "allow": "ACCEPT"}
    values = {
        "IPV6": "yes" if options["ipv6"] else "no",
        "DEFAULT_INPUT_POLICY": f'"{policy[options["incoming"]]}"',
        "DEFAULT_OUTPUT_POLICY": f'"{policy[options["outgoing"]]}"',
        "DEFAULT_FORWARD_POLICY": '"DROP"',
        # ufw's sysctl file would undo hardened values at every start.
        "IPT_SYSCTL": '""',
    }
    for key, value in values.items():
        defaults = _with(defaults, key, value)
    return defaults, _with(_with(conf, "ENABLED", "yes"), "LOGLEVEL", options["logging"])


def _with(text, key, value):
    line = f"{key}={value}"
    new, found = re.subn(rf"(?m)^{key}=.*$", lambda _: line, text)
    return new if found else f"{text.rstrip()}\n{line}\n"


def limited(text, limit, chain):
    """ufw's before.rules with our block in it, once, before the table ends; without it where ``limit`` is None. Pure.

    ufw's own limit (6 in 30 seconds, for everybody) is what locks administrators' tools out, and ufw has no way to
    say another; rules of one's own have their place in this file (ufw-framework(8)).
    """
    text = re.sub(rf"{LIMIT_BEGIN}.*?{LIMIT_END}", "", text, flags=re.S)
    if not limit:
        return text
    rule = (
        f"-A {chain} -p tcp --dport {limit['port']} -m conntrack --ctstate NEW -m hashlimit "
        f"--hashlimit-name seawall-{limit['port']} --hashlimit-mode srcip "
        f"--hashlimit-above {limit['per_minute']}/minute --hashlimit-burst {limit['burst']} -j DROP\n"
    )
    head, commit, tail = text.rpartition("COMMIT\n")
    return f"{head}{LIMIT_BEGIN}{rule}{LIMIT_END}{commit}{tail}"


def build(files, rules):
    """The user rules files and the running rules, as ufw itself makes them from the declared ones."""
    empty = [
        host.File(path, host.read(f"/usr/share/ufw/iptables/{path.rsplit('/', 1)[1]}"), 0o640)
        for path in RULES.values()
    ]
    with host.Candidate([*files, *empty], trees=("/etc/ufw", "/etc/default")) as candidate:
        done = candidate.run(["/usr/bin/python3", "-c", BUILD], stdin=json.dumps(rules))
    if done.returncode:
        raise host.HostError(
            f"ufw does not accept the declared rules, nothing was changed: {done.stderr.strip()[-1500:]}"
        )
    return json.loads(done.stdout)


def live():
    """The running filter table of each family."""
    return {
        "4": host.must(["iptables-save", "-t", "filter"], "The firewall could not be read"),
        "6": host.must(["ip6tables-save", "-t", "filter"], "The firewall could not be read"),
    }


def swap(tables):
    """Replace the running filter tables, each in one transaction."""
    for family, text in tables.items():
        restore = "iptables-restore" if family == "4" else "ip6tables-restore"
        host.must([restore, "-w", "10"], "The firewall could not be swapped", stdin=text or OPEN)


def converge(options, checking):
    """Look, decide, and (unless ``checking``) act; the module's result."""
    rules = expanded(options["rules"])
    if not shutil.which("ufw", path="/usr/sbin"):
        if checking:
            return {"changed": True, "why": ["ufw is not installed yet"]}
        raise host.HostError("ufw is not installed. The role `packages` installs it; run the whole playbook.")
    host.wait_until_settled()
    defaults, conf = settings(
        host.read("/etc/default/ufw").decode(), host.read("/etc/ufw/ufw.conf").decode(), options
    )
    files = [host.File("/etc/default/ufw", defaults.encode()), host.File("/etc/ufw/ufw.conf", conf.encode())]
    for family, path in BEFORE.items():
        chain = "ufw-before-input" if family == "4" else "ufw6-before-input"
        text = limited((host.read(path) or b"").decode(), options["limit"], chain)
        files.append(host.File(path, text.encode(), 0o640))
    wanted = build(files, rules)
    files += [host.File(path, text.encode(), 0o640) for path, text in wanted["files"].items()]
    wrong = host.changes(files)
    running = live()
    why = [f"{file.path} is not as declared" for file in wrong]
    for family, text in running.items():
        have, want = ruleset(text), ruleset(wanted["live"][family])
        if have != want:
            why.append(f"the running IPv{family} rules are not the declared ones")
            why += [f"stranger: {rule}" for rule in strangers(have, want)]
    unit = host.Unit("ufw")
    boots = host.reasons_to_load(unit)
    nftables = host.show("nftables.service")
    rival = nftables.get("LoadState") == "loaded" and (
        nftables["UnitFileState"] == "enabled" or nftables["ActiveState"] == "active"
    )
    if rival:
        why.append("nftables.service would flush ufw's rules when it starts and when it stops")
    result = {
        "changed": bool(why or boots),
        "why": why + boots,
        "diff": host.diff(wrong),
        "what": "the firewall",
    }
    stop = [["/lib/ufw/ufw-init", "force-stop"], ["ufw", "disable"]]
    start = [["/lib/ufw/ufw-init", "force-reload"]]
    result["unrecorded"] = host.unrecorded(options["role"], files)
    if not checking:
        host.remember(options["role"], files, confirm=True, edited=True, after=stop, undo=start)
    if checking or not result["changed"]:
        return result
    keep = [
        host.File(f"{SAVED}.{family}", (text or OPEN).encode(), 0o600) for family, text in running.items()
    ]
    host.install(keep)
    undo = [["iptables-restore", "-w", "10", f"{SAVED}.4"], ["ip6tables-restore", "-w", "10", f"{SAVED}.6"]]
    if rival:
        undo += [["systemctl", "unmask", "nftables"], ["systemctl", "enable", "nftables"]]
    result["confirm_id"] = host.arm("the firewall", [file.path for file in files], undo)
    try:
        host.install(wrong)
        swap(wanted["live"])
        if boots:
            # Started, never restarted: stopping ufw flushes the rules. It finds them standing and says so.
            host.must(["systemctl", "enable", "ufw"], "ufw could not be enabled")
            host.must(["systemctl", "start", "ufw"], "ufw could not be started")
        if rival:
            # Masked before it is stopped: so it has no command left that would flush the ruleset on its way out.
            host.must(["systemctl", "disable", "nftables"], "nftables.service could not be disabled")
            host.must(["systemctl", "mask", "nftables"], "nftables.service could not be masked")
            host.must(["systemctl", "stop", "nftables"], "nftables.service could not be stopped")
    except (host.HostError, OSError) as error:
        host.revert(str(error))
        raise host.HostError(f"{error} The old firewall is back.") from None
    return result


if __name__ == "__main__":
    main()
