"""The columns of ef-squeue: what each is called, says of a job, and is sorted by.

Where squeue has the same name for a column, it means the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from ef_slurm.cli.common.state_dirs import bytes_held
from ef_slurm.cli.common.tone import Tone
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.finishes import finish_for_table, shown_slack
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import (
    begins,
    done,
    measuring_words,
    promise_word,
    slack,
    state_word,
    waits_for,
)
from ef_slurm.formats.sizes import format_bytes
from ef_slurm.formats.times import format_for_table
from ef_slurm.model import (
    FINAL,
    JobState,
    JobView,
    PromiseOutcome,
    PromiseState,
)

BAR_CELLS = 10


@dataclass(frozen=True, slots=True)
class Look:
    """What the cells need to know beside the job.

    Args:
        now: the time of the answer.
        zone: for local times.
        bars: whether progress is drawn (on a terminal).
        reason: the sentence of why the job has the share that it has.
    """

    now: float
    zone: tzinfo
    bars: bool
    reason: Callable[[JobView], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how it is asked for, its heading, and its text for a job.

    Args:
        key: what jobs are sorted by, None for last; where there is none, the text.
    """

    letter: str
    name: str
    heading: str
    text: Callable[[JobView, Look], str]
    tone: Callable[[JobView], Tone] = lambda _: Tone.PLAIN
    right: bool = False
    key: Callable[[JobView, Look], Any] | None = None


def _progress(job: JobView, look: Look) -> str:
    if job.iterations is None:
        return "-"
    share = done(job)
    percent = f"{math.floor(100 * share):3d}%"
    if not look.bars:
        return percent.strip()
    eighths = round(share * BAR_CELLS * 8)
    full, part = divmod(eighths, 8)
    bar = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return f"{bar:░<{BAR_CELLS}} {percent}"


def _iterations(job: JobView, _look: Look) -> str:
    return "-" if job.iterations is None else str(job.iterations)


def _finish(job: JobView, look: Look) -> str:
    at = job.ended if job.state in FINAL else job.finish
    return "-" if at is None else finish_for_table(at, job.deadline, look.now, look.zone)


def _time(at: float | None, look: Look) -> str:
    return "-" if at is None else format_for_table(at, look.now, look.zone)


def _slack(job: JobView, look: Look) -> str:
    left = slack(job, look.now)
    return "-" if left is None else format_duration(shown_slack(left))


def _elapsed(job: JobView, look: Look) -> str:
    return format_duration(_seconds(job, look))


def _where(job: JobView, look: Look) -> str:
    if job.nodes:
        words = measuring_words(job) if job.measuring else job.note
        return f"{compress(job.nodes)} ({words})" if words else compress(job.nodes)
    if job.state in FINAL:
        return f"({job.note})" if job.note else ""
    return f"({waits_for(job, look.now, look.reason(job))})"


def _promise_tone(job: JobView) -> Tone:
    if job.promise_outcome is PromiseOutcome.BROKEN:
        return Tone.BAD
    if job.promise_outcome in (PromiseOutcome.KEPT, PromiseOutcome.KEPT_IN_GRACE):
        return Tone.GOOD
    tones = {
        PromiseState.SAFE: Tone.GOOD,
        PromiseState.IN_GRACE: Tone.WARN,
        PromiseState.AT_RISK: Tone.BAD,
    }
    return tones.get(job.promise, Tone.PLAIN)


_STATE_TONES = {
    JobState.RUNNING: Tone.GOOD,
    JobState.STARTING: Tone.GOOD,
    JobState.FAILED: Tone.BAD,
    JobState.LOST: Tone.BAD,
    JobState.REJECTED: Tone.BAD,
    JobState.HELD: Tone.WARN,
    JobState.WAITLISTED: Tone.WARN,
    JobState.COMPLETED: Tone.DIM,
    JobState.CANCELLED: Tone.DIM,
}


def _state_size(job: JobView, _: Look) -> str:
    """What lies in its state directory, as far as whoever asks may look."""
    held = bytes_held(Path(job.state_dir))
    return "-" if held is None else format_bytes(held)


def _seconds(job: JobView, look: Look) -> float:
    if job.started is None:
        return 0.0
    return (look.now if job.ended is None else job.ended) - job.started


def _compact(job: JobView, _: Look) -> str:
    """Its state as squeue's %t has it, as near as there is one."""
    if job.measuring is not None and job.state is not JobState.HELD:
        return "ME"
    return _COMPACT[job.state]


