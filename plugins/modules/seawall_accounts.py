#!/usr/bin/python
"""Who may log in and become root, exactly as declared."""

from __future__ import annotations

import base64
import contextlib
import grp
import hashlib
import os
import pwd
import re

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_accounts
short_description: Who may log in and become root, exactly as declared
description:
  - Administrators exist, are in the login group and have exactly the declared public keys; nobody else is in the
    login group or in sudo; root and vendor accounts are locked and have no keys.
  - A key that nobody declared is removed wherever it lies, and named by its fingerprint: as a warning of the run,
    and in the host's log.
  - Profiles among the files are enabled by pam-auth-update, which writes PAM's stacks from all profiles there are.
  - Arms commit-confirm before it changes anything and returns confirm_id; run it through seawall_confirmed.
options:
  role: {type: str, default: "", description: Whose files these are; the action plugin says it}
  administrators: {type: list, elements: dict, required: true, description: "name, public_keys"}
  group: {type: str, required: true, description: Members may log in by ssh}
  vendor_accounts: {type: list, elements: str, default: [], description: Locked where they exist}
  files: {type: list, elements: dict, default: [], description: Further files, as in seawall_daemon}
  absent: {type: list, elements: str, default: [], description: Files that should not exist; globs}
  reader: {type: dict, description: "name, public_keys, command, jumps: an account for those alone"}
"""

DATABASES = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"]
# Groups that are as good as root.
ROOT_GROUPS = ("sudo", "docker", "lxd")
# A key has no age: a password's, from login.defs, would shut it out one day.
AGELESS = ["--key", "PASS_MAX_DAYS=-1", "--key", "PASS_MIN_DAYS=-1", "--key", "HOME_MODE=0750"]
PROFILES = "/usr/share/pam-configs/"
# What a block of a profile becomes a line of.
STACKS = {
    "Auth": "/etc/pam.d/common-auth",
    "Account": "/etc/pam.d/common-account",
    "Password": "/etc/pam.d/common-password",
    "Session": "/etc/pam.d/common-session",
}
NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
KEY = re.compile(
    r"(ssh-ed25519|ecdsa-sha2-nistp\d+|ssh-rsa|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/=]+( [^\n]*)?\Z"
)


def main():
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "default": ""},
            "administrators": {"type": "list", "elements": "dict", "required": True},
            "group": {"type": "str", "required": True},
            "vendor_accounts": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "reader": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def validated(administrators):
    """The administrators, or a HostError that names what is wrong with them."""
    if not administrators:
        raise host.HostError(
            "No administrator is declared: nobody could log in. Declare at least one with a key."
        )
    for one in administrators:
        if not NAME.match(str(one.get("name", ""))) or one["name"] == "root":
            raise host.HostError(
                f"{one.get('name')!r} is no name for an administrator (a-z, 0-9, - and _; not root)."
            )
        keys = one.get("public_keys") or []
        if not keys or not all(KEY.match(key.strip()) for key in keys):
            raise host.HostError(
                f"Administrator {one['name']} needs at least one public key, each on one line."
            )
    return administrators


def commands(administrators, group, vendor_accounts, users, groups, shadow, protected):
    """What has to be run, as argv lists. Pure.

    ``users``: name → shell; ``groups``: name → members; ``shadow``: name → (password field, account expiry);
    ``protected``: the groups that only administrators may be in.
    """
    todo = []
    names = [one["name"] for one in administrators]
    if group not in groups:
        todo.append(["groupadd", "--system", group])
    for name in names:
        if name not in users:
            todo.append(
                ["useradd", *AGELESS, "--create-home", "--shell", "/bin/bash", "--groups", group, name]
            )
        elif name not in groups.get(group, []):
            todo.append(["gpasswd", "--add", name, group])
        if users.get(name, "/bin/bash") in ("/usr/sbin/nologin", "/bin/false", "/sbin/nologin"):
            todo.append(["usermod", "--shell", "/bin/bash", name])
        if shadow.get(name, ("", ""))[1] not in ("", "-1"):
            todo.append(["usermod", "--expiredate", "", name])
    for protected_group in protected:
        strangers = [member for member in groups.get(protected_group, []) if member not in names]
        todo += [["gpasswd", "--delete", member, protected_group] for member in strangers]
    for name in ["root", *vendor_accounts]:
        if name in users and name not in names:
            if shadow.get(name, ("*", ""))[0][:1] not in ("!", "*"):
                todo.append(["usermod", "--lock", name])
            if name != "root" and users[name] != "/usr/sbin/nologin":
                todo.append(["usermod", "--shell", "/usr/sbin/nologin", name])
    return todo


def open_homes(administrators, homes):
    """The administrators' homes that their group may write to, or others read."""
    found = [homes[one["name"]] for one in administrators if one["name"] in homes]
    return [home for home in found if os.path.isdir(home) and os.stat(home).st_mode & 0o027]


