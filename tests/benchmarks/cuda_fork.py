"""Fork server and CUDA on one GPU, without Slurm: PYTHONPATH=. python tests/benchmarks/cuda_fork.py

Plays a job of one node with two ranks that share the GPU. Checks that the server leaves CUDA alone
and that its ranks can use it, that a package which touches CUDA when it is imported is told and
harms nobody, and times a launch up to the first operation on the GPU for both launchers. About two
minutes; needs torch and jinja2. --device=cpu does the same without a GPU, as far as it goes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tests.unit.forkserver.launching import Launching, package, values

RANKS = 2
SCRIPT = """
    import time
    BEGAN = time.time()
    import json, os, sys
    import torch
    import torch.distributed as dist
    IMPORTED = time.time()

    def nvidia(pid):
        places = [f"/proc/{pid}/fd/{n}" for n in os.listdir(f"/proc/{pid}/fd")]
        links = [os.readlink(place) for place in places if os.path.islink(place)]
        return sorted({link for link in links if "nvidia" in link})

    device = torch.device(sys.argv[1])
    cuda = device.type == "cuda"
    early = torch.cuda.is_initialized()
    server = nvidia(os.getppid())
    dist.init_process_group("gloo")
    JOINED = time.time()
    x = torch.ones(64, 64, device=device)
    if cuda:
        torch.cuda.synchronize()
    CONTEXT = time.time()
    y = (x @ x).sum()
    total = float(y)
    DONE = time.time()
    shared = torch.tensor([total])
    dist.all_reduce(shared)
    pinned = 0.0
    if cuda:
        host = torch.empty(2**26, dtype=torch.uint8).pin_memory()
        there = torch.empty_like(host, device=device)
        for _ in range(2):  # the first one warms up
            torch.cuda.synchronize()
            begin = time.time()
            there.copy_(host, non_blocking=True)
            torch.cuda.synchronize()
            pinned = time.time() - begin
    print(json.dumps(dict(
        rank=dist.get_rank(), began=BEGAN, imported=IMPORTED, joined=JOINED, context=CONTEXT,
        done=DONE, total=total, shared=shared.item(), early=early, server=server,
        ours=nvidia(os.getpid()), pinned=pinned, visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )), flush=True)
    dist.destroy_process_group()
"""
TOUCHER = """
    import os, torch
    cuda = torch.cuda.is_available()
    touched = torch.zeros(1, device="cuda") if cuda else os.open("/dev/ptmx", os.O_RDWR)
"""
IMPORTS_TOUCHER = """
    import toucher
"""
STAGES = ("began", "imported", "joined", "context", "done")
NAMES = ("launcher, up to the script", "imports", "process group", "CUDA context", "operation")


class Checks:
    """What was found, and how often it was not as it has to be."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, text: str, good: bool, found: object = "") -> None:
        self.failed += not good
        print(
            f"  {'ok    ' if good else 'FAILED'} {text}{'' if good else f': {found}'}", flush=True
        )


def launch(
    directory: Path, launcher: str, device: str, script: str = SCRIPT
) -> tuple[list[dict[str, Any]], str]:
    """One launch: what each rank says, and when it began; and the log."""
    state = directory / f"state-{launcher}"
    state.mkdir(exist_ok=True)
    variables = {"EF_STATE_DIR": str(state), "CUDA_VISIBLE_DEVICES": "0"}
    variables |= package(directory, "toucher", TOUCHER)
    launching = Launching(directory, RANKS, 1, launcher, variables=variables)
    path = launching.script(script)
    begin = time.time()
    code, out, errors = launching.run(path, device)
    if code:
        raise SystemExit(f"{launcher}: exit code {code}\n{errors}")
    found = sorted(values(out), key=lambda said: said["rank"])
    return [{**said, "begin": begin} for said in found], errors


def stages(said: dict[str, Any]) -> list[float]:
    instants = [said["begin"], *(said[stage] for stage in STAGES)]
    return [after - before for before, after in pairwise(instants)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    cuda = args.device == "cuda"
    what = torch.cuda.get_device_name() if cuda else "no GPU"
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, {what}")
    checks = Checks()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        print("\nthe fork server's ranks")
        said, log = launch(directory, "forkserver", args.device)
        checks.check("ranks are forked", "ranks are forked" in log, log)
        checks.check("the server has no device open", not any(s["server"] for s in said), said)
        checks.check("no rank has CUDA before it asks", not any(s["early"] for s in said), said)
        checks.check("all compute right", {s["total"] for s in said} == {64.0**3}, said)
        checks.check("and together", {s["shared"] for s in said} == {RANKS * 64.0**3}, said)
        if cuda:
            checks.check("each has the device open itself", all(s["ours"] for s in said), said)
            checks.check("as CUDA_VISIBLE_DEVICES", {s["visible"] for s in said} == {"0"}, said)
        print("\na package that touches CUDA when it is imported")
        said, log = launch(directory, "forkserver", args.device, f"{IMPORTS_TOUCHER}{SCRIPT}")
        reasons = [line for line in log.splitlines() if "toucher" in line or "torchrun" in line]
        checks.check("is told", bool(reasons), log)
        print("".join(f"         {line}\n" for line in reasons), end="")
        checks.check("and harms nobody", {s["total"] for s in said} == {64.0**3}, said)
        rows: dict[str, list[list[float]]] = {"torchrun": [], "forkserver": []}
        pinned = 0.0
        for number in range(args.rounds + 1):
            for launcher, row in rows.items():
                said, _ = launch(directory, launcher, args.device)
                if number:  # the first launch learns, and reads from the disk
                    row.append(stages(max(said, key=lambda one: one["done"])))
                    pinned = max(pinned, max(one["pinned"] for one in said))
    print(f"\nlaunch to the first operation, {RANKS} ranks, median of {args.rounds}, seconds")
    print(f"  {'':<30}" + "".join(f"{name:>12}" for name in rows))
    for index, name in enumerate(NAMES):
        medians = [statistics.median(row[index] for row in column) for column in rows.values()]
        print(f"  {name:<30}" + "".join(f"{median:12.2f}" for median in medians))
    totals = [statistics.median(sum(row) for row in column) for column in rows.values()]
    print(f"  {'all':<30}" + "".join(f"{total:12.2f}" for total in totals))
    if cuda:
        print(f"  64 MiB of pinned memory to the GPU: {pinned * 1e3:.1f} ms at most")
    checks.check("forked ranks begin sooner", totals[1] < totals[0], totals)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
