"""What Slurm last said, with what single jobs said after our own actions laid over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ef_slurm.daemon.observe.companion_book import CompanionBook
from ef_slurm.daemon.observe.gpu_types import slurm_type
from ef_slurm.daemon.observe.job_status import JobReports, JobStatus
from ef_slurm.daemon.observe.ownership import is_another_submission, may_be_its_end
from ef_slurm.daemon.observe.plausible import plausible
from ef_slurm.daemon.observe.power import REREAD_SECONDS, power_times, wake_seconds_of
from ef_slurm.daemon.observe.site_limits import SiteLimits, SiteLimitsReader
from ef_slurm.daemon.observe.state_dirs import StateDirs
from ef_slurm.daemon.pauses import lately
from ef_slurm.model import Block, Companion, JobRequest, QueueJob
from ef_slurm.slurm.errors import NoSuchJobError, SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.site_types import PowerTimes
from ef_slurm.slurm.types import Observation, SlurmJob

EXPECTED_SECONDS = 30.0
"""Seconds for which a job that is to be ended is taken to leave, whatever Slurm says of it."""


class Observer:
    """The daemon's eyes. One query per kind and look, whatever the number of jobs."""

    def __init__(
        self,
        slurm: Slurm,
        state_dirs: StateDirs,
        clock: Callable[[], float],
        companions: CompanionBook | None = None,
    ) -> None:
        """`companions`: what is known of them; None where there are none."""
        self._slurm = slurm
        self._companions = companions
        self._state_dirs = state_dirs
        self._clock = clock
        self._observation: Observation | None = None
        self._power = PowerTimes()
        self._power_read_at = -math.inf
        self._memory = False
        self._booted = ""
        self._configuration_read_at = -math.inf
        self._limits = SiteLimitsReader(slurm, clock)
        self._pending: dict[int, tuple[int, float]] = {}
        self._reports: dict[int, JobReports] = {}
        self._done: dict[int, float] = {}
        # Made once for all who ask; whatever is learned makes them void.
        self._statuses: dict[int, tuple[JobRequest, JobStatus]] = {}
        self._forgotten: dict[int, tuple[int, float]] = {}
        self._killed: dict[int, tuple[int, float]] = {}
        self._ends: dict[int, tuple[float, float]] = {}
        self._accounted: dict[int, SlurmJob | None] = {}
        self.expects_end = False
        """Whether a job is to end that had not ended when Slurm was last asked."""

    @property
    def refreshed_at(self) -> float | None:
        """When the last look began; None before the first."""
        return None if self._observation is None else self._observation.at

    @property
    def observation(self) -> Observation:
        """The last look, with what was read of single jobs since laid over it.

        Raises:
            RuntimeError: nobody has looked yet.
        """
        if self._observation is None:
            raise RuntimeError("Slurm was not observed yet")
        return self._observation

    def refresh(self) -> None:
        """Ask Slurm for everything.

        Raises:
            SlurmError: it does not answer, or not as known; the last look stays.
        """
        self._statuses.clear()
        known = {} if self._observation is None else self._observation.jobs
        seen = self._slurm.observe()
        if not 0.0 <= seen.at - self._configuration_read_at < REREAD_SECONDS:
            self._read_configuration(seen.at)
        self._observation = replace(
            seen,
            power=self._power_times(seen),
            memory_counts=self._memory,
            booted=self._booted,
        )
        self.expects_end = False
        for job_id in list(self._reports):
            if known.get(job_id) != self._observation.jobs.get(job_id):
                del self._reports[job_id]
        self._pending = {
            job_id: seen
            for job_id, seen in self._pending.items()
            if job_id in self.observation.jobs
        }
        for job_id in self._killed.keys() - self._observation.jobs.keys():
            del self._killed[job_id]
        answered = self._clock()  # what is seen may have happened since Slurm was asked
        for job in self._observation.jobs.values():
            self._remember(job, answered)
        self._expect_ends(answered)

    def limits(self, users: Iterable[str]) -> SiteLimits:
        """The limits that Slurm keeps, as far as these users' jobs are concerned."""
        return self._limits.limits(frozenset(users))

    def ask_who_answers(self) -> None:
        """Find out whether it is still the same slurmctld whose word the last look was.

        Raises:
            SlurmError: it does not answer.
        """
        self._read_configuration(self.observation.at)
        self._statuses.clear()
        self._observation = replace(self.observation, booted=self._booted)

    def expect_another(self) -> None:
        """Slurm did not answer: it may be another slurmctld that does next."""
        self._configuration_read_at = -math.inf

    def _read_configuration(self, at: float) -> None:
        configuration = self._slurm.configuration()
        self._memory, self._booted = configuration.memory_counts, configuration.booted
        self._configuration_read_at = at

    def expect_new_run(self, job_id: int) -> None:
        """A job was released again: what Slurm had forgotten of it is over."""
        self._statuses.clear()
        self._forgotten.pop(job_id, None)
        self._killed.pop(job_id, None)

    def expect_ended_run(self, job: SlurmJob) -> None:
        """We have put a job back, as Slurm has just answered: it has killed its run by now.

        Args:
            job: as it was before.
        """
        self._statuses.clear()
        self._killed[job.job_id] = (job.restarts + 1, self._clock())

    def expect_forgotten_run(self, job_id: int) -> None:
        """Slurm has forgotten that a job was released: its nodes may run it all the same."""
        self._statuses.clear()
        job = self.observation.jobs.get(job_id)
        if job is not None:
            self._forgotten[job_id] = (job.restarts, self._clock())

    def _power_times(self, seen: Observation) -> PowerTimes:
        """The site's, asked for only where some node is powered down."""
        if not any(node.is_asleep for node in seen.nodes):
            return self._power
        if seen.at - self._power_read_at >= REREAD_SECONDS or seen.at < self._power_read_at:
            self._power = power_times(self._slurm.configuration(), self._slurm.partitions())
            self._power_read_at = seen.at
        return self._power

    def update(self, job: SlurmJob) -> None:
        """A single job was read again."""
        self._statuses.clear()
        known = self.observation
        if known.jobs.get(job.job_id) != job:
            self._reports.pop(job.job_id, None)
        self._observation = replace(known, jobs={**known.jobs, job.job_id: job})
        self._remember(job, self._clock())

    def expect_end(self, job_id: int, end: float) -> None:
        """A job that holds nodes is about to be ended: for a while it is taken to be soon.

        Args:
            end: when, UTC epoch seconds.
        """
        now = self._clock()
        self._ends[job_id] = (now, end - now)
        self._expect_ends(now)

    def _expect_ends(self, now: float) -> None:
        """What is seen of jobs that are about to be ended may be from just before."""
        if not self._ends:
            return
        known = self.observation
        jobs = dict(known.jobs)
        for job_id, (told, needs) in list(self._ends.items()):
            job = jobs.get(job_id)
            if job is None or not job.holds_nodes or not lately(told, EXPECTED_SECONDS, now):
                del self._ends[job_id]
                continue
            jobs[job_id] = replace(job, end_time=now + needs)
            self.expects_end = True
        self._statuses.clear()
        self._observation = replace(known, jobs=jobs)

    def fetch(self, job_id: int) -> SlurmJob | None:
        """Read one job again; None if Slurm does not know it.

        Raises:
            SlurmUnavailableError: Slurm does not answer.
        """
        try:
            job = self._slurm.job(job_id)
        except NoSuchJobError:
            return None
        self.update(job)
        return job

    def ask_accounting(self, jobs: Iterable[QueueJob]) -> None:
        """Ask once how those ended that Slurm has forgotten: with one query, and if it answers."""
        known = self.observation.jobs
        gone = set[int]()
        for job in jobs:
            slurm_id = job.request.slurm_job_id
            slurm = known.get(slurm_id)
            if slurm is None or is_another_submission(job, slurm):
                gone.add(slurm_id)
        new = gone - self._accounted.keys()
        self._accounted = {one: self._accounted[one] for one in gone - new}
        if not new:
            return
        try:
            ended = self._slurm.ended(new)
        except SlurmError:  # many sites have none; slurmctld's word has to do
            ended = {}
        self._accounted |= {slurm_id: ended.get(slurm_id) for slurm_id in new}

    def accounted_end(self, job: QueueJob) -> SlurmJob | None:
        """How a job ended that Slurm has forgotten; None where accounting has not told."""
        ended = self._accounted.get(job.request.slurm_job_id)
        return ended if ended is not None and may_be_its_end(job, ended) else None

    def drop(self, job_id: int) -> None:
        """Slurm does not know the job, or has another one under its id since: it is asked anew."""
        self._statuses.clear()
        jobs = dict(self.observation.jobs)
        jobs.pop(job_id, None)
        self._observation = replace(self.observation, jobs=jobs)
        self._pending.pop(job_id, None)
        self._forgotten.pop(job_id, None)
        self._reports.pop(job_id, None)

    @property
    def companion_ids(self) -> frozenset[int]:
        """Slurm's ids of the companions: what they hold is their jobs'."""
        return frozenset() if self._companions is None else self._companions.slurm_ids

    def companions_of(self, job_id: int) -> tuple[Companion, ...]:
        """Those of a job, by its queue id, that have not ended."""
        return () if self._companions is None else self._companions.of(job_id)

    def slurm_type(self, block: Block) -> str:
        """What Slurm calls the type of the block's GPUs; "" where it names none."""
        return slurm_type(self.observation, block)

    def wake_seconds(self, block: Block) -> float:
        """Until a job that is released to the block can start there, beyond Slurm's own time."""
        return wake_seconds_of(self.observation, block)

    def runs(self, job: QueueJob) -> bool:
        """Whether Slurm has the job on nodes, as far as is known."""
        if self._observation is None:
            return False
        slurm = self._observation.jobs.get(job.request.slurm_job_id)
        return slurm is not None and slurm.holds_nodes

    def status(self, job: QueueJob) -> JobStatus | None:
        """What is known of a queue job; None if Slurm did not mention it."""
        slurm = self.observation.jobs.get(job.request.slurm_job_id)
        if slurm is None:
            return None
        known = self._statuses.get(slurm.job_id)
        alone = self._companions is None or not self._companions.has_any(job.id)
        if known is not None and known[0] is job.request and alone:
            return known[1]
        status = self._status(job, slurm)
        if alone:
            self._statuses[slurm.job_id] = (job.request, status)
        return status

    def _status(self, job: QueueJob, slurm: SlurmJob) -> JobStatus:
        status = JobStatus(
            slurm,
            self.reports(job),
            *self.ended_run(slurm),
            booted=self.observation.booted,
            forgotten_at=self._forgotten_since(slurm),
        )
        if self._companions is not None:
            members = self._companions.members(job, self.observation.jobs)
            status = replace(status, members=members) if members else status
        if not status.says_done(job.request.iterations):
            self._done.pop(slurm.job_id, None)
            return status
        return replace(status, done_since=self._done.setdefault(slurm.job_id, self._clock()))

    def reports(self, job: QueueJob) -> JobReports:
        """The job's own word as it was last read: since Slurm last said something new about it."""
        slurm_id = job.request.slurm_job_id
        if slurm_id not in self._reports:
            self._take(job, self._state_dirs.read(job))
        return self._reports[slurm_id]

    def read_reports(self, jobs: Iterable[QueueJob]) -> None:
        """Read the reports of these jobs anew."""
        jobs = tuple(jobs)
        for job, reports in zip(jobs, self._state_dirs.read_all(jobs), strict=True):
            self._take(job, reports)

    def _take(self, job: QueueJob, reports: JobReports) -> None:
        self._statuses.clear()
        now = self._clock()
        self._reports[job.request.slurm_job_id] = plausible(reports, job.request.iterations, now)

    def trouble(self, job: QueueJob) -> str:
        """Why something of what the job reports was refused, when last read; "" for nothing."""
        reports = self._reports.get(job.request.slurm_job_id)
        return "" if reports is None else reports.trouble

    def keep_reports(self, jobs: Iterable[QueueJob]) -> None:
        """Forget the reports of all other jobs."""
        known = self._reports
        ids = {job.request.slurm_job_id for job in jobs}
        if known.keys() <= ids and self._done.keys() <= known.keys():
            return
        self._statuses.clear()
        self._reports = {slurm_id: said for slurm_id, said in known.items() if slurm_id in ids}
        self._done = {slurm_id: at for slurm_id, at in self._done.items() if slurm_id in known}

    def ended_run(self, job: SlurmJob) -> tuple[float | None, float | None]:
        """When a job was first seen pending since its last run, and by when that was killed."""
        seen = self._pending.get(job.job_id)
        if seen is None:
            return None, None
        restarts, killed = self._killed.get(job.job_id, seen)
        return seen[1], killed if restarts == job.restarts else seen[1]

    def _forgotten_since(self, job: SlurmJob) -> float | None:
        found = self._forgotten.get(job.job_id)
        return None if found is None or found[0] != job.restarts else found[1]

    def _remember(self, job: SlurmJob, at: float) -> None:
        if not job.is_pending:
            self._pending.pop(job.job_id, None)
            self._forgotten.pop(job.job_id, None)
            if job.is_running and self._killed.get(job.job_id, (math.inf,))[0] <= job.restarts:
                del self._killed[job.job_id]
            return
        # A clock that was set back would put them an hour ahead.
        seen, found = self._pending.get(job.job_id), self._forgotten.get(job.job_id)
        if seen is None or seen[0] != job.restarts or at < seen[1]:
            self._pending[job.job_id] = (job.restarts, at)
        if found is not None and at < found[1]:
            self._forgotten[job.job_id] = (found[0], at)
        killed = self._killed.get(job.job_id)
        if killed is not None and at < killed[1]:
            self._killed[job.job_id] = (killed[0], at)
