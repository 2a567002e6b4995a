"""SSH keys in the account."""

import base64
import binascii

from policy.cloud import Key
from policy.rule import rule

RSA_BITS = 3072
"""128 bits of security (NIST SP 800-57 part 1, table 2)."""


@rule(
    "key-strength",
    "SSH keys are ed25519, ECDSA or RSA of at least 3072 bits",
    on=Key,
    severity="high",
    requirements=["pci-8.3.2", "pci-2.2.7"],
    remedy="Make a new one (`ssh-keygen -t ed25519`), add it, then remove this one.",
)
def strength(key):
    if key.public is None:
        return
    kind, _, rest = key.public.partition(" ")
    if kind == "ssh-dss":
        yield "it is a DSA key, which today's OpenSSH refuses"
    elif kind == "ssh-rsa" and (bits := rsa_bits(rest.split(" ")[0])) < RSA_BITS:
        yield f"it is an RSA key of {bits} bits"


def rsa_bits(blob: str) -> int:
    """The modulus' length in bits (RFC 4253, 6.6: string type, mpint e, mpint n); 0 where it can't be read."""
    try:
        rest, fields = base64.b64decode(blob, validate=True), []
        while rest:
            size = int.from_bytes(rest[:4], "big")
            fields.append(rest[4 : 4 + size])
            rest = rest[4 + size :]
        return int.from_bytes(fields[2], "big").bit_length()
    except (binascii.Error, IndexError):
        return 0
