"""Jobs that ask for a Slurm reservation: on the way into a plan, and out of it.

>>> from ef_slurm.model import Cluster, Node, NodeGroup, ThroughputCurve
>>> curve = ThroughputCurve.of({1: 1.0})
>>> job = Job("1", 0.0, 90.0, (("gpu", curve),), deadline=60.0)
>>> cluster = Cluster((NodeGroup("gpu in reservation r", 1, (Node("n1"),)),))
>>> inside(job, "r", cluster).curves[0][0], inside(job, "gone", cluster).max_gpus
('gpu in reservation r', 0)
"""

from __future__ import annotations

from dataclasses import replace

from ef_slurm.daemon.observe.reserved import plain_type, type_in
from ef_slurm.model import Cluster, Decision, Job, Plan, SlurmSettings


def reservation_of(settings: SlurmSettings) -> str:
    """The reservation that a job asks for; "" for none."""
    return dict(settings).get("reservation", "")


def inside(job: Job, reservation: str, cluster: Cluster) -> Job:
    """The job on the GPUs of its reservation, and on no others."""
    here = {group.gpu_type for group in cluster.groups}
    names = {kind: type_in(kind, reservation) for kind, _ in job.curves}
    curves = tuple((names[kind], curve) for kind, curve in job.curves if names[kind] in here)
    if not curves:
        words = f"reservation {reservation}, which has no GPUs for it (any more),"
        return replace(job, max_gpus=0, max_gpus_by=words, plan=())
    growth = tuple(
        (names[kind], curve) for kind, curve in job.growth_curves if names.get(kind) in here
    )
    charges = tuple(
        replace(one, gpu_type=type_in(one.gpu_type, reservation)) if one.gpu_type else one
        for one in job.charges
    )
    running = job.running
    if running is not None:
        block = running.block
        running = replace(
            running, block=replace(block, gpu_type=type_in(block.gpu_type, reservation))
        )
    planned = all(one.gpu_type in here for one in job.plan)
    return replace(
        job,
        curves=curves,
        growth_curves=growth,
        charges=charges,
        running=running,
        plan=job.plan if planned else (),
    )


def outside(plan: Plan) -> Plan:
    """The plan with blocks as Slurm knows them; schedules stay as the planner has them."""
    return replace(plan, decisions=tuple(_decided(one) for one in plan.decisions))


def _decided(decision: Decision) -> Decision:
    block = decision.block
    if block is None or plain_type(block.gpu_type) == block.gpu_type:
        return decision
    return replace(decision, block=replace(block, gpu_type=plain_type(block.gpu_type)))
