"""An SSH server on a loopback port, with a key of its own: what connections are tried against."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import paramiko

SUDO = '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n'


class Server:
    """Takes one user's key, runs commands as the tests' own user, and forwards ports as a bastion does."""

    def __init__(self, folder: Path, user_key: paramiko.PKey) -> None:
        self.host_key = paramiko.Ed25519Key.from_private_key(_private_key())
        self.user_key, self.connections, self.forwarded = user_key, 0, []
        self._transports: list[paramiko.Transport] = []
        self._environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        folder.mkdir(exist_ok=True)
        sudo = folder / "sudo"
        sudo.write_text(SUDO)
        sudo.chmod(0o755)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self) -> None:
        """Cut every connection and take no new one."""
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(self.host_key)
        self._transports.append(transport)
        try:
            transport.start_server(server=_Session(self))
        except (paramiko.SSHException, EOFError, OSError):
            return  # the client did not like our key, as some tests want it
        while transport.is_active():
            transport.join(0.2)

    def execute(self, channel: paramiko.Channel, command: bytes) -> None:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
        )

        def feed() -> None:
            while data := channel.recv(65536):
                process.stdin.write(data)
                process.stdin.flush()
            process.stdin.close()

        threading.Thread(target=feed, daemon=True).start()
        with suppress(OSError):  # the client may have heard enough, and gone
            for line in process.stdout:
                channel.sendall(line)
            channel.sendall_stderr(process.stderr.read())
            channel.send_exit_status(process.wait())
        channel.close()


class _Session(paramiko.ServerInterface):
    def __init__(self, server: Server) -> None:
        self.server = server

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        good = key.asbytes() == self.server.user_key.asbytes()
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.server.execute, args=(channel, command), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(self, chanid: int, origin: tuple, destination: tuple) -> int:
        self.server.forwarded.append(destination)
        target = socket.create_connection(destination)
        threading.Thread(target=self._forward, args=(chanid, target), daemon=True).start()
        return paramiko.OPEN_SUCCEEDED

    def _forward(self, chanid: int, target: socket.socket) -> None:
        transport = self.server._transports[-1]
        channel = None
        while channel is None or channel.chanid != chanid:  # sessions wait to be accepted too
            channel = transport.accept(5)

        def back() -> None:
            while data := target.recv(65536):
                channel.sendall(data)
            channel.close()

        threading.Thread(target=back, daemon=True).start()
        while data := channel.recv(65536):
            target.sendall(data)
        target.close()


def _private_key():
    import io

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return io.StringIO(pem.decode())
