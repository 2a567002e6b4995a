"""Our tables against the official provider's schema: same tokens, names, types, secrets and replacements."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from lab.engine.digitalocean.provider import RESOURCES
from lab.engine.digitalocean.schema import schema

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "pulumi" / "digitalocean-schema-subset.json"
OURS = schema(RESOURCES.values())


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    if not OFFICIAL.exists():
        pytest.skip("the official schema is not beside this checkout")
    found: dict[str, Any] = json.loads(OFFICIAL.read_text())
    return found


def shape(properties: dict[str, Any]) -> dict[str, Any]:
    """What of a property matters to a program and a state."""
    return {
        name: {
            key: shape({"": item})[""] if key in ("items", "additionalProperties") else item
            for key, item in known.items()
            if key in ("type", "items", "additionalProperties", "$ref", "secret", "willReplaceOnChanges")
        }
        for name, known in properties.items()
    }


@pytest.mark.parametrize("token", sorted(RESOURCES))
def test_a_resource_is_the_official_one(official: dict[str, Any], token: str) -> None:
    if token not in official["resources"]:
        pytest.skip(f"{token} is not in the part of the official schema that is kept beside the checkout")
    ours, theirs = OURS["resources"][token], official["resources"][token]
    assert shape(ours["inputProperties"]) == shape(theirs["inputProperties"])
    assert sorted(ours["requiredInputs"]) == sorted(theirs.get("requiredInputs", []))
    assert shape(ours["properties"]) == shape(theirs["properties"])
    assert sorted(ours["required"]) == sorted(theirs["required"])


@pytest.mark.parametrize("token", sorted(OURS["types"]))
def test_a_nested_type_is_the_official_one(official: dict[str, Any], token: str) -> None:
    if token not in official["types"]:
        pytest.skip(f"{token} is not in the part of the official schema that is kept beside the checkout")
    ours, theirs = OURS["types"][token], official["types"][token]
    assert shape(ours["properties"]) == shape(theirs["properties"])
    assert sorted(ours["required"]) == sorted(theirs.get("required", []))


@pytest.mark.filterwarnings("ignore:digitalocean:DeprecationWarning")  # the SDK's own, at its import
def test_the_nat_gateway_takes_what_the_official_sdk_gives() -> None:
    """Its schema is not beside the checkout; the SDK, generated from it, is installed."""
    import pulumi_digitalocean as do

    given = inspect.signature(do.VpcNatGatewayArgs.__init__).parameters
    ours = OURS["resources"]["digitalocean:index/vpcNatGateway:VpcNatGateway"]
    assert {camel(name) for name in given} - {"_self_"} == set(ours["inputProperties"])
    required = {camel(name) for name, known in given.items() if known.default is inspect.Parameter.empty}
    assert required - {"_self_"} == set(ours["requiredInputs"])


def camel(name: str) -> str:
    first, *rest = name.strip("_").split("_")
    return "_self_" if name.startswith("_") else first + "".join(map(str.capitalize, rest))


def test_infra_needs_these() -> None:
    assert {token.split(":")[-1] for token in RESOURCES} == {
        "Vpc",
        "SshKey",
        "Tag",
        "Droplet",
        "Firewall",
        "Certificate",
        "LoadBalancer",
        "VpcNatGateway",
        "ReservedIp",
        "ReservedIpAssignment",
        "Domain",
        "DnsRecord",
        "Project",
        "ProjectResources",
        "MonitorAlert",
        "UptimeCheck",
        "UptimeAlert",
        "SpacesBucket",
        "SpacesKey",
    }
