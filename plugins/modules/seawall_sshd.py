#!/usr/bin/python
"""sshd as declared: drop-in, host keys, moduli, and the daemon that serves them."""

from __future__ import annotations

import os
import shutil

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_sshd
short_description: sshd as declared, host keys and running daemon included
description:
  - Writes one drop-in that comes first (sshd takes the first value it reads), after the sshd of this host has
    accepted the complete candidate and its effective values are the declared ones.
  - Algorithms and keywords this sshd does not know are left out; it is asked, not its version compared.
  - Arms commit-confirm before it changes anything and returns confirm_id; run it through seawall_confirmed.
options:
  role: {type: str, default: "", description: Whose files these are; the action plugin says it}
  settings: {type: dict, required: true, description: "keyword: value, or a list of algorithms or values"}
  optional: {type: dict, default: {}, description: Settings for daemons that know them}
  matches: {type: list, elements: dict, default: [], description: "criteria, settings"}
  drop_in: {type: str, required: true}
  absent: {type: list, elements: str, default: [], description: Files that should not exist; globs}
  one_use_key: {type: str, default: "", description: Public host key that must not be served any longer}
  rsa_bits: {type: int, default: 3072}
  moduli_bits: {type: int, default: 3071}
  stage: {type: str, choices: [apply, prepare], default: apply}
"""

NEXT = "/var/lib/seawall/sshd-next"
MODULI = "/etc/ssh/moduli.seawall"
KEYS = {"ed25519": "/etc/ssh/ssh_host_ed25519_key", "rsa": "/etc/ssh/ssh_host_rsa_key"}
OTHER_KEYS = [f"/etc/ssh/ssh_host_{kind}_key{end}" for kind in ("ecdsa", "dsa") for end in ("", ".pub")]
# Which list of `ssh -Q` knows the members of an algorithm list.
QUERIES = {
    "KexAlgorithms": "kex",
    "Ciphers": "cipher",
    "MACs": "mac",
    "HostKeyAlgorithms": "HostKeyAlgorithms",
    "PubkeyAcceptedAlgorithms": "PubkeyAcceptedAlgorithms",
    "CASignatureAlgorithms": "HostKeyAlgorithms",
}
# sshd -T prints other words for the same value.
SAME = {"without-password": "prohibit-password"}


def main():
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "default": ""},
            "settings": {"type": "dict", "required": True},
            "optional": {"type": "dict", "default": {}},
            "matches": {"type": "list", "elements": "dict", "default": []},
            "drop_in": {"type": "str", "required": True},
            "absent": {"type": "list", "elements": "str", "default": []},
            "one_use_key": {"type": "str", "default": ""},
            "rsa_bits": {"type": "int", "default": 3072},
            "moduli_bits": {"type": "int", "default": 3071},
            "stage": {"type": "str", "choices": ["apply", "prepare"], "default": "apply"},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["stage"] == "prepare":
            module.exit_json(changed=True, host_keys=prepare_keys(module.params["rsa_bits"]))
        module.exit_json(**converge(module.params, module.check_mode))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def rendered(settings, matches, known):
    """The drop-in's text. ``known``: keyword → the algorithms this sshd knows. Pure."""
    lines = ["# Written by Seawall. sshd takes the first value it reads, so this file comes first."]
    lines += [f"{keyword} {words}" for keyword, words in _lines(settings, known)]
    for match in matches:
        lines.append(f"Match {match['criteria']}")
        lines += [f"    {keyword} {words}" for keyword, words in _lines(match["settings"], known)]
    # Whatever is included after this file is outside every Match block again.
    return "\n".join([*lines, *(["Match all"] if matches else []), ""])


def _lines(settings, known):
    for keyword, value in settings.items():
        if keyword in QUERIES:
            chosen = [one for one in value if one in known[keyword]]
            if not chosen:
                raise host.HostError(f"This sshd knows none of the declared {keyword} ({', '.join(value)}).")
            yield keyword, ",".join(chosen)
        elif keyword == "HostKey":
            yield from ((keyword, one) for one in value)
        elif isinstance(value, bool):
            yield keyword, "yes" if value else "no"
        else:
            yield keyword, " ".join(map(str, value)) if isinstance(value, list) else str(value)


