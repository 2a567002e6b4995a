"""Three settings say how a merchant validates: level 1 to 4, the questionnaire or a report, and what applies.

Pure. Levels are the card brands', by yearly transactions of one brand (Visa, Mastercard: over 6 million; 1 to 6
million; 20,000 to 1 million of e-commerce; below). The acquirer has the last word. Questionnaires are PCI SSC's, for
PCI DSS v4.0.1: A (all account data outsourced: a redirect or the processor's iframe), A-EP (the merchant's page touches
how the data gets there: direct post, scripts), D (everything else, and whoever stores account data).

For A-EP, D and a report the whole standard counts but for what is addressed to others, stored data where none is, and
terminals where there are none. SAQ A-EP asks somewhat less; its list is not copied here, so what it leaves out shows as
applying: too much rather than too little.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seawall.places import CHECKOUT
from seawall.problem import USAGE, Problem


class Channel(StrEnum):
    """How a card number reaches the processor."""

    REDIRECT = "e-commerce-redirect"
    IFRAME = "e-commerce-iframe"
    DIRECT_POST = "e-commerce-direct-post"
    OWN_FORM = "e-commerce-own-form"
    MAIL_OR_TELEPHONE = "mail-or-telephone"
    CARD_PRESENT = "card-present"


class Validation(StrEnum):
    """What the merchant owes."""

    A = "SAQ A"
    A_EP = "SAQ A-EP"
    D = "SAQ D"
    REPORT = "report on compliance"


SAQ_A = frozenset("""
    2.2.2 3.1.1 3.2.1 6.3.1 6.3.3 8.2.1 8.2.2 8.2.5 8.3.1 8.3.5 8.3.6 8.3.7 8.3.9
    9.4.1 9.4.1.1 9.4.1.2 9.4.2 9.4.3 9.4.4 9.4.6 11.3.2 11.3.2.1
    12.8.1 12.8.2 12.8.3 12.8.4 12.8.5 12.10.1
    """.split())  # noqa: SIM905  # fmt: skip
"""SAQ A for v4.0.1, revision 1 (January 2025), which took 6.4.3, 11.6.1 and 12.3.1 out again."""

_PROVIDERS = "it is for service providers, and this is a merchant's profile"
FOR_OTHERS = {
    **dict.fromkeys(
        (
            *("3.6.1.1", "8.3.10", "8.3.10.1", "11.4.6", "11.4.7", "11.5.1.1"),
            *("12.4.1", "12.4.2", "12.4.2.1", "12.5.2.1", "12.5.3", "12.9.1", "12.9.2"),
        ),
        _PROVIDERS,
    ),
    "3.3.3": "it is for issuers and those who serve them",
    "10.7.1": "it was for service providers until March 2025; 10.7.2 took its place",
}
"""Requirements that the standard itself addresses to somebody else, by why."""

OUTSOURCED = {
    Channel.REDIRECT: "customers are sent to the processor's own page",
    Channel.IFRAME: "the payment form is the processor's own, in a frame",
    Channel.MAIL_OR_TELEPHONE: "orders by mail or telephone are handled by the processor",
}


class Applicability(NamedTuple):
    """Whether a requirement applies, and why: ``reason`` is never empty where it doesn't."""

    applies: bool
    reason: str


@dataclass(frozen=True)
class Profile:
    """The three settings, and what follows from them."""

    channel: Channel
    yearly_transactions: int
    stores_account_data: bool

    @property
    def level(self) -> int:
        """Merchant level, 1 (most transactions) to 4."""
        count, online = self.yearly_transactions, self.channel.startswith("e-commerce")
        return 1 if count > 6_000_000 else 2 if count >= 1_000_000 else 3 if online and count >= 20_000 else 4

    @property
    def validation(self) -> Validation:
        return Validation.REPORT if self.level == 1 else self.questionnaire

    @property
    def questionnaire(self) -> Validation:
        """The questionnaire the channel alone would lead to: at level 1 it still tells what the environment is like."""
        if self.stores_account_data:
            return Validation.D
        match self.channel:
            case Channel.REDIRECT | Channel.IFRAME | Channel.MAIL_OR_TELEPHONE:
                return Validation.A
            case Channel.DIRECT_POST:
                return Validation.A_EP
            case _:
                return Validation.D

    def applies(self, requirement: str) -> Applicability:
        """Of a requirement id (``pci-8.2.8``), whether the merchant owes it."""
        number = requirement.removeprefix("pci-")
        if number in FOR_OTHERS:
            return Applicability(False, FOR_OTHERS[number])
        if self.validation is Validation.A and number not in SAQ_A:
            return Applicability(False, f"SAQ A does not ask it, since {OUTSOURCED[self.channel]}")
        if not self.stores_account_data and _below(number, "3.4", "3.5", "3.6", "3.7"):
            return Applicability(False, "it protects stored account data, and none is stored")
        if self.channel is not Channel.CARD_PRESENT and _below(number, "9.5"):
            return Applicability(False, "it is about card terminals, and no card is present in this channel")
        return Applicability(True, "")


def _below(number: str, *sections: str) -> bool:
    return any(number == section or number.startswith(f"{section}.") for section in sections)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: Channel
    yearly_transactions: int = Field(ge=0, strict=True)
    stores_account_data: bool = Field(strict=True)


def own() -> Profile | None:
    """The checkout's; None where evidence.yml doesn't say."""
    path = CHECKOUT / "evidence.yml"
    return read(path) if path.exists() else None


def read(path: Path) -> Profile:
    """The three settings of evidence.yml, all needed; anything else is a ``Problem`` that says what is wrong."""
    try:
        return Profile(**dict(_Settings.model_validate(yaml.safe_load(path.read_text()) or {})))
    except (OSError, yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            said = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
        raise Problem(
            f"The merchant's profile in {path} cannot be used: {said}. It holds channel ({', '.join(Channel)}), "
            "yearly_transactions (a number) and stores_account_data (true or false); see evidence.example.yml.",
            code=USAGE,
        ) from None
