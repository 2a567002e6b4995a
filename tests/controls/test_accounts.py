"""Accounts: every person by name with their own keys, nobody else, and nothing to guess."""

from seawall.controls import control, expect, not_applicable

VENDOR = {"debian", "ubuntu", "admin", "centos", "rocky", "freebsd"}
"""Accounts that cloud images bring along."""


def declared(host):
    """The administrators the stack's settings name, with their keys as ``type base64``."""
    return {
        person["name"]: {" ".join(key.split()[:2]) for key in person["public_keys"]}
        for person in host.vars["accounts_administrators"]
    }


def reader(host):
    """The drift watch's read-only account and its keys, where the settings give it any."""
    keys = host.vars.get("accounts_reader_keys") or []
    name = host.vars.get("accounts_reader", "seawall-drift")
    return {name: {" ".join(key.split()[:2]) for key in keys}} if keys else {}


def people(host):
    """Accounts made for persons: Debian counts them from 1000; 65534 is nobody."""
    return [user for user in host.accounts.users if 1000 <= user.uid < 65534]


def repeated(values):
    values = list(values)
    return {value for value in values if values.count(value) > 1}


# --- Who there is ---------------------------------------------------------------------------------------------


@control(
    "accounts-uid-zero",
    "Root is the only account with uid 0",
    severity="critical",
    requirements=["pci-8.2.1", "cis-deb12-5.4.2.1"],
)
def test_uid_zero(host):
    expect([user.name for user in host.accounts.users if user.uid == 0], "uid 0").to_be(["root"])


@control(
    "accounts-gid-zero",
    "Root's is the only account, and the only group, with gid 0",
    severity="high",
    requirements=["pci-7.2.1", "cis-deb12-5.4.2.2", "cis-deb12-5.4.2.3"],
)
def test_gid_zero(host):
    expect([user.name for user in host.accounts.users if user.gid == 0], "accounts").to_be(["root"])
    expect([group.name for group in host.accounts.groups if group.gid == 0], "groups").to_be(["root"])


@control(
    "accounts-unique-uids",
    "No two accounts share a uid",
    severity="high",
    requirements=["pci-8.2.1", "pci-8.2.2", "cis-deb12-7.2.5"],
)
def test_unique_uids(host):
    expect(repeated(user.uid for user in host.accounts.users), "shared uids").to_be_empty()


@control(
    "accounts-unique-names",
    "No two accounts share a name",
    severity="high",
    requirements=["pci-8.2.1", "cis-deb12-7.2.7"],
)
def test_unique_names(host):
    expect(repeated(user.name for user in host.accounts.users), "shared names").to_be_empty()


@control(
    "accounts-unique-groups",
    "No two groups share a gid or a name",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-7.2.6", "cis-deb12-7.2.8"],
)
def test_unique_groups(host):
    expect(repeated(group.gid for group in host.accounts.groups), "shared gids").to_be_empty()
    expect(repeated(group.name for group in host.accounts.groups), "shared names").to_be_empty()


@control(
    "accounts-groups-exist",
    "Every account's group exists",
    severity="low",
    requirements=["pci-7.2.1", "cis-deb12-7.2.3"],
)
def test_groups_exist(host):
    known = {group.gid for group in host.accounts.groups}
    expect(
        [user.name for user in host.accounts.users if user.gid not in known], "accounts without"
    ).to_be_empty()


@control(
    "accounts-people",
    "The people with an account are the declared administrators",
    severity="critical",
    requirements=["pci-8.2.1", "pci-8.2.2", "pci-7.2.1"],
)
def test_people(host):
    active = {user.name for user in people(host) if user.can_log_in}
    expect(active, "people who can log in").to_be_exactly(declared(host))


@control(
    "accounts-login-group",
    "Only declared administrators are in sshusers",
    severity="critical",
    requirements=["pci-7.2.1", "pci-8.2.1"],
)
def test_login_group(host):
    expect(host.accounts.members("sshusers"), "sshusers").to_be_exactly(declared(host))


