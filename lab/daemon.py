"""The lab's one long-lived process: API, metadata services and relays in front of the machines.

It can be killed at any moment. Droplets and load balancers run on without it, and the next daemon takes them
over as they are.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from lab import spaces
from lab.api.app import create_app
from lab.api.metadata import create_app as create_metadata_app
from lab.api.services import spaces_keys
from lab.api.store import Store
from lab.backend import Machines
from lab.host import remember
from lab.instance import Instance, allocate
from lab.network import mirror, plan, router
from lab.network.relay import Relays

PID = "daemon.pid"
LOCK = "daemon.lock"

log = logging.getLogger("lab")


def serve(instance: Instance, token_file: Path, listener: socket.socket) -> None:
    """Run until told to stop (SIGTERM). ``listener`` is the API's socket, already bound to its port."""
    with open(instance.data / LOCK, "w") as lock:
        flock(lock, LOCK_EX | LOCK_NB)
        remember(instance.data / PID, os.getpid())
        router.ensure_core(instance)
        mirror.use()
        relays = Relays(instance)
        store = Store(instance.database)
        token = token_file.read_text().strip()
        store.open_account(token, instance.public_range)
        metadata = Metadata(instance, store)
        backend = Machines(instance, metadata.serve)
        buckets = spaces.Server(
            (spaces.HOST, instance.api_port), _keys(store, token), instance.data / "spaces.jsonl"
        )
        server = uvicorn.Server(_config(create_app(store, backend)))
        log.info("serving %s, public addresses %s, machines on", instance.api, instance.public_range)
        server.run(sockets=[listener])
        buckets.close()
        relays.close()
        store.close()
        log.info("stopped; machines run on")


def _keys(store: Store, token: str) -> spaces.Find:
    """Spaces' keys: the account's own, and those made through the API."""
    identity, secret = spaces.root_key(token)
    return lambda key: (secret, {"": "fullaccess"}) if key == identity else spaces_keys.grants_of(store, key)


class Metadata:
    """The metadata services: one a region, each on a socket of its region's namespace."""

    def __init__(self, instance: Instance, store: Store) -> None:
        self._instance = instance
        self._store = store

    def serve(self, region: str) -> None:
        """Answer a region's droplets from now on. The socket listens when this returns."""
        listener = router.listening(self._instance.namespace(region), plan.METADATA, 80)
        server = uvicorn.Server(_config(create_metadata_app(self._store, region=region)))
        threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name=f"metadata {region}", daemon=True
        ).start()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)


def main(name: str, token_file: str, descriptor: str) -> None:
    """What ``control.start`` runs: the listening socket comes in as an inherited descriptor."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(allocate(name), Path(token_file), socket.socket(fileno=int(descriptor)))


if __name__ == "__main__":
    main(*sys.argv[1:])
