"""A plugin does not outlive its engine.

The engine starts plugins in process groups of their own and ends them when it ends. Killed, it can't: a provider left
alone would go on creating what no state will ever know.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable


def end_with_parent(end: Callable[[], None] = lambda: os._exit(1)) -> None:
    """From now on this process ends, at once, when the one that started it does. Linux only; elsewhere nothing.

    ``end`` is for one that has started others, which would outlive it.
    """
    if not hasattr(os, "pidfd_open") or not sys.platform.startswith("linux"):
        return
    try:
        parent = os.pidfd_open(os.getppid())
    except ProcessLookupError:
        os._exit(1)
    poll = select.poll()
    poll.register(parent, select.POLLIN)

    def watch() -> None:
        poll.poll()
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
