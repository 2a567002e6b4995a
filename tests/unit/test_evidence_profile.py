"""Three settings choose level, questionnaire and what applies. The tables are written by hand."""

from __future__ import annotations

import pytest

from seawall.evidence.profile import Channel, Profile, read
from seawall.places import CHECKOUT
from seawall.problem import Problem


@pytest.mark.parametrize(
    ("channel", "transactions", "level"),
    [
        ("e-commerce-iframe", 0, 4),
        ("e-commerce-iframe", 19_999, 4),
        ("e-commerce-iframe", 20_000, 3),
        ("e-commerce-iframe", 999_999, 3),
        ("e-commerce-iframe", 1_000_000, 2),
        ("e-commerce-iframe", 6_000_000, 2),
        ("e-commerce-iframe", 6_000_001, 1),
        ("card-present", 20_000, 4),
        ("card-present", 999_999, 4),
        ("card-present", 1_000_000, 2),
        ("mail-or-telephone", 7_000_000, 1),
    ],
)
def test_level(channel, transactions, level):
    assert Profile(Channel(channel), transactions, False).level == level


@pytest.mark.parametrize(
    ("channel", "stores", "transactions", "owed"),
    [
        ("e-commerce-redirect", False, 40_000, "SAQ A"),
        ("e-commerce-iframe", False, 40_000, "SAQ A"),
        ("mail-or-telephone", False, 40_000, "SAQ A"),
        ("e-commerce-direct-post", False, 40_000, "SAQ A-EP"),
        ("e-commerce-own-form", False, 40_000, "SAQ D"),
        ("card-present", False, 40_000, "SAQ D"),
        ("e-commerce-redirect", True, 40_000, "SAQ D"),
        ("e-commerce-direct-post", True, 40_000, "SAQ D"),
        ("e-commerce-redirect", False, 6_000_001, "report on compliance"),
        ("e-commerce-own-form", True, 6_000_001, "report on compliance"),
    ],
)
def test_what_is_owed(channel, stores, transactions, owed):
    assert Profile(Channel(channel), transactions, stores).validation == owed


@pytest.mark.parametrize(
    ("channel", "stores", "transactions", "requirement", "reason"),
    [
        ("e-commerce-iframe", False, 1, "pci-11.3.2", ""),
        ("e-commerce-iframe", False, 1, "pci-8.3.9", ""),
        ("e-commerce-iframe", False, 1, "pci-12.8.5", ""),
        ("e-commerce-iframe", False, 1, "pci-10.2.1", "the payment form is the processor's own"),
        ("e-commerce-redirect", False, 1, "pci-11.6.1", "customers are sent to the processor's own page"),
        ("e-commerce-redirect", False, 9_000_000, "pci-10.2.1", ""),
        ("e-commerce-direct-post", False, 1, "pci-10.2.1", ""),
        ("e-commerce-direct-post", False, 1, "pci-3.5.1", "none is stored"),
        ("e-commerce-own-form", True, 1, "pci-3.5.1", ""),
        ("e-commerce-own-form", False, 1, "pci-3.3.1", ""),
        ("e-commerce-own-form", True, 1, "pci-9.5.1.2.1", "card terminals"),
        ("card-present", False, 1, "pci-9.5.1", ""),
        ("e-commerce-own-form", True, 9_000_000, "pci-12.4.1", "service providers"),
        ("e-commerce-own-form", True, 1, "pci-12.4.2.1", "service providers"),
        ("e-commerce-own-form", True, 1, "pci-3.3.3", "issuers"),
    ],
)
def test_what_applies_and_why_not(channel, stores, transactions, requirement, reason):
    told = Profile(Channel(channel), transactions, stores).applies(requirement)
    assert told.applies is (reason == "")
    assert reason in told.reason
    assert bool(told.reason) is not told.applies


def test_the_example_can_be_read():
    found = read(CHECKOUT / "evidence.example.yml")
    assert (found.level, found.validation) == (3, "SAQ A")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "channel"),
        ("channel: web\nyearly_transactions: 1\nstores_account_data: false", "channel"),
        ("channel: card-present\nyearly_transactions: -1\nstores_account_data: false", "yearly_transactions"),
        (
            "channel: card-present\nyearly_transactions: many\nstores_account_data: false",
            "yearly_transactions",
        ),
        ("channel: card-present\nyearly_transactions: 1", "stores_account_data"),
        (
            "channel: card-present\nyearly_transactions: 1\nstores_account_data: perhaps",
            "stores_account_data",
        ),
        ("channel: card-present\nyearly_transactions: 1\nstores_account_data: no\nlevel: 4", "level"),
        ("channel: [", "evidence.yml"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "evidence.yml"
    path.write_text(text)
    with pytest.raises(Problem) as problem:
        read(path)
    assert problem.value.code == 64
    assert complaint in str(problem.value)
