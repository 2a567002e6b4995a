"""How Pulumi gets here: the engine, the language host and the provider of a closed network.

Where the official ones are present or reachable they win (``choose``); otherwise the engine is built from
its Go module (``build``), and ``bin/`` holds the language host and the DigitalOcean provider.
"""

ENGINE_VERSION = "3.253.0"
"""The engine's and the SDK's version: one pin (requirements.in, pulumi/go.mod)."""

PROVIDER_VERSION = "4.76.1"
"""The official DigitalOcean provider whose tokens, names, defaults and replace rules ours takes."""
