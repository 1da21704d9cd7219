"""What ef-slurm would have done with a site's own history.

Every GPU job of the export becomes a job of the trace that needs, at the size that its user
requested, exactly the time that it took, and has its deadline at `factor` times that time after
its submission. How fast it would have run at other sizes nobody measured: that is an assumption,
named by `Scaling` and printed with every answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ef_slurm.formats.numbers import parse_number
from ef_slurm.model import Admission, IfInfeasible, Policy, ThroughputCurve
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.history.records import History, SiteJob
from ef_slurm.simulator.metrics import gpu_seconds, is_met
from ef_slurm.simulator.overhead import OverheadModel
from ef_slurm.simulator.report.table import grid
from ef_slurm.simulator.simulate import Request, Result
from ef_slurm.simulator.trace import Trace, TraceJob, make_trace

SITE_POLICIES = ("elasticflow", "edf", "slurm")
SITE_HEADINGS = (
    "deadline",
    "scheduler",
    "in time",
    "ratio",
    "broken",
    "GPU-hours",
    "saved",
    "on late jobs",
    "saved",
)
LABELS = {
    "recorded": "as recorded",
    "elasticflow": "ef-slurm",
    "edf": "EDF",
    "slurm": "plain Slurm",
}
SCALING_WANTED = "linear, amdahl:SERIAL_FRACTION or power:EXPONENT"


@dataclass(frozen=True, slots=True)
class Scaling:
    """An assumed speed-up.

    Args:
        name: as `--scaling` spells it.
        speedup: n GPUs → speed over one GPU.
        max_growth: no job gets more than this many times the GPUs that its user requested.
    """

    name: str
    speedup: Callable[[int], float]
    max_growth: float


def parse_scaling(text: str, max_growth: float) -> Scaling:
    """The scaling that `--scaling` names.

    Args:
        text: `linear`: n; `amdahl:F`: 1 / (F + (1 - F) / n); `power:E`: n to the power of E.
        max_growth: see `Scaling`.

    Raises:
        SimulatorError: not a known one.

    >>> round(parse_scaling("amdahl:0.02", 8).speedup(8), 2)
    7.02
    """
    kind, _, argument = text.partition(":")
    if kind == "linear" and not argument:
        return Scaling(text, float, max_growth)
    value = parse_number(argument)
    if value is not None and kind == "amdahl" and 0 <= value <= 1:
        return Scaling(text, lambda gpus: 1 / (value + (1 - value) / gpus), max_growth)
    if value is not None and kind == "power" and 0 < value <= 1:
        return Scaling(text, lambda gpus: gpus**value, max_growth)
    raise SimulatorError(f"scaling {text!r} is not valid: {SCALING_WANTED}")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What really happened: deadlines met had there been any, and GPU-hours of all runs."""

    jobs: int
    met: int
    gpu_hours: float
    gpu_hours_late: float


def recorded(jobs: list[SiteJob], factor: float) -> Recorded:
    """The history itself, judged by the same deadlines.

    Args:
        jobs: of the history.
        factor: deadlines lie so many run times after the submission.
    """
    hours = {job.id: job.gpu_seconds / 3600 for job in jobs}
    late = [job for job in jobs if job.ended > job.submitted + factor * job.run_seconds]
    return Recorded(
        jobs=len(jobs),
        met=len(jobs) - len(late),
        gpu_hours=math.fsum(hours.values()),
        gpu_hours_late=math.fsum(hours[job.id] for job in late),
    )


def site_trace(jobs: list[SiteJob], factor: float, scaling: Scaling, cluster_gpus: int) -> Trace:
    """The history as a trace.

    Args:
        jobs: of the history.
        factor: deadlines lie so many run times after the submission.
        scaling: how fast the jobs would have been on other numbers of GPUs.
        cluster_gpus: no curve goes beyond them.
    """
    return make_trace(
        f"site-{factor:g}x", [_job(job, factor, scaling, cluster_gpus) for job in jobs]
    )


def gpu_hours_late(result: Result) -> float:
    """GPU-hours spent on deadline jobs that missed their deadline."""
    late = (job for job in result.jobs if job.spec.deadline is not None and not is_met(job))
    return math.fsum(map(gpu_seconds, late)) / 3600


