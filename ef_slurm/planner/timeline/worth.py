"""What a GPU of a type is worth to the jobs at hand, in GPUs of the typical type.

Counted in GPU seconds, every job would want the fastest type, and those who can be in time on no
other would find it taken. Weighted by its worth, a fast GPU costs as much more as it is faster for
most jobs: it goes to those for whom it is faster than that, and to those who need it.

>>> from ef_slurm.model import ThroughputCurve
>>> fast, slow = ThroughputCurve.of({1: 4.0}), ThroughputCurve.of({1: 1.0})
>>> job = Job("a", 0.0, 1.0, (("new", fast), ("old", slow)), deadline=1.0)
>>> worth = type_worth([job])
>>> worth["new"] / worth["old"]
4.0
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from ef_slurm.model import Job


def type_worth(jobs: Iterable[Job]) -> Mapping[str, float]:
    """Worth by GPU type: how much faster than on their other types jobs are there, in the mean.

    Args:
        jobs: those with curves for one type only say nothing.
    """
    logs: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        if len(job.curves) < 2:
            continue
        speeds = {kind: math.log(max(r / g for g, r in curve.points)) for kind, curve in job.curves}
        mean = math.fsum(speeds.values()) / len(speeds)
        for kind, speed in speeds.items():
            logs[kind].append(speed - mean)
    return {kind: math.exp(math.fsum(found) / len(found)) for kind, found in logs.items()}
