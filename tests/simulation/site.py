"""A simulated site: the Slurm in memory, its users, and a daemon that can die and start again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

from ef_slurm.api.messages import Failure
from ef_slurm.api.routes import HttpRequest
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.rebuild import Evidence, rebuild
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.daemon.settings import NO_LIMITS, Settings
from ef_slurm.model import Policy
from ef_slurm.queue.errors import QueueError
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.commands.accounting import AdminLevel, Rights
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.site_types import SlurmConfiguration
from ef_slurm.slurm.types import HoldKind, Submission, Submitted
from tests.fakes.memory_cluster import MemoryCluster, Timing
from tests.fakes.memory_slurm import MemorySlurm
from tests.fakes.new_queue import empty
from tests.simulation.faults import Faults, FaultySlurm, Killed, ViolationError, order, watched
from tests.simulation.records import MemoryRecords
from tests.simulation.service import Service
from tests.simulation.story import Story
from tests.simulation.trainings import StateDirectories
from tests.unit.daemon.world import Clock

FIRST_JOB = 7_310_000
"""Slurm's ids begin here, so that a text names none by chance."""
FIRST_UID = 70_001
OPERATOR_UID = 70_900
NOBODYS_UID = 4711
"""Of a daemon that may submit nobody's job again."""

RETRY_SECONDS = 5.0
"""Seconds before the daemon tries again a queue that could not be written."""
RESTART_SECONDS = 3.0
"""Seconds from the end of a daemon to the next one."""
MEMORY = Path("/dev/shm")


TURNS = 23
"""So many jobs have their turn between two at which actions give way."""


