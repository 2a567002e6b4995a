"""The one-use SSH host key of a droplet, made by our own plugin (``infra/provider``)."""

from __future__ import annotations

import pulumi


class HostKey(pulumi.CustomResource):
    """One ed25519 host key, made once and then kept: no change of ``host`` makes another.

    ``host``: the droplet's name. ``private_key`` (a secret, OpenSSH's format) belongs into its user data and nowhere
    else, ``public_key`` ("ssh-ed25519 AAAA…") into the stack's outputs.
    """

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, host: str, opts: pulumi.ResourceOptions | None = None) -> None:
        properties = {"name": host, "private_key": None, "public_key": None}
        sealed = pulumi.ResourceOptions(additional_secret_outputs=["privateKey"])
        super().__init__(
            "seawall:index:HostKey", name, properties, pulumi.ResourceOptions.merge(opts, sealed)
        )

    def translate_output_property(self, prop: str) -> str:
        return {"privateKey": "private_key", "publicKey": "public_key"}.get(prop, prop)
