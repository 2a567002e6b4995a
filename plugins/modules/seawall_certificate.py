#!/usr/bin/python
"""The host's half of a certificate: its private key, made here and staying here, and the request for it."""

from __future__ import annotations

import os
import tempfile

from ansible.module_utils import seawall_host as host
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: seawall_certificate
short_description: A host's private key, its request, and the certificate it gets
description:
  - Used by the action plugin of the same name, which decides and signs on the controller.
options:
  key: {type: path, required: true, description: "Private key, made where it is missing, mode 0600"}
  algorithm: {type: str, choices: [ec, rsa], default: ec, description: Of a new key; EC P-256 or RSA 3072}
  role: {type: str, default: "", description: Whose files these are; the action plugin says it}
  certificate: {type: path, required: true}
  authority: {type: path, required: true, description: Where the authority's certificate is put}
  names: {type: list, elements: str, required: true, description: DNS names; the first is the subject}
  addresses: {type: list, elements: str, default: [], description: IP addresses the certificate also names}
  fingerprint: {type: bool, default: false, description: "The certificate also bears its key's SHA-256, as a name"}
  revoked: {type: list, elements: str, default: [], description: Fingerprints; a key among them is replaced}
  anew: {type: bool, default: false, description: "Make a new key in `request`; the action plugin says it"}
  renew_days: {type: int, default: 30, description: Renewed when fewer days are left}
  stage: {type: str, choices: [look, request, install], default: look}
  pem: {type: dict, default: {}, description: "certificate, authority: what `install` writes"}
"""


def main():
    module = AnsibleModule(
        argument_spec={
            "key": {"type": "path", "required": True, "no_log": False},
            "certificate": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "fingerprint": {"type": "bool", "default": False},
            "revoked": {"type": "list", "elements": "str", "default": []},
            "anew": {"type": "bool", "default": False},
            "renew_days": {"type": "int", "default": 30},
            "stage": {"type": "str", "choices": ["look", "request", "install"], "default": "look"},
            "pem": {"type": "dict", "default": {}},
            "algorithm": {"type": "str", "choices": ["ec", "rsa"], "default": "ec"},
            "role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        if options["stage"] == "look":
            module.exit_json(changed=False, **look(options))
        if options["stage"] == "request":
            paths = (options["key"], options["certificate"], options["authority"])
            host.remember(options["role"], [host.File(path, None) for path in paths])
            made = request(options["key"], options["names"][0], options["algorithm"], options["anew"])
            module.exit_json(changed=True, request=made)
        # Only what differs: an authority written anew makes every daemon that reads it look out of date.
        host.install(
            host.changes([host.File(options[name], text.encode()) for name, text in options["pem"].items()])
        )
        module.exit_json(changed=True)
    except (host.HostError, OSError) as error:
        module.fail_json(msg=str(error))


def look(options):
    """What is there: both certificates' texts, and the public half of the key."""
    texts = {name: (host.read(options[name]) or b"").decode() for name in ("certificate", "authority")}
    public = ""
    if os.path.exists(options["key"]):
        public = host.run(["openssl", "pkey", "-in", options["key"], "-pubout"]).stdout
    return {**texts, "public_key": public}


ALGORITHMS = {
    "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
}


def request(key, subject, algorithm, anew=False):
    """A signing request, over a key made now if there is none that can be used, or none that may be."""
    if anew or host.run(["openssl", "pkey", "-in", key, "-noout"]).returncode:
        os.makedirs(os.path.dirname(key), mode=0o755, exist_ok=True)
        # mkstemp makes it 0600 from the start, and a cut-off run leaves no half key under the real name.
        fd, temporary = tempfile.mkstemp(dir=os.path.dirname(key), prefix=".seawall-")
        os.close(fd)
        make = ["openssl", "genpkey", *ALGORITHMS[algorithm], "-out", temporary]
        host.must(make, "A private key could not be made")
        os.rename(temporary, key)
        host.fsync_directory(os.path.dirname(key))
    argv = ["openssl", "req", "-new", "-key", key, "-subj", f"/CN={subject}"]
    return host.must(argv, "A certificate could not be requested")


if __name__ == "__main__":
    main()