@control(
    "accounts-root-groups",
    "Nobody is in a group that is as good as root but declared administrators",
    severity="critical",
    requirements=["pci-7.2.1", "pci-7.2.5"],
)
def test_root_groups(host):
    members = {
        f"{name} in {group}"
        for group in ("sudo", "adm", "docker", "lxd", "disk", "shadow")
        for name in host.accounts.members(group) - set(declared(host)) - {"syslog"}
    }
    expect(members, "others").to_be_empty()


@control(
    "accounts-vendor",
    "Accounts the image brought along are locked and have no shell",
    severity="critical",
    requirements=["pci-2.2.2"],
)
def test_vendor(host):
    present = [user for user in host.accounts.users if user.name in VENDOR - set(declared(host))]
    if not present:
        not_applicable("the image brought no account along")
    usable = {user.name for user in present if user.can_log_in or user.password != "locked"}
    expect(usable, "usable").to_be_empty()


@control(
    "accounts-root-password",
    "Root has no password",
    severity="critical",
    requirements=["pci-2.2.2", "cis-deb12-5.4.2.4"],
)
def test_root_password(host):
    expect(host.accounts.user("root").password, "root's password").to_be("locked")


@control(
    "accounts-service-shells",
    "Accounts of services have no shell",
    severity="high",
    requirements=["pci-8.6.1", "cis-deb12-5.4.2.7"],
)
def test_service_shells(host):
    shells = {
        u.name: u.shell for u in host.accounts.users if u.uid != 0 and u not in people(host) and u.can_log_in
    }
    expect(shells, "shells").to_be_empty()


@control(
    "accounts-service-passwords",
    "Accounts without a shell have no password either",
    severity="high",
    requirements=["pci-8.6.1", "cis-deb12-5.4.2.8"],
)
def test_service_passwords(host):
    expect(
        [user.name for user in host.accounts.users if not user.can_log_in and user.password != "locked"],
        "with one",
    ).to_be_empty()


# --- What they log in with ------------------------------------------------------------------------------------


@control(
    "accounts-empty-passwords",
    "No account has an empty password",
    severity="critical",
    requirements=["pci-8.3.1", "cis-deb12-7.2.2"],
)
def test_empty_passwords(host):
    expect([user.name for user in host.accounts.users if user.password == "empty"], "empty").to_be_empty()


@control(
    "accounts-shadowed",
    "Password hashes are in /etc/shadow only",
    severity="high",
    requirements=["pci-8.3.2", "cis-deb12-7.2.1"],
)
def test_shadowed(host):
    fields = [line.split(":")[:2] for line in host.text("/etc/passwd").splitlines() if line]
    expect([name for name, field in fields if field != "x"], "not shadowed").to_be_empty()


@control(
    "accounts-no-passwords",
    "Administrators have keys and no password that could be guessed or shared",
    severity="high",
    requirements=["pci-8.3.1", "pci-8.2.2"],
)
def test_no_passwords(host):
    expect([user.name for user in people(host) if user.password != "locked"], "with one").to_be_empty()


@control(
    "accounts-authorized-keys",
    "Every authorised key is a declared one, and every declared one is there",
    severity="critical",
    requirements=["pci-8.2.4", "pci-8.2.2", "pci-8.3.2"],
)
def test_authorized_keys(host):
    def named(keys):
        return {f"{user}'s {key[:24]}…{key[-12:]}" for user, held in keys.items() for key in held}

    expect(named(host.accounts.authorized_keys), "authorised keys").to_be_exactly(
        named(declared(host) | reader(host))
    )


@control(
    "accounts-shared-keys",
    "No key opens two accounts",
    severity="high",
    requirements=["pci-8.2.2"],
)
def test_shared_keys(host):
    everyones = [key for keys in host.accounts.authorized_keys.values() for key in keys]
    expect({key[-12:] for key in repeated(everyones)}, "keys with two owners").to_be_empty()


# --- What they can do -----------------------------------------------------------------------------------------


@control(
    "sudo-valid", "sudo's rules are valid", severity="high", requirements=["pci-7.2.1", "cis-deb12-5.2.1"]
)
def test_sudo_valid(host):
    expect(host.run("visudo -c").rc, "visudo -c").to_be(0)


