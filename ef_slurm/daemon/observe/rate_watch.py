"""The reports of one launch → its rate, on the daemon's clock."""

from __future__ import annotations

from ef_slurm.contract import Progress
from ef_slurm.model import LONGEST_SOURCE
from ef_slurm.profiling.training_rate import RateEstimate, RateEstimator, Slowdown

CLOCK_PLAY_SECONDS = 30.0
"""Seconds by which a job's clock may gain or lose on the daemon's; beyond that the daemon's counts.
No report makes a rate much higher than what happened while the daemon watched."""


class RateWatch:
    """One launch that trains.

    Args:
        launch: its generation, and the number of its last live change.
        nodes: that it trains on.
        gpus: of them.
        before: iterations/s that it would have if it trained as it did; None if nobody knows.
        progress: its first report that is watched.
        now: when the daemon read that, UTC epoch seconds.
    """

    def __init__(
        self,
        launch: tuple[int, int],
        nodes: tuple[str, ...],
        gpus: int,
        before: float | None,
        progress: Progress,
        now: float,
    ) -> None:
        self.launch = launch
        self.nodes = nodes
        self.gpus = gpus
        # Its owner's words, remembered beside the rate; what does not print is none.
        told = progress.software[:LONGEST_SOURCE]
        self.software = told if told.isprintable() else ""
        self._estimator = RateEstimator(before)
        self._ahead = now - progress.updated_at
        self.observe(progress, now)

    def observe(self, progress: Progress, now: float) -> bool:
        """Take a report; whether the estimate may be another one now."""
        at = progress.updated_at + self._ahead
        at = min(max(at, now - CLOCK_PLAY_SECONDS), now + CLOCK_PLAY_SECONDS)
        return self._estimator.observe(at, progress.iteration)

    def follows(self, launch: tuple[int, int], nodes: tuple[str, ...], gpus: int) -> bool:
        """Whether it watches this launch."""
        return (self.launch, self.nodes, self.gpus) == (launch, nodes, gpus)

    @property
    def estimate(self) -> RateEstimate | None:
        """None until enough was seen."""
        return self._estimator.estimate

    @property
    def slowdown(self) -> Slowdown | None:
        """None while it trains as it did before; `since` by the daemon's clock."""
        return self._estimator.slowdown
