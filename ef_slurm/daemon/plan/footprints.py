"""Jobs whose GPUs come with more than their share of CPUs and memory: how the planner sees them.

The planner counts GPUs. A job that asks, with each GPU, for twice a GPU's share of its node takes
two GPUs' worth of a block for each GPU that it uses (`model.footprint`). On the way in its sizes
are made as much larger (`widened`), on the way out its blocks as much smaller (`narrowed`);
schedules stay as the planner has them, since they say which part of the cluster is taken.

>>> from ef_slurm.model import Cluster, ThroughputCurve
>>> curve = ThroughputCurve.of({1: 1.0, 2: 1.8, 4: 3.0})
>>> job = Job("1", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> wide = widened(job, {"gpu": Footprint(2, frozenset())})
>>> wide.curves[0][1].points
((2, 1.0), (4, 1.8), (8, 3.0))
>>> narrow_block(Block("gpu", ("n1", "n2"), 4), 2)
Block(gpu_type='gpu', nodes=('n1', 'n2'), gpus_per_node=2, first_gpu=0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ef_slurm.model import (
    Bar,
    Block,
    Cluster,
    Decision,
    Job,
    NodeGroup,
    PerGpu,
    Plan,
    QueueJob,
    Reason,
    ThroughputCurve,
    Verdict,
    footprint,
    planner_id,
)
from ef_slurm.slurm.per_gpu import per_gpu_of

Curves = tuple[tuple[str, ThroughputCurve], ...]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a job takes on the nodes of one GPU type.

    Args:
        factor: GPUs' worth of a block per GPU.
        too_small: names of the nodes that would have to give more.
    """

    factor: int
    too_small: frozenset[str]


PLAIN = Footprint(1, frozenset())

Footprints = Mapping[str, Footprint]
"""By GPU type; types on which no node has enough for one GPU of the job are left out."""


def footprints_of(asked: PerGpu, cluster: Cluster) -> Footprints:
    """What a job that asks for so much with each GPU takes, by GPU type."""
    found = {group.gpu_type: _footprint(asked, group) for group in cluster.groups}
    return {gpu_type: one for gpu_type, one in found.items() if one is not None}


def footprints_by_job(jobs: Iterable[QueueJob], cluster: Cluster) -> dict[str, Footprints]:
    """What each job takes, by the planner's id, as its owner asked Slurm for it."""
    kinds: dict[PerGpu, Footprints] = {}
    found = {}
    for job in jobs:
        asked = per_gpu_of(job.slurm_settings)
        if asked not in kinds:
            kinds[asked] = footprints_of(asked, cluster)
        found[planner_id(job.id)] = kinds[asked]
    return found


def _footprint(asked: PerGpu, group: NodeGroup) -> Footprint | None:
    if asked == PerGpu():
        return PLAIN
    factors = {node.name: footprint(asked, node.per_gpu) for node in group.nodes}
    fitting = [factor for factor in factors.values() if factor <= group.gpus_per_node]
    if not fitting:
        return None
    # What most nodes ask for; those that would have to give more are none of its nodes.
    counts = Counter(fitting)
    factor = max(counts, key=lambda one: (counts[one], one))
    return Footprint(factor, frozenset(name for name, one in factors.items() if one > factor))


def widened(job: Job, footprints: Footprints) -> Job:
    """The job with the sizes that it takes, instead of those that it uses."""
    kinds = {kind for kind, _ in job.curves}
    if all(footprints.get(kind) == PLAIN for kind in kinds):
        return job
    curves = _widened(job.curves, footprints, job.max_gpus)
    if not curves:
        return replace(job, max_gpus=0, plan=())  # nothing here is large enough for it
    small = frozenset(name for one in footprints.values() for name in one.too_small)
    least = min(footprints[kind].factor for kind, _ in curves)
    bars = [replace(bar, from_gpus=bar.from_gpus * least) for bar in job.bars]
    charges = tuple(replace(one, per_gpu=one.per_gpu / least) for one in job.charges)
    running = job.running
    if running is not None and running.block.gpu_type in footprints:
        factor = footprints[running.block.gpu_type].factor
        running = replace(running, block=_wide_block(running.block, factor))
    sizes = {gpus for _, curve in curves for gpus, _ in curve.points}
    return replace(
        job,
        curves=curves,
        growth_curves=_widened(job.growth_curves, footprints, job.max_gpus),
        max_gpus=None,
        bars=(*bars, *((Bar(small),) if small else ())),
        running=running,
        charges=charges,
        # A plan that was made when it asked for less, or more, is none.
        plan=job.plan if all(one.gpus in sizes for one in job.plan) else (),
    )


