"""Drift: what differs between what was declared and what is."""
