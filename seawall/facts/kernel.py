"""The running kernel: its settings, what it may load, what is mounted how, and whether it is the host's own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from seawall.controls import not_applicable

if TYPE_CHECKING:
    from seawall.facts import Machine

SETTINGS = "sysctl -a 2>/dev/null"
MODULES = "/sbin/modprobe --showconfig"


class Kernel:
    """``host.kernel["net.ipv4.ip_forward"]``: as the kernel has it now."""

    def __init__(self, host: Machine) -> None:
        self.host = host

    @cached_property
    def container(self) -> str:
        """The kind of container the host is; "" where it has a kernel of its own."""
        kind = self.host.run("systemd-detect-virt --container").stdout.strip()
        return "" if kind == "none" else kind

    def must_be_own(self, why: str) -> None:
        """End the control where the host shares another's kernel; ``why`` says what that has to do with it."""
        if self.container:
            not_applicable(f"{self.host.name} is a container ({self.container}): {why}")

    def must_have_own_network(self) -> None:
        """End the control where the host is a container that may not set its network's parameters."""
        if self.container and self.host.run("test -w /proc/sys/net/ipv4/ip_forward").rc:
            self.must_be_own("/proc/sys/net is read-only in it, so its host sets this")

    @cached_property
    def settings(self) -> dict[str, str]:
        lines = self.host.check_output(SETTINGS).splitlines()
        return {name: " ".join(value.split()) for name, _, value in (line.partition(" = ") for line in lines)}

    def __getitem__(self, name: str) -> str:
        return self.settings.get(name, "not known to this kernel")

    def interfaces(self, family: str, setting: str) -> dict[str, str]:
        """A setting's value for each interface, `all` and `default` among them."""
        start, end = f"net.{family}.conf.", f".{setting}"
        return {
            name: value
            for name, value in self.settings.items()
            if name.startswith(start) and name.endswith(end)
        }

    @cached_property
    def denied_modules(self) -> set[str]:
        """Modules that modprobe refuses, by alias and by name."""
        words = [line.split() for line in self.host.check_output(MODULES).splitlines()]
        listed = {word[1] for word in words if word[:1] == ["blacklist"]}
        never = {
            word[1]
            for word in words
            if word[:1] == ["install"] and word[2:] in (["/bin/false"], ["/bin/true"])
        }
        return {name.replace("-", "_") for name in listed & never}

    @cached_property
    def loaded_modules(self) -> set[str]:
        return {line.split()[0] for line in self.host.check_output("cat /proc/modules").splitlines()}

    @cached_property
    def mounts(self) -> dict[str, set[str]]:
        """Mount point → options; of mounts on top of each other, the topmost's."""
        fields = [line.split() for line in self.host.check_output("cat /proc/self/mountinfo").splitlines()]
        return {field[4]: set(field[5].split(",")) for field in fields}
