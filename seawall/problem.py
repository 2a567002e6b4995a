"""The one way this program says that something went wrong."""

from __future__ import annotations

DECLARED, UNABLE, DEVIATES, USAGE = 0, 1, 2, 64
"""Exit codes: as declared; could not run or look; drift, failed control or tampering; bad usage or settings."""


class Problem(Exception):
    """What failed, why, and what to do next: one paragraph, printed without a traceback.

    ``code`` is the exit code (``UNABLE`` unless told).
    """

    def __init__(self, message: str, *, code: int = UNABLE) -> None:
        super().__init__(message)
        self.code = code
