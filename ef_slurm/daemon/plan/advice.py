"""`--advisory`: what a plan would do, in the log, and nothing more."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ef_slurm.daemon.log_fields import about
from ef_slurm.formats.sentences import gpus, verdict_sentence
from ef_slurm.model import EventKind, Plan, QueueJob, planner_id

_log = logging.getLogger(__name__)


def advise(plan: Plan, before: Plan | None, jobs: Iterable[QueueJob]) -> None:
    """Log the verdicts of a plan, and the shares that differ from those of the plan before."""
    rows = {planner_id(job.id): job for job in jobs}
    names = {name: str(job.request.slurm_job_id) for name, job in rows.items()}
    was = {} if before is None else {one.job_id: one.block for one in before.decisions}
    for verdict in plan.verdicts:
        words = verdict_sentence(verdict, lambda name: names.get(name, name))
        about_it = about(rows.get(verdict.job_id), EventKind.VERDICT)
        _log.info("advice: job %s: %s", names.get(verdict.job_id), words, extra=about_it)
    for decision in plan.decisions:
        if decision.block != was.get(decision.job_id):
            on = "" if decision.block is None else f" on {','.join(decision.block.nodes)}"
            job, words = rows[decision.job_id], f"{gpus(decision.gpus)}{on}"
            about_it = about(job, EventKind.SHARE)
            _log.info("advice: job %d: %s", job.request.slurm_job_id, words, extra=about_it)
