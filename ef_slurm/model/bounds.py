"""How large anything may be that somebody asks for: one place for every door into the queue.

What a user sends is stored, planned with, printed and logged. Each value has bounds that no honest
job comes near, and whatever is outside them is refused by the name of its field. Rows that are in a
queue already are not checked again: they were, and a bound that moves must not stop a daemon.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from ef_slurm.model.curve import ThroughputCurve
from ef_slurm.model.dependency import DependencyKind
from ef_slurm.model.errors import ModelError
from ef_slurm.model.launch import check_text
from ef_slurm.model.notice import NoticeKind, check_mail_user
from ef_slurm.model.overhead import OVERHEAD_FIELDS
from ef_slurm.model.profile import FASTEST, MOST_SAMPLES, SLOWEST, check_name
from ef_slurm.model.queued_job import newcomer
from ef_slurm.model.request import BatchScript, JobRequest

DAY = 86400.0
LONGEST_WAIT = 3660 * DAY
"""Seconds that anything may lie ahead: a deadline, a grace, a time limit. Ten years."""
LONGEST_OVERHEAD = 30 * DAY
"""Seconds of lost training per change."""
LARGEST_ID = 0xFFFFFFFF
"""Slurm's job ids, and user ids, have 32 bits."""
MOST_ITERATIONS = 10**15
"""Iterations: exact as a float, with their sums."""
MOST_GPUS = 1 << 20
MOST_GPU_TYPES = 32
MOST_CONDITIONS = 100
"""Of a dependency."""
MOST_MEMBERS = 1000
"""Of an array."""
MOST_MINUTES = 60 * 24 * 3660
MOST_ASKED = 16
"""Fields that are asked of Slurm."""
LONGEST_ASKED = 1 << 16
"""Characters of one: a list of all nodes but some, each with a name of its own."""
LONGEST_TITLE = 1024
"""Characters of a name that Slurm has given: a job's, a user's, an account's."""
LONGEST_PATH = 4096
LONGEST_SCRIPT = 1 << 20
MOST_WORDS = 4096
"""Options, or arguments, of one submission."""
LONGEST_WORDS = 1 << 17
"""Characters of all of them."""


def check_request(request: JobRequest, now: float) -> None:
    """Refuse what is no job for the queue.

    Args:
        request: as it would be stored. The Slurm job 0 stands for none (a job that nobody has
            submitted).
        now: the present, UTC epoch seconds.

    Raises:
        ModelError: a field is outside its bounds.
    """
    check_integer("Slurm job", request.slurm_job_id, 0, LARGEST_ID)
    check_integer("uid", request.uid, 0, LARGEST_ID)
    if not request.owner:
        raise ModelError("owner", request.owner, "the name of a user")
    for name in ("owner", "name", "account", "partition", "cluster"):
        _check_title(name, getattr(request, name))
    check_path("state directory", request.state_dir)
    if len(request.mail_types) > len(NoticeKind):
        raise ModelError("mail types", len(request.mail_types), f"{len(NoticeKind)} at most")
    if request.mail_user:
        check_mail_user(request.mail_user)
    _check_title("source of the throughput curve", request.curve_source, LONGEST_PATH + 64)
    if len(request.asked) > MOST_ASKED:
        raise ModelError("asked of Slurm", len(request.asked), f"{MOST_ASKED} fields at most")
    for name, word in request.asked:
        _check_title("asked of Slurm", name)
        _check_title(name, word, LONGEST_ASKED)
    if request.iterations is not None:
        check_integer("iterations", request.iterations, 1, MOST_ITERATIONS)
    check_integer("iterations done", request.done, 0, MOST_ITERATIONS)
    if request.iterations is not None and request.done >= request.iterations:
        raise ModelError(
            "iterations", request.iterations, f"more than the {request.done} of its checkpoint"
        )
    if request.global_batch_size is not None:
        check_integer("global batch size", request.global_batch_size, 1, MOST_SAMPLES)
    if len(request.gpu_types) > MOST_GPU_TYPES:
        raise ModelError("GPU types", len(request.gpu_types), f"{MOST_GPU_TYPES} at most")
    for gpu_type in request.gpu_types:
        check_name("GPU type", gpu_type)
    for name, curves in (
        ("throughput curves", request.curves),
        ("throughput curves for growth", request.growth_curves),
    ):
        _check_curves(name, curves)
    _check_times(request, now)
    if request.max_gpus is not None:
        check_integer("max GPUs", request.max_gpus, 1, MOST_GPUS)
    if not request.complete:
        # What is told later has to be right in itself; all else is known now.
        only = (("gpu", ThroughputCurve.of({1: 1.0})),)
        iterations = request.iterations or 1
        request = replace(request, curves=request.curves or only, iterations=iterations)
    newcomer(request)


