"""The words of ef-slurm as immutable values.

Everything here is data: no clock, no I/O, nothing of ours imported. Wrong values are refused when
an object is made, with a `ModelError` that names the field and the value, so that the rooms behind
this boundary need not check again.

Units: times are UTC epoch seconds (a simulator uses its trace's own clock), durations are seconds,
rates are iterations per second, shares are whole GPUs.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

FOREVER = math.inf


class ModelError(ValueError):
    """A value that the model refuses. `field` names it the way a user would."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(f"{field}: {value!r} is not valid: {wanted}")
        self.field = field
        self.value = value
        self.wanted = wanted


class JobKind(enum.Enum):
    """What the deadline means to the job."""

    DEADLINE = "deadline"  # promised or not run (as `IfInfeasible` says)
    SOFT_DEADLINE = "soft-deadline"  # may be missed by `Job.grace` seconds
    BEST_EFFORT = "best-effort"  # none


class IfInfeasible(enum.Enum):
    """What a newcomer wants when its deadline cannot be promised."""

    REJECT = "reject"
    WAIT = "wait"
    BEST_EFFORT = "best-effort"


class Standing(enum.Enum):
    """Where a job stands with the planner."""

    NEW = "new"  # not judged yet
    WAITLISTED = "waitlisted"  # judged, not promised, tested again whenever capacity appears
    ADMITTED = "admitted"  # has a promise, or runs as best effort


class Outcome(enum.Enum):
    """The planner's answer to a job that it judged."""

    PROMISED = "promised"
    BEST_EFFORT = "best-effort"
    WAITLISTED = "waitlisted"
    REJECTED = "rejected"


class PromiseState(enum.Enum):
    """What the present plan says about a promise."""

    NONE = "none"  # no promise was given
    SAFE = "safe"  # the plan finishes the job by its deadline
    IN_GRACE = "in-grace"  # a soft deadline will be missed, within its grace
    AT_RISK = "at-risk"  # the plan finishes the job too late


class RiskOrder(enum.Enum):
    """Whose promises are kept first when capacity is lost and not all can be."""

    EARLIEST_DEADLINE = "earliest-deadline"
    EARLIEST_SUBMITTED = "earliest-submitted"
    MOST_PROMISES = "most-promises"  # cheapest first: keeps the largest number


def is_power_of_two(number: int) -> bool:
    """Whether `number` is 1, 2, 4, 8, …

    >>> [n for n in range(10) if is_power_of_two(n)]
    [1, 2, 4, 8]
    """
    return number > 0 and number & (number - 1) == 0


def _finite(name: str, value: float, *, low: float = -math.inf, wanted: str) -> None:
    if not math.isfinite(value) or value < low:
        raise ModelError(name, value, wanted)


