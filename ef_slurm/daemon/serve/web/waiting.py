"""Who waits, for what, and in which order."""

from __future__ import annotations

from typing import Any

from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.model import JobState, JobView

_GROUPS: tuple[tuple[str, str, frozenset[JobState]], ...] = (
    (
        "To be judged",
        "Submitted, and no answer yet: new ones, and those whose speed is measured before.",
        frozenset({JobState.NEW}),
    ),
    (
        "On the waiting list",
        "Their deadlines cannot be promised now; they are judged again whenever GPUs become free.",
        frozenset({JobState.WAITLISTED}),
    ),
    (
        "Admitted",
        "Promised or best effort: their plan says when they get GPUs.",
        frozenset({JobState.ADMITTED, JobState.PAUSED, JobState.STARTING, JobState.STOPPING}),
    ),
    ("Held", "Held by their owner or an operator.", frozenset({JobState.HELD})),
)


def content(look: Look) -> dict[str, Any]:
    """What the template shows."""
    jobs = look.jobs()

    def in_group(states: frozenset[JobState], job: JobView) -> bool:
        return not job.share and job.state in states

    groups = []
    for title, note, states in _GROUPS:
        rows = look.rows(jobs, lambda job, states=states: in_group(states, job))  # type: ignore[misc]
        starts = {job.job_id: job.schedule[0].start for job in jobs.jobs if job.schedule}
        groups.append((title, note, rows, starts))
    return {"groups": groups, "count": sum(len(rows) for _, _, rows, _ in groups)}
