"""Slurm's time limit of a job that has a deadline, or a number of iterations."""

from __future__ import annotations

import math

from ef_slurm.model.request import JobRequest

MARGIN_SECONDS = 3600.0


def time_needed(request: JobRequest, now: float) -> float:
    """Seconds of run time that no plan can need more than; infinite where nobody knows.

    A limit is a bound for Slurm, not the plan: a job that a node failure delays past its deadline
    must not be killed at it.
    """
    if request.deadline is not None:
        return 1.5 * (request.deadline + request.grace - now) + MARGIN_SECONDS
    rates = [curve.points[0][1] for _, curve in request.curves]
    if request.iterations is None or not rates:
        return math.inf
    return 2.0 * request.iterations / min(rates) + MARGIN_SECONDS