@dataclass(frozen=True, slots=True)
class ThroughputCurve:
    """Measured iterations/s by GPU count, for one (model, global batch size, GPU type).

    `points` holds (GPUs, iterations/s) in increasing order of GPUs, each a power of two that can
    run; a size that is missing cannot. Real curves are not always monotone: the planner uses the
    non-decreasing envelope (`ef_slurm.planner.curve`).

    >>> ThroughputCurve.of({1: 10.0, 2: 18.0, 4: 30.0}).points
    ((1, 10.0), (2, 18.0), (4, 30.0))
    """

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ModelError("throughput curve", self.points, "give at least one GPUs:iterations/s")
        last = 0
        for gpus, rate in self.points:
            if not is_power_of_two(gpus):
                raise ModelError("throughput curve GPUs", gpus, "a power of two (1, 2, 4, …)")
            if gpus <= last:
                raise ModelError("throughput curve GPUs", gpus, f"larger than {last}")
            if not (math.isfinite(rate) and rate > 0):
                raise ModelError(
                    f"throughput at {gpus} GPUs", rate, "a positive number of iterations/s"
                )
            last = gpus

    @classmethod
    def of(cls, rates: dict[int, float]) -> ThroughputCurve:
        """The curve of a {GPUs: iterations/s} table."""
        return cls(tuple(sorted(rates.items())))


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of lost training per change of share; the GPUs are held all the while.

    `start` is paid by a first start and by a resume, `reshape` by a move from one running share to
    another through checkpoint and requeue, `shrink` by giving up the last nodes in place (the
    batch script runs on the first). Each grows by `per_doubling` for every doubling of the new
    share beyond one GPU.
    """

    start: float = 0.0
    reshape: float = 0.0
    shrink: float = 0.0
    per_doubling: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "reshape", "shrink", "per_doubling"):
            _finite(f"overhead {name}", getattr(self, name), low=0.0, wanted="seconds, 0 or more")

    @classmethod
    def constant(cls, seconds: float) -> Overhead:
        """The same cost for every start and every reshape."""
        return cls(start=seconds, reshape=seconds, shrink=seconds)

    def seconds(self, old: Block | None, new: Block) -> float:
        """What moving from `old` (None: no GPUs) to `new` costs.

        >>> Overhead(start=20.0, per_doubling=2.0).seconds(None, Block("gpu", ("n1",), 4))
        24.0
        """
        if old == new:
            return 0.0
        if old is None:
            base = self.start
        elif (
            old.gpu_type == new.gpu_type
            and old.gpus_per_node == new.gpus_per_node
            and len(new.nodes) < len(old.nodes)
            and new.nodes == old.nodes[: len(new.nodes)]
        ):
            base = self.shrink
        else:
            base = self.reshape
        return base + self.per_doubling * (new.gpus.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class Block:
    """A buddy-aligned set of GPUs: inside one node, or 2^k whole nodes.

    `nodes` are names in the cluster's node order, `gpus_per_node` the GPUs taken on each.
    `first_gpu` is the offset inside the node; Slurm picks the real indices, so it only keeps the
    books (no node is given out twice).
    """

    gpu_type: str
    nodes: tuple[str, ...]
    gpus_per_node: int
    first_gpu: int = 0

    def __post_init__(self) -> None:
        if not is_power_of_two(len(self.nodes)):
            raise ModelError("block nodes", self.nodes, "a power of two of them")
        if not is_power_of_two(self.gpus_per_node):
            raise ModelError("block GPUs per node", self.gpus_per_node, "a power of two")
        if self.first_gpu < 0 or self.first_gpu % self.gpus_per_node:
            raise ModelError("block first GPU", self.first_gpu, "a multiple of the GPUs per node")

    @property
    def gpus(self) -> int:
        """GPUs in the block."""
        return len(self.nodes) * self.gpus_per_node


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a schedule: `gpus` of `gpu_type` from `start` to `end` (seconds).

    `first_gpu` is where its block begins on the line of the type's GPUs in node order (node index
    times GPUs per node, plus the offset inside the node): it keeps the plans of different jobs
    apart. The overhead of the change that begins a segment is spent inside it.
    """

    start: float
    end: float
    gpus: int
    gpu_type: str
    first_gpu: int = 0

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ModelError("segment end", self.end, f"later than its start {self.start!r}")
        if not is_power_of_two(self.gpus):
            raise ModelError("segment GPUs", self.gpus, "a power of two")
        if self.first_gpu < 0 or self.first_gpu % self.gpus:
            raise ModelError("segment first GPU", self.first_gpu, "a multiple of its GPUs")


Schedule = tuple[Segment, ...]
"""A job's share over time, in time order, gaps meaning no GPUs (paused)."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a job holds now.

    `trains_from` is when the overhead of its latest start or reshape is paid off: until then it
    holds GPUs and gains no iterations. `since` is when that start or reshape happened.
    """

    block: Block
    since: float
    trains_from: float

    @property
    def gpus(self) -> int:
        """GPUs held."""
        return self.block.gpus


