"""Plays a story: events, ticks and time, until everything has come to an end."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ef_slurm.model import ACTIVE, JobAction, JobChange, JobState
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.types import FINAL_STATES, HoldKind, JobBaseState
from tests.fakes.memory_cluster import MemoryJob
from tests.simulation.companions import Fates
from tests.simulation.faults import ACTS, CommandFault, Point, ViolationError
from tests.simulation.invariants import Blame, Invariants
from tests.simulation.past import Past
from tests.simulation.people import People, SimulatedJob
from tests.simulation.rows import rows_decoded_once
from tests.simulation.site import MEMORY, OPERATOR_UID, Site
from tests.simulation.story import (
    HARMLESS,
    OWNERS,
    Befalls,
    Behaviour,
    Event,
    Stage,
    Story,
    What,
)

HEAL_SECONDS = 60.0
"""After the last event until everything that was taken is given back."""
LONGEST_SECONDS = 30_000.0
"""After that, until every job must have come to an end."""
MOST_STEPS = 20_000

ACTIONS = {
    What.ASKS_HOLD: JobAction.HOLD,
    What.ASKS_RELEASE: JobAction.RELEASE,
    What.ASKS_REQUEUE: JobAction.REQUEUE,
    What.ASKS_TOP: JobAction.TOP,
}
HOLDS = {
    What.HOLD: HoldKind.USER,
    What.OPERATOR_HOLDS: HoldKind.ADMIN,
    What.SLURM_HOLDS: HoldKind.SLURM,
}
TO_SLURM = frozenset(
    {
        *(What.DRAIN, What.NODE_DIES, What.NODE_RETURNS, What.STRANGER, What.SLURM_SILENT),
        *(What.SLURM_OLDER, What.COMMAND_FAULT, What.ACT_FAULT),
    }
)
TO_THE_DAEMON = frozenset(
    {
        *(What.KILLED_AT_WRITE, What.KILLED_AT_PROMISE, What.KILLED_AT_COMPANION),
        *(What.KILLED_AT_COMMAND, What.KILLED_AT_ACT, What.KILLED_AT_ORDER, What.RESTART),
        *(What.LOSES_QUEUE, What.DISK_FULL, What.ORDERS_FAIL, What.CLOCK),
    }
)
BETWEEN_TICKS = frozenset(
    {
        *(*ACTIONS, What.CHANGES_DEADLINE, What.CHANGES_ITERATIONS, What.JUDGE, What.RESTART),
        What.LOSES_QUEUE,
    }
)
"""What the scheduler's own thread does, and so never in the midst of a tick."""


