"""``seawall:index:HostKey``: the one-use SSH host key a droplet is born with.

Made once and kept in the state, the private half encrypted: user data holds it, and other user data would replace
the droplet. It names nobody's secrets: the first hardening run makes new keys on the host and this one worthless.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pulumi.provider.experimental import provider as rpc
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]


def new_pair() -> tuple[str, str]:
    """A fresh ed25519 key: the private half as OpenSSH writes it, the public one as in authorized_keys."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class HostKey:
    """Inputs: ``name``, whose key it is. Outputs: ``privateKey`` (secret), ``publicKey``.

    No change of an input makes a new pair: only a replacement of the resource does.
    """

    def check(self, request: rpc.CheckRequest) -> rpc.CheckResponse:
        failures = [
            rpc.CheckFailure(key, f"{key} is no input of a host key: it takes a name")
            for key in request.new_inputs.keys() - {"name"}
        ]
        name = request.new_inputs.get("name")
        if name is None or not isinstance(name.value, str) or not name.value:
            failures.append(rpc.CheckFailure("name", "name is missing: give the droplet's name"))
        return rpc.CheckResponse(inputs=request.new_inputs, failures=failures)

    def diff(self, request: rpc.DiffRequest) -> rpc.DiffResponse:
        renamed = request.old_state.get("name") != request.new_inputs.get("name")
        return rpc.DiffResponse(
            changes=renamed, diffs=["name"] if renamed else [], stables=["privateKey", "publicKey"]
        )

    def create(self, request: rpc.CreateRequest) -> rpc.CreateResponse:
        if request.preview:
            unknown = PropertyValue(UNKNOWN)
            sealed = unknown.with_secret(True)
            return rpc.CreateResponse("", {**request.properties, "privateKey": sealed, "publicKey": unknown})
        private, public = new_pair()
        made = {"privateKey": PropertyValue(private, is_secret=True), "publicKey": PropertyValue(public)}
        return rpc.CreateResponse(secrets.token_hex(8), {**request.properties, **made})

    def update(self, request: rpc.UpdateRequest) -> rpc.UpdateResponse:
        return rpc.UpdateResponse({**_sealed(request.olds), **request.news})

    def read(self, request: rpc.ReadRequest) -> rpc.ReadResponse:
        """The state is all there is of it; without one there is nothing to read."""
        if not request.properties:
            return rpc.ReadResponse()
        return rpc.ReadResponse(request.resource_id, _sealed(request.properties), request.inputs)

    def delete(self, request: rpc.DeleteRequest) -> None:
        """Nothing outside the state remembers it."""


def _sealed(properties: Properties) -> Properties:
    """The engine hands the state over in the clear and takes it back as it is marked."""
    return {key: value.with_secret(key == "privateKey") for key, value in properties.items()}
