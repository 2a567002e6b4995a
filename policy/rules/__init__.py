"""One file a noun. Importing this package registers every rule in ``policy.rule.POLICIES``."""

from policy.rules import (  # noqa: F401
    account,
    certificates,
    domains,
    droplets,
    firewalls,
    flows,
    keys,
    loadbalancers,
    spaces,
)
