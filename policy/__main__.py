"""The policy pack: `pulumi preview --policy-pack policy`, and every `seawall up`.

A rule about one resource is judged before that resource is created, one about the whole when all is known. Which
stop an operation and which only tell is the rule's own; `--policy-pack-config policy/advisory.json` lets all only tell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
# Pulumi runs this folder as a program; the tests and the audit import it as the package `policy`. So here, too.
sys.path.insert(0, str(CHECKOUT))

import pulumi_policy  # noqa: E402
from pulumi_policy import (  # noqa: E402
    EnforcementLevel,
    PolicyPack,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

import policy.rules  # noqa: E402, F401
from policy import program  # noqa: E402
from policy.cloud import Cloud, Flow  # noqa: E402
from policy.rule import POLICIES, Policy  # noqa: E402
from seawall.findings import accepted, own_waivers  # noqa: E402

WAIVERS = own_waivers()
STACK = "pulumi:pulumi:Stack"


def whole(args: StackValidationArgs) -> Cloud:
    """Everything the program is about to make, with the flows it declares."""
    found = []
    for each in args.resources:
        if each.resource_type == STACK:
            found += program.flows(each.props)
        elif (one := program.resource(each.resource_type, each.name, each.urn, each.props)) is not None:
            found.append(one)
    return Cloud(tuple(found))


def report(rule: Policy, cloud: Cloud, violation: Callable[[str, str | None], None]) -> None:
    """What is wrong and nobody answers for. The engine has no word for a waived one, so that is told nowhere here."""
    for subject, said in rule.complaints(cloud):
        if not accepted(WAIVERS, rule.id, subject.name, cloud.at.date()):
            violation(f"{subject.name}: {said}. {rule.remedy}", subject.urn or None)


def one(rule: Policy) -> Callable[[ResourceValidationArgs, Any], None]:
    def validate(args: ResourceValidationArgs, violation: Any) -> None:
        subject = program.resource(args.resource_type, args.name, args.urn, args.props)
        if subject is not None and isinstance(subject, rule.on):
            report(rule, Cloud((subject,)), violation)

    return validate


def stack(rule: Policy) -> Callable[[StackValidationArgs, Any], None]:
    return lambda args, violation: report(rule, whole(args), violation)


def policies() -> list[pulumi_policy.Policy]:
    made: list[pulumi_policy.Policy] = []
    for rule in POLICIES.values():
        if rule.live_only:
            continue
        level = EnforcementLevel.ADVISORY if rule.advisory else EnforcementLevel.MANDATORY
        if rule.on in (Cloud, Flow):
            made.append(StackValidationPolicy(rule.id, rule.title, stack(rule), level))
        else:
            made.append(ResourceValidationPolicy(rule.id, rule.title, one(rule), level))
    return made


if __name__ == "__main__":
    PolicyPack("seawall", policies())
