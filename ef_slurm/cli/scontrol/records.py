"""A job as `scontrol show job` shows one: `Key=Value`, a few to a line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path

from ef_slurm.formats.companion_words import companion_word
from ef_slurm.formats.dependencies import format_dependency
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import promise_word
from ef_slurm.formats.times import format_iso
from ef_slurm.model import JobView

NONE = "(null)"
"""As Slurm writes what is not there."""


def record_lines(
    job: JobView, zone: tzinfo, *, output: Path | None = None, oneliner: bool = False
) -> Iterator[str]:
    """The lines of one job; one only with `oneliner`.

    Args:
        output: where it writes its standard output; None where Slurm does not tell.
    """
    groups = _groups(job, zone, output)
    lines = [" ".join(f"{key}={value}" for key, value in group) for group in groups]
    if oneliner:
        yield " ".join(lines)
        return
    yield lines[0]
    yield from (f"   {line}" for line in lines[1:])


def _groups(job: JobView, zone: tzinfo, output: Path | None) -> list[list[tuple[str, str]]]:
    def time(at: float | None) -> str:
        return NONE if at is None else format_iso(at, zone)

    verdict = job.verdict
    done = NONE if job.iterations is None else str(job.iterations)
    return [
        [
            ("JobId", str(job.job_id)),
            *([("ArrayJobId", job.array.name)] if job.array is not None else []),
            ("JobName", job.name or NONE),
        ],
        [
            ("UserId", job.owner),
            ("Account", job.account or NONE),
            ("Partition", job.partition or NONE),
        ],
        [
            ("JobState", job.state.value.upper()),
            ("Kind", job.kind.value),
            ("Note", job.note or NONE),
        ],
        [
            ("Deadline", time(job.deadline)),
            ("Grace", format_duration(job.grace)),
            ("Promise", promise_word(job)),
            ("IfInfeasible", job.if_infeasible.value),
        ],
        [
            ("SubmitTime", time(job.submitted)),
            ("BeginTime", time(job.begin)),
            ("Dependency", format_dependency(job.dependency) or NONE),
            ("StartTime", time(job.started)),
            ("Finish", time(job.finish)),
            ("EndTime", time(job.ended)),
        ],
        [
            ("Gpus", str(job.share)),
            ("GpuType", job.gpu_type or NONE),
            ("NodeList", compress(job.nodes) or NONE),
            ("MinGpus", NONE if verdict is None or not verdict.share else str(verdict.share)),
            ("Companions", ",".join(map(companion_word, job.companions)) or NONE),
        ],
        [
            ("Iteration", f"{job.iteration:.0f}"),
            ("Iterations", done),
            ("Rate", NONE if job.rate is None else f"{job.rate:.4g}/s"),
            ("Starts", str(job.generation)),
            ("Reshapes", str(job.reshapes)),
            ("ExitCode", NONE if job.exit_code is None else str(job.exit_code)),
        ],
        [("StateDir", job.state_dir)],
        [("StdOut", NONE if output is None else str(output))],
    ]