def deviations(text, effective, ignored=()):
    """Where the ``effective`` configuration (of sshd -T) differs from the global part of ``text``. Pure.

    ``ignored``: keywords that sshd -T prints in words of its own.
    """
    seen = {}
    for line in effective.splitlines():
        keyword, _, value = line.partition(" ")
        seen.setdefault(keyword.lower(), []).append(value)
    wrong = []
    for line in text.split("\nMatch ")[0].splitlines():
        keyword, _, value = line.partition(" ")
        if line.startswith("#") or keyword in ignored or keyword.lower() not in seen:
            continue
        found = seen[keyword.lower()]
        if _plain(value) not in (_plain(one) for one in found) and _plain(value) != _plain(" ".join(found)):
            wrong.append(f"{keyword} is {', '.join(found)} where {value} is declared")
    return wrong


def _plain(value):
    return SAME.get(value.lower(), value.lower()).replace('"', "")


def strong_moduli(text, bits):
    """The lines of a moduli file with groups of at least ``bits`` (moduli(5): the fifth field, one less). Pure."""
    kept = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 7 and words[4].isdigit() and int(words[4]) >= bits:
            kept.append(line)
    return "".join(line + "\n" for line in kept)


def keys_wanting(one_use_key, rsa_bits):
    """Why new host keys are needed; empty where the present ones are good."""
    why = []
    public = {kind: (host.read(path + ".pub") or b"").decode().split()[:2] for kind, path in KEYS.items()}
    if not public["ed25519"] or not os.path.exists(KEYS["ed25519"]):
        why.append("there is no ed25519 host key")
    elif public["ed25519"] == one_use_key.split()[:2]:
        why.append("the one-use host key of the first contact is still served")
    bits = host.run(["ssh-keygen", "-l", "-f", KEYS["rsa"]]).stdout.split()
    if not bits or int(bits[0]) < rsa_bits:
        why.append(f"there is no RSA host key of at least {rsa_bits} bits")
    return why


def prepare_keys(rsa_bits):
    """Make the next host keys, served by nobody yet; their public halves. Kept over an interrupted run."""
    os.makedirs(NEXT, mode=0o700, exist_ok=True)
    for kind, path in KEYS.items():
        new = f"{NEXT}/{os.path.basename(path)}"
        if not os.path.exists(new + ".pub"):
            for leftover in (new, new + ".pub"):
                host.install([host.File(leftover, None)])
            argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", new]
            host.must(argv + (["-b", str(rsa_bits)] if kind == "rsa" else []), "A host key could not be made")
    return [public_key(f"{NEXT}/{os.path.basename(path)}") for path in KEYS.values()]


def public_key(path):
    """The public half of a host key, without its comment."""
    return " ".join(host.read(path + ".pub").decode().split()[:2])


def next_keys():
    """The prepared host keys as files in their places."""
    files = []
    for path in KEYS.values():
        new = f"{NEXT}/{os.path.basename(path)}"
        files += [host.File(path, host.read(new), 0o600), host.File(path + ".pub", host.read(new + ".pub"))]
    return files


def knows(keyword, value):
    """Whether this sshd knows a keyword with such a value."""
    done = host.run(["sshd", "-T", "-f", "/dev/null", "-o", f"{keyword}={value}"])
    return "Bad configuration option" not in done.stderr and "nsupported" not in done.stderr