def _widened(curves: Curves, footprints: Footprints, most: int | None) -> Curves:
    found = []
    for kind, curve in curves:
        points = {
            gpus * footprints[kind].factor: rate
            for gpus, rate in curve.points
            if kind in footprints and (most is None or gpus <= most)
        }
        if points:
            found.append((kind, ThroughputCurve.of(points)))
    return tuple(found)


def _wide_block(block: Block, factor: int) -> Block:
    per_node = block.gpus_per_node * factor
    return replace(block, gpus_per_node=per_node, first_gpu=block.first_gpu // per_node * per_node)


def narrow_block(block: Block, factor: int) -> Block:
    """The GPUs that a job uses of a block that it takes."""
    return replace(block, gpus_per_node=max(1, block.gpus_per_node // factor))


def narrowed(plan: Plan, footprints: Mapping[str, Footprints]) -> Plan:
    """The plan in the GPUs that jobs use; schedules stay as they are.

    Args:
        footprints: by the planner's id of the job; who is not named takes what it uses.
    """
    wide = {
        job_id: max(one.factor for one in of_job.values())
        for job_id, of_job in footprints.items()
        if any(one.factor > 1 for one in of_job.values())
    }
    if not wide:
        return plan
    return replace(
        plan,
        decisions=tuple(
            _narrow_decision(one, footprints[one.job_id], wide[one.job_id])
            if one.job_id in wide
            else one
            for one in plan.decisions
        ),
        verdicts=tuple(
            narrow_verdict(one, footprints[one.job_id]) if one.job_id in wide else one
            for one in plan.verdicts
        ),
    )


def _narrow_decision(decision: Decision, footprints: Footprints, most: int) -> Decision:
    block, factor = decision.block, most
    if block is not None and block.gpu_type in footprints:
        factor = footprints[block.gpu_type].factor
        block = narrow_block(block, factor)
    return replace(decision, block=block, reason=_narrow_reason(decision.reason, factor))


def narrow_verdict(verdict: Verdict, footprints: Footprints) -> Verdict:
    """The verdict in the GPUs that the job uses."""
    factor = max((one.factor for one in footprints.values()), default=1)
    share = max(1, verdict.share // factor) if verdict.share else 0
    return replace(verdict, share=share, reason=_narrow_reason(verdict.reason, factor))


def _narrow_reason(reason: Reason, factor: int) -> Reason:
    return reason if not reason.gpus else replace(reason, gpus=max(1, reason.gpus // factor))


def too_much(asked: PerGpu, cluster: Cluster) -> str:
    """Why no GPU of the cluster can serve a job that asks for so much with each of its own."""
    nodes = [(node, group) for group in cluster.groups for node in group.nodes]
    cpus = max((node.per_gpu.cpus * group.gpus_per_node for node, group in nodes), default=0.0)
    memory = max((node.per_gpu.memory * group.gpus_per_node for node, group in nodes), default=0.0)
    wants = " and ".join(
        f"{number:g} {unit}"
        for number, unit in ((asked.cpus, "CPUs"), (asked.memory, "MiB"))
        if number
    )
    have = f"{cpus:.0f} CPUs" + (f" and {memory:.0f} MiB" if memory else "")
    return f"it asks for {wants} with each GPU; the largest node here has {have}"
