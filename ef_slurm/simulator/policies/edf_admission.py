"""Earliest deadline first with admission control, as the paper's baseline (section 6.1).

The schedule of `edf`, but arrivals are tested one at a time: a job is let in only if the schedule,
played forward without further arrivals, finishes every promised job in time. Rejected jobs leave.
As in the artifact the test knows no overhead, so promises break where overhead is charged.
"""

from __future__ import annotations

from collections.abc import Sequence

from ef_slurm.model import Outcome, Standing
from ef_slurm.simulator.metrics import PUNCTUAL
from ef_slurm.simulator.policies.base import ClusterSetup, Round
from ef_slurm.simulator.policies.edf import Edf, deadline_order, largest_size
from ef_slurm.simulator.simulated_job import SimulatedJob


class EdfAdmission:
    """See the module."""

    name = "edf-admission"
    judges = True
    work_conserving = True
    fixed_size = False

    def __init__(self, setting: ClusterSetup) -> None:
        self._gpus = setting.gpus
        self._edf = Edf(setting)

    def decide(self, now: float, runs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        admitted = [run for run in runs if run.standing is Standing.ADMITTED]
        verdicts: dict[str, Outcome] = {}
        for run in runs:
            if run.standing is not Standing.NEW:
                continue
            if run.job.deadline is None:
                verdicts[run.job.id] = Outcome.BEST_EFFORT
            elif self._all_in_time(now, [*admitted, run], run):
                verdicts[run.job.id] = Outcome.PROMISED
            else:
                verdicts[run.job.id] = Outcome.REJECTED
                continue
            admitted.append(run)
        return Round(self._edf.decide(now, admitted).grants, verdicts)

    def _all_in_time(
        self, now: float, runs: Sequence[SimulatedJob], newcomer: SimulatedJob
    ) -> bool:
        """Plays EDF forward. A job that is already doomed does not count against the newcomer."""
        waiting = sorted((run for run in runs if run.job.deadline is not None), key=deadline_order)
        remaining = {run.job.id: run.remaining_at(now) for run in waiting}
        first = deadline_order(newcomer)
        while waiting:
            free = self._gpus
            rates: list[tuple[SimulatedJob, float]] = []
            for run in waiting:
                size = largest_size(run, free)
                if size:
                    rates.append((run, run.rate_at(size)))
                    free -= size
                if not free:
                    break
            if not rates:
                return False
            step = min(remaining[run.job.id] / rate for run, rate in rates)
            now += step
            done = set()
            for run, rate in rates:
                remaining[run.job.id] -= rate * step
                if remaining[run.job.id] <= 1e-9 * run.job.iterations:
                    done.add(run.job.id)
            for run in waiting:
                late = run.job.deadline is not None and now > run.job.deadline + PUNCTUAL
                if late and deadline_order(run) >= first:
                    return False
                if not late:
                    break
            waiting = [run for run in waiting if run.job.id not in done]
        return True
