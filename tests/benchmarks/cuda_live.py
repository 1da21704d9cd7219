"""What live changes, forks and checkpoints cost with CUDA, on a machine with one GPU:
PYTHONPATH=. python3 tests/benchmarks/cuda_live.py

Up to four ranks share the GPU, with gloo between them. `--backend cpu:gloo,cuda:nccl` shows what a
launch does whose new process group NCCL refuses, as it does two ranks on one GPU. `--cpu` plays the
same without a GPU. Nothing but torch is needed; about two minutes, one table.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

# So that nobody here asks the driver, which a fork could not use any more then.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
BEGAN = time.monotonic()
import torch  # noqa: E402 - its time is measured
import torch._dynamo  # noqa: E402 - torch.optim imports it, in each process anew

from ef_slurm import training  # noqa: E402
from ef_slurm.contract import Action, Order, Progress, StateDir  # noqa: E402
from ef_slurm.training.state import HostCopy  # noqa: E402

IMPORTED = time.monotonic() - BEGAN
NODES = ["n0", "n1", "n2", "n3"]
SIZES = [(1, "n0"), (2, "n0,n1"), (4, "n0,n1,n2,n3"), (2, "n0,n1")]
ROUNDS = 3


class Points(torch.utils.data.Dataset[Any]):
    """Random vectors, the same everywhere."""

    def __init__(self, width: int):
        self._width = width

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((self._width,), index / 4096)


def device_of(cpu: bool) -> torch.device:
    """Where to train; the GPU is touched here first."""
    return torch.device("cpu") if cpu else torch.device("cuda", 0)


def wait_for_gpu(device: torch.device) -> None:
    """All that was begun is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def fork(work: Callable[[], None], log: Path) -> int:
    """A process that does the work; it dies with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def join(pids: Sequence[int], seconds: float = 60.0) -> list[int]:
    """Exit codes; whoever takes too long is killed."""
    codes = []
    end = time.monotonic() + seconds
    for pid in pids:
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        codes.append(os.waitstatus_to_exitcode(ended[1]))
    return codes


def contexts(directory: Path, ranks: int, cpu: bool) -> list[float]:
    """Seconds from the fork to the first result on the device, for each of so many at once."""
    files = [directory / f"context.{ranks}.{rank}" for rank in range(ranks)]
    began = time.monotonic()

    def first_result(file: Path) -> None:
        torch.ones(8, device=device_of(cpu)).sum().item()
        file.write_text(str(time.monotonic() - began))

    pids = [fork(lambda file=file: first_result(file), directory / "log") for file in files]  # type: ignore[misc]
    codes = join(pids)
    assert not any(codes), (directory / "log").read_text()
    return [float(file.read_text()) for file in files]


def copies(directory: Path, cpu: bool, megabytes: int) -> dict[str, float]:
    """Seconds to copy a state from the device into host memory: pageable, pinned, and again."""
    file = directory / "copies"

    def work() -> None:
        device = device_of(cpu)
        state = {f"t{i}": torch.ones(megabytes << 15, device=device) for i in range(8)}
        found = {}
        wait_for_gpu(device)
        began = time.monotonic()
        pageable = [tensor.to("cpu", copy=True) for tensor in state.values()]
        wait_for_gpu(device)
        found["pageable"] = time.monotonic() - began
        del pageable
        copy = HostCopy()
        for name in ("pinned, first (allocates)", "pinned, again"):
            began = time.monotonic()
            for key, tensor in state.items():
                copy(key, tensor)
            copy.finish()
            found[name] = time.monotonic() - began
        file.write_text(json.dumps(found))

    codes = join([fork(work, directory / "log")])
    assert codes == [0], (directory / "log").read_text()
    found: dict[str, float] = json.loads(file.read_text())
    return found


def train(directory: Path, cpu: bool, width: int, backend: str) -> None:
    """One rank."""
    device = device_of(cpu)
    training.init(backend)
    torch.manual_seed(1)
    layers = [torch.nn.Linear(width, width) for _ in range(4)]
    model = training.parallel(torch.nn.Sequential(*layers).to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    with training.session(model, optimizer, data=Points(width)) as session:
        for step in session:
            for x in step:
                step.backward(model(x.to(device)).square().mean())
            optimizer.step()
            optimizer.zero_grad()
            wait_for_gpu(device)
            if session.first:
                entry = {"world": int(os.environ["WORLD_SIZE"]), "at": time.time()}
                with (directory / "record").open("a") as file:
                    file.write(json.dumps(entry) + "\n")


class Launch:
    """One live launch, and those that come to it."""

    def __init__(self, directory: Path, cpu: bool, width: int, backend: str):
        self._directory = directory
        self._cpu = cpu
        self._width = width
        self._backend = backend
        self.state = StateDir(directory / "state")
        self.state.path.mkdir(mode=0o700)
        self.pids: list[int] = []

    def start(self, nodes: Sequence[str], change: int) -> None:
        """Ranks, one on each node, which are all this host."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for rank in range(len(nodes)):
            variables = {
                "RANK": rank,
                "LOCAL_RANK": 0,
                "WORLD_SIZE": len(nodes),
                "LOCAL_WORLD_SIZE": 1,
                "GROUP_RANK": rank,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "TORCHELASTIC_RUN_ID": "none",
                "EF_NODES": ",".join(nodes),
                "EF_STATE_DIR": self.state.path,
                "EF_GENERATION": 1,
                "EF_GLOBAL_BATCH_SIZE": 32,
                "EF_ITERATIONS": 10**6,
                "EF_CHECKPOINT_SECONDS": 2,
                **({"EF_CHANGE": change} if change else {}),
            }

            def work(variables: dict[str, Any] = variables) -> None:
                os.environ.update({name: str(value) for name, value in variables.items()})
                train(self._directory, self._cpu, self._width, self._backend)

            self.pids.append(fork(work, self._directory / "log"))

    def until(self, condition: Callable[[Progress], bool]) -> Progress:
        """Wait for a report."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            told = self.state.read_progress()
            if told is not None and condition(told):
                return told
            time.sleep(0.005)
        raise SystemExit(f"waited in vain: {told}\n{(self._directory / 'log').read_text()}")

    def resize(self, number: int, nodes: str) -> Progress:
        """Make a change."""
        order = Order(1, Action.RESIZE, time.time(), "measured", change=number, nodes=nodes)
        self.state.write_order(order)
        told = self.until(lambda told: max(told.change, told.refused_change) >= number)
        assert told.change == number, told.refusal
        return told

    def stop(self) -> list[int]:
        """Stop all; exit codes."""
        self.state.write_order(Order(1, Action.STOP, time.time()))
        return join(self.pids)

    def gaps(self) -> Iterator[tuple[tuple[int, int], float]]:
        """((ranks before, after), seconds without training)."""
        lines = (self._directory / "record").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        for number, (before, after) in enumerate(pairwise(entries)):
            if before["world"] != after["world"]:
                later = [entry["at"] for entry in entries[number + 1 : number + 7]]
                usual = statistics.median(b - a for a, b in pairwise(later)) if later[1:] else 0.0
                yield (before["world"], after["world"]), after["at"] - before["at"] - usual


def row(name: str, *seconds: float) -> None:
    """A line of the table: the median, and all."""
    shown = " ".join(f"{one:.3f}" for one in seconds)
    print(f"  {name:<52}{statistics.median(seconds):9.3f}   {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="without a GPU")
    parser.add_argument("--width", type=int, default=0, help="of four linear layers")
    parser.add_argument("--backend", default="gloo", help="of the process group")
    given = parser.parse_args()
    width = given.width or (256 if given.cpu else 2048)
    where = "CPU" if given.cpu else "CUDA"
    what = f"four layers of width {width}, fp32, AdamW, {given.backend}"
    print(f"torch {torch.__version__}, {where}, {what}")
    print(f"  {'':<52}{'median':>9}   seconds")
    row("import of torch and ef_slurm.training, once per node", IMPORTED)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for ranks in (1, 2, 4):
            found = [max(contexts(directory, ranks, given.cpu)) for _ in range(ROUNDS)]
            row(f"fork to first result on the device, {ranks} at once", *found)
        megabytes = 64 if given.cpu else 1024
        for name, seconds in copies(directory, given.cpu, megabytes // 8 * 8).items():
            row(f"copy of {megabytes} MiB to the host, {name}", seconds)
        launch = Launch(directory, given.cpu, width, given.backend)
        launch.start(NODES[:1], 0)
        launch.until(lambda told: told.first_iteration_at is not None)
        began = time.monotonic()
        launch.start(NODES[1:], 1)
        launch.until(lambda told: told.ready == ",".join(NODES[1:]))
        row("start of 3 newcomers up to ready, meanwhile it trains", time.monotonic() - began)
        number = 0
        for _ in range(ROUNDS):
            for world, nodes in (*SIZES[1:], SIZES[0]):
                number += 1
                told = launch.resize(number, nodes)
                assert told.world_size == world
                time.sleep(0.7)
        told = launch.until(lambda told: (told.stall_seconds or 0) > 0)
        codes = launch.stop()
        assert not any(codes), f"{codes}\n{(directory / 'log').read_text()}"
        gaps = list(launch.gaps())
        for pair in dict.fromkeys(pair for pair, _ in gaps):
            seconds_of = [seconds for one, seconds in gaps if one == pair]
            row(f"live change {pair[0]} → {pair[1]} ranks, training stands still", *seconds_of)
        last = launch.state.read_progress()
        assert last is not None
        row("checkpoint: training stands still (last one)", last.stall_seconds or 0.0)
        row("checkpoint: until it is durable (last one)", last.save_seconds or 0.0)
    row("all of this", time.monotonic() - BEGAN)


if __name__ == "__main__":
    main()