@control(
    "sudo-without-password",
    "Only declared administrators become root without a password",
    severity="critical",
    requirements=["pci-7.2.1", "pci-7.2.5"],
)
def test_sudo_without_password(host):
    allowed = set(declared(host)) | set(reader(host)) | {"root"}
    expect(host.accounts.sudo_without_password - allowed, "others").to_be_empty()


@control(
    "sudo-grants",
    "sudo grants something to root, the group sudo and declared administrators only",
    severity="critical",
    requirements=["pci-7.2.1", "pci-7.2.5"],
)
def test_sudo_grants(host):
    allowed = set(declared(host)) | set(reader(host)) | {"root", "%sudo"}
    expect(host.accounts.sudoers - allowed, "others").to_be_empty()


@control(
    "sudo-pty",
    "A command run by sudo cannot keep the terminal",
    severity="medium",
    requirements=["pci-2.2.6", "cis-deb12-5.2.2"],
)
def test_sudo_pty(host):
    expect(host.accounts.sudo_defaults.get("use_pty", False), "use_pty").to_be(True)


@control(
    "sudo-log",
    "What is run by sudo is written down",
    severity="high",
    requirements=["pci-10.2.1", "cis-deb12-5.2.3"],
)
def test_sudo_log(host):
    expect(host.accounts.sudo_defaults.get("logfile", ""), "logfile").to_be("/var/log/sudo.log")


@control(
    "sudo-files",
    "Only root can read and write sudo's rules",
    severity="high",
    requirements=["pci-7.2.1"],
)
def test_sudo_files(host):
    listed = host.check_output("find /etc/sudoers /etc/sudoers.d -printf '%u %m %p\\n'").splitlines()
    loose = [line for line in listed if not line.startswith("root ") or int(line.split()[1], 8) & 0o022]
    expect(loose, "others can write").to_be_empty()


# --- How sessions begin and end -------------------------------------------------------------------------------


@control(
    "shell-timeout",
    "A shell left alone for fifteen minutes ends",
    severity="high",
    requirements=["pci-8.2.8", "cis-deb12-5.4.3.2"],
)
def test_timeout(host):
    seen = host.check_output("env -i /bin/bash -lc 'echo $TMOUT'")
    expect(int(seen or 0), "TMOUT of a login shell").to_be_within(1, 900)


@control(
    "shell-timeout-fixed",
    "Nobody lifts the limit from their own shell",
    severity="medium",
    requirements=["pci-8.2.8", "cis-deb12-5.4.3.2"],
)
def test_timeout_fixed(host):
    expect(host.run("env -i /bin/bash -lc 'TMOUT=0'").rc == 0, "a login shell may set TMOUT").to_be(False)


@control(
    "shell-umask",
    "New files are not for everybody to read",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-5.4.3.3"],
)
def test_umask(host):
    expect(host.check_output("env -i /bin/bash -lc umask"), "umask of a login shell").to_be_one_of(
        "0027", "0077"
    )


@control(
    "shell-banners",
    "The login banners warn, and name neither system nor release",
    severity="low",
    requirements=["pci-2.2.6", "cis-deb12-1.6.2", "cis-deb12-1.6.3"],
)
def test_banners(host):
    for path in ("/etc/issue", "/etc/issue.net"):
        text = host.text(path)
        expect("authorised use only" in text or "authorized use only" in text, f"{path} warns").to_be(True)
        tells = [
            word for word in ("Debian", "Ubuntu", "GNU/Linux", "\\r", "\\v", "\\s", "\\m") if word in text
        ]
        expect(tells, f"{path} tells").to_be_empty()


# --- The files behind it ----------------------------------------------------------------------------------------


@control(
    "accounts-files",
    "Only root writes the account files, and nobody else reads the hashes",
    severity="critical",
    requirements=["pci-8.3.2", "cis-deb12-7.1.1", "cis-deb12-7.1.3", "cis-deb12-7.1.5", "cis-deb12-7.1.7"],
)
def test_files(host):
    limits = {"/etc/passwd": 0o644, "/etc/group": 0o644, "/etc/shadow": 0o640, "/etc/gshadow": 0o640}
    for path, limit in limits.items():
        expect(host.file(path).user, path).to_be("root")
        expect(f"{host.file(path).mode & ~limit:03o}", f"{path}, more than {limit:03o}").to_be("000")


