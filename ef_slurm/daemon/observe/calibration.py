"""What is learned from following jobs, kept in the audit log so that a restart knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ef_slurm.contract import Phase, Progress
from ef_slurm.daemon.observe.change_costs import (
    Decided,
    carried_out,
    measured_fields,
    recalled,
    recalled_fields,
    taken,
)
from ef_slurm.daemon.observe.estimates import RATE_TOLERANCE, Estimates
from ef_slurm.daemon.observe.job_status import JobStatus
from ef_slurm.daemon.observe.overheads import LIVE_KINDS, Submitter, Taken
from ef_slurm.daemon.observe.rate_watch import RateWatch
from ef_slurm.daemon.observe.remember import remember
from ef_slurm.daemon.observe.rounds import Rounds
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.times import format_host_instant
from ef_slurm.model import (
    ACTOR,
    FASTEST,
    Block,
    ChangeKind,
    Event,
    EventKind,
    Json,
    QueueJob,
    active_part,
)
from ef_slurm.queue.store import Queue

SAME_SLOWNESS = 0.15
"""Fraction within which a slowdown is the one that was named before."""

REMEMBER_SECONDS = 3600.0
"""Seconds after which the profile library is told again of a rate that is what it was."""

MAX_REMEMBERED = 2000
"""Measurements that are read back after a restart."""


@dataclass(frozen=True, slots=True)
class _LiveSize:
    """A live launch as it was last seen: its last change, and how many ranks train."""

    generation: int
    change: int
    ranks: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What a look at a job told.

    Args:
        replan: whether a plan should hear of it.
        note: what its owner should know; None for nothing new.
    """

    replan: bool = False
    note: str | None = None


NOTHING = Learned()


@dataclass(frozen=True, slots=True)
class _Slow:
    """The slowdown that is in force: on which nodes it was seen, and what its owner was told."""

    nodes: frozenset[str]
    words: str


@dataclass(frozen=True, slots=True)
class _Remembered:
    """When a rate was last put into the profile library."""

    gpus: int
    at: float


