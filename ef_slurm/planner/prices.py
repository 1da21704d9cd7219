"""What GPU time is worth: the second admission policy, `most-promises`.

First come, first promised lets one huge job shut out fifty small ones. Here GPU time has a *price*:
the value of the best promises that it would be missing for, learned from those who have arrived so
far and never from the future. A job that counts less than the GPU time that it asks for is worth is
not promised its deadline, although the cluster may have room for it.

It is the dual price of an online knapsack. Agrawal, Wang and Ye (A Dynamic Near-Optimal Algorithm
for Online Linear Programming, Operations Research 62(4), 2014; before them Devanur and Hayes, EC
2009) solve the linear program of the arrivals seen so far with the capacity in proportion, and
decide on the next ones by its dual prices. Here the program has one row:

* The *horizon* is the median of the times that arrivals give (from submission to deadline).
* *Supply*: the GPU time of the cluster within a horizon, a twentieth less for what blocks
  and starts leave unused.
* *Demand*: whoever has arrived within the last horizon, each with the GPU time that falls into a
  horizon when its work is spread evenly to its deadline: whoever can wait is in nobody's way. Of a
  history that is shorter than the horizon as much is expected to come again, up to fourfold.
* Demand is served by its value per GPU-second until the supply is used up. The value per
  GPU-second of the first that is not served is the price; where all are served it is zero, and the
  policy is the same as first come, first promised.

What GPUs are promised already is no part of it: the price is of the long run, and does not flicker.

A job that is not worth its GPU time gets the offer of the earliest deadline at which it is: with a
later one less of its work falls into a horizon. Nobody is put off without end: whoever gives
`Policy.longest_wait` more than its fastest run takes has no price to pay.

>>> from ef_slurm.model import Arrival
>>> small = [Arrival(f"s{n}", 10.0 * n, 100.0, 100.0) for n in range(9)]
>>> large = Arrival("large", 90.0, 100.0, 500.0)
>>> prices = Prices((*small, large), gpus=4, now=90.0)
>>> price = prices.without("large")  # of the small ones' 900 GPU-seconds only 342 are there
>>> price, 500.0 * price  # the large one's 500 are worth as much as five small ones
(0.01, 5.0)
>>> Prices((*small, large), gpus=40, now=90.0).without("large")
0.0
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import median

from ef_slurm.model import (
    MOST_ARRIVALS,
    Admission,
    Arrival,
    Arrivals,
    Cluster,
    Policy,
    Standing,
)
from ef_slurm.planner.timeline.curve import least_gpu_time
from ef_slurm.planner.timeline.rounding import EDGE_SECONDS
from ef_slurm.planner.timeline.task import Task

USABLE = 0.95
"""The part of GPU time that promises can use; the rest goes into starts and gaps between blocks."""

LEAST_ARRIVALS = 5
"""Before so many have arrived nothing has a price."""

MOST_REPEATED = 4.0
"""Of a history that is shorter than the horizon at most so much more is expected to come."""


class Prices:
    """The price of GPU time at one moment.

    Args:
        arrivals: in order of arrival, all of them before now.
        gpus: of the cluster that can be used.
        now: the present, seconds.

    `horizon` is the time within which GPU time counts, seconds.
    """

    def __init__(self, arrivals: Sequence[Arrival], gpus: int, now: float) -> None:
        self.horizon = median(one.window for one in arrivals)
        seen = min(max(now - arrivals[0].at, self.horizon / MOST_REPEATED), self.horizon)
        first = bisect_left(arrivals, now - seen, key=lambda one: one.at)
        demand = sorted((self._demand(one) for one in arrivals[first:]), reverse=True)
        self._values = [value for value, _, _ in demand]
        self._used = list(accumulate(part for _, part, _ in demand))
        self._places = {job_id: place for place, (_, _, job_id) in enumerate(demand)}
        self._supply = USABLE * gpus * seen * (1 + 1e-9)

    def _demand(self, one: Arrival) -> tuple[float, float, str]:
        part = self.within(one.window, one.gpu_seconds)
        return one.weight / part, part, one.job_id

    def within(self, window: float, gpu_seconds: float) -> float:
        """The part of GPU time that falls into a horizon, spread evenly over `window` seconds."""
        return gpu_seconds * min(1.0, self.horizon / window)

    def without(self, job_id: str) -> float:
        """What a GPU-second is worth to all others, in promises of weight 1."""
        unserved, own = bisect_left(self._used, self._supply), self._places.get(job_id)
        if own is not None and own <= unserved:
            part = self._used[own] - (self._used[own - 1] if own else 0.0)
            unserved = max(own + 1, bisect_left(self._used, self._supply + part))
        return self._values[unserved] if unserved < len(self._values) else 0.0


class Market:
    """Who is worth the GPU time that it asks for, in one round.

    Args:
        arrivals: those that are remembered. Who arrives at this moment does not count yet: an offer
            that is taken up at once finds the same price.
        cluster: the nodes.
        now: the present, seconds.
        policy: the site's choices.
    """

    def __init__(self, arrivals: Arrivals, cluster: Cluster, now: float, policy: Policy) -> None:
        self._now = now
        self._longest_wait = policy.longest_wait
        self._prices: Prices | None = None
        past = arrivals[: bisect_left(arrivals, now, key=lambda one: one.at)]
        if policy.admission is Admission.MOST_PROMISES and len(past) >= LEAST_ARRIVALS:
            self._prices = Prices(past, capacity(cluster, now), now)

    def too_dear(self, task: Task) -> float | None:
        """What the GPU time is worth that a job asks for, where that is more than the job counts.

        Returns:
            As many promises of weight 1; None for a job that is worth what it asks for.
        """
        worth = self._worth(task, task.deadline)
        return worth if worth > _counts(task) else None

    def worthy_from(self, task: Task, resolution: float) -> float:
        """The earliest deadline, grace included, from which on a job is worth what it asks for.

        Args:
            task: the job; its own deadline is the earliest answer.
            resolution: seconds to which the answer is exact.
        """
        if not task.sizes:
            return task.deadline
        # What cannot be done by its own deadline costs nothing there: what counts is what it costs
        # as soon as it can be done.
        low, high = max(task.deadline, self._possible_from(task)), self._free_from(task)
        if self._worth(task, low) <= _counts(task):
            return task.deadline
        while high - low > resolution:
            middle = (low + high) / 2
            if self._worth(task, middle) <= _counts(task):
                high = middle
            else:
                low = middle
        return high

    def _possible_from(self, task: Task) -> float:
        """The deadline from which on some GPU time would do."""
        seconds = task.start_overhead(1) + task.job.iterations / task.corners[-1][0]
        return task.earliest(self._now) + seconds * (1 + 1e-9) + EDGE_SECONDS

    def _free_from(self, task: Task) -> float:
        """The deadline from which on a job has no price to pay."""
        size = max(task.sizes, key=lambda size: size.rate)
        run = task.start_overhead(size.gpus) + task.job.iterations / size.rate
        return task.earliest(self._now) + run + self._longest_wait

    def _worth(self, task: Task, deadline: float) -> float:
        """What its GPU time is worth with that deadline; 0 where it cannot be done by then."""
        prices = self._prices
        if prices is None or not task.sizes or deadline >= self._free_from(task):
            return 0.0
        window = deadline - task.earliest(self._now)
        gpu_seconds = _least(task, window)
        if math.isinf(gpu_seconds):
            return 0.0
        return prices.without(task.id) * prices.within(window, gpu_seconds)


def _counts(task: Task) -> float:
    return task.job.weight * (1 + 1e-9)  # never less by rounding


def capacity(cluster: Cluster, now: float) -> int:
    """GPUs that are not taken away at this moment, those of nodes that sleep among them."""
    return sum(
        max(
            0,
            group.gpus_per_node
            - sum(
                group.gpus_per_node if outage.gpus is None else outage.gpus
                for outage in node.outages
                if outage.start <= now < outage.end
            ),
        )
        for group in cluster.groups
        for node in group.nodes
    )


def noted(arrivals: Arrivals, tasks: Iterable[Task], policy: Policy) -> Arrivals:
    """The arrivals with those among `tasks` that have not been noted yet, or ask anew.

    What nothing could finish in time is no demand.
    """
    if policy.admission is not Admission.MOST_PROMISES:
        return arrivals
    known = {one.job_id: one for one in arrivals}
    new: dict[str, Arrival] = {}
    for task in tasks:
        window = task.deadline - max(task.job.submitted, task.job.begin)
        before = known.get(task.id)
        competes = task.promised and task.job.weight < math.inf
        if not competes or task.job.standing is Standing.ADMITTED or window <= 0:
            continue
        if before is not None and math.isclose(before.window, window, abs_tol=1.0):
            continue
        gpu_seconds = _least(task, window)
        if 0 < gpu_seconds < math.inf:
            new[task.id] = Arrival(
                task.id, task.job.submitted, window, gpu_seconds, task.job.weight
            )
    if not new:
        return arrivals
    kept = (*(one for one in arrivals if one.job_id not in new), *new.values())
    return tuple(sorted(kept, key=lambda one: (one.at, one.job_id))[-MOST_ARRIVALS:])


def _least(task: Task, window: float) -> float:
    """GPU-seconds below which no plan finishes a job within `window` seconds."""
    return least_gpu_time(task.corners, task.job.iterations, window - task.start_overhead(1))
