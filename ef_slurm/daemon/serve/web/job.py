"""One job: its story in sentences, its curve, its shares over time."""

from __future__ import annotations

import math
from typing import Any

from ef_slurm.charts.chart import Chart, Clock
from ef_slurm.charts.lines import Line, SpeedCurve, Values, speed_curves, steps
from ef_slurm.daemon.serve.profile_requests import curves_for
from ef_slurm.daemon.serve.visibility import masked
from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.daemon.serve.web.words import job_row, plain
from ef_slurm.formats.job_story import event_sentence, summary, told
from ef_slurm.formats.job_words import name_of, waits_for, why
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import FINAL, ModelError, QueueJob, Story
from ef_slurm.queue import queries
from ef_slurm.queue.past import HeldShare, shares_of


def content(look: Look, job_id: int, *, everything: bool) -> dict[str, Any]:
    """What the template shows.

    Raises:
        UnknownJobError: there is none, or none that this visitor may see.
    """
    row = queries.find_meant(look.queue, job_id)
    if not look.viewer.sees(row):
        raise queries.UnknownJobError(job_id)
    story = masked(look.queue, look.viewer, queries.story(look.queue, job_id))
    shares = shares_of(row.id, story.events)
    job, naming = story.job, name_of(story.others)
    reason = why(job, naming)
    curves = _curves(look, row)
    return {
        "job": job_row(job, look.now, reason if job.share else waits_for(job, look.now, reason)),
        "iteration": job.iteration,
        "iterations": job.iterations,
        "rate": job.rate,
        "sentences": list(summary(story, look.now, local_zone())),
        "events": [
            (event.at, event_sentence(event)) for event in told(story.events, everything=everything)
        ],
        "everything": everything,
        "shares": [(one.start, one.end, one.gpus, ",".join(one.nodes[:4])) for one in shares],
        "planned": [] if job.state in FINAL else [
            (part.start, None if math.isinf(part.end) else part.end, part.gpus)
            for part in job.schedule
        ],
        "share_chart": _share_chart(look, story, shares),
        "curves": curves,
        "curve_chart": speed_curves(
            "How fast it trains on how many GPUs: the numbers are in the table below.", curves
        ) if curves else None,
    }  # fmt: skip


def _share_chart(look: Look, story: Story, shares: tuple[HeldShare, ...]) -> Chart | None:
    """What it held and is to hold."""
    job, now = story.job, look.now
    over = job.state in FINAL
    plan = () if over else job.schedule
    if not shares and not plan:
        return None
    start = min([job.submitted, *(one.start for one in shares)])
    ends = [part.end if math.isfinite(part.end) else now + 3600.0 for part in plan]
    last = job.ended if over and job.ended is not None else now
    wanted = [last, *ends]
    if job.deadline is not None and not over:
        wanted.append(min(job.deadline, max(wanted) + (max(wanted) - start)))
    elif job.deadline is not None:
        wanted.append(min(job.deadline, last + 0.5 * (last - start)))
    end = max(*wanted, start + 60.0)
    axis = Clock(start, end + 0.02 * (end - start))
    points: list[tuple[float, float]] = [(start, 0.0)]
    for one in shares:
        points.append((one.start, float(one.gpus)))
        points.append((last if one.end is None else one.end, 0.0))
    if points[-1][0] == last and not over and shares and shares[-1].end is None:
        points[-1] = (last, float(shares[-1].gpus))
    lines = [Line("held", _in_order(points), filled=True)]
    if plan:
        ahead: list[tuple[float, float]] = [(now, 0.0)]
        for part, end in zip(plan, ends, strict=True):
            if end > now:
                ahead.append((max(part.start, now), float(part.gpus)))
                ahead.append((end, 0.0))
        lines.append(Line("planned", _in_order(ahead)))
    marks = [] if over else [(now, "now")]
    if job.deadline is not None:
        marks.append((job.deadline, "deadline"))
    label = "GPUs that it held and is to hold over time: the numbers are in the table below."
    return steps(label, lines, axis, Values("GPUs", whole=True), marks)


def _in_order(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The last word on each moment."""
    return sorted(dict(points).items())


def _curves(look: Look, row: QueueJob) -> list[SpeedCurve]:
    """As it was submitted or fitted, with what was measured."""
    request = row.request
    measured = _measured(look, row)
    growth = dict(request.growth_curves)
    found = []
    for gpu_type, curve in request.curves:
        expected = growth.get(gpu_type, curve).points
        promised = curve.points if gpu_type in growth else ()
        found.append(SpeedCurve(plain(gpu_type), expected, promised, measured.pop(gpu_type, ())))
    for gpu_type, points in measured.items():
        found.append(SpeedCurve(plain(gpu_type), sorted(points), (), points))
    return found


def _measured(look: Look, row: QueueJob) -> dict[str, tuple[tuple[int, float], ...]]:
    request, cluster = row.request, look.cluster
    if not request.model_name or request.global_batch_size is None or cluster is None:
        return {}
    training = (request.model_name, request.global_batch_size, request.precision)
    owner = (request.uid, request.owner)
    try:
        known = curves_for(look.queue, owner, training, cluster, look.now)
    except ModelError:
        return {}
    return {curve.gpu_type: curve.measured for curve in known}
