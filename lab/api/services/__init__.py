"""One file a noun, each in the same order: request models, how a row is answered, operations."""

from . import (
    account,
    actions,
    catalogue,
    certificates,
    domains,
    droplet_actions,
    droplets,
    firewalls,
    load_balancers,
    monitoring,
    nat_gateways,
    projects,
    reserved_ips,
    ssh_keys,
    storage,
    tags,
    uptime,
    vpcs,
)

# The more particular path first: /v2/droplets/actions before /v2/droplets/{droplet_id}.
SERVICES = (
    account.service,
    actions.service,
    catalogue.service,
    certificates.service,
    domains.service,
    droplet_actions.service,
    droplets.service,
    firewalls.service,
    load_balancers.service,
    monitoring.service,
    nat_gateways.service,
    projects.service,
    reserved_ips.service,
    ssh_keys.service,
    storage.service,
    tags.service,
    uptime.service,
    vpcs.service,
)
