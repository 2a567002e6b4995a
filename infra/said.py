"""How our plugin begins what the command line has to recognise among Pulumi's lines."""

FAILED_CONTROLS = "failed its controls"
"""A droplet is not what it should be; what makes `seawall up` exit with 2."""

REASON = "will be hardened again: "
"""Why; news, and no failure."""
