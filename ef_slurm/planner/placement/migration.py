"""Whom to move when a job must be placed and no block is free (paper section 4.3).

Sizes are settled from the largest down. When a size lacks k free blocks, k blocks that hold only
smaller jobs, which may move, are emptied; those jobs then want blocks of their own smaller sizes.
To empty a block that holds a job as large as the request gains nothing (that job would want the
same block), so this order misses no solution.

Which blocks to empty is a depth-first search, cheapest block first, cut off by the best set found
so far. Its first descent is a greedy answer that always exists when the fit theorem of
`placement.buddy` says so; the rest of the search improves it within a fixed number of steps,
so small cases come out exact and large ones stay bounded.

Two nodes of 4 GPUs are each half taken. A 4-GPU job must run, so the cheaper of the two moves:

>>> import numpy as np
>>> jobs = (Candidate("a", 0, 2, cost=30.0), Candidate("b", 1, 2, cost=10.0))
>>> victims(np.array([2, 2]), 4, jobs, {4: 1})
('b',)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ef_slurm.planner.placement.free_blocks import Counts, aligned_free

Rank = tuple[float, int, int]
"""What a set of moves costs: overhead, then jobs moved, then GPUs moved."""

SEARCH_WORK = 50_000  # job visits after the greedy answer
BRANCHES = 6
NOTHING: Rank = (0.0, 0, 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that may be moved at `cost`. It holds `gpus` from node index `node` on."""

    job_id: str
    node: int
    gpus: int
    cost: float


@dataclass(frozen=True, slots=True)
class _Emptying:
    """One block to empty: nodes from `node` on, and whom it moves."""

    rank: Rank
    node: int
    moved: tuple[Candidate, ...]

    @property
    def likeness(self) -> tuple[tuple[int, float], ...]:
        """Equal for two blocks between which the search need not choose."""
        return tuple(sorted((job.gpus, job.cost) for job in self.moved))


def _order(emptying: _Emptying) -> tuple[Rank, int]:
    return (emptying.rank, emptying.node)


@dataclass(frozen=True, slots=True)
class _State:
    """The search between two sizes or two emptied blocks."""

    size: int
    free: Counts
    staying: tuple[Candidate, ...]
    demand: Mapping[int, int]
    used: int  # free GPUs that larger requests take
    emptied: int  # blocks emptied at this size
    rank: Rank
    moved: tuple[str, ...]


def _add(left: Rank, right: Rank) -> Rank:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2])


def _rank(jobs: Sequence[Candidate]) -> Rank:
    return (sum(job.cost for job in jobs), len(jobs), sum(job.gpus for job in jobs))


def cheapest_set(jobs: Sequence[Candidate], gpus: int) -> tuple[Candidate, ...] | None:
    """The cheapest of `jobs` that hold at least `gpus` together; None when all hold fewer.

    >>> jobs = [Candidate("a", 0, 2, 5.0), Candidate("b", 0, 1, 1.0), Candidate("c", 0, 1, 2.0)]
    >>> [job.job_id for job in cheapest_set(jobs, 2)]
    ['b', 'c']
    """
    # A knapsack: GPUs given up so far (capped at what is wanted) → the cheapest way to them.
    best: dict[int, tuple[Rank, tuple[Candidate, ...]]] = {0: (NOTHING, ())}
    for job in jobs:
        for given_up, (rank, chosen) in list(best.items()):
            total = min(gpus, given_up + job.gpus)
            candidate = (_add(rank, _rank((job,))), (*chosen, job))
            if total not in best or candidate[0] < best[total][0]:
                best[total] = candidate
    return best[gpus][1] if gpus in best else None


