"""Seawall: provision, harden, verify and prove a small fortified network on DigitalOcean."""

__version__ = "0.1.0"
