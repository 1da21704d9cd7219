"""Policies by the name that `--policy` spells.

A policy's module is imported when it is asked for: what one of them needs is slow to import.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.policies.base import ClusterSetup, SchedulingPolicy
from ef_slurm.simulator.policies.per_group import PerGroup

_CLASSES = {
    "elasticflow": "ElasticFlow",
    "edf": "Edf",
    "edf-admission": "EdfAdmission",
    "gandiva": "Gandiva",
    "tiresias": "Tiresias",
    "themis": "Themis",
    "chronus": "Chronus",
    "slurm": "Slurm",
}

ELASTICFLOW = "elasticflow"
"""ef-slurm's own planner."""

_SEVERAL_TYPES = frozenset({ELASTICFLOW})
"""Policies that know clusters of several GPU types; of the others there is one for each."""

POLICIES = tuple(_CLASSES)


def make_policy(name: str, setup: ClusterSetup) -> SchedulingPolicy:
    """The policy of that name for a cluster.

    Raises:
        SimulatorError: there is none, or it needs a package that is not installed.
    """
    if name not in _CLASSES:
        raise SimulatorError(f"policy {name!r} is not known: one of {', '.join(POLICIES)}")
    module = import_module(f"ef_slurm.simulator.policies.{name.replace('-', '_')}")
    policy_class: Callable[[ClusterSetup], SchedulingPolicy] = getattr(module, _CLASSES[name])
    if len(setup.groups) == 1 or name in _SEVERAL_TYPES:
        return policy_class(setup)
    return PerGroup(setup, policy_class)