def reader_commands(reader, users):
    """What has to be run for the account that only looks: there with keys, gone without. Pure."""
    name = reader.get("name")
    if not name:
        return []
    if not reader.get("public_keys"):
        return [["userdel", name]] if name in users else []
    if name not in users:
        home = ["--home-dir", reader_home(name), "--no-create-home", "--shell", "/bin/sh"]
        return [["useradd", "--system", "--user-group", *home, name]]
    # A forced command runs by way of the account's shell.
    return [["usermod", "--shell", "/bin/sh", name]] if users[name] != "/bin/sh" else []


def reader_files(reader):
    """Its keys, each bound to the one command. They are root's, like all above them: it can't loosen its own bonds."""
    name, keys = reader.get("name"), reader.get("public_keys") or []
    if not name:
        return []
    if not all(KEY.match(key.strip()) for key in keys):
        raise host.HostError(f"The account {name} needs public keys, each on one line.")
    # On a bastion it passes through to the hosts behind, as administrators do, and nowhere else.
    ways = [f'permitopen="{target}"' for target in reader.get("jumps") or []]
    bonds = ",".join(
        ["restrict", *(["port-forwarding", *ways] if ways else []), f'command="{reader["command"]}"']
    )
    text = "".join(f"{bonds} {key.strip()}\n" for key in keys)
    path = f"{reader_home(name)}/.ssh/authorized_keys"
    return [host.File(path, text.encode() if keys else None)]


def reader_home(name):
    return f"/var/lib/{name}"


def key_files(administrators, others, homes):
    """authorized_keys as declared for administrators; none for the ``others`` (root, vendor accounts, strangers)."""
    files = []
    for one in administrators:
        name, home = one["name"], homes.get(one["name"], f"/home/{one['name']}")
        text = "".join(key.strip() + "\n" for key in one["public_keys"])
        files.append(host.File(f"{home}/.ssh/authorized_keys", text.encode(), 0o600, name, name))
        files.append(host.File(f"{home}/.ssh/authorized_keys2", None))
    names = [one["name"] for one in administrators]
    theirs = {file.path for file in files}
    for name in others:
        if name in homes and name not in names:
            paths = [f"{homes[name]}/.ssh/{kind}" for kind in ("authorized_keys", "authorized_keys2")]
            # Accounts may share a home, and an administrator's is the administrator's.
            files += [host.File(path, None) for path in paths if path not in theirs]
            theirs.update(paths)
    return files


def fingerprints(text):
    """SHA256 fingerprints of the keys in an authorized_keys file, as ssh-keygen -l prints them. Pure."""
    found = set()
    for encoded in re.findall(r"(?m)^(?!#).*?\b(AAAA[A-Za-z0-9+/]+=*)", text):
        with contextlib.suppress(ValueError):
            digest = hashlib.sha256(base64.b64decode(encoded + "=" * (-len(encoded) % 4))).digest()
            found.add("SHA256:" + base64.b64encode(digest).decode().rstrip("="))
    return found


def undeclared_keys(files):
    """One sentence for each file that has keys nobody declared."""
    said = []
    for file in files:
        now = fingerprints((host.read(file.path) or b"").decode(errors="replace"))
        if strange := now - fingerprints((file.content or b"").decode()):
            said.append(f"{file.path} has keys that nobody declared: {', '.join(sorted(strange))}")
    return said


def pam_lines(profile):
    """The modules a PAM profile asks for: (its stack's file, the module with its arguments). Pure."""
    block, lines = None, []
    for line in profile.splitlines():
        if line[:1] in (" ", "\t"):
            # [success=end default=ignore] becomes a number of lines, so the control field is left out.
            module = re.search(r"pam_\w+\.so.*", line)
            if block in STACKS and module:
                lines.append((STACKS[block], module[0].split()))
        else:
            block = line.partition(":")[0].removesuffix("-Initial")
    return lines


def pam_missing(profiles):
    """Names of the profiles that are not wholly in PAM's stacks."""
    stacks = {
        path: [re.sub(r"^.*?(?=pam_\w+\.so)", "", line).split() for line in text.splitlines()]
        for path in STACKS.values()
        for text in [(host.read(path) or b"").decode()]
    }
    return [
        os.path.basename(file.path)
        for file in profiles
        if any(words not in stacks[path] for path, words in pam_lines(file.content.decode()))
    ]