_COMPACT = {
    JobState.NEW: "NW",
    JobState.WAITLISTED: "WL",
    JobState.ADMITTED: "PD",
    JobState.STARTING: "CF",
    JobState.RUNNING: "R",
    JobState.STOPPING: "CG",
    JobState.PAUSED: "S",
    JobState.HELD: "HD",
    JobState.REJECTED: "RJ",
    JobState.COMPLETED: "CD",
    JobState.FAILED: "F",
    JobState.CANCELLED: "CA",
    JobState.LOST: "LO",
}


def _state_tone(job: JobView) -> Tone:
    return Tone.WARN if job.measuring else _STATE_TONES.get(job.state, Tone.PLAIN)


_ORDER = {state: place for place, state in enumerate(JobState)}


COLUMNS = (
    Column(
        "i",
        "jobid",
        "JOBID",
        lambda job, _: str(job.job_id) if job.array is None else job.array.name,
        right=True,
        key=lambda job, _: job.job_id,
    ),
    Column("j", "name", "NAME", lambda job, _: job.name),
    Column("u", "username", "USER", lambda job, _: job.owner),
    Column("a", "account", "ACCOUNT", lambda job, _: job.account or "-"),
    Column("P", "partition", "PARTITION", lambda job, _: job.partition or "-"),
    Column(
        "T",
        "state",
        "STATE",
        lambda job, _: state_word(job),
        _state_tone,
        key=lambda job, _: _ORDER[job.state],
    ),
    Column(
        "t",
        "statecompact",
        "ST",
        _compact,
        _state_tone,
        key=lambda job, _: _ORDER[job.state],
    ),
    Column("k", "kind", "KIND", lambda job, _: job.kind.value),
    Column(
        "b",
        "gpus",
        "GPUS",
        lambda job, _: str(job.share),
        right=True,
        key=lambda job, _: job.share,
    ),
    Column("m", "gputype", "GPU_TYPE", lambda job, _: job.gpu_type or "-"),
    Column(
        "E",
        "deadline",
        "DEADLINE",
        lambda job, look: _time(job.deadline, look),
        key=lambda job, _: job.deadline,
    ),
    Column(
        "e",
        "endtime",
        "FINISH",
        _finish,
        key=lambda job, _: job.ended if job.state in FINAL else job.finish,
    ),
    Column(
        "L",
        "slack",
        "SLACK",
        _slack,
        _promise_tone,
        right=True,
        key=lambda job, look: slack(job, look.now),
    ),
    Column("p", "progress", "PROGRESS", _progress, key=lambda job, _: done(job)),
    Column(
        "I",
        "iteration",
        "ITERATION",
        lambda job, _: f"{job.iteration:.0f}",
        right=True,
        key=lambda job, _: job.iteration,
    ),
    Column(
        "n",
        "iterations",
        "ITERATIONS",
        _iterations,
        right=True,
        key=lambda job, _: job.iterations,
    ),
    Column(
        "v",
        "rate",
        "ITER/S",
        lambda job, _: "-" if job.rate is None else f"{job.rate:.3g}",
        right=True,
        key=lambda job, _: job.rate,
    ),
    Column("q", "promise", "PROMISE", lambda job, _: promise_word(job), _promise_tone),
    Column(
        "f",
        "fault",
        "FAULT",
        lambda job, _: "-" if job.promise_fault is None else job.promise_fault.value,
    ),
    Column(
        "V",
        "submittime",
        "SUBMIT_TIME",
        lambda job, look: _time(job.submitted, look),
        key=lambda job, _: job.submitted,
    ),
    Column(
        "S",
        "starttime",
        "START_TIME",
        lambda job, look: _time(begins(job), look),
        key=lambda job, _: begins(job),
    ),
    Column("M", "timeused", "TIME", _elapsed, right=True, key=_seconds),
    Column(
        "D",
        "numnodes",
        "NODES",
        lambda job, _: str(len(job.nodes)),
        right=True,
        key=lambda job, _: len(job.nodes),
    ),
    Column("N", "nodelist", "NODELIST", lambda job, _: compress(job.nodes) if job.nodes else ""),
    Column("R", "reasonlist", "NODELIST(REASON)", _where),
    Column("r", "reason", "REASON", lambda job, look: look.reason(job)),
    Column(
        "g",
        "generation",
        "STARTS",
        lambda job, _: str(job.generation),
        right=True,
        key=lambda job, _: job.generation,
    ),
    Column(
        "x",
        "reshapes",
        "RESHAPES",
        lambda job, _: str(job.reshapes),
        right=True,
        key=lambda job, _: job.reshapes,
    ),
    Column("Z", "statedir", "STATE_DIR", lambda job, _: job.state_dir),
    Column(
        "B",
        "statesize",
        "STATE_SIZE",
        _state_size,
        right=True,
        key=lambda job, _: bytes_held(Path(job.state_dir)),
    ),
)
