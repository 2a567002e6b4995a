"""A DigitalOcean provider for Pulumi where the official one cannot be had.

One file a resource, each a table (``Resource``) of its path, fields, deadlines and the few things the table
cannot say. ``fields`` decides (check, diff, plan) without touching the network, ``api`` speaks to DigitalOcean
through pydo, ``provider`` speaks to the engine.

It takes the official provider's tokens, names, defaults, replace rules and state format, so that one program
and one state serve both. Its blind spots too: what the official one does not read back on a refresh
(a load balancer's cipher policy, a droplet's image, keys and user data) this one does not either.
"""
