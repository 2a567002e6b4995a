"""What a control is: a testinfra test with an id, a sentence and the requirements it serves.

    @control("sshd-root-login", "Root cannot log in over SSH", severity="critical", requirements=["pci-2.2.2"])
    def test_root_login(host):
        expect(host.sshd["permitrootlogin"], "PermitRootLogin").to_be("no")

Run on a host it gives a finding: expected and seen come from ``expect``, on a pass too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeVar

import pytest

from seawall.findings import Severity

Test = TypeVar("Test", bound=Callable)


@dataclass(frozen=True)
class Control:
    """``on`` is a group of the inventory; hosts outside it get *not applicable*. ``proven_on`` says which kind of
    the lab's machines can hold it: ``any``, or ``own kernel`` where a container shares its host's."""

    id: str
    title: str
    severity: Severity
    requirements: tuple[str, ...]
    on: str
    proven_on: str


def control(
    id: str,
    title: str,
    *,
    severity: str,
    requirements: Iterable[str],
    on: str = "all",
    proven_on: str = "any",
) -> Callable[[Test], Test]:
    """Make a test a control. ``id`` is lower case, noun first, and never changes once released."""
    declared = Control(id, title, Severity(severity), tuple(requirements), on, proven_on)

    def mark(test: Test) -> Test:
        test.control = declared  # type: ignore[attr-defined]
        return test

    return mark


def not_applicable(reason: str) -> NoReturn:
    """End the control here: it says nothing about this host, for this reason."""
    raise pytest.skip.Exception(reason)


class Deviation(AssertionError):
    """What was seen is not what was expected."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected, self.seen = expected, seen


class Look(NamedTuple):
    """One comparison a control made."""

    expected: str
    seen: str


_looks: list[Look] = []


def begin() -> None:
    """A control begins: forget what the one before looked at."""
    _looks.clear()


def looks() -> tuple[Look, ...]:
    """Everything the control has compared since it began."""
    return tuple(_looks)


class expect:
    """``expect(seen, "what it is").to_be(…)``: compare, and keep both sides for the finding."""

    def __init__(self, seen: Any, what: str = "") -> None:
        self.seen, self.what = seen, what

    def to_be(self, expected: Any) -> None:
        self._judge(self.seen == expected, _say(expected))

    def to_be_one_of(self, *allowed: Any) -> None:
        self._judge(self.seen in allowed, " or ".join(map(_say, allowed)))

    def to_be_at_most(self, limit: float) -> None:
        self._judge(self.seen <= limit, f"at most {limit}")

    def to_be_at_least(self, limit: float) -> None:
        self._judge(self.seen >= limit, f"at least {limit}")

    def to_be_within(self, least: float, most: float) -> None:
        self._judge(least <= self.seen <= most, f"{least} to {most}")

    def to_be_only(self, allowed: Iterable[Any]) -> None:
        """Something, and nothing but these."""
        allowed = set(allowed)
        self._judge(bool(self.seen) and set(self.seen) <= allowed, f"only {_say(allowed)}")

    def to_be_exactly(self, expected: Iterable[Any]) -> None:
        """These, all of them and nothing else, in any order."""
        expected = set(expected)
        seen = set(self.seen)
        missing, surplus = expected - seen, seen - expected
        said = "; ".join(
            f"{word} {_say(difference)}"
            for word, difference in (("missing", missing), ("besides", surplus))
            if difference
        )
        self._judge(not said, _say(expected), said or None)

    def to_include(self, *needed: Any) -> None:
        self._judge(set(needed) <= set(self.seen), f"among them {_say(needed)}")

    def to_match(self, pattern: str) -> None:
        """The whole of a text, as a regular expression."""
        self._judge(re.fullmatch(pattern, self.seen) is not None, f"like {pattern}")

    def to_be_empty(self) -> None:
        self._judge(not self.seen, "none")

    def _judge(self, holds: bool, expected: str, seen: str | None = None) -> None:
        prefix = f"{self.what}: " if self.what else ""
        expected, seen = prefix + expected, prefix + (_say(self.seen) if seen is None else seen)
        _looks.append(Look(expected, seen))
        if not holds:
            raise Deviation(expected, seen)


def _say(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, str):
        return value or "nothing"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{key} {_say(held)}" for key, held in sorted(value.items())) or "none"
    if isinstance(value, tuple):
        return " ".join(map(_say, value)) or "none"
    if isinstance(value, Iterable):
        return ", ".join(sorted(map(_say, value))) or "none"
    return str(value)
