"""May the daemon's user change another's job? Tried on one that could not start for an hour."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ef_slurm.cli.schedd.person import Person
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.startup import no_operator
from ef_slurm.siteconfig.tables import SiteConfig

_SECONDS = 30.0
# job_submit.lua knows our scripts by that word.
_WRAPPED = "true # EF_STATE_DIR"
_VERBS = {
    "update": ("scontrol", "update", "jobid={}", "TimeLimit=2"),
    "hold": ("scontrol", "hold", "{}"),
    "release": ("scontrol", "release", "{}"),
    "requeue": ("scontrol", "requeue", "{}"),  # "is pending", where it may
    "cancel": ("scancel", "{}"),
}
_DENIED = ("denied", "Invalid user id", "not permitted")


def try_rights(config: SiteConfig, who: Person, daemon: Person) -> Iterator[Finding]:
    """What the daemon does to others' jobs, done by its user to a held job of an ordinary one."""
    began = time.monotonic()
    try:
        submit = (
            *("sbatch", "--parsable", "--hold", "--begin=now+1hour", "--nodes=1", "--time=1"),
            *(f"--partition={config.slurm.partition}", "--output=/dev/null", f"--wrap={_WRAPPED}"),
        )
        done = who.run(_found(config, submit), _SECONDS)
        job_id = done.stdout.strip().partition(";")[0]
        if done.returncode or not job_id.isdecimal():
            said = "; ".join(done.stderr.split("\n")).strip("; ")
            yield Finding(
                Level.ERROR, "try", f"Slurm takes no job of {who.account.name}'s there: {said}"
            )
            return
        denied = [
            verb
            for verb, command in _VERBS.items()
            if _is_denied(daemon.run(_found(config, [w.format(job_id) for w in command]), _SECONDS))
        ]
        if denied:
            who.run(_found(config, ("scancel", job_id)), _SECONDS)
            text = (
                f"{daemon.account.name} may not {', '.join(denied)} a job of {who.account.name}'s"
            )
            yield Finding(Level.ERROR, "try", f"{text}: {no_operator(daemon.account.name)}")
            return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding(Level.ERROR, "try", f"Slurm's commands: {error}")
        return
    verbs = ", ".join(list(_VERBS)[:-1])
    yield Finding(
        Level.OK,
        "try",
        f"{time.monotonic() - began:5.1f} s  {daemon.account.name} may {verbs} and cancel a job of "
        f"{who.account.name}'s",
    )


def _found(config: SiteConfig, command: tuple[str, ...] | list[str]) -> list[str]:
    program, *rest = command
    directory = config.slurm.commands
    return [str(Path(directory) / program) if directory else program, *rest]


def _is_denied(done: subprocess.CompletedProcess[str]) -> bool:
    return bool(done.returncode) and any(word in done.stderr for word in _DENIED)
