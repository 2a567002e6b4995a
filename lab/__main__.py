"""``python -m lab``: the local DigitalOcean by hand."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lab import control
from lab.instance import everyone, own_name
from lab.world import BackendError


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done, or nothing left; 1: it could not be done, or something is left."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="The local DigitalOcean.")
    parser.add_argument(
        "--instance",
        default=own_name(),
        help="which lab of this machine (default: SEAWALL_INSTANCE, else the checkout's own)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start it and print where it is (JSON)")
    start.add_argument("--token-file", type=Path, required=True, help="holds the API's bearer token")
    commands.add_parser("stop", help="stop machines and API; disks and state stay")
    commands.add_parser("status", help="what runs (JSON)")
    commands.add_parser("purge", help="remove all of it; prints what is left (JSON list)")
    commands.add_parser("check", help="print what exists of it (JSON list)")
    commands.add_parser("list", help="all labs of this machine (JSON list)")
    chosen = parser.parse_args(arguments)
    try:
        return run(chosen)
    except BackendError as problem:
        print(problem, file=sys.stderr)
        return 1


def run(chosen: argparse.Namespace) -> int:
    if chosen.command == "list":
        print(json.dumps([control.status(instance.name) for instance in everyone()]))
        return 0
    if chosen.command in ("purge", "check"):
        left = getattr(control, chosen.command)(chosen.instance)
        print(json.dumps(left, indent=2))
        return 1 if left else 0
    if chosen.command == "start":
        print(json.dumps(control.start(chosen.instance, chosen.token_file)))
    elif chosen.command == "status":
        print(json.dumps(control.status(chosen.instance)))
    else:
        control.stop(chosen.instance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