def converge(options, checking):
    """Look, decide, and (unless ``checking``) act; the module's result."""
    administrators = validated(options["administrators"])
    host.wait_until_settled()
    users = {entry.pw_name: entry.pw_shell for entry in pwd.getpwall()}
    homes = {entry.pw_name: entry.pw_dir for entry in pwd.getpwall()}
    groups = {entry.gr_name: entry.gr_mem for entry in grp.getgrall()}
    with open("/etc/shadow") as handle:
        fields = [line.rstrip("\n").split(":") for line in handle]
    shadow = {words[0]: (words[1], words[7]) for words in fields}
    protected = (options["group"], *ROOT_GROUPS)
    todo = commands(
        administrators, options["group"], options["vendor_accounts"], users, groups, shadow, protected
    )
    ages = {words[0]: words[4] for words in fields}
    todo += [
        ["chage", "--maxdays", "-1", one["name"]]
        for one in administrators
        if ages.get(one["name"], "") not in ("", "-1", "99999")
    ]
    todo += [["chmod", "g-w,o=", home] for home in open_homes(administrators, homes)]
    reader = options.get("reader") or {}
    todo += reader_commands(reader, users)
    files = host.declared(options["files"]) + reader_files(reader)
    files += host.absent(options["absent"], keep={file.path for file in files})
    others = [name for name in homes if name != reader.get("name")]
    keys = key_files(administrators, others, homes)
    wrong = host.changes(files + keys)
    profiles = [file for file in files if file.path.startswith(PROFILES)]
    pam = pam_missing(profiles)
    undeclared = undeclared_keys(keys + reader_files(reader))
    why = [" ".join(argv) for argv in todo] + [f"{file.path} is not as declared" for file in wrong]
    why += [f"PAM does not do what {name} says" for name in pam] + undeclared
    what = "accounts, keys and sudo"
    result = {"changed": bool(why), "why": why, "diff": host.diff(wrong), "what": what}
    if undeclared:
        result["warnings"] = [f"{one}. {'To be removed' if checking else 'Removed'}." for one in undeclared]
    # What lets administrators in and become root stays: without it nobody could remove the rest, or return.
    removable = [file for file in files if not re.match("/etc/sudoers.d/|/var/lib/", file.path)]
    names = [os.path.basename(file.path) for file in profiles]
    unpam = ["env", "DEBIAN_FRONTEND=noninteractive", "pam-auth-update", "--remove", *names]
    result["unrecorded"] = host.unrecorded(options["role"], removable)
    if not checking:
        host.remember(options["role"], removable, confirm=True, before=[unpam] if names else [])
    if not why:
        return result
    if refused := host.refusals(
        [f for f in wrong if f.path.startswith("/etc/")], [["visudo", "-cf", "/etc/sudoers"]]
    ):
        raise host.HostError("Nothing was changed: " + "; ".join(refused))
    if checking:
        return result
    here = [file.path for file in keys if file.content is not None or file in wrong]
    paths = [*DATABASES, "/etc/sudoers.d", *(file.path for file in files), *here]
    if pam:
        paths += ["/etc/pam.d", "/var/lib/pam"]
    result["confirm_id"] = host.arm(what, list(dict.fromkeys(paths)), [])
    try:
        for argv in todo:
            host.must(argv, "An account could not be changed")
        for one in administrators:
            _ssh_directory(one["name"])
        if reader.get("public_keys"):
            _reader_directory(reader["name"])
        # An account made just now has only now its home and ids.
        homes = {entry.pw_name: entry.pw_dir for entry in pwd.getpwall()}
        keys = key_files(administrators, others, homes)
        host.install(host.changes(files + keys))
        if pam:
            enable = ["pam-auth-update", "--enable", *pam]
            host.must(["env", "DEBIAN_FRONTEND=noninteractive", *enable], "PAM could not be set up")
            if left := pam_missing(profiles):
                raise host.HostError(
                    f"pam-auth-update left {', '.join(left)} out: somebody edited /etc/pam.d/common-* by hand. "
                    "`pam-auth-update --force` puts the distribution's form back."
                )
        for one in undeclared:
            host.run(["logger", "-t", "seawall", "-p", "auth.warning", f"{one}. Removed."])
    except (host.HostError, OSError) as error:
        host.revert(str(error))
        raise host.HostError(f"{error} The accounts are as they were.") from None
    return result


def _ssh_directory(name):
    """~/.ssh belongs to its user alone. Made with its mode; links are not followed into another's home."""
    entry = pwd.getpwnam(name)
    path = os.path.join(entry.pw_dir, ".ssh")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(fd, entry.pw_uid, entry.pw_gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def _reader_directory(name):
    """Root's, whatever the umask: sshd reads the keys as the account, which may not change them."""
    for path in (reader_home(name), f"{reader_home(name)}/.ssh"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(fd, 0, 0)
            os.fchmod(fd, 0o755)
        finally:
            os.close(fd)


if __name__ == "__main__":
    main()