def converge(options, checking):
    """Look, decide, and (unless ``checking``) act; the module's result."""
    host.wait_until_settled()
    if not shutil.which("sshd", path="/usr/sbin"):
        raise host.HostError(
            "There is no sshd on this host, though it was reached by ssh: is another server in use?"
        )
    settings = {**options["settings"]}
    for keyword, value in options["optional"].items():
        if knows(keyword, value):
            settings[keyword] = value
    moduli = (host.read("/etc/ssh/moduli") or b"").decode()
    files = []
    if strong := strong_moduli(moduli, options["moduli_bits"]):
        files.append(host.File(MODULI, strong.encode()))
        settings["ModuliFile"] = MODULI
    known = {keyword: host.run(["ssh", "-Q", query]).stdout.split() for keyword, query in QUERIES.items()}
    text = rendered(settings, options["matches"], known)
    files.append(host.File(options["drop_in"], text.encode(), 0o600))
    files += host.absent(options["absent"], keep={options["drop_in"]})
    files += [host.File(path, None) for path in OTHER_KEYS]
    wrong = host.changes(files)
    keys = keys_wanting(options["one_use_key"], options["rsa_bits"])
    unit = host.Unit(
        "ssh", ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf", "/etc/ssh/ssh_host_*_key")
    )
    # Active now, or at the next boot (Ubuntu 22.10 and later enable it).
    listening = host.show("ssh.socket")
    socket = listening.get("ActiveState") == "active" or listening.get("UnitFileState") == "enabled"
    why = [f"{file.path} is not as declared" for file in wrong] + keys + host.reasons_to_load(unit)
    if socket:
        why.append("ssh.socket listens instead of sshd, now or after a reboot, and ignores Port")
    effective = ["sshd", "-T"]
    if not why:
        why = deviations(text, host.must(effective, "sshd could not be asked"), options["optional"])
        if why:
            raise host.HostError(
                "sshd's effective configuration is not the declared one, though the drop-in is in place: "
                + "; ".join(why)
                + ". Another file in /etc/ssh is read first; see `sshd -T` and the Include lines of sshd_config."
            )
    what = f"sshd on port {settings.get('Port', 22)}"
    result = {"changed": bool(why), "why": why, "diff": host.diff(wrong), "what": what, "prepare": bool(keys)}
    if not keys:
        result["host_keys"] = [public_key(path) for path in KEYS.values()]
    # Not the host keys: whoever trusts the present ones shall go on to.
    ours = [file for file in files if file.path not in OTHER_KEYS]
    restart = [["systemctl", "restart", "ssh"]]
    result["unrecorded"] = host.unrecorded(options["role"], ours)
    if not checking:
        host.remember(options["role"], ours, confirm=True, after=restart, undo=restart)
    if not why:
        return result
    if keys and not checking:
        wrong += next_keys()
    # A candidate without its host keys (check mode) is judged with whichever keys there are.
    with host.Candidate(wrong) as candidate:
        if keys and checking:
            candidate.run(["ssh-keygen", "-A"])
        for argv in (["sshd", "-t"], effective):
            judged = candidate.run(argv)
            if judged.returncode:
                raise host.HostError(
                    f"Nothing was changed: {' '.join(argv)} said: {judged.stderr.strip()[-1500:]}"
                )
        if wrong_values := deviations(text, judged.stdout, options["optional"]):
            raise host.HostError("Nothing was changed: with this drop-in " + "; ".join(wrong_values) + ".")
    if checking:
        return result
    undo = [["systemctl", "restart", "ssh.service"]]
    if listening.get("ActiveState") == "active":
        undo = [["systemctl", "stop", "ssh.service"], ["systemctl", "start", "ssh.socket"]]
    if listening.get("UnitFileState") == "enabled":
        undo.insert(0, ["systemctl", "enable", "ssh.socket"])
    result["confirm_id"] = host.arm(what, ["/etc/ssh"], undo)
    try:
        host.install(wrong)
        if socket:
            host.must(["systemctl", "disable", "--now", "ssh.socket"], "ssh.socket could not be disabled")
        host.load([unit])
        shutil.rmtree(NEXT, ignore_errors=True)
    except (host.HostError, OSError) as error:
        host.revert(str(error))
        raise host.HostError(f"{error} The old sshd is back.") from None
    return result


if __name__ == "__main__":
    main()
