"""Makes the machines and the network agree with the tables, and the tables with what came of it.

Level-triggered: each pass asks what differs *now*, so a lost wake-up, a burst of changes or a kill -9 between
a write and its effect all end the same way. One thread runs the passes; machines are started and stopped in a
pool beside it, never two effects on one droplet at once. In every pass the network comes first: a droplet's
firewall stands before its machine sends a packet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from lab.world import Backend, BackendError, World
from lab.world import Droplet as WorldDroplet

from . import authority, desired
from .store import Store
from .tables import Action, Certificate, Droplet, Firewall, LoadBalancer
from .transitions import DropletAction, Transitions, remaining

log = logging.getLogger("lab.api")

Clock = Callable[[], datetime]

# Seconds between two tries at a network that would not be made.
RETRY = 2.0


class Reconciler:
    """``start`` it once the account is open; ``stop`` waits for effects under way."""

    def __init__(
        self, store: Store, backend: Backend, *, clock: Clock, transitions: Transitions, workers: int = 8
    ):
        self.store, self.backend, self.clock, self.transitions = store, backend, clock, transitions
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="effect")
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._alarm = threading.Event()
        self._stopping = False
        self._busy: set[int] = set()  # droplets with an effect under way
        self._guard = threading.Lock()
        self._applied: World | None = None
        self._network_error = ""
        self._idle = threading.Event()

    def start(self) -> None:
        """Begin with convergence, then follow every commit."""
        self.store.on_commit.append(self.wake)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way and start nothing more. What was declared meanwhile waits for the next start."""
        self._stopping = True
        self.wake()
        if self._thread.ident:
            self._thread.join()
        self._pool.shutdown()
        if self.wake in self.store.on_commit:
            self.store.on_commit.remove(self.wake)

    def wake(self) -> None:
        """Look again."""
        with self._guard:
            self._idle.clear()
            self._alarm.set()

    def settled(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until nothing is left to do now. False if something still is."""
        return self._idle.wait(timeout)

    def _run(self) -> None:
        converged = False
        while not self._stopping:
            self._alarm.clear()
            try:
                converged = converged or self._converge()
                pause = self._pass()
                if converged and pause is None:
                    self._observe()
                    self._renew()
            except Exception:  # a bug must not end the thread that everything waits for
                log.exception("the reconciler's pass failed; it is tried again")
                pause = RETRY
            with self._guard:
                if converged and pause is None and not self._busy and not self._alarm.is_set():
                    self._idle.set()
            look = self.transitions.look
            self._alarm.wait(look if pause is None else min(pause, look))

    def _converge(self) -> bool:
        """After a start: away with machines nobody declares, on with those that should run. False: not yet."""
        try:
            running = self.backend.running()
        except BackendError as error:
            log.error("cannot ask which machines run: %s", error)
            return False
        declared = self.store.world().droplets
        strangers = running - declared.keys()
        if strangers:
            log.warning("machines nobody declares are destroyed: %s", sorted(strangers))
        for trouble in filter(None, self._pool.map(self._destroy_stranger, strangers)):
            log.error("%s", trouble)
        with self.store.write() as db:
            under_way = set(db.scalars(select(Action.resource_id).where(Action.status == "in-progress")))
            for row in db.scalars(select(Droplet).where(Droplet.id.not_in(under_way))):
                if row.powered and row.id not in running:
                    db.add(begin(row, "power_on", self.clock()))
                elif not row.powered and row.id in running:
                    db.add(begin(row, "power_off", self.clock()))
        return True

    def _observe(self) -> None:
        """A machine that switched itself off is off, as in the cloud."""
        with self.store.read() as db:
            last = db.scalar(select(func.max(Action.id)))
            under_way = set(db.scalars(select(Action.resource_id).where(Action.status == "in-progress")))
            active = set(db.scalars(select(Droplet.id).where(Droplet.status == "active"))) - under_way
        gone = active - self.backend.running() if active else set()
        if not gone:
            return
        with self.store.write() as db:
            if db.scalar(select(func.max(Action.id))) != last:
                return  # someone acted meanwhile; what was seen may be old
            for row in db.scalars(select(Droplet).where(Droplet.id.in_(gone))):
                log.warning("droplet %s (%s) switched itself off", row.name, row.id)
                row.status, row.powered = "off", False

    def _renew(self) -> None:
        """Certificates of the lab's authority that end soon, as Let's Encrypt's are renewed in the cloud."""
        if any(self._ends_soon()):
            with self.store.write() as db:
                log.info("renewed: %s", ", ".join(authority.renew_due(db, self.clock())))

    def _ends_soon(self) -> list[str]:
        due = self.clock() + timedelta(days=authority.RENEW_DAYS)
        rows = select(Certificate.id).where(Certificate.type == "lets_encrypt", Certificate.not_after < due)
        with self.store.read() as db:
            return list(db.scalars(rows))

    def _destroy_stranger(self, droplet_id: int) -> str:
        try:
            self.backend.destroy(droplet_id)
        except BackendError as error:
            return str(error)
        return ""

    def _pass(self) -> float | None:
        """One look at everything. Returns the seconds until the next is due, None to wait for an alarm."""
        # The actions before the world: what an action needs of the world (an image, a name) is then in it.
        with self.store.read() as db:
            waiting = [
                (action.id, action.type, action.resource_id, action.started_at)
                for action in db.scalars(_in_progress().order_by(Action.id))
            ]
        world, pause = self.store.world(), None
        if world != self._applied:
            if error := self._network(world):
                self._network_failed(world, error)
                pause = RETRY
            else:
                self._applied, self._network_error = world, ""
                self._network_stands(world)
        due = self._start_due(waiting, world, boots=pause is None)
        return min((seconds for seconds in (pause, due) if seconds is not None), default=None)

    def _network(self, world: World) -> str:
        """Make the network agree with ``world``. What went wrong, or nothing."""
        try:
            self.backend.network(world)
        except BackendError as error:
            return str(error)
        except Exception as error:
            log.exception("making the network broke the backend")
            return f"the network: {type(error).__name__}: {error}"
        return ""

    def _start_due(
        self, waiting: list[tuple[int, str, int, datetime]], world: World, *, boots: bool
    ) -> float | None:
        """Hand every action that is due to the pool; without a network (``boots``) none that starts a machine."""
        now, soonest = self.clock(), None
        for action_id, kind, droplet_id, started in waiting:
            action = self.transitions.actions[kind]
            if left := remaining(action.delay, started, now):
                soonest = min(soonest or left, left)
                continue
            droplet = world.droplets.get(droplet_id)
            with self._guard:
                if (
                    self._stopping
                    or droplet is None
                    or droplet_id in self._busy
                    or (action.boots and not boots)
                ):
                    continue
                self._busy.add(droplet_id)
            self._pool.submit(self._work, action_id, kind, action, droplet).add_done_callback(_report_bug)
        return soonest

    def _work(self, action_id: int, kind: str, action: DropletAction, droplet: WorldDroplet) -> None:
        """One effect on one machine, and what came of it into the tables."""
        try:
            # An action that ended between a pass's look at it and this worker's start is not done twice.
            with self.store.read() as db:
                due = db.scalar(_in_progress().where(Action.id == action_id)) is not None
            if due:
                self._finish(action_id, kind, action, droplet.id, self._effect(kind, action, droplet))
        finally:
            with self._guard:
                self._busy.discard(droplet.id)
        # Not after an exception: what could not be written down (a full disk) is tried again at the next look.
        self.wake()

    def _effect(self, kind: str, action: DropletAction, droplet: WorldDroplet) -> str:
        """Do it. What went wrong, or nothing."""
        began, error = time.monotonic(), ""
        try:
            action.effect(self.backend, droplet)
        except BackendError as failure:
            error = str(failure)
        except Exception as failure:
            log.exception("%s of droplet %s (%s) broke the backend", kind, droplet.name, droplet.id)
            error = f"{kind} of droplet {droplet.name} ({droplet.id}): {type(failure).__name__}: {failure}"
        took = time.monotonic() - began
        if error:
            log.error(
                "%s of droplet %s (%s) failed after %.1f s: %s", kind, droplet.name, droplet.id, took, error
            )
        else:
            log.info("%s of droplet %s (%s) took %.1f s", kind, droplet.name, droplet.id, took)
        return error

    def _finish(self, action_id: int, kind: str, action: DropletAction, droplet_id: int, error: str) -> None:
        with self.store.write() as db:
            record, row = db.get_one(Action, action_id), db.get_one(Droplet, droplet_id)
            record.status = "errored" if error else "completed"
            record.completed_at, record.message = self.clock(), error
            if error:
                fail(row, running=droplet_id in self._running())
            elif kind == "destroy":
                forget(db, row)
            else:
                row.status = action.leaves or row.status

    def _running(self) -> set[int]:
        try:
            return self.backend.running()
        except BackendError:
            return set()

    def _network_stands(self, world: World) -> None:
        """Write down which firewalls and load balancers are now in force."""
        now = self.clock()
        with self.store.write() as db:
            for firewall in db.scalars(select(Firewall)):
                if wall := world.firewalls.get(firewall.id):
                    firewall.applied, firewall.error = desired.digest(wall), ""
                    firewall.applied_ids = sorted(wall.droplet_ids)
            for balancer in db.scalars(select(LoadBalancer)):
                if made := world.load_balancers.get(balancer.id):
                    balancer.applied, balancer.error = desired.digest(made), ""
                    balancer.activated_at = balancer.activated_at or now

    def _network_failed(self, world: World, error: str) -> None:
        """What was waiting for the network has failed, and says so. The next pass tries again."""
        if error != self._network_error:
            log.error("the network could not be made, and is tried again every %.0f s: %s", RETRY, error)
        self._network_error = error
        running = self._running()
        boots = [kind for kind, action in self.transitions.actions.items() if action.boots]
        with self.store.write() as db:
            wanted = world.firewalls | world.load_balancers
            for row in [*db.scalars(select(Firewall)), *db.scalars(select(LoadBalancer))]:
                if row.id in wanted and row.applied != desired.digest(wanted[row.id]):
                    row.error = error
            waiting = _in_progress().where(Action.type.in_(boots))
            for record in db.scalars(waiting):
                if record.resource_id in world.droplets and record.resource_id not in self._busy:
                    record.status, record.completed_at, record.message = "errored", self.clock(), error
                    fail(db.get_one(Droplet, record.resource_id), running=record.resource_id in running)


def _in_progress() -> Select[Action]:
    return select(Action).where(Action.status == "in-progress")


def begin(row: Droplet, kind: str, now: datetime) -> Action:
    """A new action on ``row``: in progress from now, which locks the droplet."""
    return Action(
        type=kind,
        status="in-progress",
        started_at=now,
        completed_at=None,
        resource_id=row.id,
        region=row.region,
        message="",
    )


def fail(row: Droplet, *, running: bool) -> None:
    """After a failed action the droplet is declared to be what it is, so that nothing is tried for ever."""
    row.destroying = False
    row.status = "active" if running else "off"
    row.powered = running


def forget(db: Session, row: Droplet) -> None:
    """Remove a droplet whose machine is gone, from every list that names it."""
    for firewall in db.scalars(select(Firewall)):
        if row.id in firewall.droplet_ids:
            firewall.droplet_ids = [each for each in firewall.droplet_ids if each != row.id]
    for balancer in db.scalars(select(LoadBalancer)):
        if row.id in balancer.settings["droplet_ids"]:
            ids = [each for each in balancer.settings["droplet_ids"] if each != row.id]
            balancer.settings = {**balancer.settings, "droplet_ids": ids}
    db.execute(delete(Droplet).where(Droplet.id == row.id))


def _report_bug(future: Future) -> None:
    if error := future.exception():
        log.error("an effect was done but not written down", exc_info=error)
