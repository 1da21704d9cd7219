"""Whether the site is well: the daemon, the nodes, and what went wrong lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ef_slurm.daemon.serve.visibility import masked_text
from ef_slurm.daemon.serve.web.now import closed_now
from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.daemon.serve.web.words import length, plain
from ef_slurm.model import EventKind
from ef_slurm.queue.errors import NoSuchRowError

SILENT_SECONDS = 120.0
"""A scheduler that has not looked for so long does not work."""
_MOST_EVENTS = 40
_KINDS = (EventKind.ERROR, EventKind.NODE, EventKind.DAEMON)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node in a table."""

    name: str
    gpu_type: str
    gpus: int
    used: int
    closed: int
    until: float | None


def content(look: Look) -> dict[str, Any]:
    """What the template shows."""
    context, now = look.context, look.now
    ticked = context.scheduler.ticked_at
    age = None if ticked is None else max(0.0, now - ticked)
    nodes = _nodes(look)
    closed = [node for node in nodes if node.closed]
    gpus = sum(node.gpus for node in nodes)
    return {
        "tiles": [
            (length(age) if age is not None else "never", "since the scheduler's last look",
             age is None or age > SILENT_SECONDS),
            (length(now - context.started), "since ef-schedd started", False),
            (f"{gpus - sum(node.closed for node in nodes)} of {gpus}", "GPUs can be used", False),
            (str(len(closed)), "nodes not wholly usable", False),
            (str(len(look.jobs().jobs)), "jobs in the queue", False),
        ],
        "advisory": context.advisory,
        "nodes": nodes,
        "partition": context.partition,
        "events": _events(look),
    }  # fmt: skip


def _nodes(look: Look) -> list[NodeRow]:
    cluster, now = look.cluster, look.now
    if cluster is None:
        return []
    used: dict[tuple[str, str], int] = {}
    for job in look.jobs().jobs:
        for name in job.nodes:
            key = (job.gpu_type, name)
            used[key] = used.get(key, 0) + job.share // len(job.nodes)
    rows = []
    for group in cluster.groups:
        for node in group.nodes:
            ends = [one.end for one in node.outages if one.start <= now < one.end]
            rows.append(
                NodeRow(
                    name=plain(node.name),
                    gpu_type=plain(group.gpu_type),
                    gpus=group.gpus_per_node,
                    used=used.get((group.gpu_type, node.name), 0),
                    closed=closed_now(node.outages, group.gpus_per_node, now),
                    until=max(ends) if ends else None,
                )
            )
    return rows


def _events(look: Look) -> list[tuple[float, str, str]]:
    """What went wrong or changed lately, the latest first, of what this visitor may know."""
    found = [event for kind in _KINDS for event in look.queue.events.last(kind, _MOST_EVENTS)]
    rows = []
    for event in sorted(found, key=lambda one: one.at, reverse=True):
        if event.job_id is not None:
            try:
                if not look.viewer.sees(look.queue.jobs.get(event.job_id)):
                    continue
            except NoSuchRowError:
                continue
        message = masked_text(look.queue, look.viewer, event.message)
        rows.append((event.at, event.kind.value, plain(message)))
    return rows[:_MOST_EVENTS]
