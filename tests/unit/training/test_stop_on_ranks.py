"""`session.stop()` with several ranks: all end at the same iteration, whoever says it."""

import subprocess
import sys
from pathlib import Path

import pytest

from ef_slurm.contract import Phase, StateDir
from ef_slurm.resources import templates_dir
from tests.unit.training.rank_environment import environment

SCRIPT = Path(__file__).parent / "stopping_script.py"


@pytest.mark.parametrize("who", ["0", "1", "all"])
def test_all_end_at_the_same_iteration(tmp_path: Path, who: str) -> None:
    words = [str(templates_dir() / "torchrun.py"), "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [sys.executable, *words, "--monitor_interval=0.1", str(SCRIPT), who, "ended"],
        env=environment(EF_STATE_DIR=str(tmp_path / "state")),
        cwd=tmp_path,
        timeout=200,
        check=True,
    )
    ended = [int((tmp_path / f"ended.{rank}").read_text()) for rank in range(2)]
    assert ended[0] == ended[1]
    assert ended[0] < 100_000
    progress = StateDir(tmp_path / "state").read_progress()
    assert progress is not None
    assert (progress.phase, progress.iteration) == (Phase.FINISHED, ended[0])
    assert progress.checkpoint_iteration == ended[0]
    assert progress.message == f"finished early at iteration {ended[0]}: good enough"