class Site:
    """The cluster and the daemon. Time is `clock`; the daemon's own differs by `clock_offset`."""

    def __init__(self, story: Story, directory: Path) -> None:
        self.story = story
        self.clock = Clock()
        self.clock_offset = 0.0
        names = {f"n{number}": story.gpus_per_node for number in range(1, story.nodes + 1)}
        timing = Timing(start=0.3, stop=0.3, min_job_age=story.min_job_age)
        self.cluster = MemoryCluster(names, timing=timing)
        self.cluster.last_id = FIRST_JOB
        self.cluster.slurmdbd = story.accounting
        for number, node in enumerate(self.cluster.nodes.values()):
            if story.types > 1:
                node.gpu_type = "a100" if 2 * number < story.nodes else "h100"
        self.directories = StateDirectories(self.clock, self.cluster)
        self.faults = Faults(self.pass_time)
        self.records = MemoryRecords(self.faults)
        self.on_submit: Callable[[Submission, Submitted], None] = lambda _asked, _got: None
        self._own = _Submitting(self)
        self.slurm = FaultySlurm(self._own, self.faults, self.daemon_clock)
        leave = order(self.faults, self.directories.order)
        self.directories.order = leave  # type: ignore[method-assign]
        self.path = directory / "queue.sqlite"
        self.path.write_bytes(empty())
        self.record = Queue.open(self.path, create=False)
        """The queue as somebody else's connection sees it, whether the daemon is up or not."""
        self.up_at: float | None = -math.inf  # None while the daemon is up
        self.deaths = 0
        self.on_rebuilt: Callable[[], None] = lambda: None
        self._queue_is_lost = False
        self._ticking = False
        self._queue: Queue | None = None
        self._service: Service | None = None
        self._scheduler: Scheduler | None = None
        self._calls = SchedulerCalls()
        self._asked = 0

    def daemon_clock(self) -> float:
        """What the daemon's host takes for the present."""
        return self.clock.now + self.clock_offset

    def pass_time(self, seconds: float) -> None:
        """So many seconds go by, in which the daemon waits for something."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.directories.next_event())
            self.directories.advance()

    def user(self, number: int) -> int:
        """A user's uid."""
        return FIRST_UID if self.story.as_owner else FIRST_UID + number

    def slurm_of(self, uid: int) -> MemorySlurm:
        """Slurm's commands as a user gives them."""
        operator = uid == OPERATOR_UID
        return MemorySlurm(self.cluster, self.clock, user=str(uid), uid=uid, operator=operator)

    # The daemon

    @property
    def is_up(self) -> bool:
        return self.up_at is None

    @property
    def is_ticking(self) -> bool:
        """Whether it is in the midst of a tick."""
        return self._ticking

    @property
    def queue(self) -> Queue:
        """The living daemon's."""
        assert self._queue is not None
        return self._queue

    @property
    def scheduler(self) -> Scheduler:
        """The living daemon's."""
        assert self._scheduler is not None
        return self._scheduler

    def start(self) -> None:
        """Start a daemon, which may fail as it may die."""
        if self._queue_is_lost and not self._rebuild():
            self.up_at = self.clock.now + RETRY_SECONDS
            return
        story = self.story
        try:
            self._queue = queue = watched(Queue.open(self.path), self.faults)
            queue.owner.started(at=self.daemon_clock(), version="simulated")
            slurm = cast(Slurm, self.slurm)
            self._calls = SchedulerCalls()
            self._scheduler = Scheduler(
                self._settings(),
                slurm,
                queue,
                self.directories,
                self.daemon_clock,
                lambda: None,
                self.records,
                time_to_act=TimeToAct(self._somebody_waits, lambda: float(self._asked)),
            )
        except QueueError as error:
            if not self.faults.disk_full:
                raise ViolationError(f"the queue cannot be opened again: {error!r}") from error
            self._close()
            self.up_at = self.clock.now + RETRY_SECONDS
            return
        except Killed:
            self.die()
            return
        self._service = Service(
            ServerContext(
                scheduler=self._scheduler,
                calls=self._calls,
                slurm=slurm,
                open_queue=lambda: watched(Queue.open(self.path, create=False), self.faults),
                cluster="memory",
                partition="ef",
                limits=NO_LIMITS,
                user="ef-slurm",
                version="simulated",
                started=self.clock.now,
                advisory=False,
                visibility=Visibility(
                    lambda: _configuration(private=story.private), _rights, self.clock
                ),
                clock=self.daemon_clock,
            ),
            lambda: self._ticking,
        )
        self.up_at = None

    def _settings(self) -> Settings:
        story = self.story
        return Settings(
            ResourceScope(frozenset({"ef"})),
            policy=Policy(),
            hold=HoldKind.USER if story.as_owner else HoldKind.ADMIN,
            uid=FIRST_UID if story.resubmits else NOBODYS_UID,
            report_interval=0.5,
            progress_interval=5.0,
            idle_report_interval=15.0,
            idle_interval=15.0,
        )

    def _somebody_waits(self) -> bool:
        """Each job's turn takes a second, by the clock of actions, and after some they give way."""
        self._asked += 1
        return self._asked % TURNS == 0

    def die(self, seconds: float = RESTART_SECONDS) -> None:
        """The daemon is gone without a word; the next one comes after so many seconds."""
        self._close()
        self.up_at = self.clock.now + seconds
        self.deaths += 1

    def lose_queue(self, seconds: float) -> None:
        """The daemon's host is gone, and its disk; after so many seconds there is another one."""
        self.die(seconds)
        self._queue_is_lost = True

    def _rebuild(self) -> bool:
        """`ef-schedd rebuild`; False where Slurm does not answer."""
        if not self.cluster.reachable:
            return False
        self.record.close()
        for path in self.path.parent.glob("queue.sqlite*"):
            path.unlink()
        operator = self.slurm_of(OPERATOR_UID)
        rebuild(
            self.path,
            Evidence(
                records=self.records.read(),
                observation=operator.observe(),
                ended=operator.ended(self.cluster.accounted) if self.story.accounting else {},
                state_dirs=self.directories,
                ours=self._settings().hold,
                partitions=frozenset({"ef"}),
                now=self.daemon_clock(),
                uid=self._settings().uid,
            ),
        )
        self.record = Queue.open(self.path, create=False)
        self._queue_is_lost = False
        self.on_rebuilt()
        return True

    def _close(self) -> None:
        """What the kernel does for a process that is gone."""
        if self._service is not None:
            self._service.close()
        if self._queue is not None:
            self._queue.close()
        self._service = self._queue = self._scheduler = None

    def close(self) -> None:
        """End everything."""
        self._close()
        self.record.close()

    def tick(self) -> float:
        """One turn of the daemon's loop; seconds until the next."""
        faults = self.faults
        faults.begin_tick()
        self._ticking = True
        faults.in_transaction = lambda: self.queue._database._depth > 0
        try:
            if self._calls.begin_tick():
                self.scheduler.refresh_soon()
            delay = self.scheduler.tick()
        except Killed:
            self.die()
            return RESTART_SECONDS
        except QueueError as error:
            if not faults.disk_full:
                raise ViolationError(f"a tick ended with {error!r}") from error
            return RETRY_SECONDS
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError(f"a tick ended with {error!r}") from error
        finally:
            self._ticking = False
        if not 0.0 <= delay <= 3600.0:
            raise ViolationError(f"a tick wants to come back after {delay} s")
        return 0.0 if self._calls.tick_wanted else delay

    def ask(self, uid: int, sent: HttpRequest) -> bytes | Failure | None:
        """A request; None where no daemon answers."""
        if self._service is None:
            return None
        try:
            return self._service.ask(uid, sent)
        except Killed:
            if self._ticking:
                raise  # and the tick ends with it
            self.die()
            return None

    def check_file(self) -> None:
        """The queue's file is whole."""
        answer = self.record._database.one("PRAGMA quick_check")
        if answer is None or answer[0] != "ok":
            raise ViolationError(f"the queue's file: {answer}")


class _Submitting(MemorySlurm):
    """The daemon's Slurm. Somebody hears of what it submits."""

    def __init__(self, site: Site) -> None:
        as_owner = site.story.as_owner
        uid = FIRST_UID if as_owner or site.story.resubmits else 0
        super().__init__(
            site.cluster,
            site.clock,
            user=str(uid) if uid else "ef-slurm",
            uid=uid,
            operator=not as_owner,
        )
        self._site = site

    def submit(self, submission: Submission) -> Submitted:
        submitted = super().submit(submission)
        self._site.on_submit(submission, submitted)
        return submitted


def _configuration(*, private: bool) -> SlurmConfiguration:
    return SlurmConfiguration(
        version=(24, 11, 5),
        cluster="memory",
        kill_wait=1.0,
        min_job_age=300.0,
        job_requeue=True,
        job_submit_plugins=(),
        settings={"PrivateData": "jobs"} if private else {},
    )


def _rights(user: str) -> Rights | None:
    operator = user == str(OPERATOR_UID)
    return Rights(AdminLevel.OPERATOR if operator else AdminLevel.NONE)