@control(
    "accounts-homes",
    "Homes belong to their people; their group cannot write there, and others cannot look in",
    severity="high",
    requirements=["pci-7.2.1", "cis-deb12-7.2.9"],
)
def test_homes(host):
    for user in people(host):
        if user.can_log_in:
            home = host.file(user.home)
            expect(home.user, user.home).to_be(user.name)
            expect(f"{home.mode & 0o027:03o}", f"{user.home}, beyond 750").to_be("000")


@control(
    "accounts-key-files",
    "Authorised keys can be changed by their owner and root only",
    severity="critical",
    requirements=["pci-8.3.2"],
)
def test_key_files(host):
    for name in declared(host):
        user = host.accounts.user(name)
        if user is None:
            not_applicable(f"{name} has no account (accounts-people says so)")
        keys = host.file(f"{user.home}/.ssh/authorized_keys")
        expect(keys.user, "owner").to_be_one_of(name, "root")
        expect(f"{keys.mode & 0o022:03o}", "written by others").to_be("000")


# --- Passwords, where somebody sets one -------------------------------------------------------------------------


def pam(host, stack, module):
    """The lines of one of PAM's common stacks that call a module, as words."""
    lines = host.text(f"/etc/pam.d/common-{stack}").splitlines()
    return [line.split() for line in lines if f"{module}.so" in line and not line.startswith("#")]


def argument(lines, name):
    """The value of the argument ``name=value`` on the first of some PAM lines that has it; -1 without."""
    values = [int(word.partition("=")[2]) for words in lines for word in words if word.startswith(f"{name}=")]
    return values[0] if values else -1


@control(
    "passwords-lockout",
    "Ten wrong passwords shut an account for half an hour",
    severity="high",
    requirements=["pci-8.3.4", "cis-deb12-5.3.2.2", "cis-deb12-5.3.3.1.1", "cis-deb12-5.3.3.1.2"],
)
def test_lockout(host):
    lines = pam(host, "auth", "pam_faillock")
    stages = {word for words in lines for word in words} & {"preauth", "authfail"}
    expect(stages, "pam_faillock").to_be_exactly({"preauth", "authfail"})
    expect(argument(lines, "deny"), "tries").to_be_within(1, 10)
    seconds = argument(lines, "unlock_time")
    expect(seconds if seconds else 1800, "seconds (0 is until somebody unlocks)").to_be_at_least(1800)
    expect(len(pam(host, "account", "pam_faillock")), "counters reset by a login").to_be_at_least(1)


@control(
    "passwords-quality",
    "A new password is long, of several kinds of characters, and no dictionary's",
    severity="high",
    requirements=["pci-8.3.6", "cis-deb12-5.3.2.3", "cis-deb12-5.3.3.2.2", "cis-deb12-5.3.3.2.3"],
)
def test_password_quality(host):
    expect(len(pam(host, "password", "pam_pwquality")), "pam_pwquality in use").to_be_at_least(1)
    # Files of pwquality.conf.d are read in order and pwquality.conf last (pwquality.conf(5)).
    text = host.check_output(
        "cat /etc/security/pwquality.conf.d/*.conf /etc/security/pwquality.conf 2>/dev/null"
    )
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")]
    settings = {name.strip(): value.strip() for name, value in pairs}
    expect(int(settings.get("minlen", 8)), "minlen").to_be_at_least(12)
    expect(int(settings.get("minclass", 0)), "minclass").to_be_at_least(2)
    expect(settings.get("dictcheck", "1"), "dictcheck").to_be("1")


@control(
    "passwords-history",
    "The last four passwords do not come again",
    severity="medium",
    requirements=["pci-8.3.7", "cis-deb12-5.3.2.4", "cis-deb12-5.3.3.3.1"],
)
def test_password_history(host):
    expect(argument(pam(host, "password", "pam_pwhistory"), "remember"), "remembered").to_be_at_least(4)


