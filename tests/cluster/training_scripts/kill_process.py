"""Kill -9 one process of a job on this host: kill_process.py JOB rank|agent ORDER [CHECKPOINTS].

ORDER says which, counted around where there are fewer. With the directory of its checkpoints it is
killed in the midst of a save.

Prints its pid; exit code 1 where there is none. Processes are found by the environment that Slurm
gave them, so that nothing else on the host can be hit.
"""

import os
import signal
import sys
import time
from pathlib import Path


def environment(process: Path) -> dict[str, str]:
    try:
        text = (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def await_save(checkpoints: Path) -> None:
    """Return when a checkpoint has been begun; after half a minute in any case."""
    end = time.monotonic() + 30
    before = set(checkpoints.glob(".*.tmp"))
    while time.monotonic() < end and not set(checkpoints.glob(".*.tmp")) - before:
        time.sleep(0.002)


def main() -> int:
    job, kind, order = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ranks, agents = [], []
    for process in sorted(Path("/proc").glob("[0-9]*")):
        variables = environment(process)
        if variables.get("SLURM_JOB_ID") != job or "SLURM_PROCID" not in variables:
            continue
        if variables.get("SLURMD_NODENAME") != os.environ.get("NODE"):
            continue
        command = (process / "cmdline").read_bytes()
        program = command.split(b"\0")[0]
        is_agent = b"python" in program and b"--master_port" in command
        if program == b"ef-slurm: fork server" or (is_agent and "LOCAL_RANK" not in variables):
            agents.append(int(process.name))
        elif b"python" in program:
            ranks.append(process)
    if kind == "rank":
        # What a forked rank was given later does not show in its environment.
        found = [int(rank.name) for rank in ranks if parent(rank) in agents]
    else:
        found = agents
    if not found:
        return 1
    victim = found[order % len(found)]
    if len(sys.argv) > 4:
        await_save(Path(sys.argv[4]))
    os.kill(victim, signal.SIGKILL)
    print(victim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
