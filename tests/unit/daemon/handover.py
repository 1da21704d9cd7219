"""A training that grows by handing over to a larger launch, as the contract has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ef_slurm.contract import Phase, Progress
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.slurm.types import JobBaseState
from tests.unit.daemon.live import STILL, LiveTraining
from tests.unit.daemon.world import Training

PREPARED = 4.0
"""Seconds from the order until the servers of the larger launch are ready."""


@dataclass
class HandoverTraining(LiveTraining):
    """Its ranks stop for a larger launch, and begin again in it."""

    stops_at: float = math.inf
    begins_at: float = math.inf
    grows_to: tuple[str, ...] = ()
    dies_at: frozenset[int] = frozenset()
    """Sizes at which the larger launch dies as soon as it begins."""

    def _launch(self, at: float, boot_of: Callable[[Training], float]) -> None:
        self.stops_at, self.begins_at = math.inf, math.inf
        super()._launch(at, boot_of)

    def advance(self, now: float, boot_of: Callable[[Training], float]) -> None:
        super().advance(now, boot_of)
        if self.running and now >= self.begins_at:
            self.stops_at, self.begins_at = math.inf, math.inf
            if len(self.grows_to) * self.slurm.gpus_per_node in self.dies_at:
                self.checkpoint = self.count(self.base)
                self._launch(now, boot_of)
            else:
                self._go_on(now, self.grows_to, None)
        elif self.running and now >= self.stops_at and self.rate:
            self.base, self.rate = self.done(now), 0.0
            self.checkpoint, self.begins_at = self.count(self.base), now + STILL

    def _resize(self, now: float) -> None:
        order = self.order
        assert order is not None
        nodes = tuple(order.nodes.split(","))
        if order.sizes or not set(self.train) < set(nodes):
            self.refused = (order.change, f"{order.nodes} is not more than {','.join(self.train)}")
        elif order.gpus in self.refuses:
            self.refused = (order.change, "the launch that was to take over cannot be prepared")
        elif set(nodes) <= {*self.train, *self.ready(now)}:
            self.grows_to, self.stops_at = nodes, order.issued_at + PREPARED

    def _follow_companions(self, now: float, boot_of: Callable[[Training], float]) -> None:
        trained = self.running and len(self.train) > len(self.slurm.nodes)
        lost = any(
            set(job.nodes) & set(self.train)
            for job in self.companions.values()
            if job.state is not JobBaseState.RUNNING and job.job_id not in self.gone
        )
        if trained and lost:  # all ranks end with its own, and the script launches what it has
            self.checkpoint = self.count(self.done(now))
            self._launch(now, boot_of)
        super()._follow_companions(now, boot_of)

    def next_event(self, now: float) -> float:
        moments = (super().next_event(now), self.stops_at, self.begins_at)
        return min((moment for moment in moments if moment > now), default=math.inf)

    def reports(self, now: float) -> JobReports:
        known = super().reports(now)
        if known.launch is None or self.part is None:
            return known
        # Its script launches it on a part of a node, and prepares no other launch then.
        return replace(known, launch=replace(known.launch, gpus_per_node=self.part))

    def _progress(self, now: float) -> Progress:
        able = self.part is None
        known = replace(super()._progress(now), live=able, hands_over=able)
        if self.begins_at == math.inf:
            return known
        return replace(known, phase=Phase.STOPPED, updated_at=self.begins_at - STILL)
