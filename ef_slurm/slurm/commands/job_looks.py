"""All jobs, look after look: what has changed since the last one is read in full, and only that.

`squeue --json` tells all that is needed of a job in a form that users cannot forge, at 8 KB each:
0.2 s of CPU time for 500 jobs and 2 s for 5,000. A line of `squeue --Format` with the fields in
which a change would show costs a fortieth (8 ms, 49 ms; `docs/slurm.md`). So the lines say which
jobs are other than before, and `squeue --json` says how they are now.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ef_slurm.slurm.commands.job_json import parse_jobs
from ef_slurm.slurm.commands.runner import Result
from ef_slurm.slurm.errors import NoSuchJobError, RefusedError
from ef_slurm.slurm.types import JobBaseState, SlurmJob

_log = logging.getLogger(__name__)

Ask = Callable[..., Result]
"""Runs one of Slurm's commands, given word by word, and returns what it wrote."""

FULL_SECONDS = 300.0
"""After so long everything is read in full again, whatever the lines say."""

_MOST_AT_ONCE = 500
"""Of more changed jobs than this not each is named, but all are read."""

_FIELDS = (
    *("JobID", "PriorityLong", "State", "Reason", "Name", "UserName", "UserID", "Account", "QOS"),
    *("Partition", "Reservation", "NumNodes", "MaxNodes", "NumTasks", "ReqNodes", "NodeList"),
    *("ExcNodes", "Prefer", "Container"),
    *("tres-per-node", "tres-per-job", "tres-per-socket", "tres-per-task", "tres-alloc"),
    *("cpus-per-tres", "mem-per-tres", "MinMemory", "MinTmpDisk", "TimeLimit", "SubmitTime"),
    *("StartTime", "EndTime", "Deadline", "RestartCnt", "Requeue", "BatchHost", "exit_code"),
    *("Dependency", "Feature", "ClusterFeature", "Licenses", "BurstBuffer", "Contiguous"),
    *("ReqSwitch", "Wait4Switch", "OverSubscribe", "WCKey", "Comment", "WorkDir"),
    *("ArrayJobID", "ArrayTaskID", "HetJobID", "STDOUT", "STDERR", "STDIN"),
)
"""Those of squeue(1), `--Format`, in which a change of a job shows. 22.05 has no `ExcNodes`."""

_UNKNOWN_FIELD = re.compile(r".*format specification.*", re.I)
"""What squeue says of a field that it does not know; 22.05 leaves it out then, and succeeds."""

_SETTLED = frozenset(state.value for state in JobBaseState)
"""States that are a job's base state; others (COMPLETING, CONFIGURING) hide it, and soon pass."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One job as a line shows it. The priority changes all the time; that it is 0 means a hold."""

    state: str
    stopped: bool
    rest: str


class JobLooks:
    """What `squeue` says of all jobs; remembers what it said last.

    Args:
        ask: runs a command.
        clock: the present, UTC epoch seconds.
    """

    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._jobs: dict[int, SlurmJob] = {}
        self._lines: Mapping[int, _Line] = {}
        self._read_at: float | None = None
        self._has_lines = True

    def look(self) -> dict[int, SlurmJob]:
        """Every job that slurmctld knows, by id.

        Raises:
            SlurmError: it does not answer, or not as known; the next look begins anew.
        """
        lines = self._read_lines()
        before, self._lines = self._lines, {}
        jobs = self._full() if lines is None else self._changed(before, lines)
        self._jobs = jobs
        self._lines = lines or {}
        return dict(jobs)

    def _full(self) -> dict[int, SlurmJob]:
        self._read_at = self._clock()
        return parse_jobs(self._ask("squeue", "--json", "--states=all").stdout)

    def _changed(
        self, before: Mapping[int, _Line], lines: Mapping[int, _Line]
    ) -> dict[int, SlurmJob]:
        known = self._jobs
        changed = [
            job_id
            for job_id, line in lines.items()
            if line.state not in _SETTLED or before.get(job_id) != line or job_id not in known
        ]
        overdue = self._read_at is None or not 0 <= self._clock() - self._read_at < FULL_SECONDS
        if overdue or len(changed) > _MOST_AT_ONCE:
            return self._full()
        jobs = {job_id: known[job_id] for job_id in lines if job_id in known}
        if changed:
            jobs |= self._read(changed)
        return jobs

    def _read(self, job_ids: Iterable[int]) -> dict[int, SlurmJob]:
        """Some jobs, as they are now.

        One that slurmctld has forgotten since its line was written stays as it was known: the next
        look has no line of it.
        """
        named = ",".join(map(str, sorted(job_ids)))
        try:
            answer = self._ask("squeue", "--json", "--states=all", f"--jobs={named}")
            return parse_jobs(answer.stdout)
        except NoSuchJobError:  # what squeue says where it was asked for a single one
            return {}

    def _read_lines(self) -> Mapping[int, _Line] | None:
        """None where they cannot be used: a field is unknown to squeue, or lines are forged."""
        if not self._has_lines:
            return None
        # Names and comments may hold anything but what nobody could foresee.
        mark = f"x{secrets.token_hex(8)}"
        words = ",".join(f"{field}:|{mark if field == _FIELDS[-1] else ''}" for field in _FIELDS)
        try:
            answer = self._ask("squeue", "--noheader", "--states=all", f"--Format={words}")
        except RefusedError as error:
            if not _UNKNOWN_FIELD.search(error.message):
                raise
            answer = Result("", error.message)
        unknown = _UNKNOWN_FIELD.search(answer.stderr)
        if unknown is not None:
            _log.info("all jobs are read in full at every look: %s", unknown[0])
            self._has_lines = False
            return None
        lines: dict[int, _Line] = {}
        for written in answer.stdout.split(f"|{mark}\n"):
            line = _line(written) if written else None
            if written and (line is None or line[0] in lines):
                # Who sees the command, and is quick, can write the mark into a name in time.
                _log.warning(
                    "squeue wrote %r, no line of a job: all are read in full", written[:80]
                )
                return None
            if line is not None:
                lines[line[0]] = line[1]
        return lines


def _line(text: str) -> tuple[int, _Line] | None:
    fields = text.split("|", 3)
    if len(fields) < 4 or not (fields[0].isdecimal() and fields[0].isascii()):
        return None
    return int(fields[0]), _Line(fields[2], fields[1].strip() in ("0", "0.0"), fields[3])