@dataclass(frozen=True, slots=True)
class Job:
    """One training run as the planner sees it at one moment.

    Args:
        id: the queue's name of the job; also the last tie-breaker everywhere.
        submitted: when it arrived.
        iterations: how many remain (a float: a report may fall between two).
        curves: (GPU type, curve) for every type that it may use.
        kind: what its deadline means.
        deadline: when it must be finished; None for best effort.
        grace: seconds by which a soft deadline may be missed.
        if_infeasible: what it wants when it cannot be promised.
        standing: new, waitlisted or admitted.
        overhead: what a start and a reshape cost it.
        running: what it holds now, or None.
        plan: its plan in hand: the schedule that the last plan gave it. Empty for none.
        last_reshape: when its share last changed by the planner's will.
        reshapes: how often it did.
        owner, account: for limits.
        max_gpus: the largest share that it accepts.
    """

    id: str
    submitted: float
    iterations: float
    curves: tuple[tuple[str, ThroughputCurve], ...]
    kind: JobKind = JobKind.DEADLINE
    deadline: float | None = None
    grace: float = 0.0
    if_infeasible: IfInfeasible = IfInfeasible.REJECT
    standing: Standing = Standing.NEW
    overhead: Overhead = field(default_factory=Overhead)
    running: Running | None = None
    plan: Schedule = ()
    last_reshape: float = -math.inf
    reshapes: int = 0
    owner: str = ""
    account: str = ""
    max_gpus: int | None = None

    def __post_init__(self) -> None:
        _finite("submission time", self.submitted, wanted="seconds since the epoch")
        if not (math.isfinite(self.iterations) and self.iterations > 0):
            raise ModelError("iterations", self.iterations, "a positive number")
        if not self.curves:
            raise ModelError("throughput curves", self.curves, "one for at least one GPU type")
        types = [gpu_type for gpu_type, _ in self.curves]
        if len(set(types)) != len(types):
            raise ModelError("throughput curves", types, "one curve per GPU type")
        _finite("grace", self.grace, low=0.0, wanted="seconds, 0 or more")
        if self.kind is JobKind.BEST_EFFORT:
            if self.deadline is not None:
                raise ModelError("deadline", self.deadline, "none for a best-effort job")
        elif self.deadline is None:
            raise ModelError("deadline", self.deadline, f"a time for a {self.kind.value} job")
        else:
            _finite("deadline", self.deadline, wanted="seconds since the epoch")
            if self.standing is Standing.NEW and self.deadline <= self.submitted:
                raise ModelError(
                    "deadline", self.deadline, f"later than the submission at {self.submitted!r}"
                )
        if self.grace and self.kind is not JobKind.SOFT_DEADLINE:
            raise ModelError("grace", self.grace, "only for a soft deadline")
        if self.max_gpus is not None and self.max_gpus < 1:
            raise ModelError("max GPUs", self.max_gpus, "1 or more")


@dataclass(frozen=True, slots=True)
class Outage:
    """GPUs of a node that ef-slurm may not use from `start` to `end`.

    A drained or dead node, a maintenance reservation, or somebody else's job until its time limit.
    `gpus` is how many; None for the whole node.
    """

    start: float
    end: float = FOREVER
    gpus: int | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.start) or math.isnan(self.end) or not self.start < self.end:
            raise ModelError("outage end", self.end, f"later than its start {self.start!r}")
        if self.gpus is not None and self.gpus < 1:
            raise ModelError("outage GPUs", self.gpus, "1 or more, or none given for all")


