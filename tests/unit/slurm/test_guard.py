"""Who guards a partition, out of what Slurm answers a plain submission with."""

from pathlib import Path

import pytest

from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.guard import REVISION, Guard, guard_of

OURS = "sbatch: error: partition ef is scheduled by ef-slurm. Submit with: ef-sbatch SCRIPT (see "


@pytest.mark.parametrize(
    ("said", "guard"),
    [
        (None, Guard.NOBODY),
        ("sbatch: error: Invalid account", Guard.UNKNOWN),
        ("sbatch: error: job_submit.lua 7)", Guard.UNKNOWN),
        (f"{OURS}ef-sbatch --help)", Guard.OLDER),
        (f"{OURS}ef-sbatch --help; job_submit.lua {REVISION - 1})", Guard.OLDER),
        (f"{OURS}ef-sbatch --help; job_submit.lua {REVISION})", Guard.CURRENT),
        (f"{OURS}ef-sbatch --help; job_submit.lua {REVISION + 1})\nfailed", Guard.CURRENT),
        (f"{OURS}ef-sbatch --help; job_submit.lua x)", Guard.OLDER),
    ],
)
def test_who_refuses_a_plain_submission(tmp_path: Path, said: str | None, guard: Guard) -> None:
    script = "#!/bin/sh\n" if said is None else f"#!/bin/sh\ncat >&2 <<'E'\n{said}\nE\nexit 1\n"
    (tmp_path / "sbatch").write_text(script)
    (tmp_path / "sbatch").chmod(0o755)
    assert guard_of(CommandSlurm(Runner(directory=tmp_path)), "ef") is guard
