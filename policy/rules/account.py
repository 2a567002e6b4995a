"""The account itself."""

from policy.cloud import Account
from policy.rule import rule


@rule(
    "account-email",
    "The account's e-mail address is verified",
    on=Account,
    severity="medium",
    requirements=["pci-8.2.1"],
    remedy="Follow the link DigitalOcean sent, or ask for a new one in the control panel.",
    live_only=True,
)
def email(account):
    if account.email_verified is False:
        yield "its e-mail address is not verified"