class Calibration:
    """Turns shifts and reports into `Estimates`."""

    def __init__(self, estimates: Estimates, queue: Queue) -> None:
        self._estimates = estimates
        self._queue = queue
        self._pending: dict[int, Decided] = {}
        self._seen: dict[int, _LiveSize] = {}
        self._rounds = Rounds(estimates, queue)
        self._watches: dict[int, RateWatch] = {}
        self._slow: dict[int, _Slow] = {}
        self._remembered: dict[int, _Remembered] = {}

    def recall(self) -> None:
        """Take in what was measured before this daemon started."""
        rates = self._estimates.rates
        for event in self._queue.events.last(EventKind.MEASURED, MAX_REMEMBERED):
            what, value, gpus = (event.data.get(key) for key in ("what", "value", "gpus"))
            if event.job_id is None or not isinstance(value, int | float):
                continue
            if not 0.0 <= value <= FASTEST:  # written before reports had bounds
                continue
            match what:
                case "rate":
                    gpu_type = event.data.get("gpu_type")  # earlier versions did not write it
                    brief = event.data.get("brief") is True
                    if isinstance(gpus, int) and isinstance(gpu_type, str):
                        rates.learn(event.job_id, gpu_type, gpus, value, brief=brief)
                case "slowdown":
                    rates.slow_down(event.job_id, value)
                    nodes = str(event.data.get("nodes", "")).split(",")
                    self._slow[event.job_id] = _Slow(frozenset(nodes), event.message)
                case "recovered":
                    rates.recover(event.job_id)
                case _:
                    self._recall_overhead(event, event.job_id, value)

    def _recall_overhead(self, event: Event, job_id: int, seconds: float) -> None:
        owner, training = event.data.get("owner"), event.data.get("training")
        # Earlier versions did not write whose it was.
        submitter = Submitter(str(owner), str(training or "")) if owner else None
        took = recalled(event.data, seconds)
        for overhead in recalled_fields(event.data):
            self._estimates.overheads.add(job_id, submitter, overhead, took)

    def expect(self, job_id: int, change: ChangeKind | None, since: float) -> None:
        """A job was given another block (None: it pauses): how long will the change take?"""
        if change is None:
            self._pending.pop(job_id, None)
        else:
            self._pending[job_id] = Decided(change, since)

    def forget(self, job_id: int) -> None:
        """What is going on with the job says nothing about its cost, or its rate."""
        self._pending.pop(job_id, None)
        self._watches.pop(job_id, None)

    def ended(self, job_id: int) -> None:
        """The job trains no more."""
        self.forget(job_id)
        self._slow.pop(job_id, None)
        self._remembered.pop(job_id, None)
        self._seen.pop(job_id, None)
        self._estimates.rates.forget([job_id])
        self._estimates.overheads.forget(job_id)

    def observe(self, job: QueueJob, status: JobStatus, now: float) -> Learned:
        """Learn from a running job."""
        learned = self._observe(job, status, now)
        return replace(learned, replan=True) if self._rounds.learn(job, status, now) else learned

    def _observe(self, job: QueueJob, status: JobStatus, now: float) -> Learned:
        progress, running = status.progress, job.running
        if running is not None and progress is not None and progress.live:
            self._measure_live_change(job, progress, now)
        if running is None or progress is None or not status.holds(running.block):
            return NOTHING
        first = progress.first_iteration_at
        if first is None or progress.phase is not Phase.RUNNING:
            return NOTHING
        if status.launched_gpus not in (None, running.active_gpus):
            return NOTHING  # a launch on another part of its GPUs, about to end
        pending = self._pending.get(job.id)
        if pending is not None and pending.since == running.since:
            self._measure_change(job, status, pending, first, now)
        part = active_part(running.block, running.active_gpus)
        watch = self._watches.get(job.id)
        launch = progress.generation, progress.change
        if watch is None or not watch.follows(launch, part.nodes, part.gpus):
            self._watches[job.id] = self._watch(job, progress, part, now)
            return NOTHING
        if not watch.observe(progress, now):
            return NOTHING
        return self._learn_rate(job, watch, part, now)

    def _measure_change(
        self, job: QueueJob, status: JobStatus, pending: Decided, first: float, now: float
    ) -> None:
        launch = status.launch
        # A stop on the way, or an older launch that still trains, would tell another story.
        if launch is None or launch.started_at < pending.since:
            return
        del self._pending[job.id]
        change, took = carried_out(pending, status), taken(pending, status, first, now)
        submitter = Submitter.of(job.request)
        for overhead in measured_fields(change, pending.change):
            self._estimates.overheads.add(job.id, submitter, overhead, took)
        more: dict[str, Json] = {"owner": submitter.owner, "training": submitter.training}
        if change is not pending.change:
            more["decided"] = pending.change.value
        if change is ChangeKind.GROW:
            more["requeued"] = False
        words = f"{change.value} took {took.seconds:.1f} s until training"
        if took.still < took.seconds:
            more["still"] = took.still
            words += f" ({took.still:.1f} s of them without any)"
        self._log(job, now, words, change.value, took.seconds, more)

    def _measure_live_change(self, job: QueueJob, progress: Progress, now: float) -> None:
        """What the last live change cost, by the job's own word of how long training stood still.

        A growth is decided long before: its newcomers start while the old ranks train on. What
        counts is how much less that is than what all of them would have done meanwhile, if twice
        the GPUs do twice the work.
        """
        before = self._seen.get(job.id)
        seen = _LiveSize(progress.generation, progress.change, progress.world_size)
        self._seen[job.id] = seen
        pending, stood = self._pending.get(job.id), progress.change_seconds
        if before is None or before.generation != seen.generation or stood is None:
            return
        if pending is None or pending.change not in LIVE_KINDS or before.change == seen.change:
            return
        kind, passed = pending.change, now - pending.since
        # Something else may have changed it on the way: nodes that were taken from it.
        other_way = ChangeKind.SHRINK if seen.ranks > before.ranks else ChangeKind.GROW
        if passed < 0.0 or kind is other_way:
            return
        del self._pending[job.id]
        seconds = min(stood, passed)
        if kind is ChangeKind.GROW:
            seconds = passed - (passed - seconds) * before.ranks / seen.ranks
        submitter = Submitter.of(job.request)
        self._estimates.overheads.add(job.id, submitter, LIVE_KINDS[kind], Taken(seconds))
        more: dict[str, Json] = {"owner": submitter.owner, "training": submitter.training}
        words = f"a live {kind.value} cost {seconds:.1f} s of training"
        self._log(job, now, words, LIVE_KINDS[kind], seconds, more)

    def _watch(self, job: QueueJob, progress: Progress, part: Block, now: float) -> RateWatch:
        """Begin to watch a launch; with what it would train at, if that was ever seen."""
        rates = self._estimates.rates
        usual = rates.usual(job.id, part.gpu_type)
        before = usual.get(part.gpus)
        if before is None and rates.is_slow(job.id):
            # Is it slow here, too? By its curve, as far as that was right of the other sizes.
            told = _curve(job, part)
            ratios = [rate / told[gpus] for gpus, rate in usual.items() if gpus in told]
            if part.gpus in told:
                before = told[part.gpus] * min(ratios, default=1.0)
        launch = progress.generation, progress.change
        return RateWatch(launch, part.nodes, part.gpus, before, progress, now)

    def _learn_rate(self, job: QueueJob, watch: RateWatch, part: Block, now: float) -> Learned:
        estimate = watch.estimate
        if estimate is None or not 0.0 < estimate.rate <= FASTEST:
            return NOTHING  # too early to tell, or no rate that any training has
        rates = self._estimates.rates
        note = self._name_slowdown(job, watch, part, now)
        known = rates.of(job.id, part.gpu_type).get(part.gpus)
        new = rates.learn(job.id, part.gpu_type, part.gpus, estimate.rate)
        off = new and job.measuring is not None  # it may be judged by that now
        if new:
            told = _curve(job, part).get(part.gpus)
            versus = "" if told is None else f" (its curve says {told:.3g})"
            words = f"{estimate.rate:.3g} iterations/s{versus}"
            on: dict[str, Json] = {"gpu_type": part.gpu_type}
            self._log(job, now, words, "rate", estimate.rate, on)
            expected = told if known is None else known
            off |= expected is not None and abs(estimate.rate / expected - 1) > RATE_TOLERANCE
        last = self._remembered.get(job.id)
        old = last is None or last.gpus != part.gpus or now - last.at >= REMEMBER_SECONDS
        # What only shows that something is wrong is not how fast such trainings are.
        if not rates.is_slow(job.id) and (new or old):
            self._remembered[job.id] = _Remembered(part.gpus, now)
            rate, seconds = estimate.rate, estimate.seconds
            remember(self._queue, job.request, part, rate, seconds, watch.software, now)
        slow = self._slow.get(job.id)
        if note is None and slow is not None and not job.note:
            return Learned(off, slow.words)  # it was launched again, and is slow as before
        return Learned(off or note is not None, note)

    def _name_slowdown(
        self, job: QueueJob, watch: RateWatch, part: Block, now: float
    ) -> str | None:
        """What to tell of a slowdown: it began, is over, is another one, or came along."""
        rates, slowdown, nodes = self._estimates.rates, watch.slowdown, frozenset(part.nodes)
        slow = self._slow.get(job.id)
        was_slow, slow_on = rates.is_slow(job.id), frozenset() if slow is None else slow.nodes
        where, there = compress(part.nodes), compress(sorted(slow_on))
        moved = bool(slow_on) and not nodes & slow_on
        if slowdown is None:
            if not was_slow:
                return None
            rates.recover(job.id)
            self._slow.pop(job.id, None)
            what = f"trains at its rate again on {where}"
            if moved:
                what += f": it was slow on {there} only"
            self._log(job, now, what, "recovered", 1.0, {"nodes": ",".join(part.nodes)})
            return what
        as_known = abs(slowdown.factor / rates.factor(job.id) - 1.0) <= SAME_SLOWNESS
        if was_slow and not moved and as_known:
            return None
        since = format_host_instant(slowdown.since)
        what = f"trains at {slowdown.factor:.2g} of its rate since {since} on {where}"
        if moved:
            what += f" as on {there}: it is the training, not the nodes"
        rates.slow_down(job.id, slowdown.factor)
        self._slow[job.id] = _Slow(slow_on | nodes, what)
        more: dict[str, Json] = {
            "nodes": ",".join(sorted(slow_on | nodes)),
            "since": slowdown.since,
        }
        self._log(job, now, what, "slowdown", slowdown.factor, more)
        return what

    def _log(
        self,
        job: QueueJob,
        now: float,
        message: str,
        what: str,
        value: float,
        more: dict[str, Json] | None = None,
    ) -> None:
        gpus = job.share if job.running is None else job.running.active_gpus
        data: dict[str, Json] = {"what": what, "value": value, "gpus": gpus, **(more or {})}
        on = f"{message} on {gpus} GPU{'' if gpus == 1 else 's'}"
        self._queue.events.log(Event(now, EventKind.MEASURED, ACTOR, on, job.id, data))


def _curve(job: QueueJob, part: Block) -> dict[int, float]:
    """What it was told to reach on GPUs of this type."""
    for kind, curve in job.request.curves:
        if kind == part.gpu_type:
            return dict(curve.points)
    return {}
