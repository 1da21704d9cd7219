"""The workers of a data loader outlive Slurm's TERM, which every process of a job gets."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.patience import PATIENCE

SCRIPT = """
import os
import signal
import sys
import time

from torch.utils.data import DataLoader
from ef_slurm.training.batches import PartSampler
from ef_slurm.training.loader import part_loader
from ef_slurm.training.stream import Stream
from ef_slurm.training.watch import Signals

class Slow:
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        time.sleep(0.01)
        return index

def main(method, kind):
    signals = Signals("USR2")
    options = dict(num_workers=1, multiprocessing_context=method)
    if kind == "ours":
        loader = part_loader(Slow(), Parts(), options)
    else:
        loader = DataLoader(Slow(), batch_size=None, **options)
        Stream(loader, None, {}, None)
    parts = iter(loader)
    next(parts)
    os.killpg(0, signal.SIGTERM)
    # torch's workers look every five seconds whether whoever started them is there.
    until = time.monotonic() + 8
    while time.monotonic() < until:
        next(parts)
    print("terminated", signals.terminated, flush=True)

class Parts(PartSampler):
    start = 0
    def __init__(self):
        pass
    def __iter__(self):
        return iter([number] for number in range(1000))
    def __len__(self):
        return 1000

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def test_only_a_fork_server_ignores_term() -> None:
    program = (
        "import ef_slurm.training.term_ignored, signal; print(signal.getsignal(signal.SIGTERM))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{signal.SIG_DFL}\n"


@pytest.mark.parametrize("kind", ["ours", "theirs"])
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_outlive_term(tmp_path: Path, method: str, kind: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script), method, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, error = process.communicate(timeout=PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert out == "terminated True\n", error
