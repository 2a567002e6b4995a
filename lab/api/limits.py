"""DigitalOcean's request limits, as two sliding windows."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime

HOUR, MINUTE = 3600.0, 60.0


@dataclass(frozen=True)
class Limits:
    """Requests a token may make. DigitalOcean's are 5,000 an hour, of which 250 in a minute."""

    per_hour: int = 5000
    per_minute: int = 250


class RateLimit:
    """Counts the requests of one token and says when there are too many."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._lock = threading.Lock()
        self._times: deque[float] = deque()

    def admit(self, at: datetime) -> tuple[bool, dict[str, str]]:
        """Whether a request at ``at`` may pass, and the headers that tell the client where it stands."""
        now = at.timestamp()
        with self._lock:
            if self._times and self._times[-1] > now:
                self._times.clear()  # the clock was set back; those times would count until it caught up
            while self._times and self._times[0] <= now - HOUR:
                self._times.popleft()
            recent = [time for time in self._times if time > now - MINUTE]
            hour_full = len(self._times) >= self.limits.per_hour
            minute_full = len(recent) >= self.limits.per_minute
            wait = 0.0
            if hour_full:
                wait = self._times[0] + HOUR - now
            elif minute_full:
                wait = recent[0] + MINUTE - now
            else:
                self._times.append(now)
            oldest = self._times[0] if self._times else now
            headers = {
                "ratelimit-limit": str(self.limits.per_hour),
                "ratelimit-remaining": str(max(0, self.limits.per_hour - len(self._times))),
                "ratelimit-reset": str(math.ceil(oldest + HOUR)),
            }
            if wait:
                headers["retry-after"] = str(math.ceil(wait))
            return not wait, headers