class Life:
    """One story being played."""

    def __init__(self, story: Story, directory: Path) -> None:
        self.site = Site(story, directory)
        self.people = People(self.site)
        self._fates = Fates(self.site, self.people)
        self.blame = Blame()
        self.invariants = Invariants(self.site, self.people, self.blame)
        self.site.on_rebuilt = self.invariants.queue_was_rebuilt
        self.began = self.site.clock.now
        self.steps = 0
        self._later = [(self.began + event.at, event) for event in story.events]
        self._later.sort(key=lambda pair: pair[0])
        self._ends: list[tuple[float, What]] = []
        older = any(event.what is What.SLURM_OLDER for event in story.events)
        self._past = Past(self.site.cluster) if older else None
        self._tick_at = -math.inf
        self._during_since: float | None = None

    def play(self) -> None:
        """To the end.

        Raises:
            ViolationError: the daemon broke one of its rules.
        """
        while self._later or self._ends:
            self._step(self._later[0][0] if self._later else math.inf)
        self._run(HEAL_SECONDS)
        self._heal()
        end = self.site.clock.now + LONGEST_SECONDS
        quiet = False
        while not quiet:
            while not self._over():
                if self.site.clock.now > end:
                    raise ViolationError(f"it never ends: {self._what_is_left()}")
                self._run(30.0)
                self._let_go()
            self._run(30.0)
            quiet = self._over()  # and not only lost, before it is submitted again
        self.invariants.check_end()

    def _run(self, seconds: float) -> None:
        end = self.site.clock.now + seconds
        while self.site.clock.now < end:
            self._step(end)

    def _step(self, until: float) -> None:
        """What is due, one turn of the daemon, and on to the next moment."""
        site, clock = self.site, self.site.clock
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise ViolationError(f"{MOST_STEPS} steps: {self._what_is_left()}")
        while self._ends and self._ends[0][0] <= clock.now:
            self._end(self._ends.pop(0)[1])
        while self._later and self._later[0][0] <= clock.now:
            self._begin(self._later.pop(0)[1])
        site.directories.advance()
        self._fates.advance()
        if self._past is not None:
            self._past.remember(clock.now)
        if not site.is_up and site.up_at is not None and site.up_at <= clock.now:
            site.start()
            self._tick_at = clock.now
        self.people.retry()
        if site.is_up and clock.now >= self._tick_at:
            self._tick_at = clock.now + max(site.tick(), 1e-3)
        if self._during_since is not None and clock.now > self._during_since + 10.0:
            self._during_since = None
            for what in site.faults.overdue():
                what()
        self.invariants.check()
        moments = [until, site.directories.next_event()]
        moments.append(self._tick_at if site.up_at is None else site.up_at)
        moments += [at for at, _ in self._ends[:1]]
        if site.is_up and site.scheduler.next_change > site.daemon_clock():
            moments.append(site.scheduler.next_change - site.clock_offset)
        later = min(moments)
        if later > clock.now:
            clock.now = later
        self._tick_at = min(self._tick_at, clock.now) if later < self._tick_at else self._tick_at

    # Events

    def _begin(self, event: Event) -> None:
        if event.what not in HARMLESS | OWNERS:
            self.blame.add(self.site.clock.now, event.what.value)
        if event.during and event.what not in BETWEEN_TICKS:
            self.site.faults.during(event.during, partial(self._happen, event))
            self._during_since = self.site.clock.now
        else:
            self._happen(event)

    def _happen(self, event: Event) -> None:
        people = self.people
        match event.what:
            case What.SUBMIT:
                assert event.job is not None
                people.submit(event.job)
            case What.JUDGE:
                assert event.job is not None
                people.judge(event.job)
            case What.LOOK:
                people.look()
            case What.COMPANION:
                stage = tuple(Stage)[event.number % len(Stage)]
                self._fates.expect(stage, tuple(Befalls)[int(event.amount) % len(Befalls)])
            case What.HOSTILE:
                people.hostile(event.number, int(event.amount))
            case what if what in TO_SLURM:
                self._to_slurm(event)
            case what if what in TO_THE_DAEMON:
                self._to_the_daemon(event)
            case _:
                if people.jobs:
                    self._to_a_job(people.jobs[event.number % len(people.jobs)], event)

    def _to_slurm(self, event: Event) -> None:
        cluster, now = self.site.cluster, self.site.clock.now
        node = f"n{event.number % len(cluster.nodes) + 1}"
        match event.what:
            case What.DRAIN:
                cluster.drain(node)
            case What.NODE_DIES:
                cluster.kill_node(node, now)
            case What.NODE_RETURNS:
                cluster.restore(node)
            case What.STRANGER:
                gpus = 1 + event.number % self.site.story.gpus_per_node
                cluster.occupy("stranger", (node,), gpus, event.amount, now)
            case What.SLURM_SILENT:
                cluster.reachable = False
                self._end_later(event)
            case What.SLURM_OLDER:
                assert self._past is not None
                gone = self._past.come_back(now - event.amount, now)
                for job in self.people.jobs:
                    job.forgotten |= any(job.slurm is one for one in gone)
            case What.COMMAND_FAULT:
                fault = tuple(CommandFault)[int(event.amount) % len(CommandFault)]
                self.site.faults.fail_command(event.number, fault)
            case What.ACT_FAULT:
                fault = tuple(CommandFault)[int(event.amount) % len(CommandFault)]
                self.site.faults.fail_act(_act(event.number), fault)

    def _to_the_daemon(self, event: Event) -> None:
        site, after = self.site, bool(event.amount)
        match event.what:
            case What.KILLED_AT_WRITE:
                site.faults.kill_at(Point.WRITE, event.number, after=after)
            case What.KILLED_AT_PROMISE:
                site.faults.kill_at(Point.PROMISE, event.number, after=after)
            case What.KILLED_AT_COMPANION:
                site.faults.kill_at(Point.COMPANION, event.number, after=after)
            case What.KILLED_AT_ACT:
                site.faults.kill_at(Point.COMMAND, 0, after=after, command=_act(event.number))
            case What.KILLED_AT_COMMAND:
                site.faults.kill_at(Point.COMMAND, event.number, after=after)
            case What.KILLED_AT_ORDER:
                site.faults.kill_at(Point.ORDER, event.number, after=after)
            case What.RESTART:
                if site.is_up:
                    site.die(event.amount)
            case What.LOSES_QUEUE:
                site.lose_queue(event.amount)
            case What.DISK_FULL:
                site.faults.disk_full = True
                self._end_later(event)
            case What.ORDERS_FAIL:
                site.faults.orders_fail = True
                self._end_later(event)
            case What.CLOCK:
                site.clock_offset += event.amount
                self._tick_at = site.clock.now

    def _end_later(self, event: Event) -> None:
        self._ends.append((self.site.clock.now + event.amount, event.what))
        self._ends.sort(key=lambda pair: pair[0])

    def _end(self, what: What) -> None:
        match what:
            case What.SLURM_SILENT:
                self.site.cluster.reachable = True
            case What.DISK_FULL:
                self.site.faults.disk_full = False
            case What.ORDERS_FAIL:
                self.site.faults.orders_fail = False
            case _:
                raise ValueError(what)

    def _to_a_job(self, job: SimulatedJob, event: Event) -> None:
        site, now = self.site, self.site.clock.now
        if event.what in OWNERS:
            for each in self.people.jobs:  # whichever of their jobs has that id now
                each.owned |= each.uid == job.uid and job.slurm.job_id in each.ids
        match event.what:
            case What.CHANGES_DEADLINE:
                self.people.change(job, JobChange(deadline=now + event.amount))
            case What.CHANGES_ITERATIONS:
                wanted = max(1, int(job.spec.iterations * event.amount))
                self.people.change(job, JobChange(iterations=wanted))
            case What.WITHDRAWS:
                self.people.withdraw(job)
            case What.TRAINS_ON:
                self.people.train_on(job, int(event.amount))
            case What.MISBEHAVES:
                behaviour = tuple(Behaviour)[int(event.amount) % len(Behaviour)]
                job.behaved |= {behaviour}
                job.blamed |= behaviour is not Behaviour.HONEST
                job.training.misbehave(behaviour, now)
            case _ if event.what in ACTIONS:
                self.people.act(job, ACTIONS[event.what])
            case _:
                slurm = job.slurm
                if site.cluster.jobs.get(slurm.job_id) is slurm and slurm.ended is None:
                    self._in_slurm(job, slurm, event)

    def _in_slurm(self, job: SimulatedJob, slurm: MemoryJob, event: Event) -> None:
        cluster, now = self.site.cluster, self.site.clock.now
        running = slurm.state is JobBaseState.RUNNING and slurm.completing_until is None
        owner, operator = self.site.slurm_of(job.uid), self.site.slurm_of(OPERATOR_UID)
        try:
            match event.what:
                case What.CANCEL:
                    owner.cancel(slurm.job_id)
                case What.REQUEUE if running:
                    cluster.requeue(slurm, now)
                case What.HOLD | What.OPERATOR_HOLDS | What.SLURM_HOLDS if running:
                    job.owned |= event.what is not What.SLURM_HOLDS
                    cluster.requeue(slurm, now)
                    slurm.hold = HOLDS[event.what]
                case What.HOLD:
                    owner.hold(slurm.job_id)
                case What.OPERATOR_HOLDS:
                    operator.hold(slurm.job_id)
                case What.RELEASE:
                    owner.release(slurm.job_id)
                case What.OWNER_UPDATES:
                    slurm.time_limit = min(slurm.time_limit, event.amount)
                case What.SCRIPT_DIES if running:
                    job.blamed = True
                    cluster.settle(now)  # its time limit may be over
                    if slurm.state is JobBaseState.RUNNING:
                        cluster.finish(slurm.job_id, now, exit_code=1)
                case What.SLURM_FORGETS if not running:
                    job.forgotten = True
                    del cluster.jobs[slurm.job_id]
        except SlurmError:
            pass  # Slurm says no, and so do its commands

    # The end

    def _heal(self) -> None:
        """Everything that was taken is given back."""
        site = self.site
        for what in site.faults.overdue():
            what()  # nothing is taken after it
        site.faults.forget()
        site.cluster.answers_lost = 0
        site.clock_offset = 0.0
        self._tick_at = site.clock.now
        for name in site.cluster.nodes:
            site.cluster.restore(name)
        site.cluster.settle(site.clock.now)

    def _let_go(self) -> None:
        """What is held is released, and what would train for ever is cancelled."""
        cluster, now = self.site.cluster, self.site.clock.now
        held = {row.request.name for row in self.site.record.jobs.all({JobState.HELD})}
        lost = {row.request.name for row in self.site.record.jobs.all({JobState.LOST})}
        for job in self.people.jobs:
            slurm = job.slurm
            if cluster.jobs.get(slurm.job_id) is not slurm:
                continue
            if slurm.state in FINAL_STATES:
                if job.request.name in held:  # its script died when it was held
                    self.people.act(job, JobAction.RELEASE, uid=OPERATOR_UID)
                continue
            # What may be left of a submission, nobody can tell, is cancelled as its owner is told.
            if job.blamed or job.given_up or job.request.name in lost:
                cluster.cancel(slurm, now)
            elif slurm.hold is HoldKind.ADMIN and self.site.story.as_owner:
                self.site.slurm_of(OPERATOR_UID).release(slurm.job_id)
            elif (
                slurm.hold in (HoldKind.USER, HoldKind.SLURM)
                or job.owned
                or job.request.name in held  # our own hold, back from the past, as an operator's
            ):
                self.people.act(job, JobAction.RELEASE, uid=OPERATOR_UID)

    def _over(self) -> bool:
        if not self.site.is_up:
            return False
        waiting = any(not (job.registered or job.given_up) for job in self.people.jobs)
        return not waiting and not self.site.record.jobs.all(ACTIVE)

    def _what_is_left(self) -> str:
        if not self.site.is_up:
            return "the daemon is down"
        rows = self.site.record.jobs.all(ACTIVE)
        return "; ".join(f"{row.id} {row.state.value} {row.note!r} {row.reason}" for row in rows)


def _act(number: int) -> str:
    return sorted(ACTS)[number % len(ACTS)]


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged. Within another one it costs nothing: many lives are best played in one."""
    before = logging.root.manager.disable
    if before >= logging.CRITICAL:
        yield
        return
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def begun(story: Story) -> Iterator[Life]:
    """A life in a directory of its own."""
    directory = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
    with directory as path, rows_decoded_once(), quiet():
        life = Life(story, Path(path))
        gc.disable()  # a life is over before its garbage matters
        try:
            yield life
        finally:
            gc.enable()
            life.site.close()


def play(story: Story) -> int:
    """Play a story; returns how many steps it took.

    Raises:
        ViolationError: the daemon broke one of its rules.
    """
    with begun(story) as life:
        life.play()
        return life.steps
