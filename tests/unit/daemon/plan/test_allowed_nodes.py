"""Holes for one job alone, by what Slurm says that it asks for."""

from dataclasses import replace

from ef_slurm.daemon.plan.allowed_nodes import AllowedNodes
from ef_slurm.model import Bar
from ef_slurm.slurm.types import SlurmNode


def nodes(*features: str) -> tuple[SlurmNode, ...]:
    return (SlurmNode("n1", frozenset(), features=features), SlurmNode("n2", frozenset()))


def test_excluded_nodes_and_missing_features() -> None:
    allowed = AllowedNodes(lambda: NODES)
    assert allowed.bars(()) == ()
    assert allowed.bars((("excluded nodes", "n[2-3]"),)) == (Bar(frozenset({"n2", "n3"})),)
    assert allowed.bars((("features", "ib"),)) == (Bar(frozenset({"n2"})),)
    both = allowed.bars((("excluded nodes", "n1"), ("features", "ib")))
    assert both == (Bar(frozenset({"n1"})), Bar(frozenset({"n2"})))


NODES = nodes("ib")


def test_nodes_with_too_little_temporary_disk() -> None:
    small, large = NODES[0], replace(NODES[1], temporary_disk=5000.0)
    allowed = AllowedNodes(lambda: found)
    found = (small, large)
    assert allowed.bars((("temporary disk per node", "4000"),)) == (Bar(frozenset({"n1"})),)
    assert allowed.bars((("temporary disk per node", ""),)) == ()


def test_what_cannot_be_planned_with_is_slurms_to_honour() -> None:
    allowed = AllowedNodes(lambda: NODES)
    assert allowed.bars((("features", "[ib*2]"), ("excluded nodes", "n[1"))) == ()


def test_features_that_change_count_from_then_on() -> None:
    now = [nodes("ib")]
    allowed = AllowedNodes(lambda: now[0])
    assert allowed.bars((("features", "ib"),)) == (Bar(frozenset({"n2"})),)
    now[0] = nodes()
    assert allowed.bars((("features", "ib"),)) == (Bar(frozenset({"n1", "n2"})),)
