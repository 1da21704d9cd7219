"""What goes on: who holds which GPUs, who is to have them, who waits and why."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ef_slurm.charts.chart import Chart, Clock
from ef_slurm.charts.gantt import gantt
from ef_slurm.daemon.serve.visibility import masked
from ef_slurm.daemon.serve.web.allocation import Drawn, allocation
from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.model import Cluster, JobList, JobView, Outage, PromiseOutcome, PromiseState, QueueJob
from ef_slurm.queue import queries
from ef_slurm.queue.errors import NoSuchRowError
from ef_slurm.queue.past import HeldShare

_SPANS = (1, 6, 24, 72, 168)
_MOST_WAITING = 15
_MOST_ENDED = 500
"""Ended jobs that are drawn, the latest ones."""


def content(look: Look, *, hours: int) -> dict[str, Any]:
    """What the template shows.

    Args:
        hours: of the past and of the plan, each.
    """
    jobs = look.jobs()
    running = [job for job in jobs.jobs if job.share]
    open_ones = [job for job in jobs.jobs if job.promise_outcome is PromiseOutcome.OPEN]
    cluster, held = look.cluster, sum(job.share for job in running)
    waiting = look.rows(jobs, lambda job: not job.share)
    return {
        "tiles": [
            (f"{held} of {usable(cluster, look.now)}", "GPUs in use", False),
            (str(len(running)), "jobs run", False),
            (str(len(waiting)), "jobs wait", False),
            (str(len(open_ones)), "promises are open", False),
            *_risk(sum(job.promise is PromiseState.AT_RISK for job in open_ones)),
        ],
        "chart": None if cluster is None else _chart(look, jobs, cluster, hours),
        "hours": hours,
        "spans": _SPANS,
        "running": look.rows(jobs, lambda job: bool(job.share)),
        "waiting": waiting[:_MOST_WAITING],
        "more": max(0, len(waiting) - _MOST_WAITING),
    }


def _risk(count: int) -> list[tuple[str, str, bool]]:
    return [(str(count), "promises at risk", True)] if count else []


def usable(cluster: Cluster | None, now: float) -> int:
    """GPUs that may be used now."""
    if cluster is None:
        return 0
    return sum(
        max(0, group.gpus_per_node - closed_now(node.outages, group.gpus_per_node, now))
        for group in cluster.groups
        for node in group.nodes
    )


def closed_now(outages: Iterable[Outage], gpus: int, now: float) -> int:
    """GPUs of a node that may not be used now."""
    closed = sum(one.gpus or gpus for one in outages if one.start <= now < one.end)
    return min(gpus, closed)


def _chart(look: Look, jobs: JobList, cluster: Cluster, hours: int) -> Chart:
    axis = Clock(look.now - 3600.0 * hours, look.now + 3600.0 * hours)
    past = look.queue.past.shares(axis.start)
    drawn = _drawn(look, jobs, past)
    shown = allocation(cluster, drawn, past, axis, look.now)
    label = (
        f"GPUs of {len(shown.lanes)} nodes over time, {hours} hours back and {hours} hours ahead: "
        f"{len(drawn)} jobs. The table below lists those that hold GPUs."
    )
    return gantt(label, shown, axis)


def _drawn(look: Look, jobs: JobList, past: tuple[HeldShare, ...]) -> list[Drawn]:
    """Active jobs, and the latest of those that have ended."""
    views = {job.queue_id: job for job in jobs.jobs}
    found = []
    for view in jobs.jobs:
        with suppress(NoSuchRowError):
            found.append(Drawn(view, look.queue.jobs.get(view.queue_id)))
    ended = list(dict.fromkeys(share.job_id for share in past if share.job_id not in views))
    for queue_id in ended[-_MOST_ENDED:]:
        with suppress(NoSuchRowError, queries.UnknownJobError):
            row = look.queue.jobs.get(queue_id)
            if look.viewer.sees(row):
                found.append(Drawn(_view(look, row), row))
    return found


def _view(look: Look, row: QueueJob) -> JobView:
    detail = queries.detail(look.queue, row)
    return masked(look.queue, look.viewer, detail).job
