"""Droplets: real systemd hosts, each with a root, limits and links of its own."""
