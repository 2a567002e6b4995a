"""``python -m lab.api``: a record-only API alone, for conformance tests, scale and a look around.

No machine and no packet is behind it, and every answer of GET /v2/account says so. The lab with machines is
``python -m lab start``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import uvicorn

from .app import create_app
from .faults import Faults
from .record_only import RecordOnly
from .store import Store


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.api", description=__doc__.split("\n\n")[0])
    parser.add_argument("--record-only", action="store_true", required=True, help="no machines (said aloud)")
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="directory of the state; made if absent")
    parser.add_argument("--token-file", type=Path, required=True, help="holds the API token; mode 0600")
    parser.add_argument(
        "--public-range", default="203.0.113.0/24", help="public IPv4 addresses (%(default)s)"
    )
    parser.add_argument("--droplet-limit", type=int, default=100, help="of the account (%(default)s)")
    parser.add_argument(
        "--test-faults", action="store_true", help="let a test make it fail: lab/api/faults.py"
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        store = Store(options.data / "api.sqlite3")
        token = options.token_file.read_text().strip()
        store.open_account(token, options.public_range, options.droplet_limit)
    except (OSError, ValueError) as error:
        print(f"the API cannot start: {error}", file=sys.stderr)
        return 1
    app: Any = create_app(store, RecordOnly())
    if options.test_faults:
        app = Faults(app)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
