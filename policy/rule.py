"""What a policy is: a named function that says what is wrong with one resource, or with the whole.

    @rule("loadbalancer-redirect", "Port 80 answers with a redirect", on=LoadBalancer, severity="high",
          requirements=["pci-4.2.1"], remedy="Set redirect_http_to_https.")
    def redirect(balancer):
        if balancer.redirects is False:
            yield "redirect_http_to_https is off"

A function that yields nothing is content. One with ``on=Cloud`` yields pairs of the resource and the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from policy.cloud import Cloud, Subject
from seawall.findings import Severity


@dataclass(frozen=True)
class Policy:
    """``advisory`` ones are told and never stop anything. ``live_only``: a program can't say it. ``unseen``: why an
    audit of the live account can't judge it."""

    id: str
    title: str
    on: type
    severity: Severity
    requirements: tuple[str, ...]
    remedy: str
    advisory: bool
    live_only: bool
    unseen: str
    judge: Callable[[Any], Iterable[Any]]

    def subjects(self, cloud: Cloud) -> list[Subject]:
        """What it is about: every resource of its kind; of the whole, whatever the judge names."""
        return [] if self.on is Cloud else cloud.every(self.on)

    def complaints(self, cloud: Cloud) -> Iterator[tuple[Subject, str]]:
        """Each resource it finds wrong, with the reason."""
        if self.on is Cloud:
            yield from self.judge(cloud)
            return
        for subject in self.subjects(cloud):
            for said in self.judge(subject):
                yield subject, said


POLICIES: dict[str, Policy] = {}
"""Every rule by its id, in the order of the files."""


def rule(
    id: str,
    title: str,
    *,
    on: type,
    severity: str,
    remedy: str,
    requirements: Iterable[str] = (),
    advisory: bool = False,
    live_only: bool = False,
    unseen: str = "",
) -> Callable[[Callable[[Any], Iterable[Any]]], Callable[[Any], Iterable[Any]]]:
    """Make a function a policy. ``id`` is lower case, noun first, and never changes once released."""

    def mark(judge: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterable[Any]]:
        if id in POLICIES:
            raise ValueError(f"there are two rules {id}")
        POLICIES[id] = Policy(
            id, title, on, Severity(severity), tuple(requirements), remedy, advisory, live_only, unseen, judge
        )
        return judge

    return mark