@control(
    "passwords-hashed",
    "Passwords are hashed slowly",
    severity="high",
    requirements=["pci-8.3.2", "cis-deb12-5.3.3.4.3"],
)
def test_password_hash(host):
    words = {word for words in pam(host, "password", "pam_unix") for word in words}
    expect(words & {"yescrypt", "sha512", "gost_yescrypt"}, "hash").to_be_only({"yescrypt", "sha512"})


@control(
    "session-umask",
    "Files that come by scp or a command over ssh are not for everybody to read",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-5.4.3.3"],
)
def test_session_umask(host):
    masks = {
        word.removeprefix("umask=")
        for words in pam(host, "session", "pam_umask")
        for word in words
        if word.startswith("umask=")
    }
    expect(masks, "pam_umask").to_be_only({"027", "0027", "077", "0077"})


@control(
    "accounts-unused",
    "No account of a person has lain unused for ninety days",
    severity="high",
    requirements=["pci-8.2.6", "cis-deb12-5.4.1.5"],
)
def test_unused(host):
    unused = host.accounts.unused(days=90)
    if unused is None:
        not_applicable("this host keeps no record of last logins (lastlog, or lastlog2 since Debian 13)")
    expect(unused & {user.name for user in people(host) if user.can_log_in}, "unused").to_be_empty()


def login_defs(host):
    """/etc/login.defs: name → value."""
    lines = host.check_output("cat /etc/login.defs").splitlines()
    return {words[0]: words[-1] for line in lines if (words := line.split()) and not line.startswith("#")}


@control(
    "passwords-ageing",
    "A password that somebody sets has to be changed within 90 days, and not at once",
    severity="medium",
    requirements=["pci-8.3.9", "cis-deb12-5.4.1.1", "cis-deb12-5.4.1.2", "cis-deb12-5.4.1.3"],
)
def test_ageing(host):
    settings = login_defs(host)
    expect(int(settings.get("PASS_MAX_DAYS", 99999)), "PASS_MAX_DAYS").to_be_within(1, 90)
    expect(int(settings.get("PASS_MIN_DAYS", 0)), "PASS_MIN_DAYS").to_be_at_least(1)
    expect(int(settings.get("PASS_WARN_AGE", 0)), "PASS_WARN_AGE").to_be_at_least(7)


@control(
    "passwords-rounds",
    "Where a program asks for another hash than yescrypt, it is a slow one too",
    severity="medium",
    requirements=["pci-8.3.2", "cis-deb12-5.4.1.4"],
)
def test_rounds(host):
    settings = login_defs(host)
    expect(settings.get("ENCRYPT_METHOD", "DES"), "ENCRYPT_METHOD").to_be_one_of("YESCRYPT", "SHA512")
    expect(int(settings.get("SHA_CRYPT_MIN_ROUNDS", 0)), "SHA_CRYPT_MIN_ROUNDS").to_be_at_least(65536)


@control(
    "accounts-ageless",
    "No administrator's key is shut out by a password that ran out",
    severity="high",
    requirements=["pci-8.2.4"],
)
def test_ageless(host):
    limits = {
        line.split(":")[0]: line.split(":")[4] for line in host.check_output("cat /etc/shadow").splitlines()
    }
    aged = [name for name in declared(host) if limits.get(name, "") not in ("", "-1", "99999")]
    expect(aged, "run out").to_be_empty()


@control(
    "accounts-new",
    "A new account's home is its own, and its files are not for everybody",
    severity="medium",
    requirements=["pci-7.2.1", "cis-deb12-5.4.3.3", "cis-deb12-7.2.9"],
)
def test_new(host):
    settings = login_defs(host)
    expect(settings.get("UMASK", "022"), "UMASK").to_be_one_of("027", "077")
    expect(settings.get("HOME_MODE", "0755"), "HOME_MODE").to_be_one_of("0750", "0700")


@control(
    "session-temporary",
    "A session's temporary files lie in a folder of its own",
    severity="low",
    requirements=["pci-2.2.6"],
)
def test_session_temporary(host):
    expect(len(pam(host, "session", "pam_tmpdir")), "pam_tmpdir in use").to_be_at_least(1)
