"""One file a noun, each in the same order: request models, how a row is answered, operations."""

from . import (
    account,
    actions,
    catalogue,
    certificates,
    droplet_actions,
    droplets,
    firewalls,
    load_balancers,
    projects,
    ssh_keys,
    tags,
    vpcs,
)

# The more particular path first: /v2/droplets/actions before /v2/droplets/{droplet_id}.
SERVICES = (
    account.service,
    actions.service,
    catalogue.service,
    certificates.service,
    droplet_actions.service,
    droplets.service,
    firewalls.service,
    load_balancers.service,
    projects.service,
    ssh_keys.service,
    tags.service,
    vpcs.service,
)
