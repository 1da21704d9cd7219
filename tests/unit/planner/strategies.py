"""Random clusters, curves, jobs and capacities for the planner's properties."""

from __future__ import annotations

from hypothesis import strategies as st

from ef_slurm.model import Node, NodeGroup, Outage

GPU = "gpu"


@st.composite
def outages(draw: st.DrawFn, gpus_per_node: int, horizon: float) -> Outage:
    """An absence of a node or of some of its GPUs, in force now, later, or for good."""
    start = draw(st.one_of(st.just(0.0), st.floats(0.0, horizon).map(round).map(float)))
    length = draw(st.one_of(st.just(float("inf")), st.integers(1, int(horizon)).map(float)))
    gpus = draw(st.one_of(st.none(), st.integers(1, gpus_per_node)))
    return Outage(start, start + length, gpus)


@st.composite
def node_groups(
    draw: st.DrawFn,
    *,
    gpu_type: str = GPU,
    max_nodes: int = 9,
    max_gpus_per_node: int = 8,
    horizon: float = 0.0,
) -> NodeGroup:
    """Nodes of one type, some with GPUs missing now and, with a `horizon`, later."""
    gpus_per_node = draw(st.sampled_from([g for g in (1, 2, 4, 8) if g <= max_gpus_per_node]))
    count = draw(st.integers(1, max_nodes))
    nodes = []
    for number in range(1, count + 1):
        missing = draw(st.integers(0, 5))
        absences: list[Outage] = []
        if missing == 0:
            absences.append(Outage(0.0))
        elif missing == 1:
            absences.append(Outage(0.0, gpus=draw(st.integers(1, gpus_per_node))))
        elif missing == 2 and horizon > 0:
            absences.append(draw(outages(gpus_per_node, horizon)))
        nodes.append(Node(f"{gpu_type}-{number}", tuple(absences)))
    return NodeGroup(gpu_type, gpus_per_node, tuple(nodes))
