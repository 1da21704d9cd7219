"""How jobs ended that slurmctld has forgotten, by accounting's word (sacct(1))."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.types import FINAL_STATES, HoldKind, JobBaseState, Requested, SlurmJob

_FIELDS = ("JobIDRaw", "UID", "User", "State", "ExitCode", "Start", "End", "Submit", "JobName")
_AT_A_TIME = 500


def ended_jobs(runner: Runner, job_ids: Sequence[int]) -> dict[int, SlurmJob]:
    """Those of the jobs of which accounting knows how they ended, by Slurm's id.

    Raises:
        SlurmError: accounting does not answer, or there is none.
    """
    # sacct quotes nothing, and a name may hold any line: nobody guesses what is between the fields.
    between = f"|{secrets.token_hex(8)}|"
    found: dict[int, SlurmJob] = {}
    for first in range(0, len(job_ids), _AT_A_TIME):
        some = ",".join(map(str, job_ids[first : first + _AT_A_TIME]))
        command = (
            *("sacct", "--allocations", "--noheader", "--parsable2", f"--delimiter={between}"),
            *(f"--jobs={some}", f"--format={','.join(_FIELDS)}"),
        )
        answer = runner.query(command).stdout
        found |= {job.job_id: job for job in read_ended(answer, between)}
    return found


def read_ended(answer: str, between: str = "|") -> Iterator[SlurmJob]:
    """What sacct printed, line by line; what has not ended, or is no line of ours, is left out.

    So is what ended in slurmdbd's books alone: CANCELLED, and by nobody, are all jobs that a
    slurmctld does not know which comes back without its state; COMPLETED without having started is
    what `sacctmgr show runawayjobs` mends.

    >>> [(job.job_id, job.state.value, job.exit_code) for job in read_ended(
    ...     "7|1001|alice|CANCELLED by 0|0:15|10|20|5|a\\n"
    ...     "8|1001|alice|RUNNING|0:0|10|Unknown|5|c\\n9|1001|alice|CANCELLED|0:0|10|20|5|d")]
    [(7, 'CANCELLED', None)]
    """
    for line in answer.split("\n"):
        words = line.split(between)
        if len(words) != len(_FIELDS) or not words[0].isdigit() or not words[1].isdigit():
            continue
        job_id, uid, user, state, code, start, end, submit, name = words
        word, _, by = state.partition(" ")
        base = _STATES.get(word.rstrip("+"))
        if base is None or not end.isdigit() or (base is JobBaseState.CANCELLED and not by):
            continue
        if base not in _WITHOUT_A_START and (not start.isdigit() or int(start) == 0):
            continue
        returned, _, signal = code.partition(":")
        exited = returned.isdigit() and signal == "0"
        yield SlurmJob(
            job_id=int(job_id),
            name=name,
            user=user,
            uid=int(uid),
            account="",
            state=base,
            flags=frozenset(),
            reason="",
            hold=HoldKind.NONE,
            requested=Requested(None, None, None, None),
            submit_time=float(submit) if submit.isdigit() else None,
            start_time=float(start) if start.isdigit() else None,
            end_time=float(end),
            exit_code=int(returned) if exited else None,
        )


_WITHOUT_A_START = frozenset({JobBaseState.CANCELLED, JobBaseState.DEADLINE})
"""How a job may end that has never run."""
_STATES: dict[str, JobBaseState] = {state.value: state for state in FINAL_STATES}
