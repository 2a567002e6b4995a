"""Where Pulumi's configuration becomes settings, and a refusal becomes one message without a traceback."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from infra import account
from infra.settings import Refused, Settings
from infra.stack import Stack

NAMESPACE = "seawall:"


def settings_of(stack: Stack, checkout: Path) -> Settings:
    """This stack's settings; ``pulumi.RunError`` with everything that is wrong with them, or with the account."""
    # All there are, not only those we would ask for: a mistyped name must not go unnoticed.
    values = {
        key.removeprefix(NAMESPACE): value for key, value in CONFIG.get().items() if key.startswith(NAMESPACE)
    }
    try:
        if lying := [name for name, value in values.items() if open_key(name, value)]:
            raise Refused([OPEN_KEY.format(name=name, stack=stack.stack) for name in lying])
        settings = Settings.load(values, checkout)
        cloud = pulumi.Config("digitalocean")
        if problems := account.faults(
            settings, stack.name, account.client(cloud.get("token"), cloud.get("apiEndpoint"))
        ):
            raise Refused(problems)
    except Refused as refused:
        raise pulumi.RunError(refusal(stack, refused.problems)) from None
    except account.Unanswered as unanswered:
        raise pulumi.RunError(str(unanswered)) from None
    return settings


OPEN_KEY = (
    "seawall:{name} has a private key in the clear, for all who read Pulumi.{stack}.yaml or its history. Take it out "
    "and make a new one; `pulumi config set --path --secret seawall:certificate.privateKey < FILE` encrypts it."
)


def open_key(name: str, value: object) -> bool:
    """Whether a setting that is no secret of the stack's has a private key in it."""
    return "PRIVATE KEY-----" in str(value) and not is_config_secret(NAMESPACE + name)


def refusal(stack: Stack, problems: list[str]) -> str:
    """One paragraph a problem. The command line knows bad settings by how this begins."""
    numbered = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
    return f"Settings of stack {stack.stack} (Pulumi.{stack.stack}.yaml) are refused; nothing was created.\n{numbered}"
