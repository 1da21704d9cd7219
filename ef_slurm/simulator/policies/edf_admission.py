"""Earliest deadline first with admission control, as the paper's baseline (section 6.1).

The schedule of `edf`, but arrivals are tested one at a time: a job is let in only if the schedule,
played forward without further arrivals, finishes every promised job in time. Rejected jobs leave.
As in the artifact the test knows no overhead, so promises break where overhead is charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ef_slurm.model import Outcome, Standing, is_in_time
from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.edf import Edf, deadline_order, largest_size
from ef_slurm.simulator.simulated_job import SimulatedJob


class EdfAdmission(CountsGpus):
    """See the module."""

    name = "edf-admission"
    judges = True
    work_conserving = True
    fixed_size = False

    def __init__(self, setup: ClusterSetup) -> None:
        super().__init__(setup)
        self._edf = Edf(setup)

    def see_down(self, down: Mapping[str, float]) -> None:
        """See `SchedulingPolicy`."""
        super().see_down(down)
        self._edf.see_down(down)

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        admitted = [job for job in jobs if job.standing is Standing.ADMITTED]
        verdicts: dict[str, Outcome] = {}
        for job in jobs:
            if job.standing is not Standing.NEW:
                continue
            if job.spec.deadline is None:
                verdicts[job.spec.id] = Outcome.BEST_EFFORT
            elif self._all_in_time(now, [*admitted, job], job):
                verdicts[job.spec.id] = Outcome.PROMISED
            else:
                verdicts[job.spec.id] = Outcome.REJECTED
                continue
            admitted.append(job)
        return Round(self._edf.decide(now, admitted).grants, verdicts)

    def _all_in_time(
        self, now: float, jobs: Sequence[SimulatedJob], newcomer: SimulatedJob
    ) -> bool:
        """Plays EDF forward. A job that is late in any case does not count against the newcomer."""
        waiting = sorted((job for job in jobs if job.spec.deadline is not None), key=deadline_order)
        remaining = {job.spec.id: job.remaining_at(now) for job in waiting}
        first = deadline_order(newcomer)
        while waiting:
            free = self._gpus
            rates: list[tuple[SimulatedJob, float]] = []
            for job in waiting:
                size = largest_size(job, free)
                if size:
                    rates.append((job, job.rate_at(size)))
                    free -= size
                if not free:
                    break
            if not rates:
                return False
            step = min(remaining[job.spec.id] / rate for job, rate in rates)
            now += step
            done = set()
            for job, rate in rates:
                remaining[job.spec.id] -= rate * step
                if remaining[job.spec.id] <= 1e-9 * job.spec.iterations:
                    done.add(job.spec.id)
            for job in waiting:
                late = job.spec.deadline is not None and not is_in_time(now, job.spec.deadline)
                if late and deadline_order(job) >= first:
                    return False
                if not late:
                    break
            waiting = [job for job in waiting if job.spec.id not in done]
        return True
