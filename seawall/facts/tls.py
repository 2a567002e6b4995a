"""A TLS server as its clients meet it, probed from the host itself: its port need not be open to the controller."""

from __future__ import annotations

import re
import shlex
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seawall.facts import Machine

PATIENCE = 20
"""Seconds for a handshake that takes milliseconds: a busy host is no other host."""
VERSIONS = {"TLS 1.0": "-tls1", "TLS 1.1": "-tls1_1", "TLS 1.2": "-tls1_2", "TLS 1.3": "-tls1_3"}


class Tls:
    """``host.tls(443)``. Each question is a handshake of `openssl s_client`."""

    def __init__(self, host: Machine, address: str, port: int, name: str) -> None:
        self.host = host
        self.target = f"-connect {'[' + address + ']' if ':' in address else address}:{port}"
        if name:
            self.target += f" -servername {shlex.quote(name)}"

    def _command(self, options: str, said: str = "") -> str:
        feed = f"printf %s {shlex.quote(said)} | " if said else ""
        return f"{feed}timeout {PATIENCE} openssl s_client {self.target} {options} 2>&1"

    def _talk(self, options: str, said: str = "", until: str = "") -> str:
        """What s_client prints. Whoever never came so far as to say ``until`` (a pattern) was not asked: not knowing
        is no finding."""
        answer = self.host.run(self._command(options, said))
        if answer.rc == 124 and not re.search(until, answer.stdout, re.MULTILINE):
            raise TimeoutError(f"no TLS handshake with {self.target} within {PATIENCE} s")
        return answer.stdout

    def handshake(self, options: str = "") -> str | None:
        """The suite agreed on, such as ``ECDHE-ECDSA-AES128-GCM-SHA256``; None where there was no agreement."""
        found = re.search(r"Cipher is (\S+)", self._talk(options, until="Cipher is"))
        return found[1] if found and found[1] != "(NONE)" else None

    @cached_property
    def versions(self) -> set[str]:
        """Protocol versions the server agrees to, asked by a client that would take any suite."""
        lax = "-cipher ALL:COMPLEMENTOFALL:@SECLEVEL=0"
        asked = {
            version: option if version == "TLS 1.3" else f"{option} {lax}"
            for version, option in VERSIONS.items()
        }
        for options in asked.values():
            self.host.backend.ask(self._command(options))  # all four at once
        return {version for version, options in asked.items() if self.handshake(options)}

    def suite_outside(self, permitted: tuple[str, ...]) -> str | None:
        """A TLS 1.2 suite the server agrees to that is not among ``permitted``."""
        others = ":".join(["ALL", "COMPLEMENTOFALL", *(f"!{suite}" for suite in permitted), "@SECLEVEL=0"])
        return self.handshake(f"-tls1_2 -cipher {shlex.quote(others)}")

    @cached_property
    def certificate(self) -> dict[str, str]:
        """Of the certificate shown: its ``key``'s bits and ``algorithm``, its ``signature``, ``valid`` or not."""
        shown = shlex.quote(self._talk("", until="Cipher is"))
        text = self.host.run(f"printf %s {shown} | openssl x509 -noout -text -checkend 0").stdout
        fields = {
            "key": r"Public-Key: \((\d+) bit\)",
            "algorithm": r"Public Key Algorithm: (\S+)",
            "signature": r"Signature Algorithm: (\S+)",
        }
        found = {name: m[1] for name, pattern in fields.items() if (m := re.search(pattern, text))}
        return {**found, "valid": "yes" if "will not expire" in text else "no"}

    @property
    def tickets(self) -> bool:
        """Whether a TLS 1.2 client is handed a session ticket."""
        return "TLS session ticket:" in self._talk("-tls1_2", until="Cipher is")

    def exchange(self, said: str, until: str = "") -> str:
        """What the server says to ``said``, from a client without a certificate; ``until`` as in `_talk`."""
        return self._talk("-quiet -ign_eof", said, until)

    def http(
        self, path: str = "/", method: str = "GET", headers: tuple[str, ...] = (), *, name: str
    ) -> Response:
        """One HTTP/1.1 request."""
        request = "\r\n".join(
            [f"{method} {path} HTTP/1.1", f"Host: {name}", "Connection: close", *headers, "", ""]
        )
        return Response(self.exchange(request, until=r"^HTTP/"))


class Response:
    """An HTTP response's status (0 where there was none), headers (names in lower case) and body."""

    def __init__(self, text: str) -> None:
        start = re.search(r"^HTTP/[\d.]+ (\d{3})", text, re.MULTILINE)
        self.status = int(start[1]) if start else 0
        head, _, self.body = (text[start.start() :] if start else "").replace("\r\n", "\n").partition("\n\n")
        lines = [line.split(":", 1) for line in head.splitlines()[1:] if ":" in line]
        self.headers = {name.strip().lower(): value.strip() for name, value in lines}
