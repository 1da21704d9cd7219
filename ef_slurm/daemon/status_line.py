"""What the daemon does, in one line that names nobody."""

from __future__ import annotations

from collections.abc import Collection

from ef_slurm.model import PromiseState, QueueJob


def status_line(jobs: Collection[QueueJob], silent: float) -> str:
    """The line for `systemctl status`.

    Args:
        jobs: the active ones.
        silent: seconds since Slurm last answered.

    >>> status_line((), 3.2)
    '0 jobs run, 0 wait; no promises; Slurm answered less than a minute ago'
    """
    run = sum(job.running is not None for job in jobs)
    promised = [job.promise for job in jobs if job.promise is not PromiseState.NONE]
    risky = promised.count(PromiseState.AT_RISK)
    promises = f"{len(promised)} promises, {risky} at risk" if promised else "no promises"
    minutes = int(silent // 60)
    ago = f"{minutes} min ago" if minutes else "less than a minute ago"
    return f"{run} jobs run, {len(jobs) - run} wait; {promises}; Slurm answered {ago}"