def _job(job: SiteJob, factor: float, scaling: Scaling, cluster_gpus: int) -> TraceJob:
    """One iteration is one second of the job as it ran."""
    largest = min(cluster_gpus, max(1.0, job.gpus * scaling.max_growth))
    own = scaling.speedup(job.gpus)
    sizes = [1 << power for power in range(int(largest).bit_length())]
    return TraceJob(
        id=job.id,
        submitted=job.submitted,
        iterations=job.run_seconds,
        model="site",
        batch_size=1,
        curve=ThroughputCurve.of({gpus: scaling.speedup(gpus) / own for gpus in sizes}),
        deadline=job.submitted + factor * job.run_seconds,
        requested_gpus=job.gpus,
        duration=job.run_seconds,
        time_limit=job.time_limit,
    )


@dataclass(frozen=True, slots=True)
class SiteQuestion:
    """A history, and under which assumptions to replay it.

    Args:
        history: of the site.
        nodes: of the cluster to replay it on.
        gpus_per_node: a power of two.
        factors: of the deadlines, each replayed by itself.
        scaling: how fast the jobs would have been on other numbers of GPUs.
        overhead: what starts and reshapes cost.
        if_infeasible: what becomes of a deadline that cannot be promised.
        admission: whom ef-slurm promises a deadline when not everybody can be.
    """

    history: History
    nodes: int
    gpus_per_node: int
    factors: tuple[float, ...]
    scaling: Scaling
    overhead: OverheadModel
    if_infeasible: IfInfeasible
    admission: Admission = Admission.FIRST_COME

    @property
    def gpus(self) -> int:
        """GPUs of the cluster."""
        return self.nodes * self.gpus_per_node

    def requests(self) -> list[Request]:
        """Every policy at every deadline factor."""
        return [
            Request(
                site_trace(self.jobs(), factor, self.scaling, self.gpus),
                uniform(self.nodes, self.gpus_per_node),
                policy,
                self.overhead,
                self.if_infeasible,
                Policy(offers=False, admission=self.admission),
            )
            for factor in self.factors
            for policy in SITE_POLICIES
        ]

    def jobs(self) -> list[SiteJob]:
        """The jobs that the cluster could have run."""
        return [job for job in self.history.jobs if job.gpus <= self.gpus]


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One scheduler at one deadline factor.

    Args:
        deadline_factor: deadlines lay so many run times after the submission.
        source: a policy's name, or `recorded`.
        jobs: with a deadline.
        met: finished in time.
        ratio: met / jobs.
        broken_promises: None where nothing is promised.
        gpu_hours: held by jobs.
        gpu_hours_late: of them, by jobs that missed their deadline.
        gpu_hours_saved: plain Slurm's less this scheduler's. Growing into idle GPUs costs GPU-hours
            that nobody else wanted, so it may well be negative.
        gpu_hours_late_saved: the same of `gpu_hours_late`.
    """

    deadline_factor: float
    source: str
    jobs: int
    met: int
    ratio: float
    broken_promises: int | None
    gpu_hours: float
    gpu_hours_late: float
    gpu_hours_saved: float | None
    gpu_hours_late_saved: float | None


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """The rows, and what stands behind them."""

    question: SiteQuestion
    rows: tuple[SiteRow, ...]
    results: tuple[Result, ...]

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        question = self.question
        return {
            "jobs": len(question.jobs()),
            "left_out": _left_out(question),
            "nodes": question.nodes,
            "gpus_per_node": question.gpus_per_node,
            "scaling": question.scaling.name,
            "max_growth": question.scaling.max_growth,
            "overhead": question.overhead.name,
            "if_infeasible": question.if_infeasible,
            "rows": self.rows,
            "results": [result.metrics for result in self.results],
        }

    def text(self) -> str:
        """For a person."""
        left_out = [f"  left out: {what}" for what in self.left_out()]
        head = [self.headline(), *left_out, f"  assumed: {self.assumptions()}", ""]
        return "\n".join([*head, grid(SITE_HEADINGS, self.cells(), left=2), "", *self.verdict()])

    def headline(self) -> str:
        """How much was replayed on what."""
        question = self.question
        return (
            f"{len(question.jobs())} GPU jobs on {question.nodes} nodes of "
            f"{question.gpus_per_node} GPUs"
        )

    def left_out(self) -> list[str]:
        """How many rows were left out, by reason."""
        return [f"{count} {reason}" for reason, count in _left_out(self.question).items()]

    def assumptions(self) -> str:
        """What the answer depends on."""
        question = self.question
        return (
            f"speed-up {question.scaling.name}, at most {question.scaling.max_growth:g} times the "
            f"requested GPUs, overhead {question.overhead.name}, infeasible deadlines: "
            f"{question.if_infeasible.value}"
        )

    def cells(self) -> list[tuple[str, ...]]:
        """The rows under `SITE_HEADINGS`."""
        return [
            (
                f"{row.deadline_factor:g}x",
                LABELS[row.source],
                str(row.met),
                f"{row.ratio:.1%}",
                "-" if row.broken_promises is None else str(row.broken_promises),
                f"{row.gpu_hours:,.0f}",
                _difference(row.gpu_hours_saved),
                f"{row.gpu_hours_late:,.0f}",
                _difference(row.gpu_hours_late_saved),
            )
            for row in self.rows
        ]

    def verdict(self) -> list[str]:
        """The answer in sentences, one for every deadline factor."""
        lines = []
        for factor in self.question.factors:
            found = {row.source: row for row in self.rows if row.deadline_factor == factor}
            ours, slurm = found["elasticflow"], found["slurm"]
            lines.append(
                f"Deadlines at {factor:g} times the run time: ef-slurm meets {ours.met} of "
                f"{ours.jobs}, plain Slurm {slurm.met}, EDF {found['edf'].met}. On jobs that end "
                f"late, ef-slurm spends {ours.gpu_hours_late:,.0f} GPU-hours, plain Slurm "
                f"{slurm.gpu_hours_late:,.0f}."
            )
        return lines


def answer_site(
    question: SiteQuestion, simulate_all: Callable[[list[Request]], list[Result]]
) -> SiteAnswer:
    """Replays the history.

    Args:
        question: what to replay.
        simulate_all: how to simulate; results in the order of the requests.

    Raises:
        SimulatorError: no job of the history fits the cluster.
    """
    jobs = question.jobs()
    if not jobs:
        raise SimulatorError(f"no job of the history fits a cluster of {question.gpus} GPUs")
    results = simulate_all(question.requests())
    rows: list[SiteRow] = []
    for place, factor in enumerate(question.factors):
        mine = results[place * len(SITE_POLICIES) : (place + 1) * len(SITE_POLICIES)]
        plain = next(result for result in mine if result.metrics.policy == "slurm")
        rows.append(_recorded_row(factor, recorded(jobs, factor)))
        rows.extend(_policy_row(factor, result, plain) for result in mine)
    return SiteAnswer(question, tuple(rows), tuple(results))


def _recorded_row(factor: float, past: Recorded) -> SiteRow:
    return SiteRow(
        deadline_factor=factor,
        source="recorded",
        jobs=past.jobs,
        met=past.met,
        ratio=past.met / past.jobs,
        broken_promises=None,
        gpu_hours=past.gpu_hours,
        gpu_hours_late=past.gpu_hours_late,
        gpu_hours_saved=None,
        gpu_hours_late_saved=None,
    )


def _policy_row(factor: float, result: Result, plain: Result) -> SiteRow:
    numbers, late = result.metrics, gpu_hours_late(result)
    return SiteRow(
        deadline_factor=factor,
        source=numbers.policy,
        jobs=numbers.jobs,
        met=numbers.met,
        ratio=numbers.met / numbers.jobs,
        broken_promises=numbers.broken_promises,
        gpu_hours=numbers.gpu_hours,
        gpu_hours_late=late,
        gpu_hours_saved=plain.metrics.gpu_hours - numbers.gpu_hours,
        gpu_hours_late_saved=gpu_hours_late(plain) - late,
    )


def _difference(hours: float | None) -> str:
    return "-" if hours is None else f"{hours:+,.0f}"


def _left_out(question: SiteQuestion) -> dict[str, int]:
    counts = dict(question.history.left_out)
    large = len(question.history.jobs) - len(question.jobs())
    if large:
        counts[f"larger than {question.gpus} GPUs"] = large
    return counts