def _check_times(request: JobRequest, now: float) -> None:
    check_number("submission time", request.submitted, 0.0, now + DAY)
    if request.deadline is not None:
        check_number("deadline", request.deadline, 0.0, now + LONGEST_WAIT)
    if request.array is not None:
        array = request.array
        check_integer("array job", array.job_id, 0, LARGEST_ID)
        check_integer("array size", array.size, 1, MOST_MEMBERS)
        for name in ("task", "low", "high", "step", "most"):
            check_integer(f"array {name}", getattr(array, name), 0, LARGEST_ID)
    if len(request.dependency.conditions) > MOST_CONDITIONS:
        most = f"{MOST_CONDITIONS} conditions at most"
        raise ModelError("dependency", len(request.dependency.conditions), most)
    for condition in request.dependency.conditions:
        if (condition.job_id is None) is not (condition.kind is DependencyKind.SINGLETON):
            raise ModelError("dependency", condition.kind.value, "a job, but for a singleton none")
        if condition.job_id is not None:
            check_integer("dependency", condition.job_id, 1, LARGEST_ID)
        check_integer("minutes of a dependency", condition.minutes, 0, MOST_MINUTES)
    if request.begin is not None:
        check_number("begin", request.begin, 0.0, now + LONGEST_WAIT)
        if request.deadline is not None and request.begin >= request.deadline:
            raise ModelError("begin", request.begin, f"before the deadline {request.deadline:.10g}")
    check_number("grace", request.grace, 0.0, LONGEST_WAIT)
    if request.max_time is not None:
        check_number("time limit", request.max_time, 1.0, LONGEST_WAIT)
    overhead = request.overhead
    for name in OVERHEAD_FIELDS:
        check_number(f"overhead ({name})", getattr(overhead, name), 0.0, LONGEST_OVERHEAD)


def _check_curves(name: str, curves: tuple[tuple[str, ThroughputCurve], ...]) -> None:
    if len(curves) > MOST_GPU_TYPES:
        raise ModelError(name, len(curves), f"{MOST_GPU_TYPES} GPU types at most")
    for gpu_type, curve in curves:
        check_name("GPU type", gpu_type)
        for gpus, rate in curve.points:
            check_integer("throughput curve GPUs", gpus, 1, MOST_GPUS)
            check_number(f"throughput at {gpus} GPUs", rate, SLOWEST, FASTEST)


def check_script(script: BatchScript) -> None:
    """Refuse what could not be submitted again, or would fill the disk.

    Raises:
        ModelError: a field is outside its bounds.
    """
    check_length("script", script.text, LONGEST_SCRIPT)
    if "\0" in script.text or not _is_utf8(script.text):
        raise ModelError("script", script.text, "text in UTF-8 without NUL")
    _check_words("sbatch options", script.options)
    _check_words("arguments", script.arguments)
    if script.directory:
        check_path("directory", script.directory)


def _check_words(name: str, words: Collection[str]) -> None:
    if len(words) > MOST_WORDS:
        raise ModelError(name, len(words), f"{MOST_WORDS} at most")
    if sum(map(len, words)) > LONGEST_WORDS:
        total = sum(map(len, words))
        raise ModelError(name, f"{total} characters", f"{LONGEST_WORDS} characters in all at most")
    for word in words:
        if "\0" in word:
            raise ModelError(name, word, "words without NUL")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_integer(name: str, value: int, low: int, high: int) -> None:
    """Refuse a whole number outside its bounds.

    Raises:
        ModelError: it is.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ModelError(name, value, f"a whole number from {low} to {high}")


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its bounds, or none.

    Raises:
        ModelError: it is.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise ModelError(name, value, f"a number from {low:.10g} to {high:.10g}")


def check_length(name: str, text: str, longest: int) -> None:
    """Refuse a text that is too long.

    Raises:
        ModelError: it is.
    """
    if len(text) > longest:
        raise ModelError(name, f"{len(text)} characters", f"{longest} characters at most")


def check_path(name: str, path: str) -> None:
    """Refuse what is no absolute path.

    Raises:
        ModelError: it is relative, too long, or holds a control character.
    """
    check_length(name, path, LONGEST_PATH)
    check_text(name, path)
    if not path.startswith("/"):
        raise ModelError(name, path, "an absolute path")


def _check_title(name: str, text: str, longest: int = LONGEST_TITLE) -> None:
    check_length(name, text, longest)
    # Line breaks and escape sequences are Slurm's to refuse, and escaped wherever they are printed.
    if "\0" in text:
        raise ModelError(name, text, "a text without NUL")