@dataclass(slots=True)
class _Search:
    gpus_per_node: int
    best: tuple[Rank, tuple[str, ...]] | None = None
    sets: dict[tuple[int, tuple[Candidate, ...]], tuple[Candidate, ...] | None] = field(
        default_factory=dict
    )

    def run(self, state: _State) -> None:
        """Depth first, the cheapest branch of each state first."""
        work = SEARCH_WORK
        pending: list[tuple[_State, tuple[_Emptying, ...]]] = [(state, ())]
        while pending:
            state, emptyings = pending.pop()
            for emptying in emptyings:
                state = self._empty(state, emptying)
            if self.best is not None:
                work -= 1 + len(state.staying)
                if work < 0:
                    return
                if state.rank >= self.best[0]:
                    continue
            if state.size == 0:
                self.best = (state.rank, state.moved)
            else:
                pending.extend(self._branches(state))

    def _branches(self, state: _State) -> list[tuple[_State, tuple[_Emptying, ...]]]:
        """What may come next, the most promising last."""
        wanted = state.demand.get(state.size, 0) - state.emptied
        # Free blocks of this size, less those that larger requests are going to cut from.
        blocks = aligned_free(state.free, self.gpus_per_node, state.size).size
        lacking = wanted - (blocks - state.used // state.size)
        if lacking <= 0:  # this size is settled: on to the next smaller one
            used = state.used + wanted * state.size
            return [(replace(state, size=state.size // 2, used=used, emptied=0), ())]
        found = self._emptyings(state)
        # Many at once: a choice among each of them would never end. Half of them greedily, then on.
        if lacking > BRANCHES:
            at_once = tuple(found[: lacking // 2])
            return [(state, at_once)] if at_once else []
        # Of blocks that hold the same sizes at the same costs, one stands for all.
        different = {emptying.likeness: emptying for emptying in reversed(found)}
        chosen = sorted(different.values(), key=_order)[:BRANCHES]
        return [(state, (emptying,)) for emptying in reversed(chosen)]

    def _emptyings(self, state: _State) -> list[_Emptying]:
        """The blocks of the present size that can be emptied, the cheapest first."""
        smaller: dict[int, list[Candidate]] = {}
        nodes = max(1, state.size // self.gpus_per_node)
        cleared = state.free.copy()  # free GPUs per node if all smaller jobs were gone
        for job in state.staying:
            if job.gpus < state.size:
                smaller.setdefault(job.node // nodes, []).append(job)
                span = max(1, job.gpus // self.gpus_per_node)
                cleared[job.node : job.node + span] += min(job.gpus, self.gpus_per_node)
        found = []
        for block, jobs in smaller.items():
            node = block * nodes
            if state.size < self.gpus_per_node:
                # Inside a node some of its jobs may be enough, added to what is free already.
                spare = int(state.free[node]) % state.size
                moved = self._cheapest(tuple(jobs), state.size - spare)
            elif (cleared[node : node + nodes] == self.gpus_per_node).all() and (
                node + nodes <= cleared.size
            ):
                moved = tuple(jobs)
            else:
                moved = None  # somebody on it stays, or a node of it may not be used
            if moved is not None:
                found.append(_Emptying(_rank(moved), node, moved))
        return sorted(found, key=_order)

    def _cheapest(self, jobs: tuple[Candidate, ...], gpus: int) -> tuple[Candidate, ...] | None:
        key = (gpus, jobs)
        if key not in self.sets:
            self.sets[key] = cheapest_set(jobs, gpus)
        return self.sets[key]

    def _empty(self, state: _State, emptying: _Emptying) -> _State:
        free = state.free.copy()
        if state.size < self.gpus_per_node:
            free[emptying.node] += sum(job.gpus for job in emptying.moved) - state.size
        else:
            free[emptying.node : emptying.node + state.size // self.gpus_per_node] = 0
        gone = {job.job_id for job in emptying.moved}
        demand = dict(state.demand)
        for job in emptying.moved:
            demand[job.gpus] = demand.get(job.gpus, 0) + 1
        return replace(
            state,
            free=free,
            staying=tuple(job for job in state.staying if job.job_id not in gone),
            demand=demand,
            emptied=state.emptied + 1,
            rank=_add(state.rank, emptying.rank),
            moved=(*state.moved, *sorted(gone)),
        )


def victims(
    free: Counts,
    gpus_per_node: int,
    candidates: Sequence[Candidate],
    demand: Mapping[int, int],
) -> tuple[str, ...] | None:
    """The ids of the jobs to move so that `demand` fits, at the least total cost.

    Args:
        free: free GPUs per node, in the site's node order.
        gpus_per_node: GPUs of a healthy node.
        candidates: the jobs that may be moved, each in an aligned block.
        demand: {GPUs: number of blocks wanted}.

    Returns:
        The ids in order, () when all fits as it is, None when no moves make it fit.
    """
    search = _Search(gpus_per_node)
    largest = max((size for size, count in demand.items() if count), default=0)
    order = tuple(sorted(candidates, key=lambda job: (job.node, job.job_id)))
    search.run(_State(largest, free, order, demand, 0, 0, NOTHING, ()))
    return None if search.best is None else tuple(sorted(search.best[1]))
