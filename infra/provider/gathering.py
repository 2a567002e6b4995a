"""Calls that come one by one, done together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

PAUSE_SECONDS = 2.0
"""The engine hands hardenings over within milliseconds; on a very busy machine half a second was too short."""
LONGEST_SECONDS = 60.0
"""After so long whoever was expected is taken not to come: the engine gave it up in between."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class Gathering(Generic[Job, Result]):
    """``work`` gets all jobs that came while it was at work on earlier ones, whoever is expected, and whoever still
    comes within a ``pause`` (``PAUSE_SECONDS``) of the last, and answers by job; each caller gets its own answer. Where
    one is an exception, its caller meets it.

    The engine asks for resources side by side; ten droplets hardened by one Ansible run take little longer than one.
    """

    def __init__(
        self,
        work: Callable[[list[Job]], Mapping[Job, Result | Exception]],
        pause: Callable[[], None] = lambda: time.sleep(PAUSE_SECONDS),
    ) -> None:
        self._work, self.pause = work, pause
        self._turn, self._list = threading.Lock(), threading.Lock()
        self._news, self.coming = threading.Condition(), set[str]()
        self.waiting: list[tuple[Job, Future[Result]]] = []

    def expect(self, who: str) -> None:
        """``who`` is about to hand something in."""
        with self._news:
            self.coming.add(who)

    def forgo(self, who: str) -> None:
        """``who`` is not, or has done so."""
        with self._news:
            self.coming.discard(who)
            self._news.notify_all()

    def do(self, job: Job, who: str = "") -> Result:
        """Hand in ``job`` and wait for what becomes of it."""
        mine: Future[Result] = Future()
        with self._list:
            self.waiting.append((job, mine))
        self.forgo(who)
        with self._turn:  # the first who comes works for all that wait
            if not mine.done():
                self._together()
        return mine.result()

    def _together(self) -> None:
        seen = 0
        while seen < len(self.waiting):
            seen = len(self.waiting)
            self.pause()
            with self._news:
                if not self._news.wait_for(lambda: not self.coming, LONGEST_SECONDS):
                    self.coming.clear()
        with self._list:
            taken, self.waiting = self.waiting, []
        try:
            answers = self._work([job for job, _ in taken])
        except Exception as failure:
            answers = {job: failure for job, _ in taken}
        for job, future in taken:
            answer = answers.get(job, RuntimeError(f"nobody answered for {job}"))
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
