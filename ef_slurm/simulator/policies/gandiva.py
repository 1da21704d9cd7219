"""Gandiva's time slicing (Xiao et al., OSDI 2018), as in the published comparison.

Jobs of one requested size form a class. A class owns sets of nodes, each just large enough for its
size (a whole node for sizes that fit into one); the jobs of a set share it in turns of 60 s. An
arrival joins a set of its class that has a free turn, else opens one on free nodes, else joins the
least loaded. Once per slice the sets are rebalanced towards demand: the most loaded class gets one
from the least loaded if that loads it less than half as much. Fixed sizes; deadlines play no
part. Packing several jobs on one GPU and grow-shrink are left out, as in that
comparison. Where nodes have failed and there are too few left, the sets opened last are dissolved
and their jobs look for another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ef_slurm.simulator.policies.base import ClusterSetup, CountsGpus, Round
from ef_slurm.simulator.policies.fixed import requested
from ef_slurm.simulator.simulated_job import Grant, SimulatedJob

SLICE_SECONDS = 60.0
_UNBALANCED = 2.0


@dataclass(slots=True)
class NodeSet:
    """Nodes of one class, and the ids of the jobs that share them, next turn first."""

    size: int
    gpus: int
    members: list[str] = field(default_factory=list)

    @property
    def load(self) -> float:
        """GPUs wanted per GPU."""
        return len(self.members) * self.size / self.gpus

    @property
    def turns(self) -> int:
        """Jobs that run at a time."""
        return self.gpus // self.size


class Gandiva(CountsGpus):
    """See the module."""

    name = "gandiva"
    judges = False
    work_conserving = False
    fixed_size = True

    def __init__(self, setup: ClusterSetup) -> None:
        self._width = setup.gpus_per_node
        super().__init__(setup)
        self._free = setup.gpus
        self._sets: list[NodeSet] = []
        self._sizes: dict[str, int] = {}
        self._unassigned: list[str] = []
        self._slice_end = -math.inf

    def see_down(self, down: Mapping[str, float]) -> None:
        """See `SchedulingPolicy`."""
        before = self._gpus
        super().see_down(down)
        self._free += self._gpus - before
        while self._free < 0:
            dissolved = self._sets.pop()
            self._free += dissolved.gpus
            self._unassigned += dissolved.members

    def decide(self, now: float, jobs: Sequence[SimulatedJob]) -> Round:
        """See `SchedulingPolicy`."""
        self._drop_departed({job.spec.id for job in jobs})
        for job in jobs:
            if job.spec.id not in self._sizes and requested(job) <= self._gpus:
                self._sizes[job.spec.id] = requested(job)
                self._unassigned.append(job.spec.id)
        self._assign_sets()
        if now >= self._slice_end:
            self._slice_end = now + SLICE_SECONDS
            self._rebalance()
            for shared in self._sets:
                turns = shared.turns
                shared.members = shared.members[turns:] + shared.members[:turns]
        grants = {
            job_id: Grant(shared.size)
            for shared in self._sets
            for job_id in shared.members[: shared.turns]
        }
        contended = self._unassigned or any(shared.load > 1 for shared in self._sets)
        return Round(grants, next_change=self._slice_end if contended else math.inf)

    def _drop_departed(self, present: set[str]) -> None:
        """Drops jobs that left, and gives empty sets back."""
        gone = self._sizes.keys() - present
        if not gone:
            return
        for job_id in gone:
            del self._sizes[job_id]
        for shared in self._sets:
            shared.members = [job_id for job_id in shared.members if job_id not in gone]
        self._free += sum(shared.gpus for shared in self._sets if not shared.members)
        self._sets = [shared for shared in self._sets if shared.members]

    def _assign_sets(self) -> None:
        """Finds a set for every job that has none."""
        still = []
        for job_id in self._unassigned:
            if job_id not in self._sizes:
                continue
            size = self._sizes[job_id]
            least = min(self._of_size(size), key=lambda shared: shared.load, default=None)
            gpus = math.ceil(size / self._width) * self._width
            if (least is None or least.load + size / least.gpus > 1) and gpus <= self._free:
                least = NodeSet(size, gpus)
                self._sets.append(least)
                self._free -= gpus
            if least is None:
                still.append(job_id)
            else:
                least.members.append(job_id)
        self._unassigned = still

    def _rebalance(self) -> None:
        """Moves one set from the least loaded class to the most loaded one."""
        sizes = sorted(set(self._sizes.values()))
        loads = {size: self._class_load(size) for size in sizes}
        if len(loads) < 2:
            return
        poor = max(loads, key=lambda size: loads[size])
        need = math.ceil(poor / self._width) * self._width
        if loads[poor] <= 1 or need <= self._free:
            return
        for rich in sorted(loads, key=lambda size: loads[size]):
            donors = sorted(self._of_size(rich), key=lambda shared: shared.load)
            given: list[NodeSet] = []
            while donors and self._free + sum(shared.gpus for shared in given) < need:
                given.append(donors.pop(0))
            if not donors or rich == poor:
                continue
            left = sum(shared.gpus for shared in donors)
            wanted = rich * sum(size == rich for size in self._sizes.values())
            if self._free + sum(s.gpus for s in given) < need or (
                wanted / left * _UNBALANCED > loads[poor]
            ):
                continue
            self._free += sum(shared.gpus for shared in given)
            self._sets = [shared for shared in self._sets if shared not in given]
            for shared in given:
                for job_id in shared.members:
                    min(donors, key=lambda other: other.load).members.append(job_id)
            self._open(poor, need)
            return

    def _open(self, size: int, gpus: int) -> None:
        """A new set for a class, filled from its most loaded sets."""
        fresh = NodeSet(size, gpus)
        self._free -= gpus
        peers = self._of_size(size)
        while len(fresh.members) < fresh.turns:
            fullest = max(peers, key=lambda shared: shared.load, default=None)
            if fullest is None or fullest.load <= 1:
                break
            fresh.members.append(fullest.members.pop())
        self._sets.append(fresh)
        self._assign_sets()

    def _of_size(self, size: int) -> list[NodeSet]:
        return [shared for shared in self._sets if shared.size == size]

    def _class_load(self, size: int) -> float:
        """GPUs wanted per GPU owned; infinite for a class that owns none."""
        wanted = size * sum(other == size for other in self._sizes.values())
        owned = sum(shared.gpus for shared in self._of_size(size))
        return wanted / owned if owned else math.inf
