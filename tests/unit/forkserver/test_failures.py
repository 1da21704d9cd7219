"""Who failed first is named, the others end with it, and nobody outlives the server."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.forkserver.launching import Launched, Launching, fake_torch
from tests.unit.training.test_ranks import alive

SLEEPS = """
    import torch, os, pathlib, sys, time
    pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(300)
"""


def test_the_first_that_fails_is_named(tmp_path: Path) -> None:
    launching = Launching(tmp_path, ranks=3)
    script = launching.script(
        """
        import os, time, sys
        from torch.distributed.elastic.multiprocessing.errors import record

        @record
        def main():
            if os.environ["RANK"] == "1":
                raise ValueError("no such data")
            time.sleep(300)

        main()
        """
    )
    began = time.monotonic()
    code, _, errors = launching.run(script)
    assert code == 1
    assert "ef-slurm: rank 1 failed first, exit code 1: ValueError: no such data\n" in errors
    assert time.monotonic() - began < 60


def running(launched: Launched, directory: Path, ranks: int) -> list[tuple[int, int]]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        texts = [path.read_text().split() for path in directory.iterdir()]
        found = [(int(text[0]), int(text[1])) for text in texts if len(text) == 2]
        if len(found) == ranks:
            return found
        time.sleep(0.05)
    launched.process.kill()
    raise AssertionError(launched.end())


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + 30
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("victim", ["server", "rank", "store"])
def test_nobody_outlives_a_kill(tmp_path: Path, victim: str) -> None:
    launching = Launching(tmp_path, variables=fake_torch(tmp_path))
    pids = tmp_path / "pids"
    pids.mkdir()
    launched = launching.begin(launching.script(SLEEPS), str(pids))
    found = running(launched, pids, 2)
    server = launched.process.pid
    assert {parent for _, parent in found} == {server}
    ranks = [pid for pid, _ in found]
    assert Path(f"/proc/{server}/cmdline").read_bytes().startswith(b"ef-slurm: fork server\0/")
    family = children(server)
    (store,) = set(family) - set(ranks)
    os.kill({"server": server, "rank": ranks[1], "store": store}[victim], signal.SIGKILL)
    code, _, errors = launched.end()
    assert gone(family)
    if victim == "server":
        assert code == -signal.SIGKILL
    else:
        assert code == 128 + signal.SIGKILL
        first = "rank" if victim == "rank" else "the store of the ranks has ended"
        assert f"ef-slurm: {first}" in errors
        assert "signal 9" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_ranks_and_is_the_end(tmp_path: Path, number: signal.Signals) -> None:
    launching = Launching(tmp_path, variables=fake_torch(tmp_path))
    pids = tmp_path / "pids"
    pids.mkdir()
    saves = SLEEPS.replace(
        "time.sleep(300)",
        "import signal\n"
        "    def save(*_): time.sleep(1); print('saved'); sys.exit(0)\n"
        f"    signal.signal({int(number)}, save)\n"
        "    pathlib.Path(sys.argv[1], 'ready' + os.environ['RANK']).write_text(f'0 0')\n"
        "    time.sleep(300)",
    )
    launched = launching.begin(launching.script(saves), str(pids))
    running(launched, pids, 4)
    launched.process.send_signal(number)
    code, out, _ = launched.end()
    assert code == 128 + number
    assert out.count("saved") == 2  # two processes write: their line ends may fall together


def test_what_slurm_sends_to_all_before_the_end_is_for_the_ranks(tmp_path: Path) -> None:
    """sbatch's `--signal`: server and store outlive it, and a rank has its own handler called."""
    launching = Launching(tmp_path, variables=fake_torch(tmp_path))
    pids = tmp_path / "pids"
    pids.mkdir()
    script = launching.script(
        """
        import os, pathlib, signal, sys, time
        import torch
        warned = []
        signal.signal(signal.SIGUSR1, lambda *_: warned.append(1))
        pathlib.Path(sys.argv[1], os.environ["RANK"]).write_text(f"{os.getpid()} {os.getppid()}")
        while not warned:
            time.sleep(0.05)
        """
    )
    launched = launching.begin(script, str(pids))
    ranks = [pid for pid, _ in running(launched, pids, 2)]
    server = launched.process.pid
    for pid in (server, *children(server)):
        os.kill(pid, signal.SIGUSR1)
    code, _, errors = launched.end()
    assert code == 0, errors
    assert gone(ranks)


@pytest.mark.parametrize("launcher", ["forkserver", "torchrun"])
def test_a_node_whose_ranks_have_all_left_is_empty_while_the_others_go_on(
    tmp_path: Path, launcher: str
) -> None:
    """Its node is given back: nothing of the launch may be left on it."""
    variables = fake_torch(tmp_path) if launcher == "forkserver" else {}
    launching = Launching(tmp_path, nodes=3, ranks=1, launcher=launcher, variables=variables)
    script = launching.script(
        """
        import os, pathlib, sys, time
        me = pathlib.Path(sys.argv[1], os.environ["RANK"])
        while not me.exists():
            time.sleep(0.05)
        """
    )
    leave = tmp_path / "leave"
    leave.mkdir()
    first, second, third = (launching.begin(script, str(leave), node=node) for node in range(3))
    for number, node in ((2, third), (1, second)):
        (leave / str(number)).touch()
        code, _, errors = node.end(60)
        assert code == 0, errors
        assert first.process.poll() is None
    (leave / "0").touch()
    code, _, errors = first.end(60)
    assert code == 0, errors
