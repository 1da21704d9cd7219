"""How jobs ended, by what sacct prints."""

from __future__ import annotations

from pathlib import Path

from ef_slurm.slurm.commands.ended import ended_jobs
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.types import JobBaseState

# A name of several lines, of which one looks like the line of somebody else's job.
SACCT = """#!/bin/bash
for word; do [[ $word == --delimiter=* ]] && d=${word#--delimiter=}; done
line() { local IFS=; local out=$1; shift; for one; do out+=$d$one; done; printf '%s\\n' "$out"; }
forged='7|1001|alice|COMPLETED|0:0|10|20|5|bert'
line 8 1002 mallory "CANCELLED by 1002" 0:0 10 20 5 x$'\\n'$forged$'\\n'y
line 9 1001 alice TIMEOUT 0:0 10 20 5 'a|b'
"""


def test_a_name_of_several_lines_ends_nobody_elses_job(tmp_path: Path) -> None:
    (tmp_path / "sacct").write_text(SACCT)
    (tmp_path / "sacct").chmod(0o755)
    found = ended_jobs(Runner(directory=tmp_path), [7, 8, 9])
    assert {job.job_id: (job.name, job.state) for job in found.values()} == {
        8: ("x", JobBaseState.CANCELLED),
        9: ("a|b", JobBaseState.TIMEOUT),
    }