@dataclass(frozen=True, slots=True)
class Node:
    """One node, with what is known of its absences."""

    name: str
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Equal nodes of one GPU type, in the site's order (switch by switch)."""

    gpu_type: str
    gpus_per_node: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not is_power_of_two(self.gpus_per_node):
            raise ModelError(
                f"GPUs per node of {self.gpu_type}", self.gpus_per_node, "a power of two"
            )
        if not self.nodes:
            raise ModelError(f"nodes of {self.gpu_type}", (), "at least one")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The node groups that ef-slurm may use; one group per GPU type.

    >>> Cluster.uniform(nodes=4, gpus_per_node=8).gpus
    32
    """

    groups: tuple[NodeGroup, ...]

    def __post_init__(self) -> None:
        types: set[str] = set()
        names: set[str] = set()
        for group in self.groups:
            if group.gpu_type in types:
                raise ModelError("GPU type", group.gpu_type, "one node group per GPU type")
            types.add(group.gpu_type)
            for node in group.nodes:
                if node.name in names:
                    raise ModelError("node", node.name, "listed once: node sets may not overlap")
                names.add(node.name)

    @classmethod
    def uniform(cls, nodes: int, gpus_per_node: int, gpu_type: str = "gpu") -> Cluster:
        """A cluster of equal nodes n1, n2, … without outages."""
        if nodes < 1:
            raise ModelError("nodes", nodes, "1 or more")
        members = tuple(Node(f"n{number}") for number in range(1, nodes + 1))
        return cls((NodeGroup(gpu_type, gpus_per_node, members),))

    @property
    def gpus(self) -> int:
        """GPUs of all groups, outages not counted off."""
        return sum(group.gpus_per_node * len(group.nodes) for group in self.groups)

    def group(self, gpu_type: str) -> NodeGroup:
        """The group of a GPU type.

        Raises:
            ModelError: the cluster has no such type.
        """
        for group in self.groups:
            if group.gpu_type == gpu_type:
                return group
        known = ", ".join(group.gpu_type for group in self.groups)
        raise ModelError("GPU type", gpu_type, f"one of {known or '(the cluster has none)'}")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most GPUs that an owner or an account may hold at a time. None matches everybody."""

    max_gpus: int
    owner: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        if self.max_gpus < 0:
            raise ModelError("limit", self.max_gpus, "0 or more GPUs")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site decides.

    Args:
        min_reshape_interval: seconds between two growths of the same job.
        growth_gain: growth must gain at least this many times its overhead.
        min_speedup: a change that no promise needs must shorten what remains of the job by at
            least this fraction.
        best_effort_grows: whether best-effort jobs compete for left-over GPUs by marginal return,
            or only take what no deadline job can use.
        risk_order: whose promises are kept first when capacity is lost.
        offers: whether rejected newcomers get a counter-offer (a replay has no use for it).
        offer_resolution: seconds to which a counter-offer is exact.
        limits: per-owner and per-account limits.
    """

    min_reshape_interval: float = 0.0
    growth_gain: float = 1.0
    min_speedup: float = 0.1
    best_effort_grows: bool = True
    risk_order: RiskOrder = RiskOrder.EARLIEST_DEADLINE
    offers: bool = True
    offer_resolution: float = 60.0
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        wanted = "seconds, 0 or more"
        _finite("minimum reshape interval", self.min_reshape_interval, low=0.0, wanted=wanted)
        _finite("growth gain", self.growth_gain, low=0.0, wanted="a factor, 0 or more")
        if not 0 <= self.min_speedup < 1:
            raise ModelError("minimum speed-up", self.min_speedup, "a fraction from 0 to below 1")
        _finite("offer resolution", self.offer_resolution, low=1e-3, wanted="positive seconds")


class ReasonCode(enum.Enum):
    """Why a job has the share that it has. `Reason` carries the numbers."""

    STARTED = "started"
    KEPT = "kept"
    GREW = "grew"  # to `gpus`, because it gains most from them until `until`
    SHRANK = "shrank"  # to `gpus`, because `job`'s promise needs the rest
    MIGRATED = "migrated"  # same share, other block, so that `job` fits
    PAUSED = "paused"  # because `job`'s promise needs its GPUs
    WAITS = "waits"  # for GPUs, until `until`
    LIMITED = "limited"  # an owner's or account's limit of `gpus`
    REJECTED = "rejected"  # the cluster is promised until `until`
    TOO_LARGE = "too-large"  # not even an empty cluster makes the deadline
    LOST_CAPACITY = "lost-capacity"  # at risk since GPUs went away
    BEHIND = "behind"  # at risk since progress is slower than the curve


@dataclass(frozen=True, slots=True)
class Reason:
    """A decision's reason as data; `ef-squeue --explain` makes a sentence of it."""

    code: ReasonCode
    job: str | None = None
    gpus: int | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a job that this plan judged.

    `share` is the minimum satisfactory share that was promised (GPUs), `finish` the predicted
    finish. `earliest_deadline` is the counter-offer to a job that was not promised: resubmitted
    with it at once, it is admitted; `Policy.offer_resolution` earlier it is not. None when no
    deadline can be offered.
    """

    job_id: str
    outcome: Outcome
    reason: Reason
    share: int = 0
    finish: float | None = None
    earliest_deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one job gets now, and what it is to get later.

    `block` is None for no GPUs. `schedule` is the new plan in hand; `finish` the predicted finish
    (None when the job is not scheduled to its end).
    """

    job_id: str
    block: Block | None
    schedule: Schedule
    finish: float | None
    promise: PromiseState
    reason: Reason

    @property
    def gpus(self) -> int:
        """GPUs now."""
        return 0 if self.block is None else self.block.gpus


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's whole answer at `now`.

    `decisions` holds every job that is admitted (or best effort) after this plan, in the order of
    ids; `verdicts` every job that was judged, in arrival order. `next_change` is when the plan
    itself wants to be asked again even if nothing happens (`FOREVER` for never).
    """

    now: float
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    next_change: float

    def decision(self, job_id: str) -> Decision:
        """The decision for one job.

        Raises:
            KeyError: the plan does not hold the job.
        """
        for decision in self.decisions:
            if decision.job_id == job_id:
                return decision
        raise KeyError(job_id)
