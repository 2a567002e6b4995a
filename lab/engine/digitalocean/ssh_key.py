"""A public key of the account. The key itself cannot be changed, only its name."""

from __future__ import annotations

from lab.engine.digitalocean.api import Api, segment
from lab.engine.digitalocean.fields import name, not_empty, text, told
from lab.engine.digitalocean.resource import MINUTE, Properties, Resource


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    where = f"/v2/account/keys/{segment(identity)}"
    api.call("PUT", where, f"renaming the SSH key {state['name']}", {"name": plan["name"]})


SSH_KEY = Resource(
    token="digitalocean:index/sshKey:SshKey",  # noqa: S106
    noun="SSH key",
    path="/v2/account/keys",
    envelope="ssh_key",
    listed="ssh_keys",
    fields={
        "name": name(),
        "publicKey": text(required=True, replace=True, same=str.strip, check=not_empty),
        "fingerprint": told(),
    },
    update=_update,
    same=("publicKey",),
    official_timeouts={"create": 2 * MINUTE},
)
