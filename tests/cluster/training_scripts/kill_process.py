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


def await_save(checkpoints: Path) -> None:
    """Return when a checkpoint has been begun; after half a minute in any case."""
    end = time.monotonic() + 30
    before = set(checkpoints.glob(".*.tmp"))
    while time.monotonic() < end and not set(checkpoints.glob(".*.tmp")) - before:
        time.sleep(0.002)


def main() -> int:
    job, kind, order = sys.argv[1], sys.argv[2], int(sys.argv[3])
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*")):
        variables = environment(process)
        if variables.get("SLURM_JOB_ID") != job or "SLURM_PROCID" not in variables:
            continue
        here = variables.get("SLURMD_NODENAME") == os.environ.get("NODE")
        command = (process / "cmdline").read_bytes()
        is_rank = "LOCAL_RANK" in variables
        is_python = b"python" in command.split(b"\0")[0]
        is_agent = is_python and not is_rank and b"--master_port" in command
        if here and (is_rank if kind == "rank" else is_agent):
            found.append(int(process.name))
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
